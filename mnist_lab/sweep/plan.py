"""A sweep before it starts: every job composed, checked and named. Imports no torch."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mnist_lab.data.source import settled
from mnist_lab.run.images import source_of
from mnist_lab.settings.build import Rehearsal
from mnist_lab.settings.compose import Config
from mnist_lab.settings.groups import GROUPS, SWEEP
from mnist_lab.settings.overrides import parsed_overrides
from mnist_lab.settings.paths import paths_as_typed
from mnist_lab.settings.table import SETTINGS, leaves
from mnist_lab.sweep.composer import Composer
from mnist_lab.ui.console import show_download
from mnist_lab.ui.errors import Refused
from mnist_lab.ui.startup import import_lightning

if TYPE_CHECKING:
    pass

FLOATS = {name for name, setting in SETTINGS.items() if setting.kind is float}
NAME_LENGTH = 100  # characters of a job's directory
SHOWN_LENGTH = 30  # of them TensorBoard's list of runs shows


@dataclass(frozen=True, kw_only=True)
class Job:
    """One point of the grid.

    Attributes:
        number: its place in the grid, from 0.
        overrides: what makes it differ from the defaults, as on a command line.
        values: those of the settings and choices that vary in the sweep.
        directory: its name, such as `007_optimizer=adam,width=128`.
        settings: plain and checked; device and threads still open.
    """

    number: int
    overrides: tuple[str, ...]
    values: Mapping[str, str]
    directory: str
    settings: Config


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The jobs of a sweep.

    Attributes:
        name: what the sweep is about; the folder above its directory.
        varies: the settings and choices with more than one value.
        duplicates: number of a job that is left out -> number of the same job that is run.
        remarks: what else a reader should know, a line each.
        race: how far it is, as sweep.json has it; None: every job is run.
        search: likewise; the jobs are the first of it.
        corners: further jobs that are to be tried for whether they can be, and not to be run.
    """

    name: str
    varies: tuple[str, ...]
    jobs: tuple[Job, ...]
    duplicates: Mapping[int, int]
    remarks: tuple[str, ...] = ()
    race: dict[str, Any] | None = None
    search: dict[str, Any] | None = None
    corners: tuple[Job, ...] = ()

    @property
    def num_jobs(self) -> int:
        """Those that a search is still to ask for, too."""
        return self.search["trials"] * len(self.search["seeds"]) if self.search else len(self.jobs)


def plan(
    grid: Sequence[Sequence[str]],
    composer: Composer,
    *,
    sweep: str | None = None,
    remarks: Sequence[str] = (),
    varies: Sequence[str] = (),
    first: int = 0,
    total: int = 0,
) -> Plan:
    """Compose and check every job of a grid.

    Args:
        grid: the overrides of each job.
        remarks: as in `Plan`.
        sweep: the ready grid that was chosen, for the name.
        varies: the settings and choices that vary, where the grid is only a part.
        first: number of the first job.
        total: jobs that there will be, if these are not all.

    Raises:
        Refused: a job that cannot be; names its number, its overrides and the setting.
    """
    typed = [values_of(overrides) for overrides in grid]
    varies = [*varies] or varying(typed)
    values = [{key: value for key, value in each.items() if key in varies} for each in typed]
    names = directory_names(values, first=first, total=total)
    seen: dict[str, int] = {}
    duplicates: dict[int, int] = {}
    jobs = []
    for number, all_overrides in enumerate(grid, first):
        own = [text for text in all_overrides if not text.startswith(f"{SWEEP}=")]
        overrides = paths_as_typed(own)
        try:
            settings = composer.settings(overrides)
        except Refused as error:
            raise refused(number, overrides, error) from None
        identity = fingerprint(settings)
        if identity in seen:
            duplicates[number] = seen[identity]
            continue
        seen[identity] = number
        jobs.append(
            Job(
                number=number,
                overrides=tuple(overrides),
                values=values[number - first],
                directory=names[number - first],
                settings=settings,
            )
        )
    if not jobs:
        raise Refused("the sweep has no jobs; give a setting its values, as in model.width=1,2,3.")
    return Plan(
        name=sweep_name([job.settings for job in jobs], sweep),
        varies=tuple(varies),
        jobs=tuple(jobs),
        duplicates=duplicates,
        remarks=(*remarks,),
    )


