"""All that verbs and functions do, called again and again in one process, as from a notebook."""

from pathlib import Path

import pytest
from processes import run_cold

ROOT = Path(__file__).resolve().parent.parent

VERBS = """
from mnist_lab.train import train_command as train


def sweep(args):
    train(["-m", *args])
"""

PYTHON = """
from mnist_lab.api import sweep, train
"""

AGAIN = """
import os, signal, sys, threading, time
from pathlib import Path

import hydra
from processes import last_of_each

from mnist_lab.run.directory import is_held, read_state
from mnist_lab.settings import own
from mnist_lab.ui.errors import Failed, Refused
from mnist_lab.ui.signals import Interrupted

STATUS = "status.json"
tiny = sys.argv[1:]
argv = list(sys.argv)
Path("theirs").mkdir()
Path("theirs/mine.yaml").write_text("a: 1\\n")
hydra.initialize_config_dir(str(Path("theirs").absolute()), version_base=None)


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def raised(kind, function, *args):
    try:
        function(last_of_each(*args))
    except kind as error:
        return str(error)
    raise AssertionError(f"{args}: no {kind}")


train(tiny)
sweep([*tiny, "seed=0,1"])
before = descriptors()
for _ in range(3):
    train(tiny)
    sweep([*tiny, "seed=0,1"])
    assert "model.width=0" in raised(Refused, sweep, *tiny, "model.width=0,1")
    raised(Refused, train, "nonsense=1")
    diverging = ["optimizer=sgd", "optimizer.lr=100", "optimizer.weight_decay=10"]
    raised(Failed, sweep, *tiny, *diverging, "trainer.max_epochs=60")
assert descriptors() == before, (before, descriptors())


def press_when_one_trains():
    while not any(read_state(path.parent) == "running" for path in Path("outputs").rglob(STATUS)):
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)


# One press of the button ends a sweep, at its first job.
threading.Thread(target=press_when_one_trains, daemon=True).start()
assert raised(Interrupted, sweep, *tiny, "trainer.max_epochs=100000", "seed=0,1,2") == "SIGINT"
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
(sweep,) = (path.parent for path in Path("outputs/sweeps").rglob("sweep.json")
            if '"interrupted"' in path.read_text())
assert len(list(sweep.glob("00*"))) == 1
runs = [path.parent for path in Path("outputs").rglob("status.json")]
assert not [path for path in [*runs, sweep] if is_held(path)]

assert (sys.argv, own.folders) == (argv, [])
assert hydra.compose("mine").a == 1
print("well")
"""


@pytest.mark.parametrize("start", [VERBS, PYTHON], ids=["verbs", "python"])
def test_all_can_be_called_again_and_nothing_is_left_behind(start, tiny, tmp_path):
    path = f"{ROOT}:{ROOT / 'tests'}"
    ended = run_cold("-W", "ignore", "-c", start + AGAIN, *tiny, cwd=tmp_path, PYTHONPATH=path)
    assert ended.stdout.splitlines()[-1:] == ["well"], ended.stderr
