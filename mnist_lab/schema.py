"""What is stored with runs, from version to version. Imports neither torch nor Hydra."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mnist_lab.errors import Refused

SCHEMA = 1  # of config.yaml, metrics.json and sweep.json; files without one are older

# What settings were before they existed: version that brought them -> name -> value.
BEFORE: dict[int, dict[str, Any]] = {
    1: {
        "trainer.accumulate_grad_batches": 1,
        "trainer.check_val_every_n_epoch": 1,
        "trainer.detect_anomaly": False,
        "trainer.fast_dev_run": False,
        "trainer.gradient_clip_val": None,
        "trainer.limit_train_batches": 1.0,
        "trainer.limit_val_batches": 1.0,
        "trainer.overfit_batches": 0.0,
        "trainer.profiler": None,
    }
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


def settings_before(version: int, known: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a file of this version does not know yet, by dotted name."""
    return {
        name: value
        for since, settings in BEFORE.items()
        if since > version
        for name, value in settings.items()
        if name not in known
    }
