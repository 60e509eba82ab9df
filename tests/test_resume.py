"""Runs that are stopped, killed, extended and meddled with, as real processes."""

import hashlib
import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from processes import WATCHDOG_S, environment, last_of_each

from mnist_lab.run.checkpoints import read_checkpoint
from mnist_lab.run.config import read_config
from mnist_lab.run.directory import Run, is_held, read_epochs, read_metrics, read_state, read_status
from mnist_lab.settings.schema import SCHEMA
from mnist_lab.ui.errors import Refused

TRAIN, RESUME = "mnist_lab.train", "mnist_lab.resume"
EPOCHS = 12


@pytest.fixture(scope="module")
def command(tiny):
    """A run of 12 epochs of 99 steps, in which all that is random plays a part.

    Validation is on four images, so that it is soon as good as it gets, and often again.
    """
    changes = ["data.batch_size=4", "data.val_fraction=0.01", "data.max_shift=2", "seed=1"]
    changes += ["model.dropout=0.5", "data.max_turn=20", "data.max_bend=2", "data.max_pen=1"]
    return last_of_each(*tiny, *changes, "optimizer.lr=0.005", f"trainer.max_epochs={EPOCHS}")


def wait_until(condition):
    end = time.monotonic() + WATCHDOG_S
    while not (found := condition()):
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.002)
    return found


def only_run(folder):
    return next(folder.glob("outputs/runs/*/*/"), None)


def digest(value):
    """SHA-256 of tensors and plain values, however nested."""
    found = hashlib.sha256()

    def add(item):
        if isinstance(item, torch.Tensor):
            found.update(f"{item.dtype} {tuple(item.shape)}".encode())
            found.update(item.contiguous().numpy().tobytes())
        elif isinstance(item, dict):
            for key in sorted(item, key=str):
                found.update(f"{key}:".encode())
                add(item[key])
        elif isinstance(item, (list, tuple)):
            for part in item:
                add(part)
        else:
            found.update(f"{item!r};".encode())

    add(value)
    return found.hexdigest()


def result(path):
    """All that must not depend on how often a run was stopped."""
    checkpoints = {}
    for name in ("last", "best"):
        stored = read_checkpoint(path / "checkpoints" / f"{name}.ckpt")
        parts = ("state_dict", "optimizer_states", "callbacks", "epoch", "global_step")
        checkpoints |= {f"{name} {part}": digest(stored[part]) for part in parts}
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in read_epochs(path)]
    metrics = {k: v for k, v in read_metrics(path).items() if k not in ("seconds", "git_commit")}
    return {"checkpoints": checkpoints, "rows": rows, "metrics": metrics}


def content(path):
    """Every file of a directory but the lock, which says who had it last."""
    files = sorted(file for file in path.rglob("*") if file.is_file() and file.name != ".lock")
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


@pytest.fixture(scope="module")
def whole(command, verbs, tmp_path_factory):
    """A run that was left alone, its result, and the seconds from its directory to its end."""
    folder = tmp_path_factory.mktemp("whole")
    process = verbs.start(TRAIN, *command, cwd=folder)
    wait_until(lambda: only_run(folder))
    begun = time.monotonic()
    path = only_run(folder)
    wait_until((path / "metrics.json").exists)
    seconds = time.monotonic() - begun
    ended = process.wait()
    assert ended.code == 0, ended.stderr
    assert [row["epoch"] for row in read_epochs(path)] == [*range(1, EPOCHS + 1)]
    return path, result(path), seconds


