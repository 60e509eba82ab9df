"""What is stored with runs, from version to version. Imports neither torch nor Hydra."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mnist_lab.ui.errors import Refused

SCHEMA = 4  # of config.yaml, metrics.json, sweep.json and checkpoints; files without are older

# What settings were before they existed: version that brought them -> name -> value.
BEFORE: dict[int, dict[str, Any]] = {
    1: {
        "data.max_shift": 0,
        "data.split_seed": None,
        "trainer.accumulate_grad_batches": 1,
        "trainer.check_val_every_n_epoch": 1,
        "trainer.detect_anomaly": False,
        "trainer.fast_dev_run": False,
        "trainer.gradient_clip_val": None,
        "trainer.limit_train_batches": 1.0,
        "trainer.limit_val_batches": 1.0,
        "trainer.overfit_batches": 0.0,
        "trainer.profiler": None,
    },
    2: {
        "data.first_label": 0,
        "data.format": "idx",
        "data.transposed": False,
        "model.label_smoothing": 0.0,
        "model.class_weights": None,
        **{f"choices.{group}": None for group in ("metrics", "callbacks", "logger", "debug")},
    },
    3: {"trainer.patience": None},
    4: {f"data.max_{name}": 0.0 for name in ("turn", "slant", "bend", "pen")},
}

# Settings of earlier versions, and what they did; stored configurations may still hold them.
RETIRED = {
    "data.allow_embedded": "it let 5,000 images stand in where MNIST was not to be had",
    "optimizer.fused": "it chose torch's fused kernels, which are always taken",
    "schedule.factor": "it scaled the learning rate of the first steps; schedule=one_cycle does",
    "schedule.total_iters": "it said how many steps schedule.factor lasts",
}
# Where a retired setting made another experiment of a run: the value with which it did not.
WITHOUT_EFFECT = {"schedule.factor": 1.0}

# Names that stored configurations build from -> where each is now.
TORCHS = ("Adam", "AdamW", "SGD")  # ours are torch's own, in shorter steps
MOVED = {
    "mnist_lab.data.MNISTDataModule": "mnist_lab.data.datamodule.MNISTDataModule",
    "torch.optim.lr_scheduler.ConstantLR": "mnist_lab.optim.schedules.constant",
    **{f"torch.optim.{name}": f"mnist_lab.optim.optimizers.{name}" for name in TORCHS},
    **{
        f"mnist_lab.{module}.{name}": f"mnist_lab.optim.{module}.{name}"
        for module, names in {
            "optimizers": ("Adam", "AdamW", "RMSprop", "SGD"),
            "schedules": ("constant", "cosine", "one_cycle"),
        }.items()
        for name in names
    },
}


def taken_version(document: dict[str, Any], file: Path) -> int:
    """Take the schema version out of what was read from a file.

    Raises:
        Refused: it is a later lab's, or none at all.
    """
    version = document.pop("schema", 0)
    if not isinstance(version, int) or not 0 <= version <= SCHEMA:
        raise Refused(f"{file}: schema={version!r}: must be 0 to {SCHEMA}; a later mnist_lab's?")
    return version


def upgrade(config: dict[str, Any], version: int) -> None:
    """Make a stored configuration of an earlier version one of today, in place.

    Raises:
        Refused: a setting that is there no more has changed what was trained.
    """
    for name, meaning in RETIRED.items():
        group, _, leaf = name.rpartition(".")
        if isinstance(config.get(group), dict) and leaf in config[group]:
            value = config[group].pop(leaf)
            if value != WITHOUT_EFFECT.get(name, value):
                raise Refused(f"{name}={value}: no longer a setting ({meaning}).")
    for node in config.values():
        if isinstance(node, dict) and isinstance(target := node.get("_target_"), str):
            node["_target_"] = MOVED.get(target, target)
    for group in ("metrics", "callbacks", "logger"):
        config.setdefault(group, {})
    for since, settings in BEFORE.items():
        for name, value in settings.items() if since > version else ():
            group, _, leaf = name.rpartition(".")
            if isinstance(config.get(group), dict):
                config[group].setdefault(leaf, value)
