"""Intervals and tests for a handful of runs of each setting.

Metrics are fractions 0..1 or nats; `level` is a confidence level, 0.95 for 95 %. The spread between
seeds is taken as normal. None stands where the data allow no value (one run has no spread); NaN is
the value of a run that failed by its own fault, and its setting never wins.
"""

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy import special

# Values that agree to twelve digits are equal: the rest is rounding, not noise between seeds.
ROUNDING = 1e-12

Runs = Mapping[int, float]  # seed -> metric, the runs of one setting


@dataclass(frozen=True)
class Summary:
    """`n` runs of one setting: `sd` divides by n - 1; `low` and `high` bound the mean."""

    n: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Difference:
    """Mean of a minus mean of b with its interval; `p` is two-sided, for "no difference"."""

    mean: float
    low: float | None
    high: float | None
    p: float | None
    n_a: int
    n_b: int
    paired: bool


@dataclass(frozen=True)
class Comparison:
    """The best setting against another; a positive `gain` is in its favour, for losses too."""

    best: str
    other: str
    gain: Difference  # its interval is adjusted for num_comparisons, its p is not
    p: float | None  # Holm's, over num_comparisons
    num_comparisons: int

    @property
    def separated(self) -> bool:
        """Whether the adjusted interval leaves out 0; Holm's p is then below 1 - level as well."""
        return self.gain.low is not None and self.gain.low > 0


@dataclass(frozen=True)
class LevelMean:
    mean: float | None  # over the other factors' combinations, each with the same weight
    n: int  # runs behind it


@dataclass(frozen=True)
class Effect:
    levels: Mapping[Hashable, LevelMean]
    balanced: bool  # every combination has the same number of runs at every level
    num_left_out: int  # runs in combinations that lack a level or hold a value that is not finite


def check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level={level}: a confidence level lies between 0 and 1, such as 0.95")


def _spread(values: np.ndarray) -> float:
    """Sample standard deviation, exactly 0 where only rounding tells the values apart."""
    sd = float(values.std(ddof=1))
    return sd if sd > ROUNDING * np.abs(values).max() else 0.0


def _margin(standard_error: float, *, df: float, level: float) -> float:
    """Half the width of Student's interval."""
    return standard_error * -float(special.stdtrit(df, (1 - level) / 2))


def summary(values: Iterable[float], *, level: float) -> Summary:
    """Mean, spread and t interval of the mean. The interval isn't cut at 0 or 1.

    One value has no spread and no interval. With a value that is not finite the mean is NaN and the
    rest None.
    """
    check_level(level)
    runs = np.array(list(values), dtype=np.float64)
    if not runs.size:
        raise ValueError("no values to summarize: at least one run is needed")
    if not np.isfinite(runs).all():
        return Summary(runs.size, math.nan, None, None, None)
    mean = float(runs.mean())
    if runs.size == 1:
        return Summary(1, mean, None, None, None)
    sd = _spread(runs)
    margin = _margin(sd / math.sqrt(runs.size), df=runs.size - 1, level=level)
    return Summary(runs.size, mean, sd, mean - margin, mean + margin)


