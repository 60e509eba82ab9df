"""Convolutional network of several convolutions at each size, without a hidden layer."""

from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mnist_lab.models.classifier import NOT_STORED, Classifier
from mnist_lab.models.dropout import Dropout
from mnist_lab.models.layers import init_weights


@final
class DeepCNN(Classifier):
    """Convolutions with batch normalisation and ReLU, some of them pooled; the mean of each map.

    After the last one each map's mean is taken, and from these come the logits: global average
    pooling, Lin, Chen & Yan 2014, "Network in network", section 3.2.

    Args:
        padded: all convolutions but the first keep the size of their maps.
        pooled: the convolutions, counted from 1, that 2x2 max-pooling follows.
        dropout: of the means.
    """

    def __init__(
        self,
        *,
        channels: list[int],
        kernels: list[int],
        padded: bool,
        pooled: list[int],
        dropout: float,
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
            padding = kernel // 2 if padded and k > 1 else 0
            layers.append(nn.Conv2d(num_inputs, num_outputs, kernel, padding=padding, bias=False))
            side += 2 * padding - kernel + 1
            if k in pooled:
                layers.append(nn.MaxPool2d(2))
                side //= 2
            layers += [nn.BatchNorm2d(num_outputs), nn.ReLU(inplace=True)]
        layers += [nn.AvgPool2d(side), nn.Flatten()]
        layers += [Dropout(dropout), nn.Linear(channels[-1], self.num_classes)]  # (n, classes)
        self.layers = nn.Sequential(*layers)
        init_weights(self, init)
        self.to(memory_format=torch.channels_last)  # convolutions run twice as fast so

    def forward(self, images: Float[Tensor, "n 1 28 28"]) -> Float[Tensor, "n classes"]:
        return self.layers(images)  # type: ignore[no-any-return]
