"""compared.json in a sweep's directory: which comparisons of it somebody has read.

Whoever adds seeds until something is claimed will be told something: each look is a chance to err.
"""

from __future__ import annotations

import contextlib
import datetime
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mnist_lab.run.directory import read_json
from mnist_lab.study.comparison import Study, study
from mnist_lab.study.results import Result
from mnist_lab.ui.errors import Refused
from mnist_lab.ui.files import write_json

NAME = "compared.json"
MOST = 50  # looks that are remembered
SEED = re.compile(r"seed=(\d+)")


def look(
    results: Sequence[Result],
    *,
    metric: str | None = None,
    by: Sequence[str] = (),
    where: Sequence[str] = (),
    baseline: str | None = None,
) -> Study:
    """Compare runs for somebody who reads the answer: as `study`, and remembered with the sweeps.

    Only a comparison of all runs by all that varies counts as a look.
    """
    found = study(results, metric=metric, by=by, where=where, baseline=baseline)
    if by or where:
        return found
    if told := warning(results, metric=found.metric):
        found = replace(found, notes=(*found.notes, told))
    if any(comparison.p is not None for comparison in found.ranking.against):
        remember(results, metric=found.metric)
    return found


def sweeps_of(results: Iterable[Result]) -> list[Path]:
    """The sweeps that the runs are jobs of."""
    parents = dict.fromkeys(result.path.parent for result in results)
    return [parent for parent in parents if (parent / "sweep.json").exists()]


def seeds_of(results: Iterable[Result], sweeps: Sequence[Path]) -> set[int]:
    """Of the runs, whatever their state, and of the jobs of their sweeps that are still to come."""
    seeds = {result.seed for result in results if result.seed is not None}
    for sweep in sweeps:
        with contextlib.suppress(Refused):
            jobs = read_json(sweep / "sweep.json").get("jobs")
            for job in jobs.values() if isinstance(jobs, dict) else ():
                typed = job.get("overrides") if isinstance(job, dict) else None
                for text in typed if isinstance(typed, list) else ():
                    if found := SEED.fullmatch(str(text)):
                        seeds.add(int(found[1]))
    return seeds


def looks_at(sweep: Path) -> list[dict[str, Any]]:
    try:
        looks = read_json(sweep / NAME).get("looks")
    except Refused:
        return []
    return [one for one in looks if isinstance(one, dict)] if isinstance(looks, list) else []


def warning(results: Sequence[Result], *, metric: str) -> str | None:
    """A line where seeds were added after a comparison without them was read."""
    sweeps = sweeps_of(results)
    now = seeds_of(results, sweeps)
    for sweep in sweeps:
        for entry in looks_at(sweep):
            seeds = entry.get("seeds")
            if entry.get("metric") != metric or not isinstance(seeds, list):
                continue
            then = {seed for seed in seeds if isinstance(seed, int)}
            if then and then < now:
                return (
                    f"WARNING: seeds were added after {entry.get('time')}, when a comparison of "
                    f"{len(then)} was read; now there are {len(now)}. Whoever adds seeds until "
                    "something is claimed errs more often than 5 %: plan the number beforehand."
                )
    return None


def remember(results: Sequence[Result], *, metric: str) -> None:
    """Note that a comparison was read; where that cannot be written, it is not."""
    sweeps = sweeps_of(results)
    seeds = sorted(seeds_of(results, sweeps))
    for sweep in sweeps:
        looks = looks_at(sweep)
        if any(one.get("metric") == metric and one.get("seeds") == seeds for one in looks):
            continue
        entry = {
            "time": f"{datetime.datetime.now():%Y-%m-%dT%H:%M:%S}",
            "metric": metric,
            "num_runs": sum(result.path.parent == sweep for result in results),
            "seeds": seeds,
        }
        if not (sweep / NAME).is_symlink():  # a stranger's sweep must not lead out of itself
            with contextlib.suppress(OSError):
                write_json(sweep / NAME, {"looks": [*looks, entry][-MOST:]})
