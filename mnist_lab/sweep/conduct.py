"""A planned sweep: shown, or claimed, run by whatever launcher, and summed up in the end."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_lab.run.code import own_code
from mnist_lab.settings.compose import dropped_lines
from mnist_lab.sweep.composer import Composer
from mnist_lab.sweep.launcher import BASIC, launch_apart, launch_in_turn, pool_slots
from mnist_lab.sweep.plan import Job, Plan, locate_data, rehearse
from mnist_lab.sweep.pool import Pool, Worker, crew
from mnist_lab.sweep.race import SPARED, race_of
from mnist_lab.sweep.record import Sweep
from mnist_lab.sweep.search import AT_ONCE, search_of
from mnist_lab.sweep.view import (
    duplicate_lines,
    failures_table,
    headed,
    plan_lines,
    plan_table,
    results_table,
)
from mnist_lab.ui.console import screen
from mnist_lab.ui.errors import Failed, first_line
from mnist_lab.ui.files import shown_path
from mnist_lab.ui.signals import Interrupted

if TYPE_CHECKING:
    from hydra.plugins.launcher import Launcher
    from omegaconf import DictConfig


def print_plan(plan: Plan) -> None:
    sizes = rehearse(plan.jobs)
    rehearse(plan.corners)
    console = screen()
    for line in [*plan_lines(plan), *dropped_lines(job.settings for job in plan.jobs)]:
        console.print(line)
    console.print()
    console.print(plan_table(plan, sizes))


def begin_sweep(
    plan: Plan,
    composer: Composer,
    config: DictConfig,
    launcher_at: Callable[[Path], Launcher],
    *,
    arguments: Sequence[str],
) -> Path:
    """Claim a directory for a planned sweep, run it, and return the directory.

    Args:
        config: what the jobs have in common, with the `hydra` node.
        launcher_at: makes a launcher of Hydra's, given the directory.
        arguments: the command line that the plan came from, for the record.

    Raises:
        Refused: before anything is written.
        Failed, Interrupted: as `conduct`.
    """
    code = own_code()
    slots = pool_slots(config, plan.jobs)
    with crew(slots, plan.num_jobs) as workers:
        digests = locate_data(plan.jobs)
        if workers and "torch" not in sys.modules:
            rehearse_apart([*plan.jobs, *plan.corners], workers[0])
        else:
            rehearse([*plan.jobs, *plan.corners])
        overrides = composer.hydra_overrides
        given = any(text.lstrip("+").startswith("hydra.sweep.dir=") for text in overrides)
        directory = Path(config.hydra.sweep.dir).absolute() if given else None
        with Sweep.claim(
            plan, directory, arguments=arguments, launcher=overrides, data_sha256=digests
        ) as sweep:
            code.keep(sweep.path, begun=False)
            console = screen()
            for line in [*duplicate_lines(plan), *dropped_lines(job.settings for job in plan.jobs)]:
                console.print(line)
            names = dict.fromkeys(job.settings["data"]["name"] for job in plan.jobs)
            console.print(headed("data", f" {', '.join(names)}"))
            console.print(headed("sweep", f"{plan.num_jobs} jobs in {shown_path(sweep.path)}"))
            conduct(sweep, plan.jobs, workers, composer, config, launcher_at)
        return sweep.path


def rehearse_apart(jobs: Sequence[Job], worker: Worker) -> None:
    """Rehearse in a worker of the pool's: this process needs no torch for it."""
    from loky.process_executor import BrokenProcessPool

    with contextlib.suppress(BrokenProcessPool):  # the pool will say that none can start, and why
        worker.executor.submit(rehearse, jobs).result()


def conduct(
    sweep: Sweep,
    jobs: Sequence[Job],
    workers: Sequence[Worker],
    composer: Composer,
    config: DictConfig,
    launcher_at: Callable[[Path], Launcher],
) -> None:
    """Run these jobs of a sweep; the others are as they should be.

    Args:
        workers: of the pool; none: a launcher of Hydra's runs the jobs.

    Raises:
        Failed: some job of the sweep has failed, or is not finished; or the disk is full.
        Interrupted: by a signal; what has not run is pending.
    """
    node, race, search = config.hydra.launcher, race_of(sweep), search_of(sweep, composer)
    try:
        if workers:
            pool = Pool(sweep, composer, workers, stop_on_failure=node.on_failure == "stop")
            pool.run(jobs, race, search)
        else:
            launch, at_once = launch_apart, AT_ONCE
            if node._target_ == BASIC:
                launch, at_once = launch_in_turn, 1
            launcher = launcher_at(sweep.path)
            rounds = race.rounds() if race else [jobs]
            for some in search.rounds(jobs, at_once) if search else rounds:
                launch(sweep, some, launcher)
    except (Failed, Interrupted):
        print_end(sweep)
        raise
    except OSError as error:
        raise Failed("disk", f"{error.strerror}: {error.filename or sweep.path}.") from error
    except Exception as error:
        print_end(sweep)
        traceback.print_exc()
        raise Failed("launcher", first_line(error)) from error
    end_sweep(sweep)


def end_sweep(sweep: Sweep) -> None:
    """Show the end of a sweep.

    Raises:
        Failed: some job of it is not finished.
    """
    if missing := print_end(sweep):
        raise Failed("jobs", f"{missing} of {len(sweep.jobs)} jobs have no result.")


def print_end(sweep: Sweep) -> int:
    """Show the results of the whole sweep, its failures, and how to go on with the rest.

    Returns:
        How many jobs have no result.
    """
    console = screen()
    states = sweep.mark_all()
    finished = [job for job in sweep.jobs if states[job.number] == "finished"]
    failed = [job for job in sweep.jobs if states[job.number] == "failed"]
    console.print()
    if finished:
        console.print(results_table(sweep, finished))
    if failed:
        console.print()
        console.print(failures_table(sweep, failed))
    console.print()
    spared = sum(state == SPARED for state in states.values())
    others = len(sweep.jobs) - len(finished) - len(failed) - spared
    if race := race_of(sweep):
        for line in race.lines():
            console.print(line, markup=False)
    if search := search_of(sweep):
        others += search.num_jobs_left
        for line in search.lines():
            console.print(line, markup=False)
    counts = f"{len(finished)} finished, {len(failed)} failed, {others} to do"
    path = shown_path(sweep.path)
    counts += f", {spared} spared" if spared else ""
    console.print(headed("sweep", f"{path}: {counts}"))
    if others:
        console.print(f"mnist-resume {path} goes on with them.")
    if failed:
        console.print(f"mnist-resume {path} --retry-failed starts the failed afresh; mnist-resume")
        console.print("and the directory of a failed job goes on with it after its last epoch.")
    return len(failed) + others
