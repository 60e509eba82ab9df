"""A sweep that asks for its settings, one by one, by what those before them have reached."""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mnist_lab.settings.groups import SWEEP
from mnist_lab.settings.paths import paths_as_typed
from mnist_lab.settings.table import as_typed, leaves
from mnist_lab.sweep.composer import Composer
from mnist_lab.sweep.grid import Row, Shape, axes_of, where_it_applies
from mnist_lab.sweep.plan import Job, Plan, plan
from mnist_lab.sweep.race import ENDED, label, refuse_without_validation
from mnist_lab.sweep.space import DRAWN, Params, Space, Trial
from mnist_lab.sweep.stored import refuse_unfit
from mnist_lab.ui.console import percent
from mnist_lab.ui.errors import Refused
from mnist_lab.ui.files import shown_path

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

    from mnist_lab.sweep.record import Sweep

FILE = "search.journal"  # Optuna's storage of the trials
EXTRA = "pip install 'mnist_lab[search]'"
AT_ONCE = 4  # settings that are asked for together where a round of jobs is waited for
MOST = 1000  # combinations of choices: each is composed and checked before the first job
# Of the images, what may differ from setting to setting; by the rest they are judged.
PLACE = ("data.root", "data.download")  # where the images are, and may be
FREE = ("data.batch_size", "data.max_shift")


def searched(
    overrides: Sequence[Override], composer: Composer, shape: Shape, *, sweep: str | None
) -> Plan:
    """Plan a search: the jobs that are drawn, and what it takes to ask for the others.

    Args:
        sweep: as `plan` takes it.

    Raises:
        Refused: a job that cannot be; nothing to search, or less than is asked for; nothing to
            judge by; or no Optuna.
    """
    said = f"search={shape.search}"
    assert shape.search_trials is not None
    refuse_without_optuna(said)
    axes, _ = axes_of(overrides, shape)
    axes.pop(SWEEP, None)
    seeds = [*dict.fromkeys(axes.pop("seed", [()]))]
    space = Space({name: tuple(dict.fromkeys(rows)) for name, rows in axes.items()})
    if not (space.ranges or space.choices):
        raise Refused(
            f"{said}: nothing to search; give a setting a range or values, as in "
            "optimizer.lr=interval(1e-4,1e-1)."
        )
    if (most := space.num_combinations) > MOST:
        raise Refused(f"{said}: {most} combinations of choices, at most {MOST}; write ranges.")
    if not space.ranges and shape.search_trials > most:
        raise Refused(f"search_trials={shape.search_trials}: there are {most} settings.")
    whole = where_it_applies([space.row(corner) for corner in space.corners()], composer)
    corners = plan(whole.rows, composer).jobs
    refuse_without_validation(corners, said)
    if len({judged_by(job) for job in corners}) > 1:
        raise Refused(f"{said}: every setting needs the same images and the same validation.")
    trials: list[Trial] = []
    seed, num_drawn = shape.sample_seed or 0, min(DRAWN, shape.search_trials)
    while len(trials) < num_drawn and (new := new_params(space, trials, composer, seed)):
        trials.append(Trial(new))
    if len(trials) < num_drawn:
        raise Refused(f"search_trials={shape.search_trials}: there are {len(trials)} settings.")
    planned = plan(
        rows_of(space, trials, seeds, composer),
        composer,
        sweep=sweep,
        remarks=whole.remarks,
        varies=varying(space, seeds),
    )
    stored = {
        "method": shape.search,
        "trials": shape.search_trials,
        "seed": seed,
        "seeds": seeds,
        "axes": dict(space.axes),
        "asked": [trial.params for trial in trials],
    }
    remark = (
        f"search: {shape.search_trials} settings; the first {len(trials)} are drawn and known, the "
        "others asked for by what those before them reach in validation"
    )
    return dataclasses.replace(
        planned, search=stored, corners=corners, remarks=(*planned.remarks, remark)
    )


def refuse_without_optuna(said: str) -> None:
    if importlib.util.find_spec("optuna") is None:
        raise Refused(f"{said}: needs optuna; {EXTRA}")


def judged_by(job: Job) -> str:
    data = {name: value for name, value in leaves(job.settings).items() if name[:5] == "data."}
    return str({name: value for name, value in data.items() if name not in FREE})


def new_params(
    space: Space, trials: Sequence[Trial], composer: Composer, seed: int
) -> Params | None:
    """The next setting that has not been tried; None: there is no other."""
    known = {applied(space.row(trial.params), composer) for trial in trials}
    proposals = space.proposals(trials, seed=seed)
    return next((p for p in proposals if applied(space.row(p), composer) not in known), None)


def applied(row: Row, composer: Composer) -> Row:
    """Leave out the settings that there are not with the choices of a row."""
    lacking = composer.lacking(paths_as_typed(row))
    return tuple(text for text in row if text.partition("=")[0] not in lacking)


def rows_of(
    space: Space, trials: Sequence[Trial], seeds: Sequence[Row], composer: Composer
) -> list[Row]:
    rows = [applied(space.row(trial.params), composer) for trial in trials]
    return [(*row, *seed) for row in rows for seed in seeds]


def varying(space: Space, seeds: Sequence[Row]) -> list[str]:
    searched_rows = [row for name in space.axes for row in space.axes[name] if space.varies(name)]
    names = dict.fromkeys(text.partition("=")[0] for row in searched_rows for text in row)
    return [*names, *(["seed"] if len(seeds) > 1 else [])]


