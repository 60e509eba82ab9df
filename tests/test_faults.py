"""What befalls a run: signals in each phase, full, read-only and vanished disks, odd names."""

import re
import shutil
import signal
import time

import pytest
import torch
from processes import last_of_each
from sweeps import wait_until

from mnist_lab.models.classifier import Classifier
from mnist_lab.run.callbacks import Record
from mnist_lab.run.checkpoints import read_checkpoint
from mnist_lab.run.config import read_config
from mnist_lab.run.directory import Run, read_epochs, read_state, read_status
from mnist_lab.run.resume import go_on
from mnist_lab.ui.errors import Failed
from mnist_lab.ui.signals import Interrupted

EPOCHS = 3
STOPS_S, LEAVES_S = 10, 2  # what is promised; a test allows five times as much
SECRET = "sk-4f1c9a7e-not-for-any-file"


@pytest.fixture(scope="module")
def command(tiny):
    return last_of_each(*tiny, "model.dropout=0.5", f"trainer.max_epochs={EPOCHS}")


@pytest.fixture(scope="module")
def whole(train_run, tmp_path_factory):
    """The same run, left alone."""
    changes = ("model.dropout=0.5", f"trainer.max_epochs={EPOCHS}")
    return outcome(train_run(tmp_path_factory.mktemp("whole"), *changes))


def outcome(path):
    """Weights, optimizer and rows: what must not depend on what befell a run."""
    stored = read_checkpoint(path / "checkpoints" / "last.ckpt")
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in read_epochs(path)]
    return stored["state_dict"], stored["optimizer_states"], rows


def assert_same(found, expected):
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def only_run(folder):
    (path,) = folder.glob("outputs/runs/*/*/")
    return path


@pytest.mark.parametrize(
    ("phase", "signum"),
    [
        ("setup", signal.SIGTERM),
        ("training", signal.SIGINT),
        ("validation", signal.SIGTERM),
        ("saving", signal.SIGINT),
        ("testing", signal.SIGTERM),
    ],
)
def test_a_signal_in_any_phase(phase, signum, command, whole, verbs, tmp_path):
    process = verbs.start("faulty", *command, cwd=tmp_path, FAULT=f"{phase}:linger")
    wait_until((tmp_path / "reached").exists)
    began = time.monotonic()
    process.send(signum)
    ended = process.wait()
    assert time.monotonic() - began < 5 * STOPS_S
    assert (ended.code, ended.stderr) == (128 + signum, f"interrupted by {signum.name}\n")
    path = only_run(tmp_path)
    status = read_status(path)
    assert (status["state"], status["signal"]) == ("interrupted", signum.name)
    finished = {"setup": 0, "saving": 2, "testing": 3}.get(phase, 1)
    assert len(read_epochs(path)) == finished
    if finished:
        assert read_checkpoint(path / "checkpoints" / "last.ckpt")["epoch"] == finished - 1
    ended = verbs.run("mnist_lab.resume", str(path), cwd=tmp_path)
    assert ended.code == 0, ended.stderr
    assert_same(outcome(path), whole)


@pytest.mark.parametrize("phase", ["setup", "training", "saving"])
def test_asked_twice_it_leaves_at_once(phase, command, whole, verbs, tmp_path):
    process = verbs.start("faulty", *command, cwd=tmp_path, FAULT=f"{phase}:wait")
    wait_until((tmp_path / "reached").exists)
    process.send(signal.SIGINT)
    wait_until((tmp_path / "heard").exists)
    assert not only_run(tmp_path).joinpath("metrics.json").exists()
    began = time.monotonic()
    process.send(signal.SIGINT)
    assert process.wait().code == 130
    assert time.monotonic() - began < 5 * LEAVES_S
    path = only_run(tmp_path)
    assert read_state(path) == "crashed"
    checkpoints = [*path.glob("checkpoints/[!.]*")]
    assert len(checkpoints) == (0 if phase == "setup" else 2)  # last and best
    for checkpoint in checkpoints:
        assert read_checkpoint(checkpoint)["epoch"] == 0
    ended = verbs.run("mnist_lab.resume", str(path), cwd=tmp_path)
    assert ended.code == 0, ended.stderr
    assert_same(outcome(path), whole)


