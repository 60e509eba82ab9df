"""A new run: from overrides to a directory that it has trained in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_lab.run.code import own_code
from mnist_lab.run.directory import Run
from mnist_lab.run.images import source_of
from mnist_lab.settings.build import Rehearsal
from mnist_lab.settings.compose import Config, checked, compose, dropped_lines
from mnist_lab.settings.hydras import refuse_idle
from mnist_lab.ui.console import Console, show_download
from mnist_lab.ui.signals import signals

if TYPE_CHECKING:
    from omegaconf import DictConfig


def asked(overrides: Sequence[str], *, resume: bool = False) -> tuple[DictConfig, Config]:
    """Compose and check what a run shall be, and find its images. Imports no torch.

    Args:
        resume: as `refuse_idle` takes it; a run that is there already finds its own images, and
            needs none where it is finished.

    Returns:
        The configuration with its `hydra` node, and the settings, plain.

    Raises:
        Refused: it cannot be.
    """
    refuse_idle(overrides, multirun=False, resume=resume)
    config = compose(overrides)
    settings = checked(config)
    own_code()  # before what is loaded can have changed
    if not (resume and (Path(config.hydra.run.dir) / "config.yaml").exists()):
        source_of(settings["data"]).find(progress=show_download).read()
    return config, settings


def begin(config: DictConfig, settings: Config, *, quiet: bool = False) -> Path:
    """Claim a directory once nothing can be refused any more, train in it, and return it.

    Args:
        config, settings: as `asked` returns them.
        quiet: write train.log only.

    Raises:
        Refused, Failed, Interrupted: as `fit.resolved` and `fit.train`.
    """
    from mnist_lab.run.fit import resolved, train
    from mnist_lab.run.hydra_files import write_hydra_files

    Rehearsal().num_params(settings)
    settings = resolved(settings)
    with signals.defer():  # whatever stops a claimed run is written into its status
        given = (text.lstrip("+") for text in config.hydra.overrides.hydra)
        if any(text.startswith("hydra.run.dir=") for text in given):
            run = Run.claim(Path(config.hydra.run.dir).absolute())
        else:
            name = settings["choices"]["experiment"] or settings["choices"]["model"]
            run = Run.claim_new(Path("outputs/runs").absolute() / name)
        try:
            own_code().keep(run.path, begun=False)
            run.write_config(settings)  # whatever comes, it can be resumed
            write_hydra_files(run.path, config)
            with Console(run.path / "train.log", quiet=quiet) as console:
                for line in dropped_lines([settings]):
                    console.print_plain(line)
            train(settings, run, quiet=quiet)
        finally:
            run.release()
    return run.path
