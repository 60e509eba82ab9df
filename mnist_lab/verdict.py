"""What the comparison of some settings comes to, in plain words."""

import math
from collections.abc import Mapping

import numpy as np

from mnist_lab.statistics import Comparison, Difference, Runs, best_against, contenders, ranking


def _numbers(gain: Difference, *, percent: bool) -> str:
    """`mean [low, high]` with four decimals, or with more where a small number would read as 0.

    Percentage points have two decimals at least.
    """
    scale, fewest, unit = (100, 2, " points") if percent else (1, 4, "")
    numbers = [scale * x for x in (gain.mean, gain.low, gain.high) if x is not None]
    decimals = max(fewest, *(math.ceil(-math.log10(abs(x))) for x in numbers if x), 0)
    mean, *interval = (f"{x:.{decimals}f}" for x in numbers)
    return (f"{mean} [{', '.join(interval)}]" if interval else mean) + unit


def _sentence(comparison: Comparison, *, role: str, percent: bool) -> str:
    gain = comparison.gain
    numbers = _numbers(gain, percent=percent)
    if comparison.p is None:
        why = "one run" if min(gain.n_a, gain.n_b) == 1 else "two runs without any spread"
        return f"It leads {role}, by {numbers}, but {why} cannot tell that from noise."
    how = "paired by seed" if gain.paired else "unpaired, as the seeds differ"
    if gain.low == gain.high:
        how += ", without any spread"
    if not comparison.separated:
        return f"The data do not separate it from {role}: difference {numbers} ({how})."
    p = f"= {comparison.p:.2g}" if comparison.p >= 0.0001 else "< 0.0001"
    return f"It beats {role}, by {numbers} ({how}, Holm p {p})."


def verdict(
    groups: Mapping[str, Runs],
    *,
    metric: str,
    baseline: str | None,
    higher_is_better: bool,
    level: float,
    percent: bool = False,
) -> str:
    """Which setting is better, in plain words, one sentence a line; fractions or, if so, percent.

    "is best" is said only of a setting that is separated from every other; "beats" and its error
    rate are those of best_against.
    """
    if not groups:
        raise ValueError("no settings to compare: expected at least one with runs")
    ranked = ranking(groups, higher_is_better=higher_is_better)
    comparisons = best_against(
        groups, baseline=baseline, higher_is_better=higher_is_better, level=level
    )
    possible = contenders(groups, higher_is_better=higher_is_better, level=level)
    lines = []
    if ranked:
        best, n = ranked[0], len(groups[ranked[0]])
        claim = f"has the {'highest' if higher_is_better else 'lowest'} mean"
        if len(ranked) == 1:
            claim = "is the only setting that can be ranked"
        elif len(possible) == 1:
            claim = "is best"
        name = f"{best} (the baseline)" if best == baseline else best
        mean = float(np.mean([*groups[best].values()]))
        value = f"{100 * mean:.2f} %" if percent else f"{mean:.4f}"
        lines.append(f"{name} {claim}: {metric} {value} (n={n}).")
    for comparison in comparisons:
        role = "the baseline"
        if comparison.other == ranked[1]:
            role = "the next and baseline" if comparison.other == baseline else "the next"
        role = f"{role}, {comparison.other}"
        lines.append(_sentence(comparison, role=role, percent=percent))
    if len(ranked) > 2 and len(possible) > 1:
        lines.append(f"{len(possible)} of the {len(ranked)} settings may be the best.")
    if any(comparison.p is not None for comparison in comparisons):
        m = len(ranked) - 1
        adjusted = f", adjusted for {m} comparisons with the best" if m > 1 else ""
        lines.append(f"Intervals: {100 * level:g} %{adjusted}.")
    for name, runs in groups.items():
        if name not in ranked:
            num_failed = sum(not math.isfinite(value) for value in runs.values())
            found = (
                f"{num_failed} of {len(runs)} runs have no finite {metric}" if runs else "no runs"
            )
            role = " (the baseline)" if name == baseline else ""
            lines.append(f"{name}{role} is not ranked: {found}.")
    return "\n".join(lines)
