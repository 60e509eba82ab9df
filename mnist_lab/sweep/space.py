"""What a search may try, and what it tries next: TPE, by Optuna, which is imported here alone."""

from __future__ import annotations

import contextlib
import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_lab.settings.overrides import parsed_overrides
from mnist_lab.settings.table import SETTINGS
from mnist_lab.sweep.grid import LOGARITHMIC, Row
from mnist_lab.ui.errors import Refused

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

DRAWN = 10  # settings that are drawn before any is asked for by what others have reached
TRIES = 100  # proposals of a setting that is new, before one is drawn
STUDY = "search"  # the name of the study in its storage

Params = dict[str, Any]
"""Of each axis that is searched a choice, as text, or a number of its range."""


@dataclass(frozen=True)
class Trial:
    """A setting that was asked for.

    Attributes:
        value: what it has reached, the higher the better; None: not known yet; NaN: it failed.
    """

    params: Params
    value: float | None = None


@dataclass(frozen=True)
class Space:
    """The axes of a search: of each the overrides of every choice, or of one with a range.

    An axis of one choice is fixed.
    """

    axes: Mapping[str, Sequence[Row]]

    @cached_property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """The ends of each axis that is a range."""
        found = {}
        for name, rows in self.axes.items():
            override = parsed_overrides(rows[0], multirun=True)[0] if rows[0] else None
            if override and override.is_sweep_override() and not override.is_discrete_sweep():
                ends: Any = override.value()
                found[name] = (ends.start, ends.end)
        return found

    @cached_property
    def choices(self) -> dict[str, dict[str, Row]]:
        """Each axis of several choices, these by what they are called."""
        return {
            name: {
                row[0].partition("=")[2] if len(row) == 1 else "+".join(row): row for row in rows
            }
            for name, rows in self.axes.items()
            if len(rows) > 1
        }

    def row(self, params: Params) -> Row:
        """The overrides of a setting.

        Raises:
            Refused: it is none of this space.
        """
        texts: list[str] = []
        for name, rows in self.axes.items():
            value = params.get(name)
            if name in self.ranges:
                low, high = self.ranges[name]
                if type(value) not in (int, float) or not low <= value <= high:  # type: ignore[operator]
                    raise Refused(f"{name}: {value!r} is not in {rows[0][0]}.")
                texts.append(f"{name}={value}")
            elif name not in self.choices:
                texts += rows[0]
            elif isinstance(value, str) and value in self.choices[name]:
                texts += self.choices[name][value]
            else:
                raise Refused(f"{name}: {value!r} is none of its choices.")
        return tuple(texts)

    def corners(self) -> Iterator[Params]:
        """Every combination of choices, with the low end of each range and with the high one."""
        for end in (0, 1) if self.ranges else (0,):
            ends = {name: as_number(name, ends[end]) for name, ends in self.ranges.items()}
            for chosen in itertools.product(*self.choices.values()):
                yield {**dict(zip(self.choices, chosen, strict=True)), **ends}

    def varies(self, name: str) -> bool:
        return name in self.ranges or name in self.choices

    @property
    def num_combinations(self) -> int:
        """Of choices, whatever the ranges."""
        return math.prod(map(len, self.choices.values()))

    def proposals(self, trials: Sequence[Trial], *, seed: int) -> Iterator[Params]:
        """What to try next, in this order until one is new: the same for the same trials and seed.

        The first are drawn; once some have a value, TPE asks by them: those that run count as bad
        ones, so that several asked at once differ. Source: Bergstra et al., "Algorithms for
        hyper-parameter optimization" (2011), with all axes together; Optuna's TPESampler.
        """
        import optuna

        source = random.Random(f"{seed} {len(trials)}")  # noqa: S311
        sampler = optuna.samplers.TPESampler(
            seed=source.randrange(2**32), n_startup_trials=DRAWN, multivariate=True
        )
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        study.add_trials([self.frozen(trial) for trial in trials])
        for _ in range(TRIES):
            asked = study.ask(self.distributions)
            yield {name: self.rounded(name, value) for name, value in asked.params.items()}
            study.tell(asked, state=optuna.trial.TrialState.FAIL)
        combinations = [*itertools.product(*self.choices.values())]
        for chosen in source.sample(combinations, len(combinations)):
            found = dict(zip(self.choices, chosen, strict=True))
            for name, (low, high) in self.ranges.items():
                found[name] = self.rounded(name, source.uniform(low, high))
            yield found

    def rounded(self, name: str, value: Any) -> Any:
        """A number of a range in four digits, or a whole one where the setting is one."""
        if name not in self.ranges:
            return value
        low, high = self.ranges[name]
        return as_number(name, min(max(float(f"{value:.4g}"), low), high))

    @cached_property
    def distributions(self) -> dict[str, BaseDistribution]:
        from optuna.distributions import (
            CategoricalDistribution,
            FloatDistribution,
            IntDistribution,
        )

        found: dict[str, BaseDistribution] = {}
        for name in self.axes:
            if name in self.choices:
                found[name] = CategoricalDistribution([*self.choices[name]])
            elif name in self.ranges:
                low, high = self.ranges[name]
                if is_whole(name):
                    found[name] = IntDistribution(math.ceil(low), math.floor(high))
                else:
                    found[name] = FloatDistribution(low, high, log=name in LOGARITHMIC)
        return found

    def frozen(self, trial: Trial) -> FrozenTrial:
        from optuna.trial import TrialState, create_trial

        state, value = TrialState.COMPLETE, trial.value
        if value is None or math.isnan(value):
            state, value = (TrialState.RUNNING if value is None else TrialState.FAIL), None
        return create_trial(
            state=state, value=value, params=trial.params, distributions=self.distributions
        )

    def write(self, trials: Sequence[Trial], path: Path) -> None:
        """Bring a storage of Optuna's up to date, for its tools; nothing is taken from it.

        Each trial is told once. What does not go with the trials, or is damaged, is written anew.
        """
        import optuna
        from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock, JournalStorage
        from optuna.trial import TrialState

        def storage() -> JournalStorage:
            return JournalStorage(
                JournalFileBackend(str(path), lock_obj=JournalFileOpenLock(str(path)))
            )

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        wanted = [self.frozen(trial) for trial in trials]
        stored: list[FrozenTrial] = []
        good = False
        if path.exists():
            with contextlib.suppress(Exception):  # whatever Optuna makes of a damaged file
                study = optuna.load_study(study_name=STUDY, storage=storage())
                stored = study.get_trials(deepcopy=False)
                pairs = zip(stored, wanted, strict=False)
                good = len(stored) <= len(wanted) and all(goes_with(*pair) for pair in pairs)
        if not good:
            path.unlink(missing_ok=True)
            stored = []
            study = optuna.create_study(study_name=STUDY, storage=storage(), direction="maximize")
        for old, new in zip(stored, wanted, strict=False):
            if old.state != new.state:
                failed = new.state == TrialState.FAIL
                study.tell(old.number, new.value, state=TrialState.FAIL if failed else None)
        study.add_trials(wanted[len(stored) :])


def goes_with(stored: FrozenTrial, wanted: FrozenTrial) -> bool:
    """Whether a trial is what was stored of it, or what has become of that."""
    same = (stored.state, stored.value) == (wanted.state, wanted.value)
    return stored.params == wanted.params and (same or not stored.state.is_finished())


def is_whole(name: str) -> bool:
    return name in SETTINGS and SETTINGS[name].kind is int


def as_number(name: str, value: float) -> int | float:
    return round(value) if is_whole(name) else value
