"""The effect of each setting: means at its values over the other settings, and what they hide."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from mnist_lab.study.statistics import Difference, Runs, difference

Level = Any  # a value of a setting
Items = tuple[tuple[str, Level], ...]  # of a cell
Cell = Mapping[str, Any]  # what the other settings are


@dataclass(frozen=True)
class LevelMean:
    mean: float | None  # over the other factors' combinations, each with the same weight
    n: int  # runs behind it
    gain: Difference | None = None  # over the first level, paired by seed


@dataclass(frozen=True)
class Dependence:
    """An effect that is not the same everywhere: of `level` over `other`, from cell to cell.

    Attributes:
        on: the settings that it depends on.
        p: of the F test for "the same in every cell".
    """

    on: tuple[str, ...]
    p: float
    level: Level
    other: Level
    lowest: tuple[float, Cell]
    highest: tuple[float, Cell]


@dataclass(frozen=True)
class Effect:
    levels: Mapping[Level, LevelMean]
    balanced: bool  # every combination has the same number of runs at every level
    num_left_out: int  # runs in combinations that lack a level or hold a value that is not finite
    depends: Dependence | None = None  # None: nothing shows that it does


def main_effects(
    rows: Iterable[tuple[Cell, float]],
    *,
    seeds: Sequence[int] | None = None,
    level: float = 0.95,
    num_images: int | None = None,
) -> dict[str, Effect]:
    """Mean of a metric at each level of each factor that varies, over the other factors.

    A row is one run: its settings (without the seed) and its value. Runs of equal settings are
    averaged first. A combination of the other factors counts only where every level was run and is
    finite, so that levels meet on equal terms: an unweighted mean of cell means, None where no
    combination is complete. Runs that lack a factor (a CNN has no width) play no part in its
    effect.

    Args:
        seeds: of the rows; None: without intervals, as nothing can be paired.
        level: of intervals; an effect is said to depend on others where p < 1 - level.
        num_images: as in `Ranking`.
    """
    table = [(*row, n if seeds is None else seeds[n]) for n, row in enumerate(rows)]
    effects = {}
    for factor in dict.fromkeys(name for settings, _, _ in table for name in settings):
        levels = [*dict.fromkeys(s[factor] for s, _, _ in table if factor in s)]
        if len(levels) < 2:
            continue
        cells: defaultdict[Items, dict[Level, dict[int, float]]] = defaultdict(dict)
        for settings, value, seed in table:
            if factor in settings:
                others = tuple(item for item in settings.items() if item[0] != factor)
                cells[others].setdefault(settings[factor], {})[seed] = value
        complete = {
            others: cell
            for others, cell in cells.items()
            if len(cell) == len(levels)
            and all(math.isfinite(v) for runs in cell.values() for v in runs.values())
        }
        num_runs = sum(len(runs) for cell in cells.values() for runs in cell.values())
        sizes = [len(runs) for cell in complete.values() for runs in cell.values()]
        effects[factor] = Effect(
            levels=level_means([*complete.values()], levels, level=level, num_images=num_images),
            balanced=sum(sizes) == num_runs and len({*sizes}) == 1,
            num_left_out=num_runs - sum(sizes),
            depends=dependence(complete, levels, alpha=1 - level),
        )
    return effects


def level_means(
    cells: Sequence[Mapping[Level, Runs]],
    levels: Sequence[Level],
    *,
    level: float,
    num_images: int | None,
) -> dict[Level, LevelMean]:
    """The mean at each level, and how far it is from that at the first one.

    The interval is paired by seed: of each seed the mean over the cells, of those seeds that every
    cell has at every level.
    """
    if not cells:
        return {each: LevelMean(None, 0) for each in levels}
    common = set.intersection(*({*runs} for cell in cells for runs in cell.values()))
    by_seed = {
        each: {seed: math.fsum(cell[each][seed] for cell in cells) / len(cells) for seed in common}
        for each in levels
    }
    # A mean over c cells is rounded by as little as if there were more images.
    images = None if num_images is None else round(num_images * math.sqrt(len(cells)))

    def gain(each: Level) -> Difference | None:
        if each == levels[0] or len(common) < 2:
            return None
        return difference(by_seed[each], by_seed[levels[0]], level=level, num_images=images)

    return {
        each: LevelMean(
            float(np.mean([np.mean([*cell[each].values()]) for cell in cells])),
            sum(len(cell[each]) for cell in cells),
            gain(each),
        )
        for each in levels
    }


def dependence(
    cells: Mapping[Items, Mapping[Level, Runs]], levels: Sequence[Level], *, alpha: float
) -> Dependence | None:
    """Whether the levels differ by other amounts in other cells, more than the seeds explain.

    By the F test of levels x cells. Which factors it depends on say the F tests of levels x their
    values; where none does by itself, all.
    """
    runs = [[np.array([*cell[each].values()]) for each in levels] for cell in cells.values()]
    sizes = np.array([[values.size for values in row] for row in runs])
    pooled_df = int(sizes.sum() - sizes.size)
    if len(runs) < 2 or not pooled_df:
        return None
    means = np.array([[values.mean() for values in row] for row in runs])  # (cells, levels)
    squares = np.array([[float(((v - v.mean()) ** 2).sum()) for v in row] for row in runs])
    df = np.where(sizes > 1, sizes - 1, pooled_df)  # what has one run has the others' variance
    variances = np.where(sizes > 1, squares, squares.sum()) / df / sizes  # of the means
    if not variances.any():
        return None
    p = f_test(means, np.ones(len(runs)), variances, variances**2 / df)
    if p >= alpha:
        return None
    settings = [dict(others) for others in cells]
    names = [name for name in settings[0] if len({cell.get(name) for cell in settings}) > 1]
    on = []
    for name in names:
        values = [cell.get(name) for cell in settings]
        groups = np.array([[value == each for value in values] for each in dict.fromkeys(values)])
        num_cells = groups.sum(axis=1, keepdims=True)
        table, spread = groups @ means / num_cells, groups @ variances / num_cells**2
        doubt = groups @ (variances**2 / df) / num_cells**4
        if f_test(table, num_cells[:, 0].astype(float), spread, doubt) < alpha:
            on.append(name)
    first, second = most_varying(means)
    if all(isinstance(x, (int, float)) and not isinstance(x, bool) for x in levels):
        first, second = sorted((first, second), key=lambda i: float(levels[i]))
    gains = means[:, second] - means[:, first]
    low, high = int(gains.argmin()), int(gains.argmax())
    varying = [{name: cell[name] for name in names if name in cell} for cell in settings]
    return Dependence(
        on=tuple(on or names),
        p=p,
        level=levels[second],
        other=levels[first],
        lowest=(float(gains[low]), varying[low]),
        highest=(float(gains[high]), varying[high]),
    )


def f_test(
    table: np.ndarray, weights: np.ndarray, variances: np.ndarray, doubt: np.ndarray
) -> float:
    """p value of "no interaction" in a table of means (rows, columns) of unlike variances.

    The sum of squares is held against what these variances make of it, with degrees of freedom
    that are fewer the more they differ. Source: Box (1954), Ann. Math. Statist. 25, p. 290.

    Args:
        weights: cells behind each row.
        variances: of the means.
        doubt: of each variance, its square over its degrees of freedom.
    """

    def without_mean(values: np.ndarray, u: np.ndarray) -> np.ndarray:  # (I - u u') values
        left: np.ndarray = values - np.outer(u, u @ values)
        return left

    def squared(values: np.ndarray, u: np.ndarray) -> np.ndarray:  # the same, of squared entries
        product: np.ndarray = (1 - 2 * u**2)[:, None] * values + np.outer(u**2, u**2 @ values)
        return product

    of_rows = np.sqrt(weights / weights.sum())
    of_columns = np.full(table.shape[1], table.shape[1] ** -0.5)
    scale = weights[:, None]
    left = without_mean(without_mean(np.sqrt(scale) * table, of_rows).T, of_columns)
    kept = np.outer(1 - of_rows**2, 1 - of_columns**2)
    spread = scale * variances
    expected = float((kept * spread).sum())
    df = expected**2 / float((squared(squared(spread, of_rows).T, of_columns).T * spread).sum())
    error_df = expected**2 / float((kept**2 * scale**2 * doubt).sum())
    return float(special.fdtrc(df, error_df, float((left**2).sum()) / expected))


def most_varying(means: np.ndarray) -> tuple[int, int]:
    """The two columns whose difference has the widest range over the rows."""
    ranges = {
        (i, j): float(np.ptp(means[:, j] - means[:, i]))
        for j in range(means.shape[1])
        for i in range(j)
    }
    return max(ranges, key=ranges.__getitem__)


def shares(rows: Iterable[tuple[Cell, float]]) -> dict[str, float]:
    """Which part of all variance each factor's means make, and "interactions" and "seeds" the rest.

    Only of a complete grid, every run of which is finite; else empty. There the sums of squares are
    those of functional ANOVA.
    """
    runs: defaultdict[Items, list[float]] = defaultdict(list)
    for settings, value in rows:
        runs[tuple(settings.items())].append(value)
    keys = [dict(key) for key in runs]
    if len(keys) < 2 or any(key.keys() != keys[0].keys() for key in keys):
        return {}
    levels = {name: [*dict.fromkeys(key[name] for key in keys)] for name in keys[0]}
    if len(keys) != math.prod(map(len, levels.values())):
        return {}
    means = np.array([np.mean(values) for values in runs.values()])
    num_runs = sum(map(len, runs.values()))
    between = float(means.var()) * num_runs
    within = sum(float(np.var(values)) * len(values) for values in runs.values())
    if not math.isfinite(between + within) or not between + within:
        return {}
    found = {}
    for name, of_factor in levels.items():
        parts = [means[[key[name] == each for key in keys]].mean() for each in of_factor]
        found[name] = float(np.var(parts)) * num_runs
    found["interactions"] = max(0.0, between - sum(found.values()))
    found["seeds"] = within
    return {name: value / (between + within) for name, value in found.items()}
