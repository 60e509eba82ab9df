"""What several networks share: pixels flattened without a copy, and the first weights."""

from typing import final

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
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
