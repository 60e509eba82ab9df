"""Feature maps to a vector, without moving them."""

from typing import final

from torch import Tensor, nn


@final
class FlattenPixels(nn.Module):
    """(n, channels, height, width) to (n, height * width * channels): pixel by pixel.

    So they lie in memory in `channels_last`, and so Keras orders them; torch's own Flatten goes
    channel by channel and would copy all of them, forward and backward.
    """

    def forward(self, maps: Tensor) -> Tensor:
        return maps.permute(0, 2, 3, 1).flatten(1)