def refused(number: int, overrides: Sequence[str], error: Refused) -> Refused:
    return Refused(f"job {number} ({' '.join(overrides) or 'no overrides'}):\n{error}")


def rehearse(jobs: Sequence[Job]) -> list[int]:
    """Build what each job would, without the memory for it; return the networks' parameters.

    Raises:
        Refused: a job whose parts do not take their settings.
    """
    import_lightning()
    rehearsal = Rehearsal()
    sizes = []
    for job in jobs:
        try:
            sizes.append(rehearsal.num_params(job.settings))
        except Refused as error:
            raise refused(job.number, job.overrides, error) from None
    return sizes


def locate_data(jobs: Sequence[Job]) -> dict[int, str]:
    """Find and read the data of all jobs, once each, and write down where it is.

    Returns:
        Number of each job -> SHA-256 of its images.

    Raises:
        Refused: no data, or damaged files.
    """
    found: dict[str, tuple[Config, str]] = {}
    digests = {}
    for job in jobs:
        data = job.settings["data"]
        key = json.dumps(data, sort_keys=True)
        if key not in found:
            node = settled(data, progress=show_download)
            found[key] = node, source_of(node).read().sha256
        job.settings["data"], digests[job.number] = found[key]
    return digests


def values_of(overrides: Sequence[str]) -> dict[str, str]:
    return {
        override.key_or_group: override.get_value_element_as_str()
        for override in parsed_overrides(overrides)
        if not override.is_delete()
    }


def varying(jobs: Sequence[Mapping[str, str]]) -> list[str]:
    """The keys that have more than one value, in the order of the command line."""
    keys = dict.fromkeys(key for job in jobs for key in job)
    return [key for key in keys if len({job.get(key) for job in jobs}) > 1]


def fingerprint(settings: Config) -> str:
    """The same for two jobs that would do the same: the names of chosen files do not count."""
    rest = {key: value for key, value in settings.items() if key != "choices"}
    numbers = {
        name: float(value) if type(value) is int and name in FLOATS else value
        for name, value in leaves(rest).items()
    }
    return json.dumps(numbers, sort_keys=True)


def directory_names(
    jobs: Sequence[Mapping[str, str]], *, first: int = 0, total: int = 0
) -> list[str]:
    """Number and values, in characters that neither a shell nor a file system minds.

    `007_optimizer=adam,width=128`, or `007_adam,w128,d0.2,s3` for all, where a name in full would
    be longer than TensorBoard shows: a choice says itself what it is.
    """
    digits = max(3, len(str(max(total, len(jobs)) - 1)))
    names = []
    for brief in (False, True):
        names = [
            f"{number:0{digits}d}_{said(values, brief=brief)}"[:NAME_LENGTH].rstrip("_,=")
            for number, values in enumerate(jobs, first)
        ]
        if max(map(len, names), default=0) <= SHOWN_LENGTH:
            break
    return names


def said(values: Mapping[str, str], *, brief: bool) -> str:
    keys = short_names(values)
    parts = []
    for key, value in values.items():
        safe = re.sub(r"[^A-Za-z0-9._+-]+", "-", value).strip("-")
        if brief and key in GROUPS:
            parts.append(safe)
        elif brief:
            name = shortest(keys[key], [*keys.values()])
            parts.append(f"{name}{safe}" if safe[:1].isdigit() else f"{name}={safe}")
        else:
            parts.append(f"{keys[key]}={safe}")
    return ",".join(parts)


def shortest(name: str, names: Sequence[str]) -> str:
    """The fewest first letters that no other name begins with; two are not worth a cut."""
    if len(name) <= 2:
        return name
    starts = (name[:n] for n in range(1, len(name)))
    return next((s for s in starts if sum(other.startswith(s) for other in names) == 1), name)


def short_names(keys: Sequence[str] | Mapping[str, Any]) -> dict[str, str]:
    """The last word of each dotted name, where no other name ends in it."""
    last = [key.rpartition(".")[2] for key in keys]
    return {
        key: word if last.count(word) == 1 else key for key, word in zip(keys, last, strict=True)
    }


def sweep_name(jobs: Sequence[Config], sweep: str | None) -> str:
    """The experiment, else the ready grid, else the model: whatever all jobs share."""
    for group in ("experiment", SWEEP, "model"):
        names = {sweep} if group == SWEEP else {job["choices"][group] for job in jobs}
        if len(names) == 1 and (name := names.pop()):
            return str(name)
    return "mixed"
