"""A new sweep, once it is planned: show it, or claim its directory and run it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_lab.run.code import own_code
from mnist_lab.settings.build import build
from mnist_lab.settings.compose import Config
from mnist_lab.sweep.conduct import conduct
from mnist_lab.sweep.launcher import check_launcher
from mnist_lab.sweep.plan import Plan, locate_data
from mnist_lab.sweep.record import Sweep
from mnist_lab.sweep.tables import duplicate_lines, headed, plan_lines, plan_table, screen
from mnist_lab.ui.console import show_download
from mnist_lab.ui.files import shown_path
from mnist_lab.ui.startup import import_lightning

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
    code = own_code()
    slots = check_launcher(config, planned.jobs)
    digests = locate_data(planned.jobs, progress=show_download)
    hydra_overrides = list(config.hydra.overrides.hydra)
    given = any(text.lstrip("+").startswith("hydra.sweep.dir=") for text in hydra_overrides)
    directory = Path(config.hydra.sweep.dir).absolute() if given else None
    sweep = Sweep.claim(
        planned, directory, arguments=arguments, launcher=hydra_overrides, data_sha256=digests
    )
    code.keep(sweep.path, begun=False)
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
