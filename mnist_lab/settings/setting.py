"""One setting: its kind, its range and what they are in words. Imports neither torch nor Hydra."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One leaf of the configuration.

    Attributes:
        kind: int, float, bool, str or, for any value, object; a number setting takes no bool, a
            float setting takes an int.
        meaning: for `--help`, with the unit.
        low, high: the range, both ends allowed unless `open_low` or `open_high`.
        choices: the only values allowed.
        many: a list of such values, at least `min_items` long.
        optional: null is allowed.
        otherwise: values of another kind that are allowed as well.
    """

    kind: type
    meaning: str
    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False
    choices: tuple[object, ...] = ()
    many: bool = False
    min_items: int = 1
    max_items: int = 64
    optional: bool = False
    otherwise: Setting | None = None

    @property
    def allowed(self) -> str:
        """The range in words, for messages and `--help`."""
        if self.choices:
            text = " or ".join(str(c) for c in self.choices)
        elif self.kind is bool:
            text = "true or false"
        elif self.kind in (str, object):
            text = "text" if self.kind is str else "any value"
        else:
            noun = {int: "a whole number", float: "a number"}[self.kind]
            parts = []
            if self.low > -math.inf:
                parts.append(f"{'above' if self.open_low else 'from'} {self.low}")
            if self.high < math.inf:
                parts.append(f"{'below' if self.open_high else 'to'} {self.high}")
            text = " ".join([noun, *parts])
        if self.many and self.min_items == self.max_items:
            text = f"a list of {self.min_items}, each {text}"
        elif self.many and self.min_items > 1:
            text = f"a list of {self.min_items} to {self.max_items}, each {text}"
        elif self.many:
            text = f"a list, each {text}"
        if self.otherwise:
            text = f"{text}, or {self.otherwise.allowed}"
        return f"{text}, or null" if self.optional else text

    def accepts(self, value: object) -> bool:
        if value is None:
            return self.optional
        if self.many:
            return (
                isinstance(value, list)
                and self.min_items <= len(value) <= self.max_items
                and all(self._accepts_one(item) for item in value)
            )
        if self.otherwise is not None and self.otherwise.accepts(value):
            return True
        return self._accepts_one(value)

    def _accepts_one(self, value: object) -> bool:
        if self.choices:
            return any(value == choice and type(value) is type(choice) for choice in self.choices)
        if self.kind is object:
            return True
        if self.kind in (bool, str):
            return isinstance(value, self.kind)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        if self.kind is int and isinstance(value, float):
            return False
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return above and below and abs(value) < math.inf  # a nan is neither above nor below


def whole(meaning: str, low: int, high: int, **more: Any) -> Setting:
    return Setting(kind=int, meaning=meaning, low=low, high=high, **more)


def number(meaning: str, low: float, high: float, **more: Any) -> Setting:
    return Setting(kind=float, meaning=meaning, low=low, high=high, **more)


def flag(meaning: str, **more: Any) -> Setting:
    return Setting(kind=bool, meaning=meaning, **more)


def word(meaning: str, **more: Any) -> Setting:
    return Setting(kind=str, meaning=meaning, **more)
