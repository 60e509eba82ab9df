"""One piece of work that every competitor does alike; read by processes that have no torch."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

EVAL_BATCH_SIZE = 512  # images at a time without gradients, as in the lab


@dataclass(frozen=True, kw_only=True)
class Work:
    """A network, how it is trained and on what.

    Attributes:
        model, optimizer: the lab's own nodes of these names, as plain dictionaries.
        num_train, num_val: images; validation is the end of the training split.
        epochs: passes over the training split.
        parts: stretches of an epoch that are timed by themselves.
        overrides: what makes `mnist-train` do this work.
        folder: holds MNIST/raw/ with the four uncompressed files.
    """

    name: str
    model: dict[str, Any]
    optimizer: dict[str, Any]
    batch_size: int
    num_train: int
    num_val: int
    epochs: int
    parts: int
    threads: int
    seed: int
    overrides: list[str]
    folder: str

    @property
    def num_steps(self) -> int:
        """Optimizer steps in an epoch, the last smaller batch included."""
        return math.ceil(self.num_train / self.batch_size)

    @property
    def is_cnn(self) -> bool:
        return "channels" in self.model

    def plain(self) -> dict[str, Any]:
        return asdict(self)
