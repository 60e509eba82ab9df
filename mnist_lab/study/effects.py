"""The effect of each setting: the mean at each of its values, over the other settings."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class LevelMean:
    mean: float | None  # over the other factors' combinations, each with the same weight
    n: int  # runs behind it


@dataclass(frozen=True)
class Effect:
    levels: Mapping[Hashable, LevelMean]
    balanced: bool  # every combination has the same number of runs at every level
    num_left_out: int  # runs in combinations that lack a level or hold a value that is not finite


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
