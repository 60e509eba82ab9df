"""Dropout at a third of the price that torch's has on a CPU."""

from typing import final

import torch
from torch import Tensor, nn

LEVELS = 2**16  # a unit's fate is decided by 16 random bits, so `p` is met to 1/131,072


@final
class Dropout(nn.Dropout):
    """Silence each value with probability `p` in training, and scale the others by 1 / (1 - p).

    torch draws one random number a value, one after the other; that takes longer than the layer
    before it. Here one draw of 64 bits decides four values. `p` is rounded to a multiple of
    1/65,536, and the scale goes with the rounded one. Elsewhere than on a CPU it is torch's own.

    Source: Srivastava et al. 2014, "Dropout: A Simple Way to Prevent Neural Networks from
    Overfitting", section 4, with the scaling moved from test to training.
    """

    def forward(self, input: Tensor) -> Tensor:
        if not (self.training and self.p) or input.device.type != "cpu":
            return super().forward(input)
        num_dropped = min(round(self.p * LEVELS), LEVELS - 1)
        draws = torch.empty(-(-input.numel() // 4), dtype=torch.int64)
        fates = draws.random_(-(2**63), None).view(torch.int16)[: input.numel()]
        kept = fates.view(input.shape) >= num_dropped - LEVELS // 2
        return input * kept.to(input.dtype).mul_(LEVELS / (LEVELS - num_dropped))
