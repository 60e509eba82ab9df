"""One run that is stopped, killed, moved or left without git, and always goes on."""

import json
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from sweeps import weights
from test_environment import slurm_job

from mnist_lab.run.checkpoints import read_checkpoint
from mnist_lab.run.directory import read_epochs
from mnist_lab.sweep.stored import job_state

TRAIN, RESUME = "mnist_lab.train", "mnist_lab.resume"


@dataclass
class Fault:
    """A signal, or one of several, and what is promised of a run that gets it at any moment."""

    name: str
    promise: str
    times: int
    signums: tuple
    twice: bool = False
    limit_s: float | None = None
    max_epochs: int = 40


FAULTS = (
    Fault(
        "kill",
        "kill -9 at any moment: all checkpoints load, the run counts as crashed",
        times=50,
        signums=(signal.SIGKILL,),
        max_epochs=60,
    ),
    Fault(
        "signal",
        "SIGTERM or Ctrl-C: exit 143 or 130, interrupted, the checkpoint stands",
        times=30,
        signums=(signal.SIGTERM, signal.SIGINT),
        limit_s=10,
    ),
    Fault(
        "batch system",
        "USR1 or USR2, also under Slurm: exit 138 or 140, interrupted, nothing requeued",
        times=30,
        signums=(signal.SIGUSR1, signal.SIGUSR2),
        limit_s=10,
    ),
    Fault(
        "two",
        "two Ctrl-C: out, all checkpoints load",
        times=20,
        signums=(signal.SIGINT,),
        twice=True,
        limit_s=2,
    ),
)


def only_run(folder):
    (path,) = folder.glob("outputs/runs/*/*/")
    return path


def wait_for(condition, process=None):
    end = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < end, process and process.wait()
        time.sleep(0.001)


def checkpoints_load(path):
    """Whether every visible checkpoint below a folder can be read."""
    try:
        return all(read_checkpoint(visible) for visible in path.rglob("checkpoints/[!.]*"))
    except ValueError:
        return False


def rows(path):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in read_epochs(path)]


def same_result(path, other):
    return weights(path) == weights(other) and rows(path) == rows(other)


def under_slurm(folder, rng):
    """The variables of a Slurm job, for every second process, whose `scontrol` writes `asked`."""
    return rng.choice(({}, slurm_job(folder)))


def nothing_of_slurm(folder):
    """Whether nobody has asked Slurm for anything, nor left it a checkpoint."""
    return not (folder / "asked").exists() and not [*folder.rglob("hpc_ckpt*")]


def runs_disturbed(tally, folder, tiny, warm, rng):
    """Each fault at random moments of one run that is always resumed."""
    for fault in FAULTS:
        run_disturbed(fault, tally, folder / fault.name.replace(" ", "_"), tiny, warm, rng)


def run_disturbed(fault, tally, home, tiny, warm, rng):
    typed = [*tiny, "model.width=256", "model.dropout=0.5", "data.batch_size=16"]
    typed.append(f"trainer.max_epochs={tally.length(fault.max_epochs)}")
    (home / "whole").mkdir(parents=True)
    part = home / "part"
    part.mkdir()

    def begun(module, *args):
        env = under_slurm(home, rng) if fault.name == "batch system" else {}
        process = warm.start(module, *args, cwd=part, TMPDIR="/dev/shm", **env)
        wait_for(process.listens)
        return process

    ended = warm.run(TRAIN, *typed, cwd=home / "whole")
    assert ended.code == 0, ended.stderr
    process = begun(TRAIN, *typed)
    wait_for(lambda: [*part.glob("outputs/runs/*/*/config.yaml")], process)
    path = only_run(part)
    outcomes, leftovers = [], 0
    while len(outcomes) < tally.times(fault.times):
        time.sleep(rng.uniform(0, 0.7))
        outcome = disturb(fault, process, path, rng)
        leftovers += len([*path.rglob("*.tmp")])
        if outcome:
            outcomes.append(outcome)
        else:  # it was faster: the last epochs are trained again
            cut_back(path)
        process = begun(RESUME, str(path))
    ended = process.wait()
    good = ended.code == 0 and same_result(path, only_run(home / "whole"))
    good = good and not [*path.rglob("*.tmp")] and nothing_of_slurm(home)
    tally.add(fault.promise, outcomes, fault.limit_s)
    tally.add(
        f"... and after all of these the run ends bitwise as one left alone ({fault.name})",
        [(good, 0)],
    )
    if fault.name == "kill":
        print(f"({leftovers} half-written files were seen, and removed at the next start)")


def cut_back(path):
    """Make a finished run one that was stopped before its first epoch's end."""
    (path / "metrics.json").unlink()
    status = json.loads((path / "status.json").read_text())
    (path / "status.json").write_text(json.dumps({**status, "state": "interrupted"}))
    shutil.rmtree(path / "checkpoints")


def disturb(fault, process, path, rng):
    """Disturb a process; whether all is as promised, and the seconds; None if it was too late."""
    signum = rng.choice(fault.signums)
    began = time.monotonic()
    process.send(signum)
    if fault.twice:
        time.sleep(rng.uniform(0, 0.01))
        began = time.monotonic()
        process.send(signum)
    ended = process.wait()
    code, seconds = ended.code, time.monotonic() - began
    state = job_state(path)
    if state == "finished":
        return None
    if signum == signal.SIGKILL:  # one that had just begun to go on is still called interrupted
        good = code == -signum and state in ("pending", "crashed", "interrupted")
    elif fault.twice:
        good = code == 128 + signum
    else:
        good = code == 128 + signum and state in ("pending", "interrupted")
    good = good and checkpoints_load(path)
    if not good:
        print(f"{signum.name}: {ended}\n{state}")
    return good, seconds


def project_moved(tally, folder, warm, rng):
    """A project that is renamed whenever its run was stopped."""
    typed = ["data=idx_folder", "data.root=data", "threads=1", "trainer=cpu", "model.width=256"]
    typed += ["data.batch_size=16", f"trainer.max_epochs={tally.length(40)}"]
    for name in ("left", "project"):
        shutil.copytree(folder / "data", folder / name / "data")
    project = folder / "project"
    assert warm.run(TRAIN, *typed, cwd=folder / "left").code == 0
    process = warm.start(TRAIN, *typed, cwd=project)
    wait_for(lambda: [*project.glob("outputs/runs/*/*/status.json")], process)
    outcomes = []
    while len(outcomes) < tally.times(20):
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
    same = same_result(path, whole)
    tally.add(
        "... and after all of these the run ends bitwise as one left alone (moved)",
        [(ended.code == 0 and same, 0)],
    )


def git_lacking(tally, folder, tiny, warm, rng):
    """No git, or one that cannot be executed, fails, or waits for ever."""
    scripts = {"none": None, "sealed": "#!/bin/sh\n", "failing": "#!/bin/sh\nexit 1\n"}
    scripts["waiting"] = f"#!/bin/sh\n{shutil.which('sleep')} 1000\n"
    outcomes = []
    for number in range(tally.times(20)):
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
