"""Convolutional network with batch normalisation: right sooner, and in the end."""

from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mnist_lab.models.classifier import NOT_STORED, Classifier
from mnist_lab.models.dropout import Dropout
from mnist_lab.models.layers import Crop, FlattenPixels, init_weights


@final
class BatchNormCNN(Classifier):
    """`PooledCNN` with batch normalisation after each pooling, which takes the place of the bias.

    Source: Ioffe & Szegedy 2015, "Batch Normalization: Accelerating Deep Network Training by
    Reducing Internal Covariate Shift", algorithms 1 and 2.

    Args:
        crop: pixels of each edge that are not looked at; MNIST's outer four are hardly ever inked.
    """

    def __init__(
        self,
        *,
        channels: list[int],
        kernels: list[int],
        width: int,
        dropout: float,
        crop: int,
        init: str,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.save_hyperparameters(ignore=NOT_STORED, logger=False)
        layers: list[nn.Module] = [Crop(crop)] if crop else []
        side = 28 - 2 * crop
        for num_inputs, num_outputs, kernel in zip(
            [1, *channels[:-1]], channels, kernels, strict=True
        ):
            layers += [
                nn.Conv2d(num_inputs, num_outputs, kernel, bias=False),
                nn.MaxPool2d(2),
                nn.BatchNorm2d(num_outputs),
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
