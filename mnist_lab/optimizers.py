"""RMSprop at the price of torch's fused Adam; the other optimizers are torch's own."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam

# Adam divides by 1 - beta ** step to undo its start from zero, which RMSprop does not. Begun at
# this step, both divisors are 1 to the last bit for any alpha below 0.99999.
LATE = 2.0**22


class RMSprop(Adam):
    """RMSprop as Keras 3 defines it: eps stands inside the root.

        v <- alpha v + (1 - alpha) g^2        w <- w - lr g / sqrt(v + eps)

    Source: Tieleman & Hinton 2012, lecture 6.5 of "Neural Networks for Machine Learning"; the place
    of eps is that of keras.optimizers.RMSprop. It matters: with eps = 1e-7 outside the root, as in
    torch.optim.RMSprop, weights with small gradients take far larger steps.

    torch has no fused RMSprop, but Adam with betas (0, alpha) and no bias correction is one. It
    keeps u = v + eps, which obeys u <- alpha u + (1 - alpha) (g^2 + eps): each step adds the
    second eps beforehand, the rest is Adam's.
    """

    def __init__(
        self, params: Iterable[Any], *, lr: float, alpha: float, eps: float, weight_decay: float
    ) -> None:
        super().__init__(
            params, lr=lr, betas=(0.0, alpha), eps=0.0, weight_decay=weight_decay, fused=True
        )
        self.refill = eps * (1 - alpha) / alpha
        for group in self.param_groups:
            for weight in group["params"]:
                self.state[weight] = {
                    "step": torch.full((), LATE, device=weight.device),
                    "exp_avg": torch.zeros_like(weight, memory_format=torch.preserve_format),
                    "exp_avg_sq": torch.full_like(weight, eps),
                }

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        squares: list[Tensor] = [
            self.state[weight]["exp_avg_sq"]
            for group in self.param_groups
            for weight in group["params"]
        ]
        torch._foreach_add_(squares, self.refill)
        return super().step(closure)
