"""From stretches to figures: medians, quartiles, ratios."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

Report = Mapping[str, float]
Spread = dict[str, float]


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles (inclusive: of these values, not of a population behind them)."""
    if len(values) == 1:
        return {"low": values[0], "median": values[0], "high": values[0], "n": 1}
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"low": low, "median": median, "high": high, "n": len(values)}


def epoch_seconds(reports: Sequence[Report], num_steps: int) -> list[float]:
    """What an epoch would take at the pace of each stretch, its start and end included.

    The first stretch is a warm-up and left out. Of the starts and ends the quickest counts: there
    are few, and a process that waited long for its turn may find its memory reclaimed.
    """
    ends = min(report["around"] for report in reports if "around" in report)
    timed = reports[1:] or reports
    return [num_steps * report["seconds"] / report["steps"] + ends for report in timed]


def cores_used(reports: Sequence[Report]) -> float:
    """CPU seconds per second over all stretches but the first."""
    timed = reports[1:] or reports
    return sum(r["cpu_seconds"] for r in timed) / sum(r["seconds"] for r in timed)


def paired_ratio(above: Sequence[float], below: Sequence[float]) -> Spread:
    """Ratios within each round, so that what slows a whole round cancels."""
    return spread([a / b for a, b in zip(above, below, strict=True)])


def geometric_mean(values: Sequence[float]) -> float:
    return math.exp(statistics.fmean(map(math.log, values)))


def accuracies_agree(accuracies: Sequence[float], num_images: int) -> bool:
    """Whether they lie within four standard errors of the difference of two proportions."""
    mean = statistics.fmean(accuracies)
    error = math.sqrt(2 * mean * (1 - mean) / num_images)
    return max(accuracies) - min(accuracies) <= 4 * error
