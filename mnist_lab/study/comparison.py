"""Runs compared: which setting is better, by how much, and whether that is more than noise."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mnist_lab.settings.hyperparameters import Value
from mnist_lab.settings.table import nearest
from mnist_lab.study import statistics
from mnist_lab.study.groups import (
    Group,
    as_typed,
    chosen,
    full_name,
    grouped,
    pooled,
    short_name,
    varied,
)
from mnist_lab.study.results import Result
from mnist_lab.study.verdict import verdict
from mnist_lab.ui.errors import Refused

LEVEL = 0.95  # of every interval
METRIC = "val/acc"  # what ranks unless the user says otherwise
FALLBACK = "train/acc_eval"  # what ranks where nothing was kept for validation

# The lab's own metrics by the last part of their names. Of any other the user says it.
HIGHER_IS_BETTER = {"acc", "acc_eval", "acc_best"}
LOWER_IS_BETTER = {"loss", "loss_eval", "gap", "num_params", "seconds"}


@dataclass(frozen=True)
class Study:
    """Everything that is known about a set of runs, ready to be shown.

    Attributes:
        names: the settings that tell the groups apart: those that vary, or those of `--by`.
        groups: the ranked ones, best first.
        unranked: those with a run that diverged, or without the metric.
        ranking: of the groups, by their labels; its baseline need not have any run.
        verdict: the answer in words, a sentence each; empty before any run has finished.
        effects: of each setting that varies, by its full name.
        unfinished: runs that have not finished, however they ended.
        notes: warnings and remarks, a line each.
    """

    metric: str
    names: tuple[str, ...]
    groups: tuple[Group, ...]
    unranked: tuple[Group, ...]
    ranking: statistics.Ranking
    verdict: tuple[str, ...]
    effects: Mapping[str, statistics.Effect]
    unfinished: tuple[Result, ...]
    notes: tuple[str, ...]


def study(
    results: Sequence[Result],
    *,
    metric: str | None = None,
    by: Sequence[str] = (),
    where: Sequence[str] = (),
    baseline: str | None = None,
) -> Study:
    """Compare runs.

    Args:
        metric: what ranks, as `--metric` takes it; None: validation accuracy, or training accuracy
            where there is none.
        by: the settings that make a row, the others being averaged over; empty: all that vary.
        where: conditions, as `--filter` takes them, that runs must meet, all of them.
        baseline: the setting to compare with, as `--baseline` takes it; None: the first run's.

    Raises:
        Refused: an argument names what no run has, or too little to choose by.
    """
    results = tell_data_apart(results)
    for text in where:
        results = chosen(results, text, flag="--filter")
        if not results:
            raise Refused(f"--filter {text}: no run is left.")
    with_settings = [result for result in results if result.settings]
    ended = [result for result in with_settings if result.metrics or result.diverged]
    counted = newest(ended)
    finished = [result for result in counted if result.metrics]
    metric, higher, notes = ranking_metric(metric, finished)
    notes += data_notes(finished, metric=metric)
    if len(counted) < len(ended):
        repeats = len(ended) - len(counted)
        notes.append(f"Runs that repeat a setting and seed: {repeats}; only the newest counts.")

    vary = varied([result.settings for result in with_settings])
    known = {name for result in with_settings for name in result.settings}
    names = [full_name(key, known, flag="--by") for key in by] or vary
    groups = grouped(counted, names)
    if by and groups:
        others = [name for name in vary if name not in names]
        groups = pooled(groups, others)
        num_left_out = len(counted) - sum(len(group.results) for group in groups)
        if num_left_out:
            notes.append(
                f"Runs left out of the means: {num_left_out}; not every row has their combination "
                f"of {', '.join(map(short_name, [*others, 'seed']))}."
            )
    runs = {group.label: group.runs(metric) for group in groups}
    without = [label for label, values in runs.items() if not values]
    if without:
        hint = f" --metric {FALLBACK} ranks all." if metric == METRIC else ""
        notes.append(f"Not ranked, as no run of theirs has {metric}: {', '.join(without)}.{hint}")
    runs = {label: values for label, values in runs.items() if values}
    base = baseline_label(baseline, with_settings, names)
    if base in without:
        base = None
    elif base is not None:
        runs.setdefault(base, {})
    ranking = statistics.Ranking.of(runs, baseline=base, higher_is_better=higher, level=LEVEL)
    words = verdict(ranking, metric=metric, percent=is_fraction(metric)) if finished else ()
    labelled = {group.label: group for group in groups}
    return Study(
        metric=metric,
        names=tuple(names),
        groups=tuple(labelled[label] for label in ranking.order),
        unranked=tuple(group for group in groups if group.label not in ranking.order),
        ranking=ranking,
        verdict=tuple(words),
        effects=effects(counted, vary, metric=metric),
        unfinished=tuple(result for result in results if result.state != "finished"),
        notes=tuple(notes),
    )


def last_part(metric: str) -> str:
    return metric.rpartition("/")[2]


def is_fraction(metric: str) -> bool:
    """Accuracies and their differences, which people read in percent."""
    return last_part(metric) in {*HIGHER_IS_BETTER, "gap"}


def tell_data_apart(results: Sequence[Result]) -> list[Result]:
    """Give data sets of one name but other images names of their own."""
    digests = defaultdict(set)
    for result in results:
        if result.digest:
            digests[result.settings.get("data")].add(result.digest)

    def renamed(result: Result) -> Result:
        data = result.settings.get("data")
        if data is None or len(digests[data]) < 2 or not result.digest:
            return result
        return replace(
            result, settings={**result.settings, "data": f"{data} ({result.digest[:8]})"}
        )

    return [renamed(result) for result in results]


def newest(results: Iterable[Result]) -> list[Result]:
    """Keep one run for each setting and seed, the one that was written last."""
    kept: dict[tuple[object, ...], Result] = {}
    for result in results:
        key = (result.seed, *sorted(result.settings.items()))
        if key not in kept or result.updated >= kept[key].updated:
            kept[key] = result
    return [*kept.values()]


def ranking_metric(wanted: str | None, finished: Sequence[Result]) -> tuple[str, bool, list[str]]:
    """Choose what ranks and whether higher is better; say so where it is not validation."""
    available = {name for result in finished for name in result.metrics}
    if wanted is None:
        if METRIC in available or not finished:
            return METRIC, True, []
        warning = (
            "WARNING: without a validation split this ranks by the last training metrics, which "
            "favour what overfits."
        )
        return FALLBACK, True, [warning]
    metric, colon, direction = wanted.partition(":")
    if finished and metric not in available:
        raise Refused(f"--metric {wanted}: no finished run has it; {nearest(metric, available)}")
    last = last_part(metric).removesuffix("_eval")
    own = {one.directions[last] for one in finished if last in one.directions}
    known = last_part(metric) in HIGHER_IS_BETTER | LOWER_IS_BETTER or len(own) == 1
    if direction not in ("max", "min") and (colon or not known):
        raise Refused(
            f"--metric {wanted}: whether higher is better must be said; write {metric}:max or "
            f"{metric}:min."
        )
    higher = own == {True} or last_part(metric) in HIGHER_IS_BETTER
    if colon:
        higher = direction == "max"
    if not metric.startswith("test/"):
        return metric, higher, []
    warning = (
        f"WARNING: ranked by {metric}, as asked; the best setting's value is too good, since it "
        "was chosen by the same images."
    )
    return metric, higher, [warning]


def data_notes(finished: Sequence[Result], *, metric: str) -> list[str]:
    """Warn where metrics were measured on different images."""
    names = sorted({as_typed(result.settings.get("data")) for result in finished})
    if len(names) > 1:
        return [
            f"WARNING: metrics of different data ({', '.join(names)}) do not compare; "
            f"--filter data={names[0]} keeps one."
        ]
    splits = [splitting(result) for result in finished if metric in result.metrics]
    differing = [name for name in SPLITTING if len({split[name] for split in splits}) > 1]
    if metric.startswith("val/") and differing:
        return [
            "WARNING: the runs were validated on different images, as they differ in "
            f"{' and '.join(differing)}."
        ]
    return []


BY_SEED = "seed (data.shuffle_split=true)"
SPLITTING = ("data.val_fraction", "data.split_seed", "data.shuffle_split", BY_SEED)


def splitting(result: Result) -> dict[str, Value | None]:
    """What decides which images a run was validated on, given the same training split."""
    split: dict[str, Value | None] = {name: result.settings.get(name) for name in SPLITTING}
    by_seed = split["data.shuffle_split"]
    return {**split, "data.split_seed": None, BY_SEED: result.seed} if by_seed else split


def baseline_label(
    text: str | None, with_settings: Sequence[Result], names: Sequence[str]
) -> str | None:
    """The label of the group that the user calls the baseline, else of the first run's."""
    if not with_settings:
        return None
    if text is None:
        groups = grouped(with_settings, names)
        return groups[0].label if len(groups) > 1 else None
    groups = grouped(chosen(with_settings, text, flag="--baseline"), names)
    if not groups:
        raise Refused(f"--baseline {text}: no run has all of that.")
    if len(groups) > 1:
        vary = [name for name in names if len({g.settings.get(name) for g in groups}) > 1]
        more = " and ".join(map(short_name, vary))
        raise Refused(f"--baseline {text}: {len(groups)} settings match; say {more} as well.")
    return groups[0].label


def effects(
    counted: Iterable[Result], vary: Sequence[str], *, metric: str
) -> dict[str, statistics.Effect]:
    """The effect of each setting that varies, the largest first."""
    rows = [
        (
            {name: result.settings[name] for name in vary if name in result.settings},
            math.nan if result.diverged else result.metrics[metric],
        )
        for result in counted
        if result.diverged or metric in result.metrics
    ]
    found = statistics.main_effects(rows)
    return dict(sorted(found.items(), key=lambda item: -effect_range(item[1])))


def effect_range(effect: statistics.Effect) -> float:
    """Best level minus worst."""
    means = [level.mean for level in effect.levels.values() if level.mean is not None]
    return max(means, default=0.0) - min(means, default=0.0)


def levels(effect: statistics.Effect) -> list[Value]:
    """Numbers in ascending order, names with the highest mean first."""
    found: list[Any] = [*effect.levels]
    if all(isinstance(level, (int, float)) for level in found):
        return sorted(found)
    means = {level: effect.levels[level].mean for level in found}
    return sorted(found, key=lambda level: (means[level] is None, -(means[level] or 0)))
