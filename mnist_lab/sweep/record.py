"""sweep.json: what a sweep is and how far its jobs are, beside the jobs' directories."""

from __future__ import annotations

import datetime
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnist_lab.run.config import refuse_interpolations
from mnist_lab.run.directory import Run, read_json, read_state, read_status
from mnist_lab.settings.check import check, foreign_nodes
from mnist_lab.settings.overrides import (
    check_override,
    groups_of_own_classes,
    names_class,
    parsed_overrides,
)
from mnist_lab.settings.schema import RETIRED, SCHEMA, taken_version, upgrade
from mnist_lab.settings.table import leaves
from mnist_lab.sweep.plan import Job, Plan, values_of
from mnist_lab.ui.errors import Refused
from mnist_lab.ui.files import refuse_ways_out, write_json

FILE = "sweep.json"
WRITE_S = 1.0  # seconds between two writings of the states, which a reader finds in the jobs too

# What a launcher may be told: names and plain values, nothing that Hydra could build or resolve.
LAUNCHER_OVERRIDE = re.compile(r"hydra/launcher=\w+|hydra\.launcher(\.[a-zA-Z]\w*)+=[\w.,:/+-]*")
DIRECTORY = re.compile(r"\d{3,}[\w.,=+-]*")


@dataclass
class Sweep:
    """A sweep directory that this process holds; no other writes its sweep.json.

    Attributes:
        jobs: all of them, whatever their state.
    """

    held: Run
    document: dict[str, Any]
    jobs: tuple[Job, ...]
    written: float = 0.0

    @classmethod
    def claim(
        cls,
        plan: Plan,
        path: Path | None,
        *,
        arguments: Sequence[str],
        launcher: Sequence[str],
        data_sha256: Mapping[int, str] | None = None,
    ) -> Sweep:
        """Make the directory of a new sweep: `path`, or one of its own below outputs/sweeps/.

        Args:
            data_sha256: of the images of each job, by its number; each is held to it.

        Raises:
            Refused: it holds a run or a sweep, is in use, or cannot be written.
        """
        if path is None:
            held = Run.claim_new(Path("outputs/sweeps").absolute() / plan.name)
        else:
            if (path / FILE).exists():
                raise Refused(f"{path}: holds a sweep already; mnist-resume goes on with it.")
            held = Run.claim(path)
        common, jobs = parted({job.directory: pending(job) for job in plan.jobs})
        digests = data_sha256 or {}
        common_digest = digests.get(plan.jobs[0].number)
        for job in plan.jobs:
            if (digest := digests.get(job.number)) != common_digest:
                jobs[job.directory]["data_sha256"] = digest
        document = {
            "schema": SCHEMA,
            "name": plan.name,
            "created": f"{datetime.datetime.now():%Y-%m-%dT%H:%M:%S}",
            "arguments": list(arguments),
            "launcher": [text for text in launcher if LAUNCHER_OVERRIDE.fullmatch(text)],
            "varies": list(plan.varies),
            "duplicates": {str(number): same for number, same in plan.duplicates.items()},
            "data_sha256": common_digest,
            "settings": common,
            **({"race": plan.race} if plan.race else {}),
            **({"search": plan.search} if plan.search else {}),
            "jobs": jobs,
        }
        sweep = cls(held, document, plan.jobs)
        sweep.write()
        return sweep

    @classmethod
    def open(cls, path: Path) -> Sweep:
        """Hold an existing sweep directory.

        Raises:
            Refused: no sweep, in use (and by whom), or a sweep.json that cannot be trusted.
        """
        refuse_ways_out(path)
        document = read_sweep(path)
        jobs = read_jobs(path, document)
        return cls(Run.hold(path), document, jobs)

    def __enter__(self) -> Sweep:
        return self

    def __exit__(self, *_: object) -> None:
        self.held.release()

    @property
    def path(self) -> Path:
        return self.held.path

    @property
    def varies(self) -> list[str]:
        return list(self.document["varies"])

    def job_path(self, job: Job) -> Path:
        return self.path / job.directory

    def state(self, job: Job) -> str:
        """As the job itself says, or spared: a race has made it needless."""
        state = job_state(self.job_path(job))
        marked = self.document["jobs"][job.directory].get("state")
        return "spared" if (state, marked) == ("pending", "spared") else state

    def data_sha256(self, job: Job) -> str | None:
        """Of the images that a job is held to.

        Where an earlier lab has kept none for a job that did not begin: those that another job with
        the same settings of its data has seen.
        """
        if sha256 := images_of_job(self.document, self.job_path(job)):
            return sha256
        alike = [other for other in self.jobs if other.settings["data"] == job.settings["data"]]
        seen = (images_of_job(self.document, self.job_path(other)) for other in alike)
        return next(filter(None, seen), None)

    def move_data(self, root: str | None) -> None:
        """Say where the images of all jobs are now."""
        self.document["settings"]["data.root"] = root
        for stored in self.document["jobs"].values():
            stored["settings"].pop("data.root", None)
        self.write()

    def add(self, jobs: Sequence[Job]) -> None:
        """Take in jobs that a search has asked for, of the images of the others, and write it."""
        whole = {
            name: {**stored, "settings": {**self.document["settings"], **stored["settings"]}}
            for name, stored in self.document["jobs"].items()
        }
        root = next(iter(whole.values()))["settings"].get("data.root")
        for job in jobs:
            if "root" in job.settings["data"]:
                job.settings["data"]["root"] = root
            whole[job.directory] = pending(job)
        self.document["settings"], self.document["jobs"] = parted(whole)
        self.jobs += tuple(jobs)
        self.write()

    def mark(self, job: Job, state: str) -> None:
        """Take down a job's state; to disk now and then, since the job itself says the same."""
        self.document["jobs"][job.directory]["state"] = state
        if time.monotonic() - self.written > WRITE_S:
            self.write()

    def mark_all(self) -> dict[int, str]:
        """Take down what each job says of itself, to disk; return it by the job's number."""
        states = {job.number: self.state(job) for job in self.jobs}
        for job in self.jobs:
            self.document["jobs"][job.directory]["state"] = states[job.number]
        self.write()
        return states

    def write(self) -> None:
        write_json(self.path / FILE, self.document)
        self.written = time.monotonic()


