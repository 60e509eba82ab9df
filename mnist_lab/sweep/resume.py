"""mnist-resume SWEEP_DIR: run what is missing, interrupted or crashed, and nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_lab.run.code import own_code
from mnist_lab.run.config import read_config
from mnist_lab.run.directory import read_epochs
from mnist_lab.run.images import own_images
from mnist_lab.run.resume import apply
from mnist_lab.settings.compose import compose
from mnist_lab.settings.groups import LAUNCHER
from mnist_lab.settings.overrides import refuse_repeated
from mnist_lab.settings.paths import quoted
from mnist_lab.sweep.composer import Composer
from mnist_lab.sweep.conduct import conduct, end_sweep
from mnist_lab.sweep.job import hold_soon
from mnist_lab.sweep.launcher import pool_slots
from mnist_lab.sweep.plan import Job, Plan
from mnist_lab.sweep.pool import crew
from mnist_lab.sweep.race import label, race_of
from mnist_lab.sweep.record import Sweep
from mnist_lab.sweep.search import search_of
from mnist_lab.sweep.stored import read_jobs, read_sweep
from mnist_lab.ui.console import screen
from mnist_lab.ui.errors import Refused

if TYPE_CHECKING:
    from hydra.plugins.launcher import Launcher
    from omegaconf import DictConfig

MOVED_DATA = "data.root="
KEPT = (".hydra", ".lock")  # of a job that starts afresh, with its logs


def resume_arguments(path: Path, overrides: Sequence[str], *, retry_failed: bool) -> list[str]:
    """What Hydra must be told to go on with a sweep: the launcher of before, or another one.

    Raises:
        Refused: no sweep, or an override that is not the launcher's.
    """
    for text in overrides:
        if not text.startswith((f"{LAUNCHER}=", "hydra.launcher.", MOVED_DATA)):
            raise Refused(
                f"{text}: the settings of a sweep are fixed; "
                f"free to change are {LAUNCHER}=..., hydra.launcher.* and {MOVED_DATA}..."
            )
    refuse_repeated(overrides)
    moved = [quoted(text) for text in overrides if text.startswith(MOVED_DATA)]
    overrides = [text for text in overrides if not text.startswith(MOVED_DATA)]
    typed = {text.partition("=")[0] for text in overrides}
    stored: list[str] = read_sweep(path)["launcher"]
    stored = [text for text in stored if text.partition("=")[0] not in typed]
    if LAUNCHER in typed:
        stored = []
    launcher = [*stored, *overrides]
    compose(launcher, multirun=True)
    return [
        *launcher,
        f"hydra.sweeper.moved=[{','.join(moved)}]",
        f"hydra.sweeper.resume={quoted(path.absolute())}",
        f"hydra.sweeper.retry_failed={retry_failed}",
    ]


def resume_sweep(
    path: Path,
    composer: Composer,
    config: DictConfig,
    launcher_at: Callable[[Path], Launcher],
    *,
    retry_failed: bool,
    moved: Sequence[str] = (),
) -> None:
    """Run the jobs of a sweep that have no result; leave the finished ones untouched.

    Args:
        config: the launcher's, in the `hydra` node.
        launcher_at: makes a launcher of Hydra's, given the directory.
        retry_failed: the failed ones, too, from their beginning.
        moved: `data.root=DIR`, where the images are now.

    Raises:
        Refused: another process has the sweep or a job; or data or devices are not there.
        Failed, Interrupted: as `conduct`.
    """
    with Sweep.open(path) as sweep:
        for job in sweep.jobs:
            if sweep.state(job) == "running":  # by a worker that dies with its sweep, or by hand
                hold_soon(sweep.job_path(job)).release()
        race = race_of(sweep)
        if race:
            next(race.rounds(), None)  # a look that was still to come, with all of its jobs done
        states = {job.number: sweep.state(job) for job in sweep.jobs}
        stopped = ("pending", "interrupted", "crashed")
        left = [job for job in sweep.jobs if states[job.number] in stopped]
        failed = [job for job in sweep.jobs if states[job.number] == "failed" and retry_failed]
        if race:  # whose decisions stand
            failed = [job for job in failed if label(job) in race.left]
        jobs = sorted(left + failed, key=lambda job: job.number)
        search = search_of(sweep, composer)
        if not (jobs or (search and search.num_left)):
            end_sweep(sweep)
            return
        code = own_code()
        for job in jobs:
            composer.settings(job.overrides)  # refuses what conf/ knows no more
        if search and search.num_left:
            search.refuse_other_defaults()
        to_come = search.num_jobs_left if search else 0
        known = jobs or sweep.jobs[:1]
        slots = pool_slots(config, known, stored_threads(sweep, left))
        with crew(slots, len(jobs) + to_come) as workers:
            find_images(sweep, known, moved)
            for job in failed:
                path = sweep.job_path(job)
                if epochs := len(read_epochs(path)):
                    screen().print(
                        f"{job.directory}: starts afresh; finished epochs given up: {epochs}"
                    )
                start_afresh(path)
            if other_code := code.keep(sweep.path, begun=True):
                screen().print(other_code)
            screen().print(f"{sweep.path}: going on with {len(jobs)} of {len(sweep.jobs)} jobs.")
            if search:
                screen().print(f"search: {search.num_left} settings are still to be asked for.")
            conduct(sweep, jobs, workers, composer, config, launcher_at)


def refuse_other_jobs(path: Path, plan: Plan) -> None:
    """Refuse to go on with a sweep that is not of these jobs."""
    document = read_sweep(path)
    stored = {job.directory: job.overrides for job in read_jobs(path, document)}
    planned = {job.directory: job.overrides for job in plan.jobs}
    if (stored_search := document.get("search")) or plan.search:
        refuse_other_search(path, stored_search, plan)
        return
    if bool(document.get("race")) != bool(plan.race):
        raise Refused(f"{path}: one of the two sweeps is a race; name another directory.")
    if stored != planned:
        mine, other = set(planned.items()), set(stored.items())
        first = min([*(mine - other), *(other - mine)])
        raise Refused(
            f"{path}: holds a sweep of other jobs ({len(stored)}, here {len(planned)}; one that "
            f"differs is {first[0]}); name another directory."
        )


def refuse_other_search(path: Path, stored: Any, plan: Plan) -> None:
    mine = json.loads(json.dumps(plan.search))
    both = isinstance(stored, dict) and isinstance(mine, dict)
    names = ("axes", "seeds", "seed", "trials") if both else ()
    for name in names:
        if stored.get(name) != mine[name]:
            raise Refused(f"{path}: holds a search of other {name}; name another directory.")
    if not both:
        raise Refused(f"{path}: one of the two sweeps is a search; name another directory.")


def find_images(sweep: Sweep, jobs: Sequence[Job], moved: Sequence[str]) -> None:
    """Find the images of jobs again, and note in sweep.json what a user says of them.

    Raises:
        Refused: they are not there, or others are.
    """
    digests = {job.number: sweep.data_sha256(job) for job in jobs}
    found: dict[str, dict[str, Any]] = {}
    for job in jobs:
        apply(job.settings, moved)
        data, sha256 = job.settings["data"], digests[job.number]
        key = json.dumps([data, sha256], sort_keys=True)
        if key not in found:
            found[key] = own_images(data, sweep.path, sha256=sha256, given=bool(moved))
        job.settings["data"] = found[key]
        if sha256 and not sweep.document.get("data_sha256"):  # an earlier lab has kept none
            sweep.document["jobs"][job.directory]["data_sha256"] = sha256
    if moved:
        sweep.move_data(jobs[0].settings["data"]["root"])


def stored_threads(sweep: Sweep, jobs: Sequence[Job]) -> list[int]:
    """The threads that jobs began with: with others they would end elsewhere."""
    paths = [sweep.job_path(job) for job in jobs]
    configs = [read_config(path) for path in paths if (path / "config.yaml").exists()]
    return [config["threads"] for config in configs if config["threads"]]


def start_afresh(directory: Path) -> None:
    """Clear away what a failed job has made, but for its log, which becomes train.1.log."""
    run = hold_soon(directory)
    log = directory / "train.log"
    if log.exists():
        number = 1
        while (old := directory / f"train.{number}.log").exists():
            number += 1
        log.rename(old)
    status = directory / "status.json"  # removed last: a job half cleared away is a failed one
    for path in sorted(directory.iterdir(), key=status.__eq__):
        if path.is_dir() and path.name not in KEPT:
            shutil.rmtree(path)
        elif path.name not in KEPT and not path.match("train.*.log"):
            path.unlink()
    run.release()
