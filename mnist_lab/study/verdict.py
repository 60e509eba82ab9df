"""What the comparison of some settings comes to, in plain words."""

import math

import numpy as np

from mnist_lab.study.ranking import Comparison, Ranking
from mnist_lab.study.statistics import Difference


def _numbers(gain: Difference, *, percent: bool) -> str:
    """`mean [low, high]` with four decimals, or with more where a small number would read as 0.

    Percentage points have two decimals at least.
    """
    scale, fewest, unit = (100, 2, " points") if percent else (1, 4, "")
    numbers = [scale * x for x in (gain.mean, gain.low, gain.high) if x is not None]
    decimals = max(fewest, *(math.ceil(-math.log10(abs(x))) for x in numbers if x), 0)
    mean, *interval = (f"{x:.{decimals}f}" for x in numbers)
    return (f"{mean} [{', '.join(interval)}]" if interval else mean) + unit


def _sentence(comparison: Comparison, *, role: str, num_runs: int, percent: bool) -> str:
    gain = comparison.gain
    numbers = _numbers(gain, percent=percent)
    if comparison.p is None:
        why = "one run" if min(gain.n_a, gain.n_b) == 1 else "two runs without any spread"
        return f"It leads {role}, by {numbers}, but {why} cannot tell that from noise."
    how = "paired by seed" if gain.paired else "unpaired, as the seeds differ"
    if gain.moderated:
        how = "by the spread of the whole sweep"
    elif gain.paired and gain.n_a < num_runs:
        how += f", the {gain.n_a} that both have"
    if gain.low == gain.high:
        how += ", without any spread"
    if not comparison.separated:
        return f"The data do not separate it from {role}: difference {numbers} ({how})."
    p = f"= {comparison.p:.2g}" if comparison.p >= 0.0001 else "< 0.0001"
    return f"It beats {role}, by {numbers} ({how}, Holm p {p})."


def verdict(ranking: Ranking, *, metric: str, percent: bool = False) -> list[str]:
    """Which setting is better, in plain words, a sentence each; fractions or, if so, percent.

    "is best" is said only of a setting that is separated from every other; "beats" and its error
    rate are those of `Ranking.comparisons`.
    """
    if not ranking.runs:
        raise ValueError("no settings to compare: expected at least one with runs")
    lines = []
    order, baseline, possible = ranking.order, ranking.baseline, ranking.contenders
    if order:
        best, values = order[0], ranking.runs[order[0]].values()
        claim = f"has the {'highest' if ranking.higher_is_better else 'lowest'} mean"
        if len(order) == 1:
            claim = "is the only setting that can be ranked"
        elif len(possible) == 1:
            claim = "is best"
        name = f"{best} (the baseline)" if best == baseline else best
        mean = float(np.mean([*values]))
        value = f"{100 * mean:.2f} %" if percent else f"{mean:.4f}"
        lines.append(f"{name} {claim}: {metric} {value} (n={len(values)}).")
    for comparison in ranking.comparisons:
        role = "the baseline"
        if comparison.other == order[1]:
            role = "the next and baseline" if comparison.other == baseline else "the next"
        role = f"{role}, {comparison.other}"
        num_runs = max(len(ranking.runs[name]) for name in (comparison.best, comparison.other))
        lines.append(_sentence(comparison, role=role, num_runs=num_runs, percent=percent))
    if len(order) > 2 and len(possible) > 1:
        lines.append(f"{len(possible)} of the {len(order)} settings may be the best.")
    if any(comparison.p is not None for comparison in ranking.comparisons):
        m = len(order) - 1
        adjusted = f", each at its place among {m} comparisons with the best (Holm)"
        lines.append(f"Intervals: {100 * ranking.level:g} %{adjusted if m > 1 else ''}.")
        if max(len(ranking.runs[name]) for name in order) == 2:
            lines.append(
                "Two seeds are too few: their spread is next to unknown. Run three or more."
            )
    for name, runs in ranking.runs.items():
        if name not in order:
            num_failed = sum(not math.isfinite(value) for value in runs.values())
            why = f"{num_failed} of {len(runs)} runs have no finite {metric}" if runs else "no runs"
            role = " (the baseline)" if name == baseline else ""
            lines.append(f"{name}{role} is not ranked: {why}.")
    return lines
