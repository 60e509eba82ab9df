"""Adam and AdamW with a short step, RMSprop at Adam's price; SGD is torch's own."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor


def fused_step(optimizer: torch.optim.Adam) -> None:
    """One step of torch's fused kernel, for weights that all have a gradient and a state.

    `torch.optim.Adam.step` looks at each weight's device, type and options before it calls the same
    kernel. These stay what they were, and on a small network that takes longer than the kernel.
    """
    for group in optimizer.param_groups:
        weights = group["params"]
        states = [optimizer.state[weight] for weight in weights]
        steps = [state["step"] for state in states]
        torch._foreach_add_(steps, 1)
        kernel = torch._fused_adamw_ if group["decoupled_weight_decay"] else torch._fused_adam_
        kernel(
            weights,
            [weight.grad for weight in weights],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            steps,
            lr=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
        )


class Adam(torch.optim.Adam):
    """Source: Kingma & Ba 2015, "Adam: A Method for Stochastic Optimization", algorithm 1."""

    decoupled = False  # weight decay is a part of the gradient

    def __init__(
        self,
        params: Iterable[Any],
        *,
        lr: float,
        betas: Sequence[float],
        eps: float,
        weight_decay: float,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            betas=(betas[0], betas[1]),
            eps=eps,
            weight_decay=weight_decay,
            fused=True,
            decoupled_weight_decay=self.decoupled,
        )

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        if closure is not None or not self.state:
            return super().step(closure)  # the first one makes the state
        return fused_step(self)


class AdamW(Adam):
    """Source: Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization", algorithm 2."""

    decoupled = True


# Adam divides by 1 - beta ** step to undo its start from zero, which RMSprop does not. Begun at
# this step, both divisors are 1 to the last bit for any alpha below 0.99999.
LATE = 2.0**22


class RMSprop(torch.optim.Adam):
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
        return fused_step(self) if closure is None else super().step(closure)
