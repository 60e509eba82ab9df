"""The learning rate over a run: a factor of `optimizer.lr`, stepped once a batch.

Each schedule is a pure function of the progress (0 before the first step, near 1 at the last), so a
resumed run has nothing to restore and goes on exactly.
"""

import math


def constant(progress: float) -> float:  # noqa: ARG001
    return 1.0


def cosine(progress: float, *, end: float) -> float:
    """From 1 down to `end` along half a cosine.

    Source: Loshchilov & Hutter 2017, "SGDR: Stochastic Gradient Descent with Warm Restarts", eq. 5,
    without restarts.
    """
    return end + (1 - end) * (1 + math.cos(math.pi * progress)) / 2


def one_cycle(progress: float, *, warmup: float, start: float, end: float) -> float:
    """From `start` up to 1 over the share `warmup` of the run, then down to `end`; both linear.

    Source: Smith & Topin 2018, "Super-Convergence: Very Fast Training of Neural Networks Using
    Large Learning Rates", section 3.
    """
    if progress < warmup:
        return start + (1 - start) * progress / warmup
    return end + (1 - end) * (1 - progress) / (1 - warmup)
