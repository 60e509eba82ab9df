"""Convolutional network with pooling: fewer positions to compute, so far faster than `cnn`."""

from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mnist_lab.models.classifier import NOT_STORED, Classifier
from mnist_lab.models.dropout import Dropout
from mnist_lab.models.layers import FlattenPixels, init_weights


@final
class PooledCNN(Classifier):
    """For each entry of `channels` a convolution without padding, 2x2 max-pooling and ReLU.

    Then `width` hidden units, with ReLU and dropout. Pooling stands before ReLU: the result is the
    same, since both are monotonic, at a quarter of the work.
    """

    def __init__(
        self,
        *,
        channels: list[int],
        kernels: list[int],
        width: int,
        dropout: float,
        init: str,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.save_hyperparameters(ignore=NOT_STORED, logger=False)
        layers: list[nn.Module] = []
        side = 28
        for num_inputs, num_outputs, kernel in zip(
            [1, *channels[:-1]], channels, kernels, strict=True
        ):
            layers += [
                nn.Conv2d(num_inputs, num_outputs, kernel),
                nn.MaxPool2d(2),
                nn.ReLU(inplace=True),
            ]
            side = (side - kernel + 1) // 2
        layers += [
            FlattenPixels(),
            nn.Linear(channels[-1] * side * side, width),
            nn.ReLU(inplace=True),
        ]
        layers += [Dropout(dropout), nn.Linear(width, self.num_classes)]  # (n, classes)
        self.layers = nn.Sequential(*layers)
        init_weights(self, init)
        self.to(memory_format=torch.channels_last)  # convolutions run twice as fast so

    def forward(self, images: Float[Tensor, "n 1 28 28"]) -> Float[Tensor, "n classes"]:
        return self.layers(images)  # type: ignore[no-any-return]
