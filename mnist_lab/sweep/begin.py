"""A new sweep, once it is planned: show it, or claim its directory and run it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_lab.settings.compose import dropped_lines
from mnist_lab.sweep.conduct import conduct
from mnist_lab.sweep.launcher import check_launcher
from mnist_lab.sweep.plan import Plan, locate_data, rehearse
from mnist_lab.sweep.record import Sweep
from mnist_lab.sweep.tables import duplicate_lines, headed, plan_lines, plan_table, screen
from mnist_lab.ui.console import show_download
from mnist_lab.ui.files import shown_path

if TYPE_CHECKING:
    from hydra.plugins.launcher import Launcher
    from omegaconf import DictConfig

    from mnist_lab.sweep.compose import Composer


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
    rehearse(planned.jobs)
    hydra_overrides = list(config.hydra.overrides.hydra)
    given = any(text.lstrip("+").startswith("hydra.sweep.dir=") for text in hydra_overrides)
    directory = Path(config.hydra.sweep.dir).absolute() if given else None
    sweep = Sweep.claim(planned, directory, arguments=arguments, launcher=hydra_overrides)
    console = screen()
    for line in [*duplicate_lines(planned), *dropped_lines(job.settings for job in planned.jobs)]:
        console.print(line)
    console.print(headed("sweep", f"{len(planned.jobs)} jobs in {shown_path(sweep.path)}"))
    conduct(sweep, planned.jobs, launcher_at(sweep.path), composer, slots)


def print_plan(planned: Plan) -> None:
    console = screen()
    sizes = rehearse(planned.jobs)
    for line in [*plan_lines(planned), *dropped_lines(job.settings for job in planned.jobs)]:
        console.print(line)
    console.print()
    console.print(plan_table(planned, sizes))
