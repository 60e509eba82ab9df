"""First weights."""

from torch import nn

from mnist_lab.settings.table import INITS

UNIFORM = 0.05  # half the range of `uniform`


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
