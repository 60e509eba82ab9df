"""The training images that a network takes for the most like: nearest in its last hidden layer."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor, nn

from mnist_lab.data.datamodule import Split
from mnist_lab.evaluation.answers import Progress, log_probs
from mnist_lab.models.classifier import Classifier

MAX_VALUES = 250_000_000  # features kept of the training images, 1 GB
CHUNK = 64  # images whose distances to all training images are held at a time


def features(
    model: Classifier, images: UInt8[Tensor, "n 1 28 28"], *, progress: Progress | None = None
) -> Float32[Tensor, "n width"]:
    """What the last linear layer is given, dropout off: the hidden units before the logits.

    A network without hidden layers has none: there it is the 784 pixels, 0..1.
    """
    head = [layer for layer in model.modules() if isinstance(layer, nn.Linear)][-1]
    given: list[Tensor] = []
    hook = head.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    try:
        log_probs(model, images, progress=progress)
    finally:
        hook.remove()
    return torch.cat(given)


@dataclass(frozen=True)
class Neighbour:
    """A training image near another one.

    Attributes:
        index: in the run's training split, as `mnist-evaluate --split train` counts.
        distance: Euclidean, between features.
    """

    index: int
    label: int
    distance: float
    image: UInt8[np.ndarray, "28 28"] = field(repr=False, compare=False)


@dataclass(frozen=True)
class TrainingImages:
    """What a run was trained on, or the first part of it that memory allows, with its features."""

    images: UInt8[Tensor, "n 1 28 28"]
    labels: Int64[Tensor, "n"]
    features: Float32[Tensor, "n width"]

    @classmethod
    def of(cls, model: Classifier, split: Split, *, progress: Progress | None = None) -> Self:
        images, labels = split
        limit = max(1, MAX_VALUES // features(model, images[:1]).shape[1])
        images, labels = images[:limit], labels[:limit]
        return cls(images, labels, features(model, images, progress=progress))

    @cached_property
    def squares(self) -> Float32[Tensor, "n"]:
        return self.features.square().sum(dim=1)

    def nearest(
        self, wanted: Float32[Tensor, "m width"], *, num_neighbours: int
    ) -> list[list[Neighbour]]:
        """The nearest training images to each row of features, the nearest first."""
        return [
            neighbours
            for rows in wanted.split(CHUNK)
            for neighbours in self._nearest(rows, min(num_neighbours, len(self.features)))
        ]

    def _nearest(self, rows: Float32[Tensor, "m width"], k: int) -> list[list[Neighbour]]:
        # Matrix products are fast, but small differences of large squares are lost in them: they
        # only choose the candidates.
        rough = self.squares - 2 * rows @ self.features.T
        chosen = rough.topk(min(2 * k + 16, len(self.features)), largest=False).indices
        distances = (self.features[chosen] - rows.unsqueeze(1)).norm(dim=2)
        nearest = distances.topk(k, largest=False)
        indices = chosen.gather(1, nearest.indices)
        return [
            [
                Neighbour(i, int(self.labels[i]), distance, self.images[i, 0].numpy())
                for i, distance in zip(*row, strict=True)
            ]
            for row in zip(indices.tolist(), nearest.values.tolist(), strict=True)
        ]
