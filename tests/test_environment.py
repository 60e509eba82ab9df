"""What surrounds a run: schedulers' variables and signals, exceptions that cross processes."""

import os
import pickle
import shutil
import signal
from pathlib import Path

import pytest
from processes import last_of_each, run_cold
from test_resume import only_run, result, wait_until

from mnist_lab.run.checkpoints import read_checkpoint
from mnist_lab.run.directory import read_status
from mnist_lab.ui.errors import Failed, Refused
from mnist_lab.ui.files import write_json
from mnist_lab.ui.signals import STOPPING, Interrupted, handlers_kept, signals

ROOT = Path(__file__).resolve().parent.parent
TRAIN, RESUME = "mnist_lab.train", "mnist_lab.resume"
SLURM = {
    "SLURM_NTASKS": "1",
    "SLURM_JOB_NAME": "lab",
    "SLURM_JOB_ID": "1",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
}


def slurm_job(folder):
    """The variables of a Slurm job, and a `scontrol` that notes in `asked` what it is asked for."""
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    scontrol = tools / "scontrol"
    scontrol.write_text(f'#!/bin/sh\necho "$@" >> {folder / "asked"}\n')
    scontrol.chmod(0o755)
    return {**SLURM, "PATH": f"{tools}:{os.environ['PATH']}"}


@pytest.fixture
def slurm(tmp_path):
    return slurm_job(tmp_path)


@pytest.fixture(scope="module")
def command(tiny):
    changes = ["data.batch_size=4", "model.dropout=0.5", "data.max_shift=1", "seed=1"]
    return last_of_each(*tiny, *changes, "trainer.max_epochs=8")


@pytest.fixture(scope="module")
def whole(command, verbs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    ended = verbs.run(TRAIN, *command, cwd=folder)
    assert ended.code == 0, ended.stderr
    return result(only_run(folder))


@pytest.mark.parametrize("signum", [signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM])
def test_slurms_signals_stop_a_run_that_then_goes_on_exactly(
    signum, slurm, command, whole, verbs, tmp_path
):
    process = verbs.start("faulty", *command, cwd=tmp_path, FAULT="training:linger", **slurm)
    wait_until((tmp_path / "reached").exists)
    path = only_run(tmp_path)
    process.send(signum)
    ended = process.wait()
    assert ended.code == 128 + signum, ended
    assert ended.stderr == f"interrupted by {signal.Signals(signum).name}\n"
    status = read_status(path)
    assert (status["state"], status["signal"]) == ("interrupted", signal.Signals(signum).name)
    assert not [*path.rglob("hpc_ckpt*")]
    assert not (tmp_path / "asked").exists()  # nothing was requeued behind the user's back
    # One that lies there, as an earlier lab left it, is never read: neither to train nor to test.
    foreign = read_checkpoint(path / "checkpoints" / "last.ckpt")["state_dict"]
    assert foreign
    shutil.copy(path / "checkpoints" / "last.ckpt", path / "hpc_ckpt_1.ckpt")
    ended = verbs.run(RESUME, str(path), cwd=tmp_path, **slurm)
    assert ended.code == 0, ended.stderr
    assert result(path) == whole


def test_schedulers_and_lightnings_variables_change_nothing(slurm, command, whole, verbs, tmp_path):
    changes = {"SLURM_NTASKS": "4", "PL_TRAINER_FAST_DEV_RUN": "1", "PL_TRAINER_MAX_STEPS": "3"}
    changes |= {"PL_TRAINER_GRADIENT_CLIP_VAL": "0.001", "PL_TRAINER_MIN_EPOCHS": "20"}
    ended = verbs.run(TRAIN, *command, cwd=tmp_path, **{**slurm, **changes})
    assert ended.code == 0, ended.stderr
    assert result(only_run(tmp_path)) == whole


def test_a_file_never_holds_what_json_has_not(tmp_path):
    for value in (float("inf"), float("-inf"), float("nan")):
        with pytest.raises(ValueError, match="not JSON compliant"):
            write_json(tmp_path / "x.json", {"value": value})
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("error", [Failed("nan", "x"), Interrupted(15), Refused("y")])
def test_exceptions_cross_processes(error):
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


DEAF = """
import json, os, signal, sys, threading, time
from pathlib import Path
kind, *overrides = sys.argv[1:]
from mnist_lab.settings.compose import checked, compose
from mnist_lab.run.callbacks import Record
from mnist_lab.run.directory import Run
from mnist_lab.run.fit import resolved, train
from mnist_lab.run.resume import go_on
from mnist_lab.ui.signals import Interrupted

original = Record.on_train_epoch_end
def ends(self, trainer, model):
    original(self, trainer, model)
    if trainer.current_epoch == 2 and kind:
        if kind == "exit":
            sys.exit(3)
        if kind == "key":
            raise KeyboardInterrupt
        os.kill(os.getpid(), signal.SIGTERM)

Record.on_train_epoch_end = ends
before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
config = resolved(checked(compose(overrides)))
run = Run.claim(Path("run").absolute())
try:
    train(config, run, quiet=True)
except Interrupted as error:
    print(error)
assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before
status = json.loads(Path("run/status.json").read_text())
print(status["state"], status["epoch"])
kind = ""
go_on(run, config, quiet=True)
run.release()
"""


@pytest.mark.parametrize(
    ("kind", "told"), [("exit", "SIGTERM"), ("key", "SIGINT"), ("term", "SIGTERM")]
)
def test_where_nobody_listens_a_stopped_run_is_interrupted(kind, told, command, whole, tmp_path):
    """As in a notebook or another launcher's process: resumable, and the handlers as they were."""
    ended = run_cold("-W", "ignore", "-c", DEAF, kind, *command, cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert ended.code == 0, ended.stderr
    assert ended.stdout.splitlines() == [told, "interrupted 3"]
    assert result(tmp_path / "run") == whole


def test_handlers_are_left_as_they_were():
    before = [signal.getsignal(one) for one in STOPPING]
    with handlers_kept():
        for one in STOPPING:
            signal.signal(one, signal.SIG_IGN)
    assert [signal.getsignal(one) for one in STOPPING] == before
    assert not signals.received
