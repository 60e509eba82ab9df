"""The .hydra folder of a run that Hydra itself did not launch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omegaconf import DictConfig


def write_hydra_files(directory: Path, config: DictConfig, *, number: int | None = None) -> None:
    """Write a composed configuration as Hydra's own launchers do, in three files.

    Args:
        number: of a sweep's job.
    """
    from omegaconf import OmegaConf, open_dict

    with open_dict(config):
        hydra = config.pop("hydra")
    if number is None:
        hydra.run.dir = str(directory)
    else:
        hydra.job.id, hydra.job.num = str(number), number
        hydra.sweep.dir, hydra.sweep.subdir = str(directory.parent), directory.name
    with open_dict(hydra):
        hydra.runtime.output_dir = str(directory)
    folder = directory / ".hydra"
    folder.mkdir()
    texts = {
        "config.yaml": OmegaConf.to_yaml(config),
        "hydra.yaml": OmegaConf.to_yaml(OmegaConf.create({"hydra": hydra})),
        "overrides.yaml": OmegaConf.to_yaml(hydra.overrides.task),
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
