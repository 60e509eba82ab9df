"""Faults by the hundred on real processes: make chaos.

Prints a table, fault by fault: how often it was tried, how often the promise held, and the slowest
answer in seconds beside the one promised; writes it to docs/chaos.md. Exit code 1 if one did not
hold. Each run that was disturbed is judged by one that was not.
"""

import csv
import hashlib
import io
import json
import random
import shutil
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from processes import Warm, run_cold
from sweeps import only_sweep, weights
from test_pictures import drawn_digit, mutated
from test_pictures import seeds as pictures
from tiny_run import write_data_set

from mnist_lab.data.idx import read_idx
from mnist_lab.data.source import FILES
from mnist_lab.pictures.normalisation import to_mnist
from mnist_lab.pictures.picture import PictureError, load_picture
from mnist_lab.run.checkpoints import AtomicCheckpointIO, Damaged, read_checkpoint
from mnist_lab.run.directory import is_held, read_epochs, read_state

TRAIN, RESUME = "mnist_lab.train", "mnist_lab.resume"
TABLE = Path(__file__).parents[2] / "docs" / "chaos.md"
HEADER = """\
# Chaos

What `make chaos` tried and what came of it. A promise holds when all that it says is so on disk:
`tests/chaos/chaos.py` tells how each is judged.

| fault | tried | held | slowest | promised |
|---|---|---|---|---|
"""


class Tally:
    """The rows of the table."""

    def __init__(self):
        self.rows = []

    def add(self, fault, outcomes, limit_s=None):
        """Note a fault's outcomes: whether the promise held, and the seconds of the answer."""
        held = sum(good and (limit_s is None or seconds <= limit_s) for good, seconds in outcomes)
        slowest = f"{max(seconds for _, seconds in outcomes):.2f} s" if limit_s else "-"
        promised = f"{limit_s} s" if limit_s else "-"
        self.rows.append((fault, len(outcomes), held, slowest, promised))
        print("  ".join(map(str, self.rows[-1])), flush=True)

    @property
    def lines(self):
        return "".join(f"| {' | '.join(map(str, row))} |\n" for row in self.rows)


def main():
    began = time.monotonic()
    rng = random.Random(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    tally = Tally()
    with tempfile.TemporaryDirectory() as name, Warm([TRAIN, RESUME, "mnist_lab.run.fit"]) as warm:
        folder = Path(name)
        write_data_set(folder / "data", num_train=300, num_test=50, seed=0)
        tiny = ["data=idx_folder", f"data.root={folder}/data", "threads=1", "trainer=cpu"]
        bytes_changed(tally, folder, rng)
        pictures_mutated(tally, folder)
        runs_disturbed(tally, folder, tiny, warm, rng)
        sweep_disturbed(tally, folder, tiny, warm, rng)
        project_moved(tally, folder, warm, rng)
        git_lacking(tally, folder, tiny, warm, rng)
    TABLE.write_text(HEADER + tally.lines)
    print(f"\n{tally.lines}\n{(time.monotonic() - began) / 60:.1f} minutes; {TABLE}")
    return 0 if all(tried == held for _, tried, held, *_ in tally.rows) else 1


def altered(raw, rng):
    raw = bytearray(raw)
    raw[rng.randrange(len(raw))] ^= rng.randrange(1, 256)
    return bytes(raw)


def bytes_changed(tally, folder, rng):
    """One byte of a data file, of a checkpoint; each is read unaltered first."""
    file = folder / "data" / FILES[0]
    raw = file.read_bytes()
    sha256 = hashlib.sha256(raw).hexdigest()
    read_idx(file, sha256=sha256)
    copy = folder / "copy"
    outcomes = []
    for _ in range(200):
        copy.write_bytes(altered(raw, rng))
        try:
            read_idx(copy, sha256=sha256)
            outcomes.append((False, 0))
        except ValueError:
            outcomes.append((True, 0))
    tally.add("one byte of a data file changed: refused", outcomes)
    path = folder / "bytes" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"state_dict": {"weight": torch.randn(10_000)}}, path)
    raw = path.read_bytes()
    read_checkpoint(path)
    outcomes = []
    for _ in range(200):
        path.write_bytes(
            altered(raw, rng) if rng.random() < 0.8 else raw[: rng.randrange(len(raw))]
        )
        try:
            read_checkpoint(path)
            outcomes.append((False, 0))
        except Damaged:
            outcomes.append((True, 0))
    tally.add("one byte of a checkpoint changed, or its end cut: noticed", outcomes)


def pictures_mutated(tally, folder):
    rng = np.random.default_rng(5)
    files = list(pictures(drawn_digit()))
    path = folder / "picture"
    outcomes, num_read = [], 0
    for number in range(1000):
        path.write_bytes(bytes(mutated(files[number % len(files)], files, rng)))
        began = time.perf_counter()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                to_mnist(load_picture(path))
            num_read += 1
            good = True
        except PictureError as error:
            good = bool(str(error))
        except Exception:
            good = False
        outcomes.append((good, time.perf_counter() - began))
    assert 100 < num_read < 900, "both outcomes are tried"
    tally.add("a picture mutated: read, or refused with a reason", outcomes, 5)


