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
        "data.format",
        "data.first_label",
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

CHOICES = ("experiment", "model", "optimizer", "schedule", "callbacks")

# Every name that `hyperparameters` gives of the lab's own, in its order; a user's come after them.
NAMES = (
    "data",
    *CHOICES,
    *(name for name in SETTINGS if name not in CIRCUMSTANCES and not name.startswith("hydra.")),
)

OWN_GROUPS = (
    "model.",
    "optimizer.",
    "schedule.",
    "callbacks.",
    "data.module.",
)  # with classes of a user's


def hyperparameters(config: Mapping[str, Any]) -> dict[str, Value]:
    """Flatten a run's configuration to what a user would type to repeat it, circumstances left out.

    Lists become text. What is not set is left out.
    """
    flat = leaves(config)
    flat |= {group: flat.get(f"choices.{group}") for group in CHOICES}
    flat["data"] = flat.get("data.name")
    others = [name for name in flat if name not in SETTINGS and name.startswith(OWN_GROUPS)]
    others = [name for name in others if not name.endswith(("._target_", "._partial_"))]
    return {
        name: str(value) if isinstance(value, list) else value
        for name in (*NAMES, *others)
        if (value := flat.get(name)) is not None
    }
