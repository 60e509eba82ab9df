"""Jobs of sweeps, in the pool and in submitit's local executor, that are stopped and resumed."""

import csv
import io
import json
import os
import signal
import time
from importlib.util import find_spec

from processes import run_cold
from runs import (
    RESUME,
    TRAIN,
    checkpoints_load,
    nothing_of_slurm,
    process_lives,
    same_result,
    under_slurm,
    wait_for,
)
from sweeps import only_sweep, status

from mnist_lab.run.directory import is_held
from mnist_lab.settings.groups import EXTRAS
from mnist_lab.sweep.stored import job_state

GRID = ["model.width=8,32", "optimizer=sgd,adam", "seed=0,1,2"]
POOL = ["hydra/launcher=pool", "hydra.launcher.slots=2"]
STOPPED = {"finished", "interrupted", "pending"}
BEGUN = ("running", "finished")


def job_paths(sweep):
    return sorted(sweep.glob("[0-9]*/"))


def same_results(sweep, alone):
    """Of each job, whether it equals the undisturbed sweep's; for `Tally.add`."""
    return [(same_result(sweep / path.name, path), 0) for path in job_paths(alone)]


def sweeps_disturbed(tally, folder, tiny, warm, rng):
    """Signals to sweeps in a pool, each of which is resumed until it ends."""
    typed = ["-m", *tiny, *GRID, *POOL, f"trainer.max_epochs={tally.length(600)}"]
    (folder / "alone").mkdir()
    ended = warm.run(TRAIN, *typed, cwd=folder / "alone")
    assert ended.code == 0, ended.stderr + ended.stdout
    alone = only_sweep(folder / "alone")
    for kind, promise, times, signums in (
        (
            "signals",
            "a signal to a sweep (kill -9, SIGTERM, Ctrl-C): it ends as it should",
            30,
            (signal.SIGKILL, signal.SIGTERM, signal.SIGINT),
        ),
        (
            "batch system",
            "USR1 or USR2 to a sweep, also under Slurm: exit 138 or 140, every job interrupted "
            "or as it was, nothing requeued",
            20,
            (signal.SIGUSR1, signal.SIGUSR2),
        ),
    ):
        home = folder / f"sweep_{kind.replace(' ', '_')}"
        home.mkdir()
        outcomes, refusals = sweep_disturbed(
            typed,
            signums,
            tally.times(times),
            every_s=tally.length(8),
            home=home,
            warm=warm,
            rng=rng,
        )
        if refusals:
            tally.add("a second resume of a sweep that runs: exit 2, and by whom held", refusals, 2)
        tally.add(promise, outcomes, 10)
        path = only_sweep(home)
        tally.add(
            f"... each job's weights and rows equal an undisturbed sweep's ({kind})",
            same_results(path, alone),
        )
        tables = [comparison(warm, sweep, folder) for sweep in (path, alone)]
        tally.add(f"... and so does mnist-compare's table ({kind})", [(tables[0] == tables[1], 0)])


def races_disturbed(tally, folder, tiny, warm, rng):
    """Signals to a race in a pool, which is resumed until it ends."""
    rates = "optimizer.lr=0.0004,0.00041,1e-7"  # the first two learn alike, the third nothing
    typed = ["-m", *tiny, *POOL, rates, "seed=0,1,2,3", "race=on", "data.batch_size=16"]
    typed += [f"trainer.max_epochs={tally.length(40)}"]
    for name in ("race_alone", "race"):
        (folder / name).mkdir()
    ended = warm.run(TRAIN, *typed, cwd=folder / "race_alone")
    assert ended.code == 0, ended.stderr + ended.stdout
    outcomes, _ = sweep_disturbed(
        typed,
        (signal.SIGKILL, signal.SIGTERM),
        tally.times(10),
        every_s=4,
        home=folder / "race",
        warm=warm,
        rng=rng,
    )
    tally.add("a race is killed (kill -9) or stopped (SIGTERM): it ends as it should", outcomes, 10)
    path, alone = (only_sweep(folder / name) for name in ("race", "race_alone"))
    tally.add(
        "... each job's weights and rows equal an undisturbed race's", same_results(path, alone)
    )
    decided, wanted = (
        json.loads((one / "sweep.json").read_text())["race"] for one in (path, alone)
    )
    assert wanted["dropped"], wanted
    same = [path.name for path in job_paths(path)] == [one.name for one in job_paths(alone)]
    tally.add("... and so do its decisions and its jobs", [(decided == wanted and same, 0)])


