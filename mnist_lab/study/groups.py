"""Groups of runs that differ in their seed alone, and the settings by which a user chooses runs."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mnist_lab.settings import table
from mnist_lab.settings.hyperparameters import NAMES, Value
from mnist_lab.settings.table import nearest
from mnist_lab.study.results import Result
from mnist_lab.ui.errors import Refused

LAST_PARTS = Counter(name.rpartition(".")[2] for name in NAMES)


@dataclass(frozen=True)
class Group:
    """The runs of one setting: they differ in their seed alone, or with `--by` in what it pools."""

    settings: Mapping[str, Value]  # those that vary; lacks what these runs do not have
    results: tuple[Result, ...]

    @property
    def label(self) -> str:
        varied = [f"{short_name(name)}={as_typed(value)}" for name, value in self.settings.items()]
        own = self.results[0].settings
        return " ".join(varied) or as_typed(own.get("experiment", own.get("model", "all runs")))

    def runs(self, metric: str) -> dict[int, float]:
        """The metric by seed; NaN for a run that diverged, nothing for one without the metric."""
        values: defaultdict[int, list[float | None]] = defaultdict(list)
        for result in self.results:
            assert result.seed is not None
            found = math.nan if result.diverged else result.metrics.get(metric)
            values[result.seed].append(found)
        return {
            seed: float(np.mean([value for value in found if value is not None]))
            for seed, found in values.items()
            if None not in found
        }

    def mean(self, metric: str) -> float | None:
        """Mean over the runs in which it is finite."""
        values = [result.metrics.get(metric, math.nan) for result in self.results]
        finite = [value for value in values if math.isfinite(value)]
        return float(np.mean(finite)) if finite else None


def short_name(name: str) -> str:
    """`width` for model.width, as long as no other setting ends so."""
    last = name.rpartition(".")[2]
    return last if LAST_PARTS[last] <= 1 else name


def as_typed(value: Value | None) -> str:
    """As a user would type it; `-` for a setting that a run does not have."""
    if isinstance(value, float) and float(text := f"{value:g}") == value:
        return text
    return "-" if value is None else table.as_typed(value)


def varied(rows: Sequence[Mapping[str, Value]]) -> list[str]:
    """Name the settings that take more than one value, "not there" being one.

    Left out is what follows from a choice that varies itself: the betas come with Adam, and
    everything that an experiment sets with the experiment.
    """
    names = dict.fromkeys([*NAMES, *(name for row in rows for name in row)])
    several = [name for name in names if len({row.get(name) for row in rows}) > 1]

    def follows(name: str) -> bool:
        return any(
            choice in several
            and choice != name
            and len({(row.get(choice), row.get(name)) for row in rows})
            == len({row.get(choice) for row in rows})
            for choice in ("experiment", name.partition(".")[0])
        )

    return [name for name in several if not follows(name)]


def grouped(results: Iterable[Result], names: Sequence[str]) -> list[Group]:
    """Group runs by settings, in the order in which they come."""
    groups: defaultdict[tuple[Value | None, ...], list[Result]] = defaultdict(list)
    for result in results:
        groups[tuple(result.settings.get(name) for name in names)].append(result)
    return [
        Group(
            {name: v for name, v in zip(names, values, strict=True) if v is not None}, tuple(found)
        )
        for values, found in groups.items()
    ]


def pooled(groups: Sequence[Group], others: Sequence[str]) -> list[Group]:
    """Keep of each group and seed the combinations of the other settings that all groups have.

    So that rows meet on equal terms: none is better by having been run with better company.

    Raises:
        Refused: there is no such combination.
    """

    def combination(result: Result) -> tuple[Value | None, ...]:
        return tuple(result.settings.get(name) for name in others)

    common = set.intersection(*({combination(r) for r in group.results} for group in groups))
    kept = []
    for group in groups:
        seeds = defaultdict(set)
        for result in group.results:
            seeds[result.seed].add(combination(result))
        complete = {seed for seed, found in seeds.items() if found >= common}
        found = [r for r in group.results if r.seed in complete and combination(r) in common]
        if found:
            kept.append(replace(group, results=tuple(found)))
    if not common or len(kept) < len(groups):
        raise Refused(
            f"--by: no combination of {', '.join(map(short_name, others))} was run for every row, "
            "so their means would not compare; choose comparable runs with --filter."
        )
    return kept


def chosen(results: Iterable[Result], text: str, *, flag: str) -> list[Result]:
    """Runs that meet `KEY=VALUE[,VALUE...][,KEY=...]`; `-` stands for a setting that is not there.

    Raises:
        Refused: a key or value that no run has.
    """
    rows = [(result, {**result.settings, "seed": result.seed}) for result in results]
    rows = [(result, row) for result, row in rows if result.settings]
    known = {name for _, row in rows for name in row}
    wanted: defaultdict[str, set[Value | None]] = defaultdict(set)
    name = ""
    for part in re.split(r",(?![^\[]*\])", text):
        key, _, value = part.partition("=") if "=" in part else (name, "", part)
        if not key:
            raise Refused(f"{flag} {text}: write KEY=VALUE, as in {flag} optimizer=adam")
        name = full_name(key.strip(), known, flag=flag)
        found = dict.fromkeys(row.get(name) for _, row in rows)
        matching = {candidate for candidate in found if matches(candidate, value.strip())}
        if not matching:
            options = nearest(value.strip(), map(as_typed, found))
            raise Refused(f"{flag} {part.strip()}: no run has that; {options}")
        wanted[name] |= matching
    return [
        result
        for result, row in rows
        if all(row.get(name) in values for name, values in wanted.items())
    ]


def full_name(key: str, known: Iterable[str], *, flag: str) -> str:
    """Find the setting that a user calls by its full or its short name."""
    names = sorted(known)
    for name in names:
        if key in (name, short_name(name)):
            return name
    meant = nearest(key, names if "." in key else map(short_name, names))
    raise Refused(f"{flag} {key}: no run has such a setting; {meant}")


def matches(value: Value | None, text: str) -> bool:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(text) == value
        except ValueError:
            return False
    return as_typed(value).replace(" ", "") == text.replace(" ", "")
