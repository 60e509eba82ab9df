"""A stored run whose network is to be asked something. Imports torch only to build it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_lab.runs import checkpoint_path, locate, read_config, read_epochs, read_state

if TYPE_CHECKING:
    from mnist_lab.models.classifier import Classifier

CHECKPOINTS = ("last", "best")


@dataclass(frozen=True)
class TrainedRun:
    """A run directory with stored weights.

    Attributes:
        config: the run's own, checked as `runs.read_config` does.
        checkpoint: `last` or `best`.
    """

    path: Path
    config: dict[str, Any]
    checkpoint: str

    @classmethod
    def find(cls, path: Path, *, checkpoint: str) -> TrainedRun:
        """Look at a directory that a user named.

        Raises:
            Refused: it is no run, has no such checkpoint, or its configuration is not sound.
        """
        checkpoint_path(locate(path), checkpoint)
        return cls(path, read_config(path), checkpoint)

    @property
    def threads(self) -> int:
        """Those that the run was trained with, as far as this machine has them."""
        return min(self.config["threads"] or 1, os.cpu_count() or 1)

    @property
    def caveat(self) -> str | None:
        """What to know of a run that has not come to its end."""
        state = read_state(self.path)
        if state == "finished":
            return None
        return f"{self.path}: {state}, with {len(read_epochs(self.path))} epochs done."

    def load(self) -> tuple[Classifier, int]:
        """Build the network; the number is the epoch, from 1, after which it was stored."""
        from mnist_lab.checkpoints import read_run_checkpoint, restore_model

        stored = read_run_checkpoint(checkpoint_path(self.path, self.checkpoint))
        return restore_model(self.config, stored), stored["epoch"] + 1
