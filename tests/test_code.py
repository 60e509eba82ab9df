"""The code that a run was made with, whatever git is, says or does; all as real processes."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import write_idx_folder
from processes import last_of_each, run_cold
from sweeps import processes, wait_until

import mnist_lab
from mnist_lab.run.code import LIMIT_S, MAX_DIFF_BYTES, Code, read_code
from mnist_lab.run.directory import read_metrics, read_state

ROOT = Path(mnist_lab.__file__).parents[1]
TRAIN = "mnist_lab.train"
SHORT = "trainer.max_epochs=1"


def git(folder, *arguments):
    author = ("-c", "user.name=A", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
    command = ["git", *author, "-C", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit_all(folder):
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "all")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def checkout(tmp_path):
    """A repository that holds the package as it is now, in one commit."""
    folder = tmp_path / "checkout"
    unwanted = shutil.ignore_patterns("__pycache__")
    for name in ("mnist_lab", "hydra_plugins", "conf"):
        shutil.copytree(ROOT / name, folder / name, ignore=unwanted)
    (folder / ".gitignore").write_text("__pycache__/\nignored.py\n")
    git(tmp_path, "init", "--quiet", str(folder))
    commit_all(folder)
    return folder


@pytest.fixture
def elsewhere(tmp_path):
    """Another repository, with a commit of its own."""
    folder = tmp_path / "elsewhere"
    git(tmp_path, "init", "--quiet", str(folder))
    commit_all(folder)
    return folder


def said(folder, **env):
    """What the package in a folder says of its code."""
    ask = (
        "import json; from mnist_lab.run.code import own_code as c; print(json.dumps(c().record()))"
    )
    ended = run_cold("-c", ask, cwd=folder, PYTHONPATH=str(folder), **env)
    assert ended.stderr == ""
    return json.loads(ended.stdout)


def only(folder, pattern):
    (path,) = folder.glob(pattern)
    return path


def stored(folder):
    return json.loads((folder / "code.json").read_text())


def fake_git(folder, text, *, mode=0o755):
    """A folder for PATH with this `git` alone."""
    folder.mkdir()
    (folder / "git").write_text(text)
    (folder / "git").chmod(mode)
    return str(folder)


ODD = {
    "none": (None, "no git on PATH"),
    "not executable": (("#!/bin/sh\n", 0o644), "git: Permission denied"),
    "broken": (("not a program\n", 0o755), "git: Exec format error"),
    "hanging": (
        (
            f"#!{shutil.which('sh')}\n{shutil.which('sleep')} 1000 &\necho $$ $! >> asked\nwait\n",
            0o755,
        ),
        f"git did not answer within {LIMIT_S:g} s",
    ),
}


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_git_costs_no_run(kind, verbs, tiny, tmp_path):
    made, why = ODD[kind]
    path = tmp_path / "bin"
    if made is None:
        path.mkdir()
    else:
        fake_git(path, made[0], mode=made[1])
    ended = verbs.run(TRAIN, *last_of_each(*tiny, SHORT), cwd=tmp_path, PATH=str(path))
    assert (ended.code, ended.stderr) == (0, ""), ended
    run = only(tmp_path, "outputs/runs/*/*")
    assert read_state(run) == "finished"
    assert read_metrics(run)["git_commit"] is None
    code = stored(run)
    assert (code["commit"], code["dirty"], code["why_unknown"]) == (None, None, why)
    assert not (run / "code.diff").exists()
    if kind == "hanging":
        (asked,) = (tmp_path / "asked").read_text().splitlines()  # once: one limit is waited for
        assert not {*map(int, asked.split())} & processes().keys()


def test_code_is_kept_from_the_first_second(verbs, tiny, tmp_path):
    process = verbs.start(TRAIN, *last_of_each(*tiny, "trainer.max_epochs=1000"), cwd=tmp_path)
    config = wait_until(lambda: [*tmp_path.glob("outputs/runs/*/*/config.yaml")])[0]
    process.send(signal.SIGKILL)
    process.wait()
    assert {"commit", "dirty", "why_unknown", "mnist_lab_version"} < stored(config.parent).keys()


def test_the_commit_is_that_of_the_package_and_of_nothing_else(checkout, elsewhere):
    commit = git(checkout, "rev-parse", "HEAD")
    of_others = {
        "GIT_DIR": str(elsewhere / ".git"),
        "GIT_WORK_TREE": str(elsewhere),
        "GIT_INDEX_FILE": str(elsewhere / ".git/index"),
    }
    code = said(checkout, **of_others)
    assert (code["commit"], code["dirty"], code["why_unknown"]) == (commit, False, None)

    inside = elsewhere / "site-packages"  # as a .venv in one's own project
    for name in ("mnist_lab", "conf"):
        shutil.copytree(checkout / name, inside / name)
    code = said(inside)
    assert (code["commit"], code["dirty"]) == (None, None)
    assert code["why_unknown"] == f"{elsewhere} does not track {inside / 'mnist_lab'}"

    shutil.rmtree(checkout / ".git")
    code = said(checkout)
    assert code["commit"] is None
    assert "not a git repository" in code["why_unknown"]


def test_what_was_changed_can_be_made_again_from_the_run(checkout, tmp_path):
    """On a PYTHONPATH, where no such package is installed."""
    commit = git(checkout, "rev-parse", "HEAD")
    clean = tmp_path / "clean"
    git(tmp_path, "clone", "--quiet", str(checkout), str(clean))
    changed = {
        "conf/optimizer/adam.yaml": "# changed\n" + (ROOT / "conf/optimizer/adam.yaml").read_text(),
        "mnist_lab/__init__.py": '"""Größer."""\n',
        "mnist_lab/models/new.py": "NEW = 1",  # no newline at its end
        "conf/model/näu.yaml": "width: 3\n",
    }
    left_out = {"mnist_lab/data/digits.bin": "0", "mnist_lab/ignored.py": "0", "notes.py": "0"}
    for name, text in {**changed, **left_out}.items():
        (checkout / name).write_text(text)
    git(checkout, "config", "diff.noprefix", "true")
    git(checkout, "config", "color.ui", "always")

    without = tmp_path / "packages"  # all that is installed but the lab
    without.mkdir()
    for folder in (Path(path) for path in sys.path if path.endswith("site-packages")):
        for path in folder.iterdir():
            if "mnist_lab" not in path.name and not (without / path.name).exists():
                (without / path.name).symlink_to(path)
    data = write_idx_folder(tmp_path / "data")
    ended = run_cold(
        *("-S", "-m", TRAIN, "data=idx_folder", f"data.root={data}", "model=linear", SHORT),
        cwd=tmp_path,
        PYTHONPATH=f"{checkout}:{without}",
    )
    assert (ended.code, ended.stderr) == (0, ""), ended
    run = only(tmp_path, "outputs/runs/*/*")
    code, diff = stored(run), run / "code.diff"
    assert (code["commit"], code["dirty"], code["mnist_lab_version"]) == (commit, True, None)
    assert code["diff_sha256"] == hashlib.sha256(diff.read_bytes()).hexdigest()
    assert code["diff_is_cut"] is False
    metrics = read_metrics(run)
    assert (metrics["git_commit"], metrics["mnist_lab_version"]) == (f"{commit}-dirty", None)

    git(clean, "apply", str(diff))
    assert {name: (clean / name).read_text() for name in changed} == changed
    assert not any((clean / name).exists() for name in left_out)

    (checkout / "mnist_lab/large.py").write_text("# large\n" * (MAX_DIFF_BYTES // 8))
    assert said(checkout)["diff_is_cut"] is True


def test_a_sweep_asks_once_and_says_when_it_goes_on_with_other_code(checkout, data_dir, tmp_path):
    first = git(checkout, "rev-parse", "HEAD")
    text = (
        f'#!{shutil.which("sh")}\necho $PPID >> {tmp_path}/asked\nexec {shutil.which("git")} "$@"\n'
    )
    env = {
        "PYTHONPATH": str(checkout),
        "PATH": f"{fake_git(tmp_path / 'bin', text)}:{os.environ['PATH']}",
    }
    typed = ["data=idx_folder", f"data.root={data_dir}", "trainer=cpu", "model=linear", SHORT]
    pool = ["hydra/launcher=pool", "hydra.launcher.slots=1"]
    ended = run_cold("-m", TRAIN, "-m", *typed, "seed=0,1", *pool, cwd=tmp_path, **env)
    assert (ended.code, ended.stderr) == (0, ""), ended
    assert len(set((tmp_path / "asked").read_text().split())) == 1
    sweep = only(tmp_path, "outputs/sweeps/*/*")
    done, lost = sorted(path.parent for path in sweep.glob("*/metrics.json"))
    for folder in (sweep, done, lost):
        assert stored(folder)["commit"] == first
    assert read_metrics(done)["git_commit"] == first

    shutil.rmtree(lost)
    before = (done / "code.json").read_bytes()
    (checkout / "conf/new.yaml").write_text("new: 1\n")
    second = commit_all(checkout)
    says = f"begun with commit {first[:12]}; going on with commit {second[:12]}."
    ended = run_cold("-m", "mnist_lab.resume", str(sweep), cwd=tmp_path, **env)
    assert (ended.code, ended.stderr) == (0, ""), ended
    assert ended.stdout.splitlines().count(says) == 1
    assert (done / "code.json").read_bytes() == before
    assert [stored(folder)["commit"] for folder in (sweep, lost)] == [second, second]
    assert json.loads((sweep / "code.1.json").read_text())["commit"] == first

    run, more = str(done), "trainer.max_epochs=2"
    ended = run_cold("-m", "mnist_lab.resume", run, more, cwd=tmp_path, **env)
    assert (ended.code, ended.stderr) == (0, ""), ended
    assert says in ended.stdout
    assert says in (done / "train.log").read_text()
    assert read_metrics(done)["git_commit"] == second
    assert (done / "code.1.json").read_bytes() == before


@pytest.mark.parametrize("raw", [b"", b"[]", b"\0", b'{"commit": 3, "dirty": "\\u001b[2J"}'])
def test_a_record_that_cannot_be_read_costs_nothing(raw, tmp_path):
    (tmp_path / "code.json").write_bytes(raw)
    (tmp_path / "code.diff").mkdir()
    code = Code("a" * 40, True, None, "0.1.0", b"diff")
    line = code.keep(tmp_path, begun=True)
    assert line.endswith("; going on with commit aaaaaaaaaaaa with changes df087996.")
    assert (read_code(tmp_path), code.git_commit) == (code, f"{'a' * 40}-dirty")
    assert (tmp_path / "code.1.json").read_bytes() == raw
    assert code.keep(tmp_path, begun=True) is None
