"""Torch's fused kernels, called directly; RMSprop is Keras's, at the price of Adam.

A step of `torch.optim` looks at each weight's device, type and options before it calls the same
kernel. On a small network that takes longer than the kernel: 13 to 45 % of a step at widths 512 to
32. Given a closure, as by Lightning's own loop, a step is torch's own, with the same result.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor


class Direct(torch.optim.Optimizer):
    """An optimizer whose weights all have a gradient and a state once it has made a step."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        if not set_to_none:
            return super().zero_grad(set_to_none)
        for group in self.param_groups:
            for weight in group["params"]:
                weight.grad = None

    def states(self, group: dict[str, Any], name: str) -> list[Tensor]:
        """One state of each of a group's weights."""
        return [self.state[weight][name] for weight in group["params"]]


class SGD(Direct, torch.optim.SGD):
    """Gradient descent, with Polyak's or Nesterov's momentum.

    Source: Sutskever et al. 2013, "On the importance of initialization and momentum in deep
    learning", section 2, with the learning rate outside the momentum.
    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        lr: float,
        weight_decay: float,
        momentum: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            momentum=momentum,
            nesterov=nesterov,
            weight_decay=weight_decay,
            fused=True,
        )

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        if closure is not None or (self.defaults["momentum"] and not self.state):
            return super().step(closure)  # the first one makes the state
        for group in self.param_groups:
            weights = group["params"]
            torch._fused_sgd_(
                weights,
                [weight.grad for weight in weights],
                self.states(group, "momentum_buffer") if group["momentum"] else [],
                weight_decay=group["weight_decay"],
                momentum=group["momentum"],
                lr=group["lr"],
                dampening=0.0,
                nesterov=group["nesterov"],
                maximize=False,
                is_first_step=False,
            )
        return None


class Adam(Direct, torch.optim.Adam):
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
        kernel = torch._fused_adamw_ if self.decoupled else torch._fused_adam_
        for group in self.param_groups:
            weights, steps = group["params"], self.states(group, "step")
            torch._foreach_add_(steps, 1)
            kernel(
                weights,
                [weight.grad for weight in weights],
                self.states(group, "exp_avg"),
                self.states(group, "exp_avg_sq"),
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
        return None


class AdamW(Adam):
    """Source: Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization", algorithm 2."""

    decoupled = True


# Adam divides by 1 - beta ** step to undo its start from zero, which RMSprop does not. At this
# step both divisors are 1 to the last bit for any alpha below 0.99999.
LATE = 2.0**22


class RMSprop(Direct):
    """RMSprop as Keras 3 defines it: eps stands inside the root.

        v <- alpha v + (1 - alpha) g^2        w <- w - lr g / sqrt(v + eps)

    Source: Tieleman & Hinton 2012, lecture 6.5 of "Neural Networks for Machine Learning"; the place
    of eps is that of keras.optimizers.RMSprop. It matters: with eps = 1e-7 outside the root, as in
    torch.optim.RMSprop, weights with small gradients take far larger steps.

    torch has no fused RMSprop, but Adam with betas (0, alpha) and no bias correction is one. It
    keeps u = v + eps, which obeys u <- alpha u + (1 - alpha) (g^2 + eps): each step adds the
    second eps beforehand, the rest is Adam's. With a beta of 0 Adam's mean of the gradients is the
    gradient, so the kernel is given the gradient as both.
    """

    def __init__(
        self, params: Iterable[Any], *, lr: float, alpha: float, eps: float, weight_decay: float
    ) -> None:
        defaults = {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults)
        for group in self.param_groups:
            for weight in group["params"]:
                self.state[weight]["square_plus_eps"] = torch.full_like(weight, eps)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            weights, alpha = group["params"], group["alpha"]
            squares = self.states(group, "square_plus_eps")
            gradients = [weight.grad for weight in weights]
            late = torch.full((), LATE, device=weights[0].device)
            torch._foreach_add_(squares, group["eps"] * (1 - alpha) / alpha)
            torch._fused_adam_(
                weights,
                gradients,
                gradients,
                squares,
                [],
                [late] * len(weights),
                lr=group["lr"],
                beta1=0.0,
                beta2=alpha,
                weight_decay=group["weight_decay"],
                eps=0.0,
                amsgrad=False,
                maximize=False,
            )
        return loss