def only_run(folder):
    (path,) = folder.glob("outputs/runs/*/*/")
    return path


def wait_for(condition, process=None):
    end = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < end, process and process.wait()
        time.sleep(0.001)


def checkpoints_load(path):
    """Whether every visible checkpoint can be read."""
    try:
        return all(read_checkpoint(visible) for visible in path.glob("checkpoints/[!.]*"))
    except ValueError:
        return False


def rows(path):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in read_epochs(path)]


def runs_disturbed(tally, folder, tiny, warm, rng):
    """kill -9, a signal and two signals, at random moments of one run that is always resumed."""
    command = [*tiny, "model.width=256", "model.dropout=0.5", "data.batch_size=16"]
    for fault, rounds in (("kill", 50), ("signal", 30), ("two", 20)):
        home = folder / fault
        (home / "whole").mkdir(parents=True)
        (home / "part").mkdir()
        epochs = 60 if fault == "kill" else 40
        typed = [*command, f"trainer.max_epochs={epochs}"]
        ended = warm.run(TRAIN, *typed, cwd=home / "whole")
        assert ended.code == 0, ended.stderr
        process = warm.start(TRAIN, *typed, cwd=home / "part", TMPDIR="/dev/shm")
        wait_for(lambda home=home: [*home.glob("part/outputs/runs/*/*/config.yaml")], process)
        path = only_run(home / "part")
        outcomes, leftovers = [], 0
        while len(outcomes) < rounds:
            time.sleep(rng.uniform(0, 0.7))
            outcome, ended = disturb(fault, process, path, rng)
            leftovers += len([*path.rglob("*.tmp")])
            if ended:  # it was faster: the last epochs are trained again
                cut_back(path)
            else:
                outcomes.append(outcome)
            process = warm.start(RESUME, str(path), cwd=home / "part", TMPDIR="/dev/shm")
            time.sleep(0.25)
        ended = process.wait()
        whole = only_run(home / "whole")
        same = weights(path) == weights(whole) and rows(path) == rows(whole)
        good = ended.code == 0 and same and not [*path.rglob("*.tmp")]
        names = {
            "kill": (
                "kill -9 at any moment: all checkpoints load, the run counts as crashed",
                None,
            ),
            "signal": (
                "SIGTERM or Ctrl-C: exit 143 or 130, interrupted, the checkpoint stands",
                10,
            ),
            "two": ("two Ctrl-C: out, all checkpoints load", 2),
        }
        tally.add(names[fault][0], outcomes, names[fault][1])
        tally.add(
            f"... and after all of these the run ends bitwise as one left alone ({fault})",
            [(good, 0)],
        )
        if fault == "kill":
            print(f"({leftovers} half-written files were seen, and removed at the next start)")


def cut_back(path):
    """Make a finished run one that was killed after its first epochs."""
    (path / "metrics.json").unlink()
    status = json.loads((path / "status.json").read_text())
    (path / "status.json").write_text(json.dumps({**status, "state": "running"}))
    shutil.rmtree(path / "checkpoints")


def disturb(fault, process, path, rng):
    """Disturb a process; whether all is as promised, the seconds, and whether it was too late."""
    signum = signal.SIGKILL if fault == "kill" else signal.SIGINT
    if fault == "signal":
        signum = rng.choice((signal.SIGTERM, signal.SIGINT))
    began = time.monotonic()
    process.send(signum)
    if fault == "two":
        time.sleep(rng.uniform(0, 0.01))
        began = time.monotonic()
        process.send(signum)
    code = process.wait().code
    seconds = time.monotonic() - began
    if code == 0:
        return None, True
    begun = (path / "status.json").exists()
    state = read_state(path) if begun else "crashed"
    if fault == "kill":
        good = code == -signal.SIGKILL and state in ("crashed", "finished", "interrupted")
    elif fault == "signal":
        good = code == 128 + signum and state in ("interrupted", "crashed")
    else:
        good = code == 128 + signum
    return (good and checkpoints_load(path), seconds), False


