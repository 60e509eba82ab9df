"""Convolutional network."""

from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mnist_lab.models.classifier import NOT_STORED, Classifier
from mnist_lab.models.dropout import Dropout
from mnist_lab.models.layers import FlattenPixels, init_weights


@final
class CNN(Classifier):
    """A 3x3 convolution for each entry of `channels` (no padding, no pooling), then `width` units.

    ReLU after each layer, dropout after the hidden layer of `width` units only.
    """

    def __init__(
        self,
        *,
        channels: list[int],
        width: int,
        dropout: float,
        init: str,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.save_hyperparameters(ignore=NOT_STORED, logger=False)
        layers: list[nn.Module] = []
        for num_inputs, num_outputs in zip([1, *channels[:-1]], channels, strict=True):
            layers += [nn.Conv2d(num_inputs, num_outputs, kernel_size=3), nn.ReLU(inplace=True)]
        side = 28 - 2 * len(channels)  # each convolution takes a pixel from every edge
        layers += [
            FlattenPixels(),
            nn.Linear(channels[-1] * side * side, width),
            nn.ReLU(inplace=True),
        ]
        layers += [Dropout(dropout), nn.Linear(width, self.num_classes)]  # (n, classes)
        self.layers = nn.Sequential(*layers)
        init_weights(self, init)
        self.to(memory_format=torch.channels_last)  # convolutions run faster so

    def forward(self, images: Float[Tensor, "n 1 28 28"]) -> Float[Tensor, "n classes"]:
        return self.layers(images)  # type: ignore[no-any-return]
