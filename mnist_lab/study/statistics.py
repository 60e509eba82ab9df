"""Intervals and tests for a handful of runs of each setting.

Metrics are fractions 0..1 or nats; `level` is a confidence level, 0.95 for 95 %. The spread between
seeds is taken as normal. None stands where the data allow no value (one run has no spread); NaN is
the value of a run that failed by its own fault, and its setting never wins.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

# Values that agree to twelve digits are equal: the rest is rounding, not noise between seeds.
ROUNDING = 1e-12
MOST_UNSHARED = 2  # seeds that only one of two settings has, beside which the others still pair

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
    moderated: bool = False  # by the spread of the whole sweep


@dataclass(frozen=True)
class Estimate:
    """A difference of two means and how surely it is known.

    Attributes:
        error: standard error, with `df` degrees of freedom; None where the runs cannot tell.
        n_a: runs of a, those that count; likewise `n_b`.
    """

    mean: float
    error: float | None
    df: float
    n_a: int
    n_b: int
    paired: bool
    moderated: bool = False

    @property
    def p(self) -> float | None:
        """Two-sided, for "no difference"."""
        if self.error is None:
            return None
        if not self.error:
            return float(not self.mean)
        return 2 * float(special.stdtr(self.df, -abs(self.mean) / self.error))

    def at(self, level: float, *, p: float | None) -> Difference:
        """With the interval of a confidence level, and a p value that may be adjusted."""
        low = high = None
        if self.error is not None:
            margin = _margin(self.error, df=self.df, level=level) if self.error else 0.0
            low, high = self.mean - margin, self.mean + margin
        return Difference(self.mean, low, high, p, self.n_a, self.n_b, self.paired, self.moderated)


def check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level={level}: a confidence level lies between 0 and 1, such as 0.95")


def rounding_variance(num_images: int | None) -> float:
    """Variance of the error by which a share of so many images is rounded; None: not rounded.

    It is a floor under every variance: that a few runs agree to an image does not make a difference
    of one image certain.
    """
    return 0.0 if num_images is None else num_images**-2 / 12


def _variance(values: np.ndarray) -> float:
    """Sample variance, exactly 0 where only rounding tells the values apart."""
    variance = float(values.var(ddof=1))
    return variance if math.sqrt(variance) > ROUNDING * np.abs(values).max() else 0.0


def _margin(standard_error: float, *, df: float, level: float) -> float:
    """Half the width of Student's interval."""
    return standard_error * -float(special.stdtrit(df, (1 - level) / 2))


def summary(values: Iterable[float], *, level: float, num_images: int | None = None) -> Summary:
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
    variance = _variance(runs)
    error = math.sqrt((variance + rounding_variance(num_images)) / runs.size)
    margin = _margin(error, df=runs.size - 1, level=level)
    return Summary(runs.size, mean, math.sqrt(variance), mean - margin, mean + margin)


def estimate(a: Runs, b: Runs, *, num_images: int | None = None) -> Estimate:
    """Paired where all seeds, or all but one or two, are common; else Welch's of all runs.

    Partly matching seeds are paired only if those that remain point the way in which all runs do,
    as no claim may contradict the order of the means.

    Without any noise Student's t is 0/0. Equal means then give p = 1 and the interval [0, 0].
    Different ones give p = 0 and an interval without width, from three runs on; two equal
    differences are too often chance, and get no p and no interval. With `num_images` there is
    always some noise: that of rounding.

    Sources: Student (1908), Biometrika 6, p. 1; Welch (1947), Biometrika 34, p. 28.
    """
    if not a or not b:
        raise ValueError("no difference without runs: each side needs at least one")
    first = np.array(list(a.values()), dtype=np.float64)
    second = np.array(list(b.values()), dtype=np.float64)
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        return Estimate(math.nan, None, 0, first.size, second.size, a.keys() == b.keys())
    whole = _estimate(first, second, floor=2 * rounding_variance(num_images), paired=False)
    common = [seed for seed in a if seed in b]
    if len(a) + len(b) - 2 * len(common) > MOST_UNSHARED or (
        len(common) < 3 and a.keys() != b.keys()
    ):
        return whole
    first = np.array([a[seed] for seed in common], dtype=np.float64)
    second = np.array([b[seed] for seed in common], dtype=np.float64)
    paired = _estimate(first, second, floor=2 * rounding_variance(num_images), paired=True)
    return paired if a.keys() == b.keys() or paired.mean * whole.mean > 0 else whole


def _estimate(first: np.ndarray, second: np.ndarray, *, floor: float, paired: bool) -> Estimate:
    """From finite runs; `floor`: variance that a difference of two runs has by rounding alone."""
    n_a, n_b = first.size, second.size
    scale = max(np.abs(first).max(), np.abs(second).max())
    mean = float(first.mean() - second.mean())
    mean = mean if abs(mean) > ROUNDING * scale else 0.0
    fewest = min(n_a, n_b)
    if fewest == 1:
        return Estimate(mean, None, 0, n_a, n_b, paired)
    df = float(fewest - 1)
    if paired:
        variance = float((first - second).var(ddof=1))
        variance = variance if math.sqrt(variance) > ROUNDING * scale else 0.0
        error = math.sqrt((variance + floor) / n_a)
    else:
        share_a = (_variance(first) + floor / 2) / n_a
        share_b = (_variance(second) + floor / 2) / n_b
        error = math.sqrt(share_a + share_b)
        if error:
            df = satterthwaite(share_a, n_a - 1, share_b, n_b - 1)
    known = error or not mean or fewest > 2
    return Estimate(mean, error if known else None, df, n_a, n_b, paired)


def satterthwaite(share_a: float, df_a: float, share_b: float, df_b: float) -> float:
    """Degrees of freedom of the sum of two variances, with shares of 1 so that none underflows."""
    share = share_a / (share_a + share_b)
    return 1 / (share**2 / df_a + (1 - share) ** 2 / df_b)


def difference(a: Runs, b: Runs, *, level: float, num_images: int | None = None) -> Difference:
    """Compare two settings by themselves; see `estimate`."""
    check_level(level)
    found = estimate(a, b, num_images=num_images)
    return found.at(level, p=found.p)


def holm(p_values: Sequence[float], *, alpha: float = 0.05) -> tuple[list[float], list[int]]:
    """Adjusted p values in the given order, and the place of each: how many it is adjusted for.

    The smallest of m is adjusted for m, the next for m - 1, and so on up to the first that is not
    rejected at `alpha`, whose place all that follow have. So an interval of level
    1 - alpha / place leaves out 0 exactly where the adjusted p is below alpha.

    Source: Holm (1979), Scand. J. Statist. 6, p. 65.
    """
    adjusted, places = [1.0] * len(p_values), [1] * len(p_values)
    largest, place = 0.0, len(p_values)
    for step, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        place = len(p_values) - step if largest < alpha else place
        largest = max(largest, min(1.0, (len(p_values) - step) * p_values[i]))
        adjusted[i], places[i] = largest, place
    return adjusted, places
