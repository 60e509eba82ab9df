"""What a user writes to choose runs: `optimizer=adam,width=128,512`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from mnist_lab.errors import Refused
from mnist_lab.groups import as_typed, short_name
from mnist_lab.hparams import Value
from mnist_lab.results import Result
from mnist_lab.settings import nearest

Conditions = Mapping[str, tuple[Value | None, ...]]
"""Full names of settings with the values wanted; None where a run does not have the setting."""


def parse_conditions(text: str, results: Iterable[Result], *, flag: str) -> Conditions:
    """Read `KEY=VALUE[,VALUE...][,KEY=...]`; `-` is the value of a setting that is not there.

    Raises:
        Refused: a key or value that no run has.
    """
    conditions: dict[str, list[Value | None]] = {}
    rows = [settings_and_seed(result) for result in results if result.settings]
    known = {name for row in rows for name in row}
    name = ""
    for part in re.split(r",(?![^\[]*\])", text):
        key, _, value = part.partition("=") if "=" in part else (name, "", part)
        if not key:
            raise Refused(f"{flag} {text}: write KEY=VALUE, as in {flag} optimizer=adam")
        name = full_name(key.strip(), known, flag=flag)
        found = dict.fromkeys(row.get(name) for row in rows)
        matching = [candidate for candidate in found if matches(candidate, value.strip())]
        if not matching:
            options = nearest(value.strip(), map(as_typed, found))
            raise Refused(f"{flag} {part.strip()}: no run has that; {options}")
        conditions.setdefault(name, []).extend(matching)
    return {key: tuple(values) for key, values in conditions.items()}


def settings_and_seed(result: Result) -> dict[str, Value]:
    assert result.seed is not None
    return {**result.settings, "seed": result.seed}


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


def satisfies(result: Result, conditions: Conditions) -> bool:
    if not result.settings:
        return not conditions
    row = settings_and_seed(result)
    return all(row.get(name) in values for name, values in conditions.items())
