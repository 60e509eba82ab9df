"""Spreads of many settings that lend each other strength: a few runs each say little alone.

The idea is limma's: the spreads of a sweep scatter about a common one, and how much they do says
how many further runs that one is worth to each setting. Here it is cautious: the common spread is
the larger of two estimates, its worth is understated by a standard error, and no setting's spread
is made smaller than its own runs show.

Source: Smyth (2004), Statist. Appl. Genet. Mol. Biol. 3, article 3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special

from mnist_lab.study.statistics import Estimate, Runs, rounding_variance, satterthwaite

FEWEST = 3  # settings; two are compared by their own runs alone
MANY = 1e6  # degrees of freedom, as good as infinitely many
SMALLEST_EXCESS = 0.001  # below, the settings do not differ in their spread

Kind = Literal["accuracy", "loss", "other"]
"""What the variance of a run goes with: p (1 - p), the mean, or nothing."""


@dataclass(frozen=True)
class Spread:
    """Of the n runs of one setting: their variance, with its degrees of freedom, of which the whole
    sweep gives `prior_df`.
    """

    variance: float
    df: float
    n: int
    prior_df: float


def weight(mean: float, *, kind: Kind, num_images: int | None) -> float:
    """What the variances of settings are divided by before they are likened to each other."""
    if kind == "accuracy":
        least = 0.5 / (num_images or MANY)  # a setting without any error still has a spread
        share = min(max(mean, least), 1 - least)
        return share * (1 - share)
    return mean if kind == "loss" and mean > 0 else 1.0


def moderated(
    runs: Mapping[str, Runs], *, kind: Kind, num_images: int | None = None
) -> dict[str, Spread]:
    """The spread of each setting, by its own runs and by those of all.

    Args:
        runs: of each setting; one with a value that is not finite plays no part.

    Returns:
        By setting; empty where there is nothing to learn from: fewer than three settings, or fewer
        than two with a spread.
    """
    tables = {
        name: values
        for name, found in runs.items()
        if found and np.isfinite(values := np.array([*found.values()])).all()
    }
    if len(tables) < FEWEST:
        return {}
    sizes = np.array([values.size for values in tables.values()])
    weights = np.array(
        [
            weight(float(values.mean()), kind=kind, num_images=num_images)
            for values in tables.values()
        ]
    )
    several = sizes > 1
    own = np.zeros(len(tables))
    own[several] = [values.var(ddof=1) for values in tables.values() if values.size > 1]
    own[several] += rounding_variance(num_images)
    relative = own[several] / weights[several]
    own_df = (sizes - 1).astype(float)
    if several.sum() < 2 or not relative.all():
        return {}
    centre, prior_df = prior(relative, own_df[several])
    df = prior_df + own_df
    common = weights * prior_df * centre / df
    common[several] += weights[several] * own_df[several] * relative / df[several]
    variances = np.maximum(own, common)
    df = np.minimum(df, own_df.sum())
    rows = zip(tables, variances, df, sizes, strict=True)
    return {name: Spread(float(v), float(d), int(n), prior_df) for name, v, d, n in rows}


def prior(relative: np.ndarray, df: np.ndarray) -> tuple[float, float]:
    """The common variance and the degrees of freedom that it is worth to each setting.

    Args:
        relative: variances (k,), over their weights; `df`: their degrees of freedom (k,).
    """
    expected = special.digamma(df / 2) - np.log(df / 2)  # of the logarithm of a variance of 1
    logs = np.log(relative) - expected
    scatter = float(logs.var(ddof=1))
    by_chance = float(special.polygamma(1, df / 2).mean())
    caution = math.sqrt(2 / (logs.size - 1)) * max(scatter, by_chance)
    excess = scatter - by_chance + caution
    prior_df = 2 * inverse_trigamma(excess) if excess > SMALLEST_EXCESS else MANY
    typical = math.exp(logs.mean() + special.digamma(prior_df / 2) - math.log(prior_df / 2))
    pooled = float(df @ relative / df.sum())
    return max(pooled, typical), prior_df


def inverse_trigamma(value: float) -> float:
    """The y of trigamma(y) = value, by Newton's method."""
    y = 0.5 + 1 / value
    for _ in range(50):
        found = float(special.polygamma(1, y))
        step = found * (1 - found / value) / float(special.polygamma(2, y))
        y += step
        if abs(step) < 1e-10 * y:
            break
    return y


def moderated_estimate(mean: float, a: Spread, b: Spread) -> Estimate:
    """The difference of two settings' means, by their moderated spreads."""
    share_a, share_b = a.variance / a.n, b.variance / b.n
    df = satterthwaite(share_a, a.df, share_b, b.df)
    error = math.sqrt(share_a + share_b)
    return Estimate(mean, error, df, a.n, b.n, paired=False, moderated=True)
