"""Convolutional network of few parameters: no hidden layer, the mean of each map decides."""

from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mnist_lab.models.classifier import NOT_STORED, Classifier
from mnist_lab.models.layers import init_weights


@final
class SmallCNN(Classifier):
    """Convolutions with batch normalisation and ReLU; 2x2 max-pooling after all but the last.

    Then the mean of each of the last maps, and from these the logits: global average pooling, Lin,
    Chen & Yan 2014, "Network in network", section 3.2.
    """

    def __init__(
        self,
        *,
        channels: list[int],
        kernels: list[int],
        init: str,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.save_hyperparameters(ignore=NOT_STORED, logger=False)
        layers: list[nn.Module] = []
        side = 28
        for k, (num_inputs, num_outputs, kernel) in enumerate(
            zip([1, *channels[:-1]], channels, kernels, strict=True), start=1
        ):
            layers.append(nn.Conv2d(num_inputs, num_outputs, kernel, bias=False))
            side = side - kernel + 1
            if k < len(channels):
                layers.append(nn.MaxPool2d(2))
                side //= 2
            layers += [nn.BatchNorm2d(num_outputs), nn.ReLU(inplace=True)]
        layers += [nn.AvgPool2d(side), nn.Flatten(), nn.Linear(channels[-1], self.num_classes)]
        self.layers = nn.Sequential(*layers)  # (n, classes)
        init_weights(self, init)
        self.to(memory_format=torch.channels_last)  # convolutions run twice as fast so

    def forward(self, images: Float[Tensor, "n 1 28 28"]) -> Float[Tensor, "n classes"]:
        return self.layers(images)  # type: ignore[no-any-return]