def pending(job: Job) -> dict[str, Any]:
    """What is stored of a job, with all of its settings."""
    return {
        "number": job.number,
        "state": "pending",
        "overrides": list(job.overrides),
        "settings": leaves(job.settings),
    }


def parted(
    jobs: Mapping[str, dict[str, Any]],
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The settings that jobs have in common, and the jobs with the rest of theirs."""
    every = [stored["settings"] for stored in jobs.values()]
    common = {
        name: value
        for name, value in every[0].items()
        if all(name in other and other[name] == value for other in every)
    }
    rest = {
        name: {
            **stored,
            "settings": {k: v for k, v in stored["settings"].items() if k not in common},
        }
        for name, stored in jobs.items()
    }
    return common, rest


def read_sweep(path: Path) -> dict[str, Any]:
    """Read sweep.json as data: nothing in it is resolved or built.

    Raises:
        Refused: not there, or not what this lab writes.
    """
    file = path / FILE
    document = read_json(file)
    refuse_interpolations(document, file)
    document = {"schema": taken_version(document, file), **document}
    shape = {"varies": list, "launcher": list, "settings": dict, "jobs": dict}
    for key, kind in shape.items():
        if not isinstance(document.get(key), kind):
            raise Refused(f"{file}: lacks a proper `{key}`.")
    for text in document["launcher"]:
        if not (isinstance(text, str) and LAUNCHER_OVERRIDE.fullmatch(text)):
            raise Refused(f"{file}: launcher: {text!r} is not allowed there.")
    return document


def read_jobs(path: Path, document: Mapping[str, Any]) -> tuple[Job, ...]:
    """Check and rebuild the jobs of a sweep that was read."""
    jobs = []
    for directory, stored in document["jobs"].items():
        try:
            jobs.append(read_job(directory, stored, document))
        except Refused as error:
            raise Refused(f"{path / FILE}: {directory}: {error}") from None
        except (KeyError, TypeError, AttributeError) as error:
            raise Refused(f"{path / FILE}: {directory}: cannot be read ({error!r}).") from None
    return tuple(jobs)


def targets_in(value: Any) -> Iterator[Any]:
    """What a value names as a class to build, however nested."""
    if isinstance(value, dict):
        yield from (inner for key, inner in value.items() if str(key) == "_target_")
        value = [*value.values()]
    if isinstance(value, list):
        for inner in value:
            yield from targets_in(inner)


def read_job(directory: str, stored: Mapping[str, Any], document: Mapping[str, Any]) -> Job:
    if not DIRECTORY.fullmatch(directory):
        raise Refused("not a name that a job's directory has.")
    typed = [str(text) for text in stored["overrides"]]
    overrides = tuple(text for text in typed if text.partition("=")[0] not in RETIRED)
    refuse_unfit(overrides, multirun=False)
    settings = stored_settings(document, stored)
    values = values_of(overrides)
    return Job(
        number=int(stored["number"]),
        overrides=overrides,
        values={key: values[key] for key in document["varies"] if key in values},
        directory=directory,
        settings=settings,
    )


def refuse_unfit(overrides: Sequence[str], *, multirun: bool) -> None:
    """Refuse stored overrides that are not for a run's settings alone, or name a foreign class."""
    parsed = parsed_overrides(overrides, multirun=multirun)
    for override in parsed:
        if override.key_or_group.startswith("hydra"):
            raise Refused(f"{override.input_line}: not allowed there.")
        check_override(override, multirun=multirun, unknown=groups_of_own_classes(parsed))
        value: Any = override.value()
        if names_class(override):
            value = {"_target_": value}
        for target in targets_in(value):  # composing takes what it is told for the user's own word
            foreign_nodes({"model": {"_target_": target}}, to_build=True)


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Undo `settings.leaves`."""
    tree: dict[str, Any] = {}
    for name, value in flat.items():
        *groups, leaf = name.split(".")
        node = tree
        for group in groups:
            node = node.setdefault(group, {})
        node[leaf] = value
    return tree


def job_state(directory: Path) -> str:
    """pending, running, finished, failed, interrupted or crashed; as the job itself says."""
    return read_state(directory) if (directory / "status.json").exists() else "pending"


def images_of_job(document: Mapping[str, Any], directory: Path) -> str | None:
    """SHA-256 of the images that a job has seen or, before it began, that it was planned with."""
    status = read_status(directory) if (directory / "status.json").exists() else {}
    stored = document["jobs"][directory.name]
    planned = stored.get("data_sha256", document.get("data_sha256"))
    sha256 = status.get("data_sha256", planned)
    return sha256 if isinstance(sha256, str) else None


def planned_job(directory: Path) -> tuple[dict[str, Any], str | None]:
    """The settings of one job, from the sweep.json beside its directory, and `images_of_job`.

    Raises:
        Refused: no sweep, or the directory is none of its jobs.
    """
    document = read_sweep(directory.parent)
    stored = document["jobs"].get(directory.name)
    if not isinstance(stored, dict) or not isinstance(stored.get("settings"), dict):
        raise Refused(f"{directory}: not a job of the sweep in {directory.parent}.")
    return stored_settings(document, stored), images_of_job(document, directory)


def stored_settings(document: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """Check the settings of a job. Its images are there, or put there by hand.

    The file may be a stranger's: what is downloaded from where is not for it to say.
    """
    settings = nested({**document["settings"], **stored["settings"]})
    upgrade(settings, document["schema"])
    check(settings)
    settings["data"]["download"] = False
    return settings
