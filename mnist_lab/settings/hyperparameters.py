"""The settings that make a run what it is, under flat names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mnist_lab.settings.table import SETTINGS, leaves

Value = int | float | bool | str

# Where a run computes and where its data lie: none of it makes another experiment.
CIRCUMSTANCES = frozenset(
    {
        "data.name",  # stands as `data`
        "data.root",
        "data.folder",
        "data.mirrors",
        "data.download",
        "data.class_names",
        "trainer.accelerator",
        "trainer.devices",
        "trainer.profiler",
        "trainer.detect_anomaly",
        "threads",
    }
)

CHOICES = ("experiment", "model", "optimizer", "schedule")

# Every name that `hyperparameters` may give, in its order.
NAMES = (
    "data",
    *CHOICES,
    *(name for name in SETTINGS if name not in CIRCUMSTANCES and not name.startswith("hydra.")),
)


def hyperparameters(config: Mapping[str, Any]) -> dict[str, Value]:
    """Flatten a run's configuration to what a user would type to repeat it, circumstances left out.

    Lists become text. What is not set is left out.
    """
    flat = leaves(config)
    flat |= {group: flat.get(f"choices.{group}") for group in CHOICES}
    flat["data"] = flat.get("data.name")
    return {
        name: str(value) if isinstance(value, list) else value
        for name in NAMES
        if (value := flat.get(name)) is not None
    }