def test_the_same_command_in_a_fresh_process_gives_the_same_bits(whole, command, tmp_path):
    """Even when nobody reads to the end what it prints."""
    typed = shlex.join([sys.executable, "-m", TRAIN, *command])
    done = subprocess.run(
        ["sh", "-c", f"{typed} | head -1"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=WATCHDOG_S,
        check=True,
    )
    assert done.stdout == "data       idx_folder: 396 train, 4 val, 100 test\n"
    assert done.stderr == ""
    assert result(only_run(tmp_path)) == whole[1]


@pytest.mark.parametrize(
    ("signum", "code", "state"),
    [
        (signal.SIGTERM, 128 + signal.SIGTERM, "interrupted"),
        pytest.param(signal.SIGINT, 128 + signal.SIGINT, "interrupted", marks=pytest.mark.slow),
        (signal.SIGKILL, -signal.SIGKILL, "crashed"),
    ],
    ids=["SIGTERM", "Ctrl-C", "kill -9"],
)
def test_stopped_at_a_random_moment_a_run_ends_as_if_left_alone(
    signum, code, state, whole, command, verbs, tmp_path
):
    """Stopped twice: in the first run, and in the run that resumes it."""
    moments = random.Random()
    for attempt in range(3):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        process = verbs.start(TRAIN, *command, cwd=folder, TMPDIR="/dev/shm")
        path = wait_until(lambda folder=folder: only_run(folder))
        wait_until((path / "config.yaml").exists)  # a moment before there is nothing to resume
        for _ in range(2):
            wait_until(
                lambda process=process: process.listens()
            )  # before that it has begun nothing
            wait_s = moments.uniform(0, 0.8 * whole[2])
            time.sleep(wait_s)
            process.send(signum)
            ended = process.wait()
            wait_until(
                lambda path=path: not is_held(path)
            )  # by a child killed between its fork and exec
            where = f"{wait_s:.3f} s of {whole[2]:.3f} s: {ended.stdout}{ended.stderr}"
            assert "Traceback" not in ended.stderr
            if (path / "status.json").exists():
                found = read_state(path)
                if found == "finished":  # it was faster this time
                    break
                assert found == state, where
            assert ended.code == code, where
            process = verbs.start(RESUME, str(path), cwd=tmp_path)
        else:
            ended = process.wait()
            assert ended.code == 0, where + ended.stderr
        assert result(path) == whole[1], where
        assert read_state(path) == "finished"
        assert not [*path.rglob("*.tmp")]


def test_a_signal_is_told_in_the_status_and_in_a_line(command, verbs, tmp_path):
    process = verbs.start(TRAIN, *last_of_each(*command, "trainer.max_epochs=1000"), cwd=tmp_path)
    path = wait_until(lambda: only_run(tmp_path))
    wait_until((path / "checkpoints" / "last.ckpt").exists)

    # While it lives, nobody else gets the directory.
    held = f"{path}: in use by process {process.pid} on "
    for refused in (
        verbs.run(RESUME, str(path), cwd=tmp_path),
        verbs.run(RESUME, str(path), "trainer.max_epochs=2000", cwd=tmp_path),
        verbs.run(TRAIN, *command, f"hydra.run.dir={path}", cwd=tmp_path),
    ):
        assert (refused.code, refused.stdout) == (2, "")
        assert refused.stderr.startswith(held)
        assert len(refused.stderr.splitlines()) == 1
    assert read_state(path) == "running"

    process.send(signal.SIGTERM)
    ended = process.wait()
    assert ended.code == 143
    assert ended.stderr == "interrupted by SIGTERM\n"
    status = read_status(path)
    assert (status["state"], status["signal"]) == ("interrupted", "SIGTERM")
    assert status["epoch"] == len(read_epochs(path)) >= 1
    assert read_checkpoint(path / "checkpoints" / "last.ckpt")["epoch"] == status["epoch"] - 1
    assert not (path / "metrics.json").exists()

    # Free again, but it holds a run: only resume may have it.
    refused = verbs.run(TRAIN, *command, f"hydra.run.dir={path}", cwd=tmp_path)
    assert refused.code == 2
    assert refused.stderr == f"{path}: holds a run already; mnist-resume goes on with it.\n"


def test_extended_a_run_ends_as_one_that_was_long_from_the_start(whole, command, verbs, tmp_path):
    first = verbs.run(TRAIN, *last_of_each(*command, "trainer.max_epochs=6"), cwd=tmp_path)
    assert first.code == 0, first.stderr
    path = only_run(tmp_path)
    done = verbs.run(RESUME, str(path), cwd=tmp_path)
    assert done.code == 0
    assert done.stdout == f"{path}: finished already, 6 epochs; trainer.max_epochs=N trains on.\n"
    longer = verbs.run(RESUME, str(path), f"trainer.max_epochs={EPOCHS}", cwd=tmp_path)
    assert longer.code == 0, longer.stderr
    assert result(path) == whole[1]
    assert read_metrics(path)["best_epoch"] <= 6, "the second part no longer has to remember it"
    assert read_config(path)["trainer"]["max_epochs"] == EPOCHS


def test_killed_while_testing_a_run_only_tests_again(whole, verbs, tmp_path):
    """All epochs are done; what a killed test leaves is a run without its final metrics."""
    path = shutil.copytree(whole[0], tmp_path / "run")
    (path / "metrics.json").unlink()
    status = {**read_status(path), "state": "running"}
    (path / "status.json").write_text(json.dumps(status))
    assert read_state(path) == "crashed"
    ended = verbs.run(RESUME, str(path), cwd=tmp_path)
    assert ended.code == 0, ended.stderr
    assert f"epoch {EPOCHS}/{EPOCHS}" not in ended.stdout
    assert result(path) == whole[1]


def test_rows_of_lost_epochs_are_dropped(whole, verbs, tmp_path):
    """Killed between a row and its checkpoint, in the middle of a row, or of the header."""
    path = shutil.copytree(whole[0], tmp_path / "run")
    lines = (path / "metrics.csv").read_text().splitlines(keepends=True)
    status = {**read_status(path), "state": "running"}
    for rows in ([*lines, lines[-1].replace("12,", "13,", 1), "14,9"], [*lines, "13,", ""]):
        (path / "metrics.csv").write_text("".join(rows))
        (path / "status.json").write_text(json.dumps(status))
        ended = verbs.run(RESUME, str(path), cwd=tmp_path)
        assert ended.code == 0, ended.stderr
        assert (path / "metrics.csv").read_text() == "".join(lines)
    shutil.rmtree(path / "checkpoints")  # no epoch was finished; the header is cut
    (path / "metrics.csv").write_text(lines[0][:7])
    (path / "status.json").write_text(json.dumps(status))
    ended = verbs.run(RESUME, str(path), cwd=tmp_path)
    assert ended.code == 0, ended.stderr
    assert "starting from the beginning" in ended.stdout
    assert result(path) == whole[1]


@pytest.mark.parametrize("tmpdir", [None, "/dev/shm"], ids=["same disk", "TMPDIR elsewhere"])
def test_killed_while_writing_a_checkpoint_leaves_one_that_loads(tmpdir, verbs, tmp_path):
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    path = folder / "last.ckpt"
    env = {"TMPDIR": tmpdir} if tmpdir else {}
    if tmpdir:
        assert Path(tmpdir).stat().st_dev != tmp_path.stat().st_dev
    moments = random.Random()
    for _ in range(20):
        before = path.stat().st_mtime_ns if path.exists() else 0
        process = verbs.start("writers", "checkpoints", str(path), cwd=tmp_path, **env)
        wait_until(lambda before=before: path.exists() and path.stat().st_mtime_ns > before)
        time.sleep(moments.uniform(0, 0.05))
        process.send(signal.SIGKILL)
        assert process.wait().code == -signal.SIGKILL
        for visible in folder.glob("[!.]*"):
            checkpoint = read_checkpoint(visible)
            assert (checkpoint["state_dict"]["weight"] == checkpoint["epoch"]).all()
    leftovers = [*folder.glob(".*.tmp")]
    assert leftovers, "no kill fell into a write: this test no longer tests anything"
    mine = folder / ".notes.tmp"  # not of our making: kept
    mine.touch()
    Run.hold(folder.parent).release()
    assert sorted(folder.iterdir()) == [mine, path, folder / "previous.ckpt"]


def test_only_what_may_change_may_change(whole, light_verbs, verbs, tmp_path):
    path = shutil.copytree(whole[0], tmp_path / "run")
    before = content(path)

    def refused(*args):
        ended = light_verbs.run(RESUME, str(path), *args, cwd=tmp_path)
        assert (ended.code, ended.stdout) == (2, ""), ended
        assert len(ended.stderr.splitlines()) <= 2
        assert content(path) == before
        return ended.stderr

    message = refused("data.batch_size=8", "seed=2", "trainer.max_epochs=99")
    assert message.startswith("data.batch_size, seed: would make the second part another")
    assert "--allow-changes" in message
    assert refused("optimizer.lr=1e-2").startswith("optimizer.lr: cannot change within a run")
    assert refused("--allow-changes", "optimizer.lr=1e-2").startswith("optimizer.lr: cannot")
    assert refused("--allow-changes", "model.width=16").startswith("model.width: cannot")
    assert "did you mean trainer.max_epochs?" in refused("trainer.max_epoch=20")
    assert "not a setting of this run" in refused("model.channels=[1]")
    assert refused("trainer.max_epochs=3") == "trainer.max_epochs=3: 12 epochs are done already.\n"
    assert "trainer.max_epochs=0: must be" in refused("trainer.max_epochs=0")
    assert "trainer.max_epochs=: must be" in refused("trainer.max_epochs=")
    assert "one plain value" in refused("trainer.max_epochs=20,30")
    twice = refused("trainer.max_epochs=20", "trainer.max_epochs=30")
    assert twice.endswith(": given 2 times; must be given once: trainer.max_epochs=30\n")
    assert "one plain value" in refused("trainer.max_epochs=${seed}")
    assert "data.batch_size=many: must be" in refused("--allow-changes", "data.batch_size=many")

    changes = ["--allow-changes", "data.batch_size=300", "trainer.max_epochs=13"]
    ended = verbs.run(RESUME, str(path), *changes, cwd=tmp_path)
    assert ended.code == 0, ended.stderr
    steps = [row["step"] for row in read_epochs(path)]
    assert steps == [*(99 * epoch for epoch in range(1, 13)), 12 * 99 + 2]


def test_other_images_are_refused(whole, verbs, idx_folder, tmp_path):
    path = shutil.copytree(whole[0], tmp_path / "run")
    other = idx_folder(tmp_path / "other", seed=2)
    config = yaml.safe_load((path / "config.yaml").read_text())
    config["data"]["root"] = str(other)
    (path / "config.yaml").write_text(yaml.safe_dump(config))
    before = content(path)
    ended = verbs.run(RESUME, str(path), "trainer.max_epochs=13", cwd=tmp_path)
    assert ended.code == 2
    assert ended.stderr.startswith(f"data.root={other}: these are not the images that the run")
    assert len(ended.stderr.splitlines()) == 1
    assert content(path) == before
    changes = ["--allow-changes", "trainer.max_epochs=13"]
    ended = verbs.run(RESUME, str(path), *changes, cwd=tmp_path)
    assert ended.code == 0, ended.stderr
    shutil.rmtree(other)
    ended = verbs.run(RESUME, str(path), "trainer.max_epochs=14", cwd=tmp_path)
    assert ended.code == 2
    assert ended.stderr.startswith(f"data.root={other}: no idx_folder files in {other}")


def damaged_configs(text):
    """What a config.yaml must not be, and what is said of it."""
    yield "", "holds no settings"
    yield "[1, 2]", "holds no settings"
    yield text + "\x00", "cannot be read"
    yield text + "{", "cannot be read"
    yield "!!python/object/apply:os.system ['touch hacked']", "cannot be read"
    yield text.replace("seed: 1", "seed: ${oc.env:HOME}"), "interpolation"
    yield text.replace("mnist_lab.models.mlp.MLP", "os.system"), "not a name that this lab builds"
    yield text.replace("width: 8", "width: 0"), "model.width=0: must be"
    yield text.replace("width: 8", "hight: 8"), "no such setting"
    yield text.replace("max_epochs: 12", "max_epochs: .nan"), "trainer.max_epochs=nan"
    yield text.replace("seed: 1\n", ""), "lacks seed"
    own = f"schema: {SCHEMA}"
    yield text.replace(own, "schema: 99"), f"schema=99: must be 0 to {SCHEMA}"
    yield text.replace(own, "schema: new"), "schema='new': must be"
    config = yaml.safe_load(text)
    for section in ("data", "model", "optimizer", "schedule", "trainer", "choices"):
        rest = {name: value for name, value in config.items() if name != section}
        yield yaml.safe_dump(rest), f"lacks {section}."
        yield yaml.safe_dump({**config, section: None}), section
        yield yaml.safe_dump({**config, section: ["x"]}), section
    data = {name: value for name, value in config["data"].items() if name != "root"}
    yield yaml.safe_dump({**config, "data": data}), "lacks data.root"


def test_a_stored_configuration_is_never_trusted(whole, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (whole[0] / "config.yaml").read_text()
    for damaged, reason in damaged_configs(text):
        assert damaged != text, reason
        (tmp_path / "config.yaml").write_text(damaged)
        with pytest.raises(Refused) as caught:
            read_config(tmp_path)
        message = str(caught.value)
        assert message.startswith(f"{tmp_path / 'config.yaml'}: "), message
        assert reason in message
        assert len(message.splitlines()) == 1
    (tmp_path / "config.yaml").write_text(text)
    assert {"schema": SCHEMA, **read_config(tmp_path)} == yaml.safe_load(text)
    assert not (tmp_path / "hacked").exists()


class Payload:
    def __reduce__(self):
        return os.mkdir, ("hacked",)


def test_a_checkpoint_is_never_trusted(whole, verbs, tmp_path):
    path = shutil.copytree(whole[0], tmp_path / "run")
    file = path / "checkpoints" / "last.ckpt"
    raw = file.read_bytes()
    torch.save({"state_dict": {}, "epoch": Payload()}, tmp_path / "payload")
    payload = (tmp_path / "payload").read_bytes()
    torch.save([1, 2], tmp_path / "list")
    for damaged in (b"", raw[: len(raw) // 2], payload, (tmp_path / "list").read_bytes()):
        file.write_bytes(damaged)
        with pytest.raises(Refused, match=r"last\.ckpt: ") as caught:
            read_checkpoint(file)
        assert len(str(caught.value).splitlines()) == 1
    ended = verbs.run(RESUME, str(path), "trainer.max_epochs=13", cwd=tmp_path)
    assert ended.code == 2
    assert str(file) in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert not [*tmp_path.rglob("hacked")]
    assert read_state(path) == "finished"


@pytest.mark.parametrize("name", ["nothing there", "an empty folder", "a file"])
def test_what_is_no_run_is_refused(name, light_verbs, tmp_path):
    path = tmp_path / "target"
    if name == "an empty folder":
        path.mkdir()
    elif name == "a file":
        path.touch()
    before = sorted(tmp_path.rglob("*"))
    ended = light_verbs.run(RESUME, str(path), cwd=tmp_path)
    assert (ended.code, ended.stdout) == (2, "")
    assert ended.stderr.startswith(str(path))
    assert len(ended.stderr.splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before
