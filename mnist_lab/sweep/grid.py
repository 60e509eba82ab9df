"""The jobs that a command line asks for: its values combined, paired, and drawn from. No torch."""

from __future__ import annotations

import dataclasses
import itertools
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from mnist_lab.settings.groups import SWEEP
from mnist_lab.settings.overrides import parsed_overrides
from mnist_lab.settings.paths import paths_as_typed
from mnist_lab.settings.shape import check_shape, pairs
from mnist_lab.settings.table import SETTINGS
from mnist_lab.ui.errors import Refused

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

    from mnist_lab.sweep.composer import Composer

Row = tuple[str, ...]
"""The overrides of one job."""

SEED = "seed="
LOGARITHMIC = ("optimizer.lr",)  # drawn evenly by its logarithm
TRIES = 100  # draws of a setting that is new, before there are said to be no more


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What our sweeper was told of the form of a sweep; None where it was told nothing.

    Attributes:
        pair: as `settings.shape.pairs` takes it.
        sample: number of settings that are drawn; `sample_seed` fixes which.
        race: as `sweep.race` runs it; then `race_max_seeds` says how many seeds a setting may get.
        search: as `sweep.search` runs it, for `search_trials` settings; `sample_seed` fixes which.
    """

    pair: Any = None
    sample: int | None = None
    sample_seed: int | None = None
    race: bool | None = None
    race_max_seeds: int | None = None
    search: str | None = None
    search_trials: int | None = None

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if field.name != "pair":
                check_shape(field.name, getattr(self, field.name))
        if self.sample_seed is not None and self.sample is None and self.search is None:
            raise Refused(f"sample_seed={self.sample_seed}: nothing is drawn; add sample=N.")
        if self.search is not None and self.search_trials is None:
            raise Refused(f"search={self.search}: how long? Add search_trials=N, settings to try.")
        if self.search_trials is not None and self.search is None:
            raise Refused(f"search_trials={self.search_trials}: no search; add search=tpe.")
        for other in ("race", "sample"):
            if self.search is not None and getattr(self, other):
                raise Refused(f"search={self.search}: not together with {other}; leave one out.")
        if self.race_max_seeds is not None and not self.race:
            raise Refused(f"race_max_seeds={self.race_max_seeds}: without a race; add race=on.")


@dataclass(frozen=True)
class Grid:
    """The rows, in their order, and what a reader of the plan should know of them, in lines."""

    rows: tuple[Row, ...]
    remarks: tuple[str, ...] = ()


def grid(overrides: Sequence[Override], composer: Composer, shape: Shape) -> Grid:
    """Combine every value with every other, and draw from that where it is asked for.

    Raises:
        Refused: as `axes_of`; or more drawn than there are.
    """
    axes, ranges = axes_of(overrides, shape)
    whole = where_it_applies(combined(axes), composer)
    if shape.sample is None:
        return whole
    return Grid(drawn(whole.rows, ranges, shape), whole.remarks)


def combined(axes: Mapping[str, Sequence[Row]]) -> list[Row]:
    """Every row of an axis with every row of the others."""
    return [
        tuple(text for part in parts for text in part if not text.startswith(f"{SWEEP}="))
        for parts in itertools.product(*axes.values())
    ]


def axes_of(
    overrides: Sequence[Override], shape: Shape
) -> tuple[dict[str, list[Row]], dict[str, Any]]:
    """What is combined: of each setting or choice its values, or its range, and of the pairs each.

    Of two overrides of one name the later one counts.

    Returns:
        Rows of each; and the bounds of each range, by its text.

    Raises:
        Refused: a range where nothing is drawn, an empty one, or a setting given by itself and in
            a pair.
    """
    axes: dict[str, list[Row]] = {}
    ranges: dict[str, Any] = {}
    if paired := pairs(shape.pair):
        axes["pair"] = [tuple(f"{name}={value}" for name, value in one.items()) for one in paired]
        for one in parsed_overrides([text for row in axes["pair"] for text in row]):
            if one.is_sweep_override():
                raise Refused(f"pair: {one.input_line}: must be one value.")
    for override in overrides:
        key = override.get_key_element()
        if any(override.key_or_group in one for one in paired):
            raise Refused(f"{key}: stands in pair and by itself, too; leave it out of one.")
        if not override.is_sweep_override():
            axes[key] = [(f"{key}={override.get_value_element_as_str()}",)]
        elif override.is_discrete_sweep():
            axes[key] = [(f"{key}={value}",) for value in override.sweep_string_iterator()]
        else:
            text = str(override.input_line)
            check_range(override, drawn=shape.sample is not None or shape.search is not None)
            ranges[text] = override.value()
            axes[key] = [(text,)]
    if shape.race_max_seeds is not None:
        axes["seed"] = more_seeds(axes.get("seed", []), shape.race_max_seeds)
    return axes, ranges


def more_seeds(listed: Sequence[Row], number: int) -> list[Row]:
    """Let seeds go on from the largest listed, until there are so many."""
    seeds = [text.partition("=")[2] for row in listed for text in row]
    if not all(seed.isdecimal() for seed in seeds) or not 0 < len(seeds) <= number:
        raise Refused(
            f"race_max_seeds={number}: must be at least the {len(seeds)} seeds listed, which are "
            "whole numbers, as in seed=0,1,2."
        )
    first = 1 + max(map(int, seeds))
    return [*listed, *((f"{SEED}{first + i}",) for i in range(number - len(seeds)))]


def check_range(override: Override, *, drawn: bool) -> None:
    text, bounds = override.input_line, cast(Any, override.value())
    name = override.key_or_group
    low, high = bounds.start, bounds.end
    if not low < high:
        raise Refused(f"{text}: is empty; must go up, as in {name}=interval(1e-4,1e-1).")
    for end in (low, high):
        bound = int(end) if SETTINGS[name].kind is int and float(end).is_integer() else end
        if not SETTINGS[name].accepts(bound):
            raise Refused(f"{text}: {bound:g} must be {SETTINGS[name].allowed}.")
    if not drawn:
        raise Refused(f"{text}: from a range settings are drawn; add sample=N.")


def where_it_applies(rows: Sequence[Row], composer: Composer) -> Grid:
    """Leave a setting out of the jobs whose choices have none of it, if those of others have."""
    names = [{text.partition("=")[0] for text in row} for row in rows]
    lacking = [composer.lacking(paths_as_typed(row)) for row in rows]
    some = set().union(*(own - out for own, out in zip(names, lacking, strict=True)))
    kept: list[Row] = []
    seen: set[Row] = set()
    for row, out in zip(rows, lacking, strict=True):
        left_out = out & some
        rest = tuple(text for text in row if text.partition("=")[0] not in left_out)
        if not (left_out and rest in seen):
            kept.append(rest)
        seen.add(rest)
    remarks = []
    for name in sorted(some & set().union(*lacking)):
        there = {
            text for row, out in zip(rows, lacking, strict=True) for text in row if name not in out
        }
        without = {
            text for row, out in zip(rows, lacking, strict=True) for text in row if name in out
        }
        missing = ", ".join(sorted(without - there))
        remarks.append(f"{name} applies where it exists, not with {missing}")
    return Grid(tuple(kept), tuple(remarks))


def drawn(rows: Sequence[Row], ranges: dict[str, Any], shape: Shape) -> tuple[Row, ...]:
    """Draw settings, none twice, each with all of its seeds."""
    assert shape.sample is not None
    settings: dict[Row, list[Row]] = {}
    for row in rows:
        key = tuple(text for text in row if not text.startswith(SEED))
        settings.setdefault(key, []).append(row)
    source = random.Random(shape.sample_seed or 0)  # noqa: S311
    if not ranges:
        if shape.sample > len(settings):
            raise Refused(
                f"sample={shape.sample}: there are {len(settings)} settings to draw from."
            )
        chosen = source.sample([*settings], shape.sample)
        return tuple(row for key in chosen for row in settings[key])
    found: dict[Row, list[Row]] = {}
    keys = [*settings]
    tries = 0
    while len(found) < shape.sample:
        key = source.choice(keys)
        values = {text: value_of(text, ranges[text], source) for text in key if text in ranges}
        new = tuple(values.get(text, text) for text in key)
        tries += 1
        if new not in found:
            found[new] = [tuple(values.get(t, t) for t in row) for row in settings[key]]
            tries = 0
        if tries > TRIES:
            raise Refused(f"sample={shape.sample}: the ranges have no more than {len(found)}.")
    return tuple(row for each in found.values() for row in each)


def value_of(text: str, bounds: Any, source: random.Random) -> str:
    """One value of a range, as typed: four digits, or a whole number where the setting is one."""
    name = text.partition("=")[0]
    if SETTINGS[name].kind is int:
        return f"{name}={source.randint(math.ceil(bounds.start), math.floor(bounds.end))}"
    if name in LOGARITHMIC:
        low, high = math.log(bounds.start), math.log(bounds.end)
        return f"{name}={math.exp(source.uniform(low, high)):.4g}"
    return f"{name}={source.uniform(bounds.start, bounds.end):.4g}"
