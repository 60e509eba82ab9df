"""Disks without locks, disks that cannot flush, full ones: a run works, or one line says why."""

import errno
import fcntl
import os
import stat

import pytest
from processes import run_cold

from mnist_lab.run import lock as locks
from mnist_lab.run.directory import Run, is_held, read_metrics, read_state
from mnist_lab.run.lock import LOCK
from mnist_lab.ui.errors import Refused
from mnist_lab.ui.files import write_bytes

TRAIN = "mnist_lab.train"
NO_LOCKS = ("ENOSYS", "ENOLCK", "EOPNOTSUPP", "EINVAL", "EIO")

# As Python imports it where PYTHONPATH says so: what a disk answers, instead of a real one.
DISK = """
import errno, fcntl, os, stat
def fails(name):
    raise OSError(getattr(errno, name), os.strerror(getattr(errno, name)))
if name := os.environ.get("FLOCK"):
    fcntl.flock = lambda *_, name=name: fails(name)
if name := os.environ.get("FSYNC"):
    fsync = os.fsync
    os.fsync = lambda fd: fails(name) if stat.S_ISDIR(os.fstat(fd).st_mode) else fsync(fd)
"""


def failing(name):
    def fail(*_):
        raise OSError(getattr(errno, name), os.strerror(getattr(errno, name)))

    return fail


@pytest.fixture
def disk(tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(DISK)
    return {"PYTHONPATH": str(tmp_path / "site")}


@pytest.mark.parametrize("name", NO_LOCKS)
def test_without_locks_a_directory_is_held_by_the_process_that_it_names(
    name, monkeypatch, capsys, tmp_path
):
    locks.warn_unlocked.cache_clear()
    monkeypatch.setattr(fcntl, "flock", failing(name))
    run = Run.claim_new(tmp_path / "runs")
    assert capsys.readouterr().err.startswith("WARNING: no locks on this disk (")
    lock = run.path / LOCK
    held = lock.read_text()
    lock.write_text(held.replace(str(os.getpid()), str(os.getppid())))
    assert is_held(run.path)
    with pytest.raises(Refused, match=f"in use by process {os.getppid()} on"):
        Run.hold(run.path)
    lock.write_text(held.replace(f"process {os.getpid()}", "process 4194999"))  # above any pid
    assert not is_held(run.path)  # it died
    Run.hold(run.path).release()
    lock.write_text("process 1 on another-machine\n")
    assert is_held(run.path)
    lock.unlink()
    run.release()
    Run.hold(run.path).release()
    assert not is_held(run.path)
    assert capsys.readouterr().err == ""  # said once


def test_with_locks_nothing_changes(tmp_path):
    run = Run.claim_new(tmp_path)
    assert is_held(run.path)
    with pytest.raises(Refused, match=f"in use by process {os.getpid()} on"):
        Run.hold(run.path)
    run.release()
    assert not is_held(run.path)


@pytest.mark.parametrize("name", ["EINVAL", "EIO", "ENOSYS", "EOPNOTSUPP"])
def test_a_folder_that_cannot_be_flushed_loses_nothing(name, monkeypatch, tmp_path):
    fsync = os.fsync

    def of_files(file):
        if stat.S_ISDIR(os.fstat(file).st_mode):
            failing(name)()
        fsync(file)

    monkeypatch.setattr(os, "fsync", of_files)
    write_bytes(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"new"
    monkeypatch.setattr(os, "fsync", failing(name))
    if name == "EIO":  # a file's own is an error: its bytes may not be there
        with pytest.raises(OSError, match="Input/output error") as caught:
            write_bytes(tmp_path / "x", b"newer")
        assert caught.value.filename == str(tmp_path / "x")
        assert [*tmp_path.iterdir()] == [tmp_path / "x"]
    else:
        write_bytes(tmp_path / "x", b"newer")
    assert (tmp_path / "x").read_bytes() == (b"new" if name == "EIO" else b"newer")


def test_a_run_and_a_sweep_on_a_disk_that_can_do_little(disk, tiny, tmp_path):
    weak = {**disk, "FLOCK": "ENOSYS", "FSYNC": "EINVAL"}
    typed = ["-m", TRAIN, *tiny, "hydra.run.dir=run"]
    ended = run_cold(*typed, cwd=tmp_path, **weak)
    assert ended.code == 0, ended
    (line,) = ended.stderr.splitlines()
    assert line.startswith("WARNING: no locks on this disk (Function not implemented): ")
    assert read_state(tmp_path / "run") == "finished"
    typed = ["-m", "mnist_lab.resume", "run", "trainer.max_epochs=3"]
    ended = run_cold(*typed, cwd=tmp_path, **weak)
    assert ended.code == 0, ended
    assert read_metrics(tmp_path / "run")["epochs"] == 3
    typed = ["-m", TRAIN, "-m", *tiny, "seed=0,1", "hydra.sweep.dir=s", "hydra/launcher=pool"]
    ended = run_cold(*typed, cwd=tmp_path, **weak)
    assert ended.code == 0, ended
    assert [read_state(path) for path in sorted((tmp_path / "s").glob("00*"))] == ["finished"] * 2


def test_a_full_disk_before_the_training_is_one_line_that_names_the_file(tiny, tmp_path):
    limited = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "import mnist_lab.train; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100));"
        "mnist_lab.train.main()"
    )
    ended = run_cold("-c", limited, *tiny, "hydra.run.dir=run", cwd=tmp_path)
    assert ended.code == 1, ended
    path = tmp_path / "run/code.json"  # the first file of more than 100 bytes
    assert ended.stderr.splitlines() == [f"failed (disk): {path}: File too large."]


def test_where_the_output_goes_is_full(tiny, tmp_path):
    """A run goes on to its end; of anything else, the output is all that there is."""

    def into_a_full_file(*args):
        return run_cold("-c", SHELL, *args, cwd=tmp_path)

    ended = into_a_full_file("--help")
    said = "failed (disk): what the command prints: No space left on device.\n"
    assert (ended.code, ended.stderr) == (1, said)
    ended = into_a_full_file(*tiny, "hydra.run.dir=run")
    said = "WARNING: what is printed is lost: No space left on device.\n"
    assert (ended.code, ended.stderr) == (0, said)
    assert read_state(tmp_path / "run") == "finished"


SHELL = """
import subprocess, sys
command = [sys.executable, "-m", "mnist_lab.train", *sys.argv[1:]]
with open("/dev/full", "w") as full:
    sys.exit(subprocess.run(command, stdout=full).returncode)
"""
