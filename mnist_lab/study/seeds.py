"""How large a difference so many seeds would find, and how many seeds two settings would take."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import special

from mnist_lab.study.ranking import Comparison, Ranking
from mnist_lab.study.statistics import Estimate, estimate

FOUR_IN_FIVE = float(special.ndtri(0.8))  # how often a difference shall be found
MOST = 100  # seeds that anybody would run
RANGE = 0.9  # level of the interval of the difference behind a range of numbers of seeds


@dataclass(frozen=True)
class Plan:
    """What more seeds would bring to a comparison.

    Attributes:
        here: the difference that as many seeds as there are would find four times in five.
        doubled: likewise with twice as many.
        num_seeds: each setting's, that find the difference as it looks now four times in five;
            None: more than MOST; `fewest` and `most` end the range that it may really be.
    """

    n: int
    here: float
    doubled: float
    num_seeds: int | None
    fewest: int | None
    most: int | None


def found_by(n: int, comparison: Comparison, ranking: Ranking, pair: Estimate) -> float:
    """The difference that n seeds of each setting find four times in five.

    As the ranking decides: by the paired runs or by the spread of the whole sweep, whichever needs
    the smaller one; with the normal distribution's 0.84 for four in five.

    Args:
        pair: of the two settings by themselves.
    """
    alpha = (1 - ranking.level) / comparison.place / 2  # on either side
    a, b = (ranking.spreads.get(name) for name in (comparison.best, comparison.other))
    found = []
    if a and b:
        alpha /= 2
        total = len(ranking.spreads) * (n - 1)
        error = math.sqrt((a.variance + b.variance) / n)
        share = a.variance / (a.variance + b.variance)
        df = min(a.prior_df + n - 1, total) / (share**2 + (1 - share) ** 2)
        found.append(error * (FOUR_IN_FIVE - float(special.stdtrit(df, alpha))))
    if pair.error is not None and (n > 2 or not found):
        if pair.paired:
            error, df = pair.error * math.sqrt(pair.n_a / n), n - 1
        else:  # two settings of as many runs as the smaller has
            error, df = pair.error * math.sqrt(min(pair.n_a, pair.n_b) / n), 2 * (n - 1)
        found.append(error * (FOUR_IN_FIVE - float(special.stdtrit(df, alpha))))
    return min(found, default=math.inf)


def num_seeds(gain: float, comparison: Comparison, ranking: Ranking, pair: Estimate) -> int | None:
    """The fewest seeds that find a difference four times in five; None: more than MOST."""
    numbers = range(2, MOST + 1)
    return next((n for n in numbers if found_by(n, comparison, ranking, pair) <= gain), None)


def plan(comparison: Comparison, ranking: Ranking) -> Plan | None:
    """What more seeds would bring; None where the runs tell no spread.

    The range comes from an interval of the difference, and takes the spread to be as it looks.
    """
    a, b = ranking.runs[comparison.best], ranking.runs[comparison.other]
    pair = estimate(a, b, num_images=ranking.num_images)
    way, n = comparison.way, min(len(a), len(b))
    if not way.error or n < 2:
        return None
    margin = -way.error * float(special.stdtrit(way.df, (1 - RANGE) / 2))
    near, likely, far = (
        num_seeds(abs(way.mean) + shift, comparison, ranking, pair)
        for shift in (margin, 0.0, -margin)
    )
    here, doubled = (found_by(k, comparison, ranking, pair) for k in (n, 2 * n))
    return Plan(n, here, doubled, likely, near, far)