def sweep_disturbed(typed, signums, times, *, every_s, home, warm, rng):
    """The outcomes of the signals, and those of asking for a sweep that another process has."""

    def begun(module, *args):
        env = {} if signal.SIGKILL in signums else under_slurm(home, rng)
        process = warm.start(module, *args, cwd=home, **env)
        wait_for(process.listens)
        return process

    process = begun(TRAIN, *typed)
    wait_for(lambda: [*home.glob("outputs/sweeps/*/*/sweep.json")], process)
    path = only_sweep(home)
    outcomes, refusals = [], []
    while len(outcomes) < times:
        if rng.random() < 0.5:  # the others come while it is being set up, on a busy machine
            wait_for(lambda held=process: trains(path) or not process_lives(held), process)
        time.sleep(rng.uniform(0.3, every_s))
        if signal.SIGKILL in signums and len(refusals) < 5 and is_held(path):
            began = time.monotonic()
            ended = run_cold("-m", RESUME, str(path), cwd=home)
            if process_lives(process):
                told = ended.code == 2 and f"in use by process {process.pid}" in ended.stderr
                refusals.append((told, time.monotonic() - began))
        signum = rng.choice(signums)
        began = time.monotonic()
        process.send(signum)
        ended = process.wait()
        code, seconds = ended.code, time.monotonic() - began
        if code == 0:  # it was faster
            return outcomes, refusals
        good = code == (-signum if signum == signal.SIGKILL else 128 + signum)
        states = {job.name: job_state(job) for job in job_paths(path)}
        if signal.SIGKILL not in signums:
            good = good and {*states.values()} <= STOPPED
        good = good and checkpoints_load(path) and nothing_of_slurm(home)
        if not good:
            print(f"{signum.name}: {ended}\n{states}")
        outcomes.append((good, seconds))
        process = begun(RESUME, str(path))
    assert process.wait().code == 0, path
    return outcomes, refusals


def trains(sweep):
    return any(job_state(job) == "running" for job in job_paths(sweep))


def comparison(warm, sweep, folder):
    """The table without what a clock measured."""
    ended = warm.run("mnist_lab.compare", str(sweep), "--format", "csv", cwd=folder)
    assert ended.code == 0, ended.stderr
    table = [*csv.DictReader(io.StringIO(ended.stdout))]
    assert table
    return [{k: v for k, v in row.items() if "seconds" not in k} for row in table]


def submitit_stopped(tally, folder, tiny, warm, rng):
    """SIGTERM to the processes that submitit makes for jobs, as Slurm sends it to its own."""
    promise = "SIGTERM to a job in submitit's local executor: exit 1, interrupted"
    if find_spec(EXTRAS["slurm"]) is None:
        tally.leave_out(promise, "needs pip install 'mnist_lab[slurm]'")
        return
    typed = ["-m", *tiny, "model.width=64", f"trainer.max_epochs={tally.length(1000)}", "seed=0,1"]
    for name in ("submitit_alone", "submitit"):
        (folder / name).mkdir()
    ended = warm.run(TRAIN, *typed, cwd=folder / "submitit_alone")
    assert ended.code == 0, ended.stderr + ended.stdout
    launcher = ["hydra/launcher=submitit_local", "hydra.launcher.timeout_min=10"]
    process = warm.start(TRAIN, *typed, *launcher, cwd=folder / "submitit")
    wait_for(lambda: [*folder.glob("submitit/outputs/sweeps/*/*/sweep.json")], process)
    path = only_sweep(folder / "submitit")
    outcomes, code = [], 1
    while code != 0:
        stopped = []
        for number in rng.sample(range(2), 2) if len(outcomes) < tally.times(20) else ():
            wait_for(lambda number=number: status(path, number).get("state") in BEGUN, process)
            time.sleep(rng.uniform(0, 0.5))
            if (before := status(path, number))["state"] == "running":
                began = time.monotonic()
                os.kill(before["pid"], signal.SIGTERM)
                wait_for(lambda number=number: status(path, number)["state"] != "running", process)
                stopped.append((number, time.monotonic() - began))
        code = process.wait().code
        for number, seconds in stopped:
            good = code == 1 and status(path, number)["state"] == "interrupted"
            outcomes.append((good and checkpoints_load(path), seconds))
        assert code == 0 or stopped, path
        if code != 0:
            process = warm.start(RESUME, str(path), cwd=folder)
    tally.add(promise, outcomes, 10)
    outcomes = same_results(path, only_sweep(folder / "submitit_alone"))
    tally.add("... each job's weights and rows equal an undisturbed sweep's (submitit)", outcomes)