class Search:
    """How far a search is, which sweep.json keeps: what was asked for, in its order.

    Attributes:
        trials: each with what it has reached: the mean of its seeds' validation accuracy, 0..1.
    """

    def __init__(self, sweep: Sweep, composer: Composer) -> None:
        self.sweep = sweep
        self.composer = composer
        self.stored: dict[str, Any] = sweep.document["search"]
        refuse_without_optuna("search=tpe")
        try:
            self.seeds = [(*map(str, row),) for row in self.stored["seeds"]]
            self.seeds[0]  # at least one
            axes = self.stored["axes"]
            axes = {name: [(*map(str, row),) for row in rows] for name, rows in axes.items()}
            texts = [text for rows in axes.values() for row in rows for text in row]
            refuse_unfit([*texts, *itertools.chain(*self.seeds)], multirun=True)
            self.space = Space(axes)
            self.trials = [Trial(params) for params in self.stored["asked"]]
            for number, trial in enumerate(self.trials):
                self.space.row(trial.params), self.jobs_of(number)[0]
            int(self.stored["trials"]), int(self.stored["seed"])
        except Refused as error:
            raise Refused(f"{sweep.path / 'sweep.json'}: search: {error}") from None
        except (IndexError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise Refused(
                f"{sweep.path / 'sweep.json'}: lacks a proper `search` ({error!r})."
            ) from None
        self.written: list[Trial] = []

    def jobs_of(self, number: int) -> list[Job]:
        return [job for job in self.sweep.jobs if job.number // len(self.seeds) == number]

    @property
    def num_left(self) -> int:
        """Settings that are still to be asked for."""
        left = int(self.stored["trials"]) - len(self.trials)
        return 0 if self.stored.get("over") else max(0, left)

    @property
    def num_jobs_left(self) -> int:
        return self.num_left * len(self.seeds)

    def refuse_other_defaults(self) -> None:
        """Refuse to go on where the settings to come would not be those of the ones before.

        Raises:
            Refused: names the first setting that conf/ has otherwise now.
        """
        job = self.sweep.jobs[0]
        now = leaves(self.composer.settings(job.overrides))
        for name, value in leaves(job.settings).items():
            if name not in PLACE and now.get(name) != value:
                raise Refused(
                    f"{self.sweep.path}: its settings have {name}={as_typed(value)}, which is "
                    f"{as_typed(now.get(name))} in conf/ now; a search goes on with the same only."
                )

    def take_note(self) -> None:
        """Read what has become of the trials, and keep Optuna's storage up with it."""
        for number, trial in enumerate(self.trials):
            if trial.value is None:
                self.trials[number] = Trial(trial.params, self.value(self.jobs_of(number)))
        if self.trials != self.written:
            self.space.write(self.trials, self.sweep.path / FILE)
            self.written = [*self.trials]

    def value(self, jobs: Sequence[Job]) -> float | None:
        from mnist_lab.study.metric import METRIC
        from mnist_lab.study.results import read_result

        if any(self.sweep.state(job) not in ENDED for job in jobs):
            return None
        results = [read_result(self.sweep.job_path(job)) for job in jobs]
        if any(result.diverged or METRIC not in result.metrics for result in results):
            return math.nan
        return math.fsum(result.metrics[METRIC] for result in results) / len(results)

    def ask(self, number: int = 1) -> list[Job]:
        """The jobs of the next settings, written down; none once all have been asked for."""
        self.take_note()
        asked: list[Job] = []
        for _ in range(min(number, self.num_left)):
            params = new_params(self.space, self.trials, self.composer, self.stored["seed"])
            if params is None:
                self.stored["over"] = True  # there are no more
                break
            new = Trial(params)
            jobs = plan(
                rows_of(self.space, [new], self.seeds, self.composer),
                self.composer,
                varies=self.sweep.varies,
                first=len(self.trials) * len(self.seeds),
                total=self.stored["trials"] * len(self.seeds),
            ).jobs
            self.trials.append(new)
            self.stored["asked"].append(params)
            self.sweep.add(jobs)
            asked += jobs
        self.take_note()
        return asked

    def rounds(self, jobs: Sequence[Job], size: int) -> Iterator[Sequence[Job]]:
        """These jobs, then those of so many settings at once, as long as all come to an end."""
        self.take_note()
        jobs = jobs or self.ask(size)
        while jobs:
            yield jobs
            if any(self.sweep.state(job) not in ENDED for job in jobs):
                return
            jobs = self.ask(size)

    def lines(self) -> list[str]:
        """How it stands."""
        self.take_note()
        values = [trial.value for trial in self.trials]
        known = {n: v for n, v in enumerate(values) if v is not None and not math.isnan(v)}
        line = f"search: {len(known)} of {self.stored['trials']} settings have a result"
        if not known:
            return [line]
        best = max(known, key=lambda n: known[n])
        seeds = f"{len(self.seeds)} seed{'s' * (len(self.seeds) > 1)}"
        reached = f"{percent(known[best])} in validation, {seeds}"
        return [
            f"{line}; best so far {label(self.jobs_of(best)[0])}: {reached}",
            f"optuna-dashboard {shown_path(self.sweep.path / FILE)} shows it.",
        ]


def search_of(sweep: Sweep, composer: Composer | None = None) -> Search | None:
    return Search(sweep, composer or Composer()) if sweep.document.get("search") else None