OPTIMIZERS = {
    "constant": ("optimizer=adam",),
    "cosine": ("optimizer=momentum", "schedule=cosine"),
    "one_cycle": ("optimizer=rmsprop", "schedule=one_cycle"),
    "adamw": ("optimizer=adamw", "schedule=cosine", "schedule.end=0.1"),
}
STOPS = {
    "the end of an epoch": (Record, "on_train_epoch_end"),
    "the middle of an epoch": (Classifier, "training_step"),
    "validation": (Classifier, "validation_step"),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_resume_is_exact(name, train_run, tmp_path, monkeypatch):
    """For each optimizer and schedule, with all that is random: dropout and moved images."""
    settings = (*OPTIMIZERS[name], "model.dropout=0.5", "data.max_shift=2")
    settings += ("data.batch_size=8", f"trainer.max_epochs={EPOCHS}")
    expected = outcome(train_run(tmp_path / "whole", *settings))
    for stop, (owner, method) in STOPS.items():
        original = getattr(owner, method)

        def stopped(self, *args, owner=owner, original=original):
            result = original(self, *args)
            if (args[1] if owner is Record else self).current_epoch == 1:
                raise Interrupted(signal.SIGTERM)
            return result

        with monkeypatch.context() as patch:
            patch.setattr(owner, method, stopped)
            with pytest.raises(Interrupted):
                train_run(tmp_path / stop, *settings)
        (path,) = (tmp_path / stop).iterdir()
        assert len(read_epochs(path)) == (2 if stop == "the end of an epoch" else 1)
        run = Run.hold(path)
        go_on(run, read_config(path), quiet=True)
        run.release()
        assert_same(outcome(path), expected)


def test_a_loss_that_explodes_is_named_with_its_step_and_learning_rate(train_run, tmp_path):
    changes = ("optimizer=sgd", "optimizer.lr=1", "optimizer.weight_decay=9", "data.batch_size=4")
    with pytest.raises(Failed) as caught:
        train_run(tmp_path, *changes, "trainer.max_epochs=1")
    assert caught.value.reason == "nan"
    found = re.fullmatch(r"the loss became (nan|inf) at step (\d+) \(lr 1\)\.", str(caught.value))
    assert found
    assert int(found[2]) < 75, "it went on to the end of the epoch"
    (path,) = tmp_path.iterdir()
    assert (read_status(path)["reason"], read_epochs(path)) == ("nan", [])
    steps = (path / "train.log").read_text()
    assert found[0] in steps
    assert not [*path.glob("checkpoints/*")]


def test_the_gpus_memory(train_run, tmp_path, monkeypatch):
    """Injected: no smaller batch is tried, and what was finished stays."""

    def full(self, *args):
        if self.current_epoch == 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return original(self, *args)

    original = Classifier.training_step
    monkeypatch.setattr(Classifier, "training_step", full)
    with pytest.raises(Failed, match=r"too small for data\.batch_size=32") as caught:
        train_run(tmp_path, f"trainer.max_epochs={EPOCHS}")
    (path,) = tmp_path.iterdir()
    assert caught.value.reason == read_status(path)["reason"] == "oom"
    assert read_config(path)["data"]["batch_size"] == 32
    assert read_checkpoint(path / "checkpoints" / "last.ckpt")["epoch"] == 0


# Disks ------------------------------------------------------------------------------------------


@pytest.fixture
def _mounts(verbs, tmp_path):
    if verbs.run("faulty", cwd=tmp_path, FAULT="mounts").code:
        pytest.skip("this kernel or container lets no user mount a file system of his own")


@pytest.mark.usefixtures("_mounts")
def test_a_full_disk(command, train_run, verbs, tmp_path):
    """A file system that has room for the checkpoints of one epoch only."""
    changes = ("model.dropout=0.5", f"trainer.max_epochs={EPOCHS}", "model.width=128")
    expected = outcome(train_run(tmp_path / "whole", *changes))
    typed = last_of_each(*command, *changes)
    ended = verbs.run("faulty", *typed, cwd=tmp_path, FAULT="full")
    assert ended.code == 1, ended
    assert ended.stderr.startswith("failed (disk): No space left on device: ")
    assert len(ended.stderr.splitlines()) == 1
    (path,) = tmp_path.glob("kept/runs/*/*")
    assert read_state(path) in ("failed", "crashed")  # as far as there was room to say so
    assert not (path / "metrics.json").exists()
    finished = read_checkpoint(path / "checkpoints" / "last.ckpt")["epoch"] + 1
    assert 1 <= finished < EPOCHS
    ended = verbs.run("mnist_lab.resume", str(path), cwd=tmp_path)  # there is room now
    assert ended.code == 0, ended.stderr
    assert_same(outcome(path), expected)


@pytest.mark.usefixtures("_mounts")
def test_a_folder_that_is_or_becomes_read_only(command, verbs, whole, tmp_path):
    ended = verbs.run("faulty", *command, cwd=tmp_path, FAULT="readonly")
    assert (ended.code, ended.stdout) == (2, ""), ended
    assert ended.stderr.startswith(
        f"{tmp_path}/outputs/runs/mlp: cannot be written (Read-only file"
    )
    assert not [*tmp_path.iterdir()]

    ended = verbs.run("faulty", *command, cwd=tmp_path, FAULT="training:readonly")
    assert ended.code == 1, ended
    assert ended.stderr.startswith("failed (disk): Read-only file system: ")
    path = only_run(tmp_path)
    assert read_state(path) == "crashed"  # it could not even say so
    assert read_checkpoint(path / "checkpoints" / "last.ckpt")["epoch"] == 0
    ended = verbs.run("mnist_lab.resume", str(path), cwd=tmp_path)
    assert ended.code == 0, ended.stderr
    assert_same(outcome(path), whole)


def test_a_directory_that_vanishes(command, verbs, tmp_path):
    process = verbs.start("faulty", *command, cwd=tmp_path, FAULT="training:wait")
    wait_until((tmp_path / "reached").exists)
    shutil.rmtree(tmp_path / "outputs")
    (tmp_path / "go").touch()
    ended = process.wait()
    assert ended.code == 1
    assert ended.stderr.startswith("failed (disk): No such file or directory: ")
    assert len(ended.stderr.splitlines()) == 1
    assert not (tmp_path / "outputs").exists()


# Names and secrets ------------------------------------------------------------------------------

NAMES = ("../x", "../../x", "/tmp/x", "x\0y", "n" * 300, "a=b", "~", "$(touch x)", "con\nfig")


@pytest.mark.parametrize("group", ["experiment", "model", "optimizer", "data", "sweep"])
def test_no_name_leads_out_of_the_outputs(group, light_verbs, tmp_path):
    for name in NAMES:
        for flags in ([], ["-m"]):
            ended = light_verbs.run("mnist_lab.train", *flags, f"{group}={name}", cwd=tmp_path)
            assert (ended.code, ended.stdout) == (2, ""), (name, ended)
            assert 1 <= len(ended.stderr.splitlines()) <= 3
            assert not [*tmp_path.iterdir()]


def test_paths_that_cannot_be(light_verbs, verbs, tiny, tmp_path):
    asked = "data=idx_folder", "data.download=false"
    for name in ("x\0y", "n" * 300, "n/" * 3000):
        ended = light_verbs.run("mnist_lab.train", *asked, f"data.root='{name}'", cwd=tmp_path)
        assert ended.code == 2, (name[:9], ended)
        assert 1 <= len(ended.stderr.splitlines()) <= 2
        ended = verbs.run("mnist_lab.train", *tiny, f"hydra.run.dir='{name}'", cwd=tmp_path)
        assert ended.code == 2, (name[:9], ended)
        assert 1 <= len(ended.stderr.splitlines()) <= 2
    for verb in ("resume", "compare"):
        for name in ("/tmp/x", "n" * 300):
            ended = light_verbs.run(f"mnist_lab.{verb}", name, cwd=tmp_path)
            assert (ended.code, ended.stdout) == (2, ""), (verb, name, ended)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("link", ["outputs/runs", "outputs/runs/mlp"])
def test_a_link_inside_of_the_outputs(link, command, verbs, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / link).parent.mkdir(parents=True)
    (tmp_path / link).symlink_to(elsewhere)
    ended = verbs.run("mnist_lab.train", *command, cwd=tmp_path)
    assert (ended.code, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"{tmp_path / link}: a symbolic link")
    assert not [*elsewhere.iterdir()]


def test_no_secret_of_the_environment_is_written(command, verbs, tmp_path):
    secrets = {"AWS_SECRET_ACCESS_KEY": SECRET, "https_proxy": f"http://me:{SECRET}@127.0.0.1:9"}
    for changes, code in (
        ((), 0),
        (("data.root=nowhere", "data.mirrors=[https://localhost:9]", "data.download=true"), 2),
        (("optimizer=sgd", "optimizer.lr=100", "optimizer.weight_decay=10"), 1),
    ):
        typed = last_of_each(*command, *changes)
        ended = verbs.run("mnist_lab.train", *typed, cwd=tmp_path, **secrets)
        assert ended.code == code, ended
        assert SECRET not in ended.stdout + ended.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sum(path.name == "train.log" for path in files) == 2  # of what ended well, and badly
    for path in files:
        assert SECRET.encode() not in path.read_bytes(), path
    assert "Traceback" in "".join(path.read_text() for path in tmp_path.rglob("train.log"))
