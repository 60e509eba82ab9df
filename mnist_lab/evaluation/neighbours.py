"""The training images that a network takes for the most like: nearest in its last hidden layer."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64, UInt8
from torch import Tensor, nn

from mnist_lab.data.datamodule import Split, scale
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
    return layer_inputs(model, images, last=1, progress=progress)[0][-1]


def layer_inputs(
    model: Classifier,
    images: UInt8[Tensor, "n 1 28 28"],
    *,
    last: int,
    progress: Progress | None = None,
) -> tuple[list[Float32[Tensor, "n _"]], Float64[np.ndarray, "n classes"]]:
    """What each of the `last` linear layers is given, as far as there are, in their order.

    Of a network of a user's own that has none, or none with a row for each image: the pixels.

    Returns:
        That, and the natural logarithms of the probabilities.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear)][-last:]
    given: list[list[Tensor]] = [[] for _ in layers]
    hooks = [
        layer.register_forward_pre_hook(lambda _, inputs, kept=kept: kept.append(inputs[0]))
        for layer, kept in zip(layers, given, strict=True)
    ]
    try:
        logs = log_probs(model, images, progress=progress)
    finally:
        for hook in hooks:
            hook.remove()
    inputs = [torch.cat(parts).flatten(1) for parts in given if parts]
    return [each for each in inputs if len(each) == len(images)] or [scale(images).flatten(1)], logs


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
