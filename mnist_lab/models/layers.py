"""What several networks share: layers that torch has not as they are needed, the first weights."""

from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnist_lab.settings.table import INITS

UNIFORM = 0.05  # half the range of `uniform`


@final
class FlattenPixels(nn.Module):
    """(n, channels, height, width) to (n, height * width * channels): pixel by pixel.

    So they lie in memory in `channels_last`, and so Keras orders them; torch's own Flatten goes
    channel by channel and would copy all of them, forward and backward.
    """

    def forward(self, maps: Tensor) -> Tensor:
        return maps.permute(0, 2, 3, 1).flatten(1)


@final
class Crop(nn.Module):
    """(n, maps, height, width) without `edge` rows and columns on each side."""

    def __init__(self, edge: int) -> None:
        super().__init__()
        self.edge = edge

    def forward(self, maps: Tensor) -> Tensor:
        return F.pad(maps, [-self.edge] * 4)

    def extra_repr(self) -> str:
        return str(self.edge)


@final
class Noise(nn.Module):
    """Gaussian noise of standard deviation `deviation`, in training alone."""

    def __init__(self, deviation: float) -> None:
        super().__init__()
        self.deviation = deviation

    def forward(self, values: Tensor) -> Tensor:
        if not (self.training and self.deviation):
            return values
        return values + self.deviation * torch.randn_like(values)

    def extra_repr(self) -> str:
        return str(self.deviation)


@final
class BatchNorm(nn.BatchNorm1d):
    """torch's, which refuses a batch of one image; its epoch may end with one.

    That one is normalised by the running means, as in evaluation, and changes nothing of them.
    """

    def forward(self, input: Tensor) -> Tensor:
        if self.training and len(input) == 1:
            means = self.running_mean, self.running_var
            return F.batch_norm(input, *means, self.weight, self.bias, eps=self.eps)
        return super().forward(input)


def init_weights(network: nn.Module, init: str) -> None:
    """Set the weights of every linear and convolutional layer.

    `torch` leaves PyTorch's own default. `glorot` is uniform in +-sqrt(6 / (fan_in + fan_out))
    (Glorot & Bengio 2010, "Understanding the difficulty of training deep feedforward neural
    networks", eq. 16), `uniform` is uniform in +-0.05; both with zero bias.
    """
    assert init in INITS
    for layer in network.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d)) and init != "torch":
            if init == "glorot":
                nn.init.xavier_uniform_(layer.weight)
            else:
                nn.init.uniform_(layer.weight, -UNIFORM, UNIFORM)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
