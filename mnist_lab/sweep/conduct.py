"""Launch the jobs of a sweep, whatever the launcher, and say how they ended."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_lab.run.directory import Run
from mnist_lab.run.files import shown_path
from mnist_lab.settings.config import Config, build
from mnist_lab.sweep.job import record_failure
from mnist_lab.sweep.launcher import SlotLauncher, check_launcher, is_basic_target
from mnist_lab.sweep.plan import Composer, Job, Plan, locate_data
from mnist_lab.sweep.pool import Pool
from mnist_lab.sweep.record import Sweep
from mnist_lab.sweep.view import (
    duplicate_lines,
    failures_table,
    headed,
    plan_lines,
    plan_table,
    results_table,
    screen,
)
from mnist_lab.ui.console import show_download
from mnist_lab.ui.errors import Failed
from mnist_lab.ui.signals import Interrupted
from mnist_lab.ui.startup import import_lightning

if TYPE_CHECKING:
    from hydra.core.utils import JobReturn
    from hydra.plugins.launcher import Launcher
    from omegaconf import DictConfig

    from mnist_lab.sweep.slots import Slot


def begin_sweep(
    planned: Plan,
    composer: Composer,
    config: DictConfig,
    launcher_at: Callable[[Path], Launcher],
    *,
    arguments: Sequence[str],
) -> None:
    """Claim a directory for a planned sweep, and run it.

    Args:
        config: what the jobs have in common, with the `hydra` node.
        launcher_at: makes the launcher, given the directory.
        arguments: the command line that the plan came from, for the record.

    Raises:
        Refused: before anything is written.
        Failed, Interrupted: as `conduct`.
    """
    slots = check_launcher(config, planned.jobs)
    locate_data(planned.jobs, progress=show_download)
    hydra_overrides = list(config.hydra.overrides.hydra)
    given = any(text.lstrip("+").startswith("hydra.sweep.dir=") for text in hydra_overrides)
    directory = Path(config.hydra.sweep.dir).absolute() if given else None
    sweep = Sweep.claim(planned, directory, arguments=arguments, launcher=hydra_overrides)
    console = screen()
    for line in duplicate_lines(planned):
        console.print(line)
    console.print(headed("sweep", f"{len(planned.jobs)} jobs in {shown_path(sweep.path)}"))
    conduct(sweep, planned.jobs, launcher_at(sweep.path), composer, slots)


def print_plan(planned: Plan) -> None:
    console = screen()
    for line in plan_lines(planned):
        console.print(line)
    console.print()
    sizes: dict[str, int] = {}
    for job in planned.jobs:
        model = job.settings["model"]
        if str(model) not in sizes:
            sizes[str(model)] = num_params(model)
    console.print(plan_table(planned, [sizes[str(job.settings["model"])] for job in planned.jobs]))


def num_params(model: Config) -> int:
    """Count the parameters of a network without the memory that they would take."""
    import_lightning()
    import torch

    with torch.device("meta"):
        return sum(weight.numel() for weight in build(model).parameters())


def conduct(
    sweep: Sweep, jobs: Sequence[Job], launcher: Any, composer: Composer, slots: Sequence[Slot]
) -> None:
    """Run these jobs of a sweep; the others are as they should be.

    Args:
        launcher: a Hydra launcher, set up.
        slots: of the pool.

    Raises:
        Failed: some job of the sweep has failed, or is not finished; or the disk is full.
        Interrupted: by a signal; what has not run is pending.
    """
    overrides = {job.directory: launch_overrides(sweep, job) for job in jobs}
    if isinstance(launcher, SlotLauncher):
        stop = launcher.settings["on_failure"] == "stop"
        pool = Pool(sweep, composer, slots, stop_on_failure=stop)
        launcher.prepare(pool, {tuple(overrides[job.directory]): job for job in jobs})
    elif is_basic_target(launcher.config.hydra.launcher._target_):
        launcher.task_function = announced(launcher.task_function, sweep, jobs)
    try:
        returns = launcher.launch(list(overrides.values()), initial_job_idx=0)
        for job, returned in zip(jobs, returns, strict=False):
            note_lost(sweep, job, returned)
    except (Failed, Interrupted):
        print_end(sweep)
        raise
    except OSError as error:
        raise Failed("disk", f"{error.strerror}: {error.filename or sweep.path}.") from error
    except Exception as error:
        print_end(sweep)
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        traceback.print_exc()
        raise Failed("launcher", first) from error
    print_end(sweep)
    refuse_failures(sweep)


def launch_overrides(sweep: Sweep, job: Job) -> list[str]:
    return [
        *job.overrides,
        f"hydra.sweep.dir={quoted(sweep.path)}",
        f"hydra.sweep.subdir={quoted(job.directory)}",
    ]


def quoted(text: str | Path) -> str:
    """As Hydra's override grammar takes any text."""
    escaped = str(text).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def announced(
    task: Callable[[Any], Any], sweep: Sweep, jobs: Sequence[Job]
) -> Callable[[Any], Any]:
    """Wrap a job that runs in this process: say which it is, and keep sweep.json up to date."""
    by_name = {job.directory: (place, job) for place, job in enumerate(jobs, 1)}

    def run(config: Any) -> Any:
        from hydra.core.hydra_config import HydraConfig

        place, job = by_name[Path(HydraConfig.get().runtime.output_dir).name]
        screen().print()
        screen().print(headed(f"job {place}/{len(jobs)}", job.directory))
        sweep.mark(job, "running")
        try:
            return task(config)
        finally:
            sweep.mark(job, sweep.state(job))

    return run


def note_lost(sweep: Sweep, job: Job, returned: JobReturn) -> None:
    """Record a job that failed before it could say so itself."""
    error = returned._return_value
    if sweep.state(job) == "pending" and isinstance(error, Exception):
        path = sweep.job_path(job)
        path.mkdir(exist_ok=True)
        run = Run.hold(path)
        line = str(error).splitlines()[0] if str(error) else type(error).__name__
        record_failure(run, "error", line, log="".join(traceback.format_exception(error)))
        run.release()


def print_end(sweep: Sweep) -> None:
    """Show the results of the whole sweep, its failures, and how to go on with the rest."""
    sweep.mark_all()
    console = screen()
    states = {job.number: sweep.state(job) for job in sweep.jobs}
    finished = [job for job in sweep.jobs if states[job.number] == "finished"]
    failed = [job for job in sweep.jobs if states[job.number] == "failed"]
    console.print()
    if finished:
        console.print(results_table(sweep, finished))
    if failed:
        console.print()
        console.print(failures_table(sweep, failed))
    console.print()
    others = len(sweep.jobs) - len(finished) - len(failed)
    counts = [f"{len(finished)} finished", f"{len(failed)} failed", f"{others} to do"]
    path = shown_path(sweep.path)
    console.print(headed("sweep", f"{path}: {', '.join(counts)}"))
    if others:
        console.print(f"mnist-resume {path} goes on with them.")
    if failed:
        console.print(f"mnist-resume {path} --retry-failed starts the failed afresh.")


def refuse_failures(sweep: Sweep) -> None:
    """Raise Failed unless every job of the sweep is finished."""
    states = [sweep.state(job) for job in sweep.jobs]
    bad = len(states) - states.count("finished")
    if bad:
        raise Failed("jobs", f"{bad} of {len(states)} jobs have no result.")