def difference(a: Runs, b: Runs, *, level: float) -> Difference:
    """Compare two settings: paired t where the seeds are the same, else Welch's t on all runs.

    Partly matching seeds aren't paired: dropping the others could turn the order of the means.

    Without any noise Student's t is 0/0. Equal means then give p = 1 and the interval [0, 0].
    Different ones give p = 0 and an interval without width, from three runs on; two equal
    differences of accuracies, which are counts, are too often chance, and get no p and no interval.

    Sources: Student (1908), Biometrika 6, p. 1; Welch (1947), Biometrika 34, p. 28.
    """
    check_level(level)
    if not a or not b:
        raise ValueError("no difference without runs: each side needs at least one")
    first = np.array(list(a.values()), dtype=np.float64)
    paired = a.keys() == b.keys()
    second = np.array([b[seed] for seed in (a if paired else b)], dtype=np.float64)
    n_a, n_b = first.size, second.size
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        return Difference(math.nan, None, None, None, n_a, n_b, paired)
    scale = max(np.abs(first).max(), np.abs(second).max())
    mean = float(first.mean() - second.mean())
    mean = mean if abs(mean) > ROUNDING * scale else 0.0
    fewest = min(n_a, n_b)
    if fewest == 1:
        return Difference(mean, None, None, None, n_a, n_b, paired)
    if paired:
        sd, df = float((first - second).std(ddof=1)), float(n_a - 1)
        error = sd / math.sqrt(n_a) if sd > ROUNDING * scale else 0.0
    else:
        share_a, share_b = _spread(first) ** 2 / n_a, _spread(second) ** 2 / n_b
        error = math.sqrt(share_a + share_b)
        if error:  # Welch-Satterthwaite, with shares of 1 so that no square underflows
            share = share_a / (share_a + share_b)
            df = 1 / (share**2 / (n_a - 1) + (1 - share) ** 2 / (n_b - 1))
    if error:
        p = 2 * float(special.stdtr(df, -abs(mean) / error))
        margin = _margin(error, df=df, level=level)
    elif mean and fewest == 2:
        return Difference(mean, None, None, None, n_a, n_b, paired)
    else:
        p, margin = float(not mean), 0.0
    return Difference(mean, mean - margin, mean + margin, p, n_a, n_b, paired)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p values in the given order. Source: Holm (1979), Scand. J. Statist. 6, p. 65."""
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    for step, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - step) * p_values[i]))
        adjusted[i] = largest
    return adjusted


@dataclass(frozen=True)
class Ranking:
    """Settings by their mean, and how far their runs tell the best from the others.

    A setting with a run that isn't finite is not in `order`: ranked by its survivors it would be
    praised for diverging. So give NaN for a run that diverged, and no value for one that never ran.

    Attributes:
        runs: of each setting, ranked or not.
        baseline: the setting that was there before, ranked or not.
        order: the ranked settings, best first.
        against: the best with each other ranked setting, by rank.
    """

    runs: Mapping[str, Runs]
    baseline: str | None
    higher_is_better: bool
    level: float
    order: tuple[str, ...]
    against: tuple[Comparison, ...]

    @classmethod
    def of(
        cls,
        runs: Mapping[str, Runs],
        *,
        baseline: str | None = None,
        higher_is_better: bool,
        level: float,
    ) -> Self:
        check_level(level)
        if baseline is not None and baseline not in runs:
            raise ValueError(f"baseline {baseline!r} is not among the settings: {', '.join(runs)}")
        means = {
            name: float(np.mean([*values.values()]))
            for name, values in runs.items()
            if values and np.isfinite([*values.values()]).all()
        }
        best, *others = sorted(means, key=means.__getitem__, reverse=higher_is_better) or [""]
        gains = []
        for other in others:
            a, b = (best, other) if higher_is_better else (other, best)
            gains.append(difference(runs[a], runs[b], level=1 - (1 - level) / len(others)))
        adjusted = holm([1.0 if gain.p is None else gain.p for gain in gains])
        against = tuple(
            Comparison(best, other, gain, None if gain.p is None else p, len(others))
            for other, gain, p in zip(others, gains, adjusted, strict=True)
        )
        order = (best, *others) if means else ()
        return cls(runs, baseline, higher_is_better, level, order, against)

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """The best with the next and, after it, with the baseline if that is another one.

        The data that name the best also judge it. So p values (Holm) and intervals (Bonferroni) are
        adjusted for m = settings - 1 comparisons, those of the best with each other setting. Holm's
        p is never above Bonferroni's, so it can't contradict `separated`, which goes by the
        interval.

        With a baseline chosen before looking, at most 1 - level of all sweeps claim a difference
        that is not there. The baseline takes at most half of that, by a union bound over the m
        settings that might have won. The next takes the other half at most: the winner of equals is
        not far ahead of the second (Gutmann & Maymin 1987, Ann. Statist. 15, p. 456; with m > 1
        there is room to spare).

        The best with each of the others isn't claimed, since m would be too small for that: it
        looks for the largest of m (m + 1) / 2 differences. With 12 equally good settings of 5 runs,
        one sweep in nine would find one separated.
        """
        return self.against[:1] + tuple(c for c in self.against[1:] if c.other == self.baseline)

    @property
    def contenders(self) -> tuple[str, ...]:
        """Settings that may be the best, by rank: the best one and all not separated from it.

        The truly best setting is among them with probability `level`: it is lost only if one of the
        others beats it, and that is what intervals for settings - 1 comparisons allow for. A
        setting that is left out isn't the best, but may equal one left in. Source: subset
        selection, Gupta (1965), Technometrics 7, p. 225; here with a t test for each pair, as
        settings differ in spread.
        """
        return self.order[:1] + tuple(c.other for c in self.against if not c.separated)


def main_effects(rows: Iterable[tuple[Mapping[str, Hashable], float]]) -> dict[str, Effect]:
    """Mean of a metric at each level of each factor that varies, over the other factors.

    A row is one run: its settings (without the seed) and its value. Runs of equal settings are
    averaged first. A combination of the other factors counts only where every level was run and is
    finite, so that levels meet on equal terms: an unweighted mean of cell means, None where no
    combination is complete. Runs that lack a factor (a CNN has no width) play no part in its
    effect.
    """
    table = list(rows)
    effects = {}
    for factor in dict.fromkeys(name for settings, _ in table for name in settings):
        levels = dict.fromkeys(settings[factor] for settings, _ in table if factor in settings)
        if len(levels) < 2:
            continue
        cells: defaultdict[Hashable, dict[Hashable, list[float]]] = defaultdict(dict)
        for settings, value in table:
            if factor in settings:
                others = frozenset(item for item in settings.items() if item[0] != factor)
                cells[others].setdefault(settings[factor], []).append(value)
        complete = [
            cell
            for cell in cells.values()
            if len(cell) == len(levels) and np.isfinite(np.concatenate([*cell.values()])).all()
        ]
        used = {level: [cell[level] for cell in complete] for level in levels}
        num_runs = sum(len(runs) for cell in cells.values() for runs in cell.values())
        num_used = sum(len(runs) for cell in complete for runs in cell.values())
        sizes = {len(runs) for cell in complete for runs in cell.values()}
        effects[factor] = Effect(
            levels={
                level: LevelMean(
                    float(np.mean([np.mean(runs) for runs in parts])) if parts else None,
                    sum(map(len, parts)),
                )
                for level, parts in used.items()
            },
            balanced=num_used == num_runs and len(sizes) == 1,
            num_left_out=num_runs - num_used,
        )
    return effects
