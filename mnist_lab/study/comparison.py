"""Runs compared: which setting is better, by how much, and whether that is more than noise."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mnist_lab.settings.hyperparameters import Value
from mnist_lab.study.effects import Effect, main_effects, shares
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
from mnist_lab.study.images import new_images
from mnist_lab.study.metric import images_behind, is_fraction, kind_of, ranking_metric
from mnist_lab.study.ranking import Comparison, Ranking
from mnist_lab.study.results import Result
from mnist_lab.study.statistics import Difference
from mnist_lab.study.verdict import verdict
from mnist_lab.ui.errors import Refused

LEVEL = 0.95  # of every interval


@dataclass(frozen=True)
class Study:
    """Everything that is known about a set of runs, ready to be shown.

    Attributes:
        names: the settings that tell the groups apart: those that vary, or those of `--by`.
        groups: the ranked ones, best first.
        unranked: those with a run that diverged, or without the metric.
        ranking: of the groups, by their labels; its baseline need not have any run.
        new_images: of the comparisons that are shown, by the other setting: the difference with an
            interval that holds for new images, and the number of images; where runs stored answers.
        verdict: the answer in words, a sentence each; empty before any run has finished.
        effects: of each setting that varies, by its full name.
        shares: of the variance of all runs; empty unless they make a complete grid.
        unfinished: runs that have not finished, however they ended.
        notes: warnings and remarks, a line each.
    """

    metric: str
    names: tuple[str, ...]
    groups: tuple[Group, ...]
    unranked: tuple[Group, ...]
    ranking: Ranking
    new_images: Mapping[str, tuple[Difference, int]]
    verdict: tuple[str, ...]
    effects: Mapping[str, Effect]
    shares: Mapping[str, float]
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
        notes.append(f"Not ranked, as no run of theirs has {metric}: {', '.join(without)}.")
    runs = {label: values for label, values in runs.items() if values}
    base = baseline_label(baseline, with_settings, names)
    if base in without:
        base = None
    elif base is not None:
        runs.setdefault(base, {})
    ranking = Ranking.of(
        runs,
        baseline=base,
        higher_is_better=higher,
        level=LEVEL,
        kind=kind_of(metric),
        num_images=images_behind(metric, finished),
    )
    ranked = frozenset(ranking.order)
    labelled = {group.label: group for group in groups}
    found_effects, found_shares = effects(
        counted, vary, metric=metric, num_images=ranking.num_images
    )
    new = {
        comparison.other: found
        for comparison in ranking.comparisons
        if (found := on_new_images(comparison, labelled, metric=metric))
    }
    percent = is_fraction(metric)
    words = verdict(ranking, metric=metric, percent=percent, new_images=new) if finished else ()
    return Study(
        metric=metric,
        names=tuple(names),
        groups=tuple(labelled[label] for label in ranking.order),
        unranked=tuple(group for group in groups if group.label not in ranked),
        ranking=ranking,
        new_images=new,
        verdict=tuple(words),
        effects=found_effects,
        shares=found_shares,
        unfinished=tuple(result for result in results if result.state != "finished"),
        notes=tuple(notes),
    )


def on_new_images(
    comparison: Comparison, groups: Mapping[str, Group], *, metric: str
) -> tuple[Difference, int] | None:
    """See `images.new_images`; None too where a row holds several runs of a seed."""
    sides = {name: groups[name].results for name in (comparison.best, comparison.other)}
    runs = {
        name: {result.seed: result for result in results if result.seed is not None}
        for name, results in sides.items()
    }
    if any(len(runs[name]) < len(results) for name, results in sides.items()):
        return None
    return new_images(comparison, runs, metric=metric, level=LEVEL)


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
    counted: Iterable[Result], vary: Sequence[str], *, metric: str, num_images: int | None
) -> tuple[dict[str, Effect], dict[str, float]]:
    """The effect of each setting that varies, the largest first, and the shares of the variance."""
    rows, seeds = [], []
    for result in counted:
        if (result.diverged or metric in result.metrics) and result.seed is not None:
            settings = {name: result.settings[name] for name in vary if name in result.settings}
            rows.append((settings, math.nan if result.diverged else result.metrics[metric]))
            seeds.append(result.seed)
    found = main_effects(rows, seeds=seeds, level=LEVEL, num_images=num_images)
    return dict(sorted(found.items(), key=lambda item: -effect_range(item[1]))), shares(rows)


def effect_range(effect: Effect) -> float:
    """Best level minus worst."""
    means = [level.mean for level in effect.levels.values() if level.mean is not None]
    return max(means, default=0.0) - min(means, default=0.0)


def levels(effect: Effect) -> list[Value]:
    """Numbers in ascending order, names with the highest mean first."""
    found: list[Any] = [*effect.levels]
    if all(isinstance(level, (int, float)) for level in found):
        return sorted(found)
    means = {level: effect.levels[level].mean for level in found}
    return sorted(found, key=lambda level: (means[level] is None, -(means[level] or 0)))