def sweep_disturbed(tally, folder, tiny, warm, rng):
    """Thirty signals of three kinds to a sweep in a pool, which is resumed until it ends."""
    grid = ["model.width=8,32", "optimizer=sgd,adam", "seed=0,1,2", "trainer.max_epochs=600"]
    pool = ["hydra/launcher=pool", "hydra.launcher.slots=2"]
    typed = ["-m", *tiny, *grid, *pool]
    for name in ("alone", "chaos"):
        (folder / name).mkdir()
    ended = warm.run(TRAIN, *typed, cwd=folder / "alone")
    assert ended.code == 0, ended.stderr + ended.stdout
    process = warm.start(TRAIN, *typed, cwd=folder / "chaos")
    wait_for(lambda: [*folder.glob("chaos/outputs/sweeps/*/*/sweep.json")], process)
    path = only_sweep(folder / "chaos")
    outcomes, refusals, code = [], [], None
    while code != 0:
        if len(outcomes) < 30:
            time.sleep(rng.uniform(0.3, 8))
            if len(refusals) < 5 and is_held(path):
                began = time.monotonic()
                ended = run_cold("-m", RESUME, str(path), cwd=folder)
                if process_lives(process):
                    told = ended.code == 2 and f"in use by process {process.pid}" in ended.stderr
                    refusals.append((told, time.monotonic() - began))
            signum = rng.choice((signal.SIGKILL, signal.SIGTERM, signal.SIGINT))
            began = time.monotonic()
            process.send(signum)
            code = process.wait().code
            expected = -signum if signum == signal.SIGKILL else 128 + signum
            if code != 0:
                outcomes.append((code == expected, time.monotonic() - began))
        else:
            code = process.wait().code
            assert code == 0, path
        if code != 0:
            process = warm.start(RESUME, str(path), cwd=folder)
    tally.add("a second resume of a sweep that runs: exit 2, and by whom it is held", refusals, 2)
    tally.add("a signal to a sweep (kill -9, SIGTERM, Ctrl-C): it ends as it should", outcomes, 10)
    alone = only_sweep(folder / "alone")
    jobs = sorted(job.name for job in alone.glob("[0-9]*/"))
    outcomes = [
        (weights(path / job) == weights(alone / job) and rows(path / job) == rows(alone / job), 0)
        for job in jobs
    ]
    tally.add("... each job's weights and rows equal an undisturbed sweep's", outcomes)
    tables = [comparison(warm, sweep, folder) for sweep in (path, alone)]
    tally.add("... and so does mnist-compare's table", [(tables[0] == tables[1], 0)])


def project_moved(tally, folder, warm, rng):
    """A project that is renamed whenever its run was stopped."""
    typed = ["data=idx_folder", "data.root=data", "threads=1", "trainer=cpu", "model.width=256"]
    typed += ["data.batch_size=16", "trainer.max_epochs=40"]
    for name in ("left", "project"):
        shutil.copytree(folder / "data", folder / name / "data")
    project = folder / "project"
    assert warm.run(TRAIN, *typed, cwd=folder / "left").code == 0
    process = warm.start(TRAIN, *typed, cwd=project)
    wait_for(lambda: [*project.glob("outputs/runs/*/*/status.json")], process)
    outcomes = []
    while len(outcomes) < 20:
        time.sleep(rng.uniform(0, 0.7))
        process.send(rng.choice((signal.SIGKILL, signal.SIGTERM)))
        if process.wait().code == 0:  # it was faster
            cut_back(only_run(project))
        project = project.rename(folder / f"project {len(outcomes)}")
        path = only_run(project)
        said, begun = path / "train.log", time.monotonic()
        size = said.stat().st_size
        process = warm.start(RESUME, str(path.relative_to(project)), cwd=project)
        while said.stat().st_size == size and process_lives(process):
            time.sleep(0.01)
        outcomes.append((said.stat().st_size > size, time.monotonic() - begun))
    tally.add("a project renamed while its run was stopped: it goes on", outcomes)
    ended, whole = process.wait(), only_run(folder / "left")
    same = weights(path) == weights(whole) and rows(path) == rows(whole)
    tally.add(
        "... and after all of these the run ends bitwise as one left alone (moved)",
        [(ended.code == 0 and same, 0)],
    )


def git_lacking(tally, folder, tiny, warm, rng):
    """No git, or one that cannot be executed, fails, or waits for ever."""
    scripts = {"none": None, "sealed": "#!/bin/sh\n", "failing": "#!/bin/sh\nexit 1\n"}
    scripts["waiting"] = f"#!/bin/sh\n{shutil.which('sleep')} 1000\n"
    outcomes = []
    for number in range(20):
        home = folder / f"git-{number}"
        (home / "bin").mkdir(parents=True)
        kind = rng.choice([*scripts])
        if scripts[kind] is not None:
            (home / "bin/git").write_text(scripts[kind])
            (home / "bin/git").chmod(0o644 if kind == "sealed" else 0o755)
        began = time.monotonic()
        ended = warm.run(TRAIN, *tiny, "trainer.max_epochs=1", cwd=home, PATH=str(home / "bin"))
        code = json.loads((only_run(home) / "code.json").read_text())
        good = ended.code == 0 and code["commit"] is None and bool(code["why_unknown"])
        outcomes.append((good, time.monotonic() - began))
    tally.add("no git, or one that fails or waits for ever: the run finishes", outcomes, 10)


def process_lives(process):
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def comparison(warm, sweep, folder):
    """The table without what a clock measured."""
    ended = warm.run("mnist_lab.compare", str(sweep), "--format", "csv", cwd=folder)
    assert ended.code == 0, ended.stderr
    table = [*csv.DictReader(io.StringIO(ended.stdout))]
    assert table
    return [{k: v for k, v in row.items() if "seconds" not in k} for row in table]


if __name__ == "__main__":
    sys.exit(main())
