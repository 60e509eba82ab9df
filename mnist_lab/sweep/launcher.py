"""What any launcher is checked for, and how Hydra's own are given the jobs of a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from mnist_lab.run.device import device_kind, gpus, worth_a_look
from mnist_lab.settings.check import check
from mnist_lab.settings.paths import quoted
from mnist_lab.settings.table import SETTINGS, leaves
from mnist_lab.sweep.job import record_lost, train_job_apart
from mnist_lab.sweep.slots import Slot, choose_slots
from mnist_lab.sweep.view import headed
from mnist_lab.ui.console import Screen, screen
from mnist_lab.ui.startup import import_lightning

if TYPE_CHECKING:
    from hydra.plugins.launcher import Launcher
    from omegaconf import DictConfig

    from mnist_lab.sweep.plan import Job
    from mnist_lab.sweep.record import Sweep

POOL = "hydra_plugins.mnist_lab_pool.PoolLauncher"
BASIC = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"  # one by one, in this process


def pool_slots(
    config: DictConfig, jobs: Sequence[Job], stored_threads: Sequence[int] = ()
) -> list[Slot]:
    """Check that the launcher can run these jobs; return the slots, where it is the pool.

    Args:
        config: with the `hydra` node.
        stored_threads: those that jobs began with, and must go on with.

    Raises:
        Refused: a setting out of the table's range, or one that does not fit jobs or machine.
    """
    from omegaconf import OmegaConf

    node: Any = OmegaConf.to_container(config.hydra.launcher, resolve=False)
    known = leaves({"hydra": {"launcher": node}})
    check({name: value for name, value in known.items() if name in SETTINGS})
    accelerators = {job.settings["trainer"]["accelerator"] for job in jobs}
    if node["_target_"] == POOL:
        own_threads = [job.settings["threads"] or 1 for job in jobs]
        return choose_slots(
            accelerators,
            devices=node["devices"],
            slots=node["slots"],
            threads=node["threads"],
            job_threads=max([*own_threads, *stored_threads]),
            jobs_per_device=node["jobs_per_device"],
            warn=warn,
        )
    asked = "gpu" in accelerators
    looking = asked or (accelerators != {"cpu"} and worth_a_look())
    if looking and node["_target_"] == BASIC:
        import_lightning()
        if device_kind("gpu" if asked else "auto") == "cpu" and (why := gpus().problem):
            warn(f"{why}: the jobs run on the CPU.")
    return []


def warn(text: str) -> None:
    Screen(highlight=False, soft_wrap=True).print(f"[bold yellow]WARNING[/] {escape(text)}")


def launch(sweep: Sweep, jobs: Sequence[Job], launcher: Launcher) -> None:
    """Run jobs through a launcher of Hydra's, which by its contract sees their overrides alone."""
    directory = f"hydra.sweep.dir={quoted(sweep.path)}"
    overrides = [
        [*job.overrides, directory, f"hydra.sweep.subdir={quoted(job.directory)}"] for job in jobs
    ]
    returns = launcher.launch(overrides, initial_job_idx=jobs[0].number)
    for job, returned in zip(jobs, returns, strict=False):
        error = returned._return_value
        if sweep.state(job) == "pending" and isinstance(error, Exception):
            sweep.job_path(job).mkdir(exist_ok=True)
            record_lost(sweep.job_path(job), error)
        sweep.mark(job, sweep.state(job))


def launch_apart(sweep: Sweep, jobs: Sequence[Job], launcher: Any) -> None:
    """Run jobs in processes that a launcher of Hydra's makes, all at once."""
    launcher.task_function = train_job_apart
    launch(sweep, jobs, launcher)


def launch_in_turn(sweep: Sweep, jobs: Sequence[Job], launcher: Launcher) -> None:
    """Run jobs in this process, and say each time which it is."""
    for place, job in enumerate(jobs, 1):
        screen().print()
        screen().print(headed(f"job {place}/{len(jobs)}", job.directory))
        sweep.mark(job, "running")
        launch(sweep, [job], launcher)
