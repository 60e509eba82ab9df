"""sweep.json: what a sweep is and how far its jobs are, beside the jobs' directories."""

from __future__ import annotations

import datetime
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnist_lab.run.directory import Run
from mnist_lab.settings.schema import SCHEMA
from mnist_lab.settings.table import leaves
from mnist_lab.sweep.plan import Job, Plan
from mnist_lab.sweep.stored import (
    FILE,
    LAUNCHER_OVERRIDE,
    images_of_job,
    job_state,
    read_jobs,
    read_sweep,
)
from mnist_lab.ui.errors import Refused
from mnist_lab.ui.files import refuse_ways_out, write_json

WRITE_S = 1.0  # seconds between two writings of the states, which a reader finds in the jobs too


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
