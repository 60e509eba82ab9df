"""A sweep that gives no more seeds to what its runs have separated from the best setting."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mnist_lab.run.tensorboard import write_note
from mnist_lab.study.results import dropped_line
from mnist_lab.sweep.plan import Job, Plan, short_names
from mnist_lab.ui.console import screen
from mnist_lab.ui.errors import Refused

if TYPE_CHECKING:
    from mnist_lab.sweep.record import Sweep

FIRST = 2  # seeds of each setting before the first look
FEWEST = 3  # seeds of a race
ENDED = ("finished", "failed")
SPARED = "spared"  # the state of a job that the race has made needless


def label(job: Job) -> str:
    """What a setting is called, the same in every process: all that varies but the seed."""
    short = short_names(job.values)
    return ",".join(
        f"{short[key]}={job.values[key]}" for key in sorted(job.values.keys() - {"seed"})
    )


def settings_of(jobs: tuple[Job, ...]) -> dict[str, list[Job]]:
    found: dict[str, list[Job]] = {}
    for job in jobs:
        found.setdefault(label(job), []).append(job)
    return found


def raced(plan: Plan) -> Plan:
    """Make a race of a plan.

    Raises:
        Refused: there is no validation, or there are too few seeds or settings.
    """
    settings = settings_of(plan.jobs)
    seeds = {tuple(job.settings["seed"] for job in jobs) for jobs in settings.values()}
    refuse_without_validation(plan.jobs, "race=on")
    if len(settings) < 2:
        raise Refused("race=on: there is one setting; give a second, as in model.width=128,512.")
    if len(seeds) > 1:
        raise Refused("race=on: every setting needs the same seeds, in the same order.")
    num_seeds = len(seeds.pop())
    if num_seeds < FEWEST:
        raise Refused(f"race=on: {num_seeds} seeds; needs {FEWEST} or more, as in seed=0,1,2,3,4.")
    remark = (
        f"race: {len(settings)} settings, {FIRST * len(settings)} to {len(plan.jobs)} jobs; looks "
        f"after {FIRST} to {num_seeds} seeds, each at {5 / (num_seeds - 1):.3g} %"
    )
    race = {"max_seeds": num_seeds, "seeds": 0, "dropped": {}}
    return dataclasses.replace(plan, race=race, remarks=(*plan.remarks, remark))


def refuse_without_validation(jobs: Sequence[Job], said: str) -> None:
    for job in jobs:
        data, trainer = job.settings["data"], job.settings["trainer"]
        if (data["val_fraction"] == 0 and not data.get("module")) or not trainer[
            "limit_val_batches"
        ]:
            raise Refused(
                f"{said}: decides by validation accuracy; data.val_fraction=0 leaves none."
            )


class Race:
    """The rounds of a sweep, and the decisions between them, which sweep.json keeps.

    Attributes:
        say: told of each decision, in a line.
    """

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep
        self.stored: dict[str, Any] = sweep.document["race"]
        self.settings = settings_of(sweep.jobs)
        self.say: Callable[[str], object] = screen().print
        stored, dropped = self.stored, self.stored.get("dropped")
        entries = [*dropped.values()] if isinstance(dropped, dict) else [None]
        good = all(
            isinstance(one, dict) and isinstance(one.get("p"), (float, int, type(None)))
            for one in entries
        )
        if not (good and all(type(stored.get(name)) is int for name in ("max_seeds", "seeds"))):
            raise Refused(f"{sweep.path / 'sweep.json'}: lacks a proper `race`.")

    @property
    def left(self) -> list[str]:
        return [name for name in self.settings if name not in self.stored["dropped"]]

    @property
    def is_over(self) -> bool:
        return len(self.left) < 2 or self.stored["seeds"] >= self.stored["max_seeds"]

    def rounds(self) -> Iterator[list[Job]]:
        """The jobs that the next look needs and that have not run; then that look, and so on.

        After the last look: jobs of what is left that were to be started afresh.

        Every round is a barrier, in the pool as well: no job of the next one begins before its
        setting is certainly in. A look tests by the spreads of all settings together and takes the
        best by their means, so it may turn on every job that still runs, and no bound on their
        outcomes is known that keeps a setting in short of trying each one: with 10,000 images of
        validation 10,002 looks for one running job, and that number squared for two.

        It ends early where a round has not been run to its end, as by a signal.
        """
        self.note()
        while not self.is_over:
            num_seeds = max(FIRST, self.stored["seeds"] + 1)
            due = [job for name in self.left for job in self.settings[name][:num_seeds]]
            if jobs := [job for job in due if self.sweep.state(job) not in ENDED]:
                yield jobs
            if any(self.sweep.state(job) not in ENDED for job in due):
                return
            self.look(num_seeds)
        due = [job for name in self.left for job in self.settings[name]]
        if jobs := [job for job in due if self.sweep.state(job) not in (*ENDED, SPARED)]:
            yield jobs

    def look(self, num_seeds: int) -> None:
        """Decide by the first so many seeds of those that are left, and write it down."""
        from mnist_lab.study.metric import METRIC, images_behind
        from mnist_lab.study.racing import look
        from mnist_lab.study.results import read_result

        runs: dict[str, dict[int, float]] = {}
        finished = []
        for name, jobs in self.settings.items():
            runs[name] = {}
            for job in jobs[: self.stored["dropped"].get(name, {}).get("seeds", num_seeds)]:
                result = read_result(self.sweep.job_path(job))
                if result.diverged:
                    runs[name][job.settings["seed"]] = math.nan
                elif METRIC in result.metrics:
                    runs[name][job.settings["seed"]] = result.metrics[METRIC]
                    finished.append(result)
        out = look(
            runs,
            self.left,
            num_looks=self.stored["max_seeds"] - FIRST + 1,
            num_images=images_behind(METRIC, finished),
        )
        self.stored["seeds"] = num_seeds
        for name, p in out.items():
            self.stored["dropped"][name] = {"seeds": num_seeds, "p": p}
            self.say(dropped_line(name, self.stored["dropped"][name]))
        for name, jobs in self.settings.items():
            for job in jobs if self.is_over or name in out else ():
                if self.sweep.state(job) == "pending":
                    self.sweep.document["jobs"][job.directory]["state"] = SPARED
        self.sweep.write()
        self.note()

    def note(self) -> None:
        """Tell of each decision in TensorBoard, too, at the runs of what was dropped."""
        for name, entry in self.stored["dropped"].items():
            for job in self.settings.get(name, ()):
                if self.sweep.state(job) in ENDED:
                    write_note(self.sweep.job_path(job), "race", dropped_line(name, entry))

    def lines(self) -> list[str]:
        """How it stands."""
        head = f"race: {len(self.left)} of {len(self.settings)} settings left"
        lines = [f"{head} after {self.stored['seeds']} seeds: {'; '.join(self.left)}"]
        return lines + [dropped_line(*item) for item in self.stored["dropped"].items()]


def race_of(sweep: Sweep) -> Race | None:
    return Race(sweep) if sweep.document.get("race") else None
