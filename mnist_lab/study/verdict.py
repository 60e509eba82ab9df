"""What the comparison of some settings comes to, in plain words."""

import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from mnist_lab.study.ranking import Comparison, Ranking
from mnist_lab.study.seeds import MOST, Plan, plan
from mnist_lab.study.statistics import Difference

NOTHING: Mapping[str, tuple[Difference, int]] = MappingProxyType({})


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


def _of_new_images(comparison: Comparison, gain: Difference, num: int, *, percent: bool) -> str:
    """Which claim holds for which images."""
    numbers = _numbers(gain, percent=percent)
    if not comparison.separated:
        return f"For new images as well as new seeds: {numbers}."
    if gain.low is not None and gain.low > 0:
        return f"For new images as well as new seeds: {numbers}, so it holds for them too."
    return (
        f"That holds for new seeds on these {num:,} images; for new images as well the difference "
        f"is {numbers}, which leaves it open."
    )


def _seeds(number: int | None) -> str:
    return f"more than {MOST}" if number is None else str(number)


def _of_more_seeds(plan: Plan, *, separated: bool, percent: bool) -> list[str]:
    """What more seeds would find: the surer figure first, then that for the first two."""
    scale, unit = (100, " points") if percent else (1, "")
    here, doubled = (f"{scale * size:#.2g}{unit}" for size in (plan.here, plan.doubled))
    lines = [
        f"With {plan.n} seeds a difference of {here} between the first two would be found four "
        f"times in five; with {2 * plan.n}, one of {doubled}."
    ]
    if not separated:
        fewest, about, most = map(_seeds, (plan.fewest, plan.num_seeds, plan.most))
        likely = f"{fewest} to {most}" if fewest != most else about
        about = about if plan.num_seeds is None else f"about {about}"
        lines.append(f"To separate the first two takes {about} seeds each; {likely} is likely.")
    return lines


def verdict(
    ranking: Ranking,
    *,
    metric: str,
    percent: bool = False,
    new_images: Mapping[str, tuple[Difference, int]] = NOTHING,
) -> list[str]:
    """Which setting is better, in plain words, a sentence each; fractions or, if so, percent.

    "is best" is said only of a setting that is separated from every other; "beats" and its error
    rate are those of `Ranking.comparisons`.

    Args:
        new_images: as in `Study`.
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
        if found := new_images.get(comparison.other):
            lines.append(_of_new_images(comparison, *found, percent=percent))
    if len(order) > 2 and len(possible) > 1:
        lines.append(f"{len(possible)} of the {len(order)} settings may be the best.")
    if any(comparison.p is not None for comparison in ranking.comparisons):
        m = len(order) - 1
        adjusted = f", each at its place among {m} comparisons with the best (Holm)"
        lines.append(f"Intervals: {100 * ranking.level:g} %{adjusted if m > 1 else ''}.")
        if len(order) > 2:
            lines.append("The best row's own interval is too good: the same runs made it the best.")
        first = ranking.against[0]
        if found_plan := plan(first, ranking):
            lines += _of_more_seeds(found_plan, separated=first.separated, percent=percent)
        if max(len(ranking.runs[name]) for name in order) == 2:
            lines.append(
                "Two seeds are too few: their spread is next to unknown. Run three or more."
            )
    return lines + _unranked(ranking, metric=metric)


def _unranked(ranking: Ranking, *, metric: str) -> list[str]:
    lines = []
    for name, runs in ranking.runs.items():
        if name not in ranking.order:
            num_failed = sum(not math.isfinite(value) for value in runs.values())
            why = (
                f"{num_failed} of {len(runs)} seeds have no finite {metric}" if runs else "no runs"
            )
            role = " (the baseline)" if name == ranking.baseline else ""
            lines.append(f"{name}{role} is not ranked: {why}.")
    return lines
