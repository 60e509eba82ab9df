"""A new sweep: plan it, refuse what cannot be, claim its directory, run it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mnist_lab.config import Config, build
from mnist_lab.console import show_download
from mnist_lab.sweep.compose import Composer
from mnist_lab.sweep.conduct import conduct
from mnist_lab.sweep.launcher import SlotLauncher
from mnist_lab.sweep.plan import Plan, locate_data, plan
from mnist_lab.sweep.record import Sweep
from mnist_lab.sweep.tables import duplicate_lines, plan_lines, plan_table, screen

if TYPE_CHECKING:
    from pathlib import Path

    from hydra.plugins.launcher import Launcher


def begin_sweep(
    grid: Sequence[Sequence[str]],
    launcher: Launcher,
    hydra_overrides: Sequence[str],
    *,
    arguments: Sequence[str],
    directory: Path | None,
    sweep: str | None,
    plan_only: bool,
) -> None:
    """Plan, check, claim and run a grid of jobs.

    Args:
        grid: the overrides of each job.
        hydra_overrides: those of the `hydra` node, which all jobs share.
        arguments: the command line that the grid came from, for the record.
        directory: where the user wants the sweep; None: a place of its own in outputs/sweeps/.
        sweep: the ready grid that was chosen.
        plan_only: print the plan and stop.

    Raises:
        Refused: before anything is written.
        Failed, Interrupted: as `conduct`.
    """
    composer = Composer(hydra_overrides)
    planned = plan(grid, composer, sweep=sweep)
    if plan_only:
        print_plan(planned)
        return
    if isinstance(launcher, SlotLauncher):
        launcher.check(planned.jobs)
    else:
        refuse_missing_device(planned)
    locate_data(planned.jobs, progress=show_download)
    claimed = Sweep.claim(planned, directory, arguments=arguments, launcher=hydra_overrides)
    console = screen()
    for line in duplicate_lines(planned):
        console.print(line)
    console.print(f"[bold]sweep[/]  {len(planned.jobs)} jobs in {claimed.path}")
    conduct(claimed, planned.jobs, launcher, composer)


def refuse_missing_device(planned: Plan) -> None:
    if any(job.settings["trainer"]["accelerator"] == "gpu" for job in planned.jobs):
        from mnist_lab.training import device_kind

        device_kind("gpu")


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
    import torch

    with torch.device("meta"):
        return sum(weight.numel() for weight in build(model).parameters())
