"""Intervals, tests and calibration for the answers of one network, or two, on the same items."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special


@dataclass(frozen=True)
class Bin:
    """Answers with a confidence in (low, high]; means are None in an empty bin."""

    low: float
    high: float
    confidence: float | None
    accuracy: float | None
    count: int


@dataclass(frozen=True)
class Calibration:
    error: float  # expected calibration error, 0..1
    bins: tuple[Bin, ...]


def wilson(k: int, n: int, *, level: float) -> tuple[float, float]:
    """Interval of a proportion, k of n. Source: Wilson (1927), J. Am. Stat. Assoc. 22, p. 209."""
    if not 0 < level < 1:
        raise ValueError(f"level is {level}, expected between 0 and 1")
    if not 0 <= k <= n or n == 0:
        raise ValueError(f"{k} of {n}: expected 0 <= k <= n and at least one item")
    z = -float(special.ndtri((1 - level) / 2))
    center = (k + z * z / 2) / (n + z * z)
    margin = z / (n + z * z) * math.sqrt(k * (n - k) / n + z * z / 4)
    return (0.0 if k == 0 else center - margin), (1.0 if k == n else center + margin)


def mcnemar(only_a: int, only_b: int) -> float:
    """Exact two-sided p that two models are equally often right, on the same items.

    The counts are of items that only one of them has right; where both agree says nothing.
    Source: McNemar (1947), Psychometrika 12, p. 153, with the binomial in place of chi-squared.
    """
    if only_a < 0 or only_b < 0:
        raise ValueError(f"only_a={only_a}, only_b={only_b}: counts are 0 or more")
    return min(1.0, 2 * float(special.bdtr(min(only_a, only_b), only_a + only_b, 0.5)))


def calibration(confidence: ArrayLike, correct: ArrayLike, *, num_bins: int) -> Calibration:
    """Expected calibration error and the table of a reliability diagram, with bins of equal width.

    Bin m of M holds ((m - 1) / M, m / M], and the first one 0 as well.
    Source: Guo et al. (2017), "On Calibration of Modern Neural Networks", section 2.

    Args:
        confidence: (n,) probability of the predicted class, 0..1 (float32 may round above 1).
        correct: (n,) whether the prediction was right.
    """
    probs, right = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    if num_bins < 1:
        raise ValueError(f"num_bins={num_bins}: at least one bin is needed")
    if probs.ndim != 1 or probs.shape != right.shape or not probs.size:
        raise ValueError(
            f"confidence {probs.shape}, correct {right.shape}: expected the same (n,), with n > 0"
        )
    if not ((probs >= 0) & (probs <= 1 + 1e-6)).all():
        raise ValueError("confidence: expected probabilities 0..1, found values outside or NaN")
    if not np.isin(right, (0, 1)).all():
        raise ValueError("correct: expected only true and false")
    edges = np.arange(num_bins + 1) / num_bins  # each rounded once, so that 0.3 is on its edge
    index = np.clip(np.searchsorted(edges, probs, side="left") - 1, 0, num_bins - 1)
    counts = np.bincount(index, minlength=num_bins)
    confidences = np.bincount(index, weights=probs, minlength=num_bins)
    hits = np.bincount(index, weights=right, minlength=num_bins)
    columns = (edges[:-1], edges[1:], confidences, hits, counts)
    bins = tuple(
        Bin(low, high, c / n if n else None, h / n if n else None, n)
        for low, high, c, h, n in zip(*(column.tolist() for column in columns), strict=True)
    )
    return Calibration(float(np.abs(hits - confidences).sum() / probs.size), bins)
