"""The short keys of a command line that shape a sweep, beside the values of its settings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from mnist_lab.settings.paths import quoted
from mnist_lab.settings.setting import Setting, flag, whole, word
from mnist_lab.settings.table import as_typed
from mnist_lab.ui.errors import Refused

SHAPES: dict[str, Setting] = {
    "pair": word("settings that change together: pair=A:1+B:2,A:3+B:4; in YAML a list of mappings"),
    "sample": whole("settings drawn from the grid or its ranges, each with all seeds", 1, 10**6),
    "race": flag("no more seeds for settings that validation has separated from the best; on, off"),
    "race_max_seeds": whole(
        "seeds that those which are left go on to, from the largest listed", 3, 1000
    ),
    "sample_seed": whole("fixes which are drawn, or searched", 0, 2**32 - 1),
    "search": word(
        "settings asked for by what earlier ones have reached in validation; needs optuna",
        choices=("tpe",),
    ),
    "search_trials": whole("settings that a search tries, each with all seeds", 1, 10_000),
}
SWITCH = {"on": "true", "off": "false"}
# Between two settings of a pair; the plus of 1e+3 is none.
PLUS = re.compile(r"\+(?=[A-Za-z_][\w./@]*:)")
NAME = re.compile(r"[{,]\s*([A-Za-z_][\w./@]*)\s*:")

Pair = dict[str, str]
"""Settings and choices with their values, as typed."""


def split_shapes(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part a command line: what runs are told, and what our sweeper is."""
    shapes = [text for text in overrides if text.partition("=")[0] in SHAPES]
    told = []
    for text in shapes:
        name, _, value = text.partition("=")
        value = SWITCH.get(value, value) if name == "race" else value
        told.append(f"hydra.sweeper.{name}={quoted(value) if name == 'pair' else value}")
    return [text for text in overrides if text not in shapes], told


def check_shape(name: str, value: object) -> None:
    if not (SHAPES[name].accepts(value) or value is None):
        raise Refused(f"{name}={as_typed(value)}: must be {SHAPES[name].allowed}.")


def pairs(given: Any) -> list[Pair]:
    """Read the pairs: text of a command line, or what stands in YAML.

    Raises:
        Refused: no pairs, or a setting twice in one of them.
    """
    if given is None:
        return []
    found: Any = given if isinstance(given, str) else [dict(one) for one in given]
    if isinstance(found, str):
        found = from_lists(found) if found.lstrip().startswith("[") else from_pluses(found)
    if not all(found) or any(isinstance(v, dict) for one in found for v in one.values()):
        raise bad(given)
    return [{name: value_as_typed(value) for name, value in one.items()} for one in found]


def bad(given: object) -> Refused:
    text = given if isinstance(given, str) else as_typed([*given])  # type: ignore[misc]
    return Refused(
        f"pair={text}: cannot be read; write pair=optimizer:sgd+optimizer.lr:0.1,optimizer:adam+"
        "optimizer.lr:0.001, or quoted 'pair=[{optimizer:sgd,optimizer.lr:0.1},{...}]'."
    )


def from_pluses(text: str) -> list[dict[str, Any]]:
    found = []
    for part in re.split(r",(?=[A-Za-z_][\w./@]*:)", text):
        items = [item.partition(":") for item in PLUS.split(part)]
        if not all(name and value for name, _, value in items):
            raise bad(text)
        refuse_twice([name for name, *_ in items])
        found.append({name: value for name, _, value in items})
    return found


def from_lists(text: str) -> list[dict[str, Any]]:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        found = OverridesParser.create().parse_override(f"pair={text}").value()
    except (HydraException, ValueError):
        raise bad(text) from None
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise bad(text)
    for part in text.split("}"):
        refuse_twice(NAME.findall(part[part.rfind("{") :] if "{" in part else ""))
    return found


def refuse_twice(names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise Refused(f"pair: {name} is given {names.count(name)} times in one of them.")


def value_as_typed(value: object) -> str:
    from hydra.core.override_parser.types import Override

    return value if isinstance(value, str) else Override._get_value_element_as_str(value)  # type: ignore[arg-type]
