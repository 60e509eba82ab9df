"""The settings of a class that is not the lab's own: its constructor's parameters."""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import math
import types
import typing
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from mnist_lab.settings import own
from mnist_lab.settings.setting import Setting
from mnist_lab.settings.table import SETTINGS
from mnist_lab.ui.errors import Refused, first_line

# What the lab hands in, and no configuration says.
PARTIAL = ("optimizer", "schedule")  # called later, with what the lab hands in
OF_LIBRARIES = (
    "mnist_lab.",
    "lightning.",
    "torchmetrics.",
)  # whose nodes stay as short as they are
GIVEN = frozenset({"self", "num_classes", "params", "optimizer", "schedule", "metrics", "progress"})


@dataclass(frozen=True)
class Range:
    """The least and the largest value of a number: `kernel: Annotated[int, Range(1, 28)] = 5`."""

    low: float
    high: float = math.inf


@functools.cache
def located(target: str) -> Any:
    """The class or function that a dotted name means.

    Raises:
        Refused: its module cannot be imported, or has no such name; and why.
    """
    module, _, name = target.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except Exception as error:  # whatever the user's own file raises
        where = place_of(error)
        kind = "" if isinstance(error, (ImportError, AttributeError)) else type(error).__name__
        said = ": ".join(filter(None, (where, kind, first_line(error))))
        raise Refused(f"_target_={target}: cannot be imported: {said}") from error


def place_of(error: BaseException) -> str:
    """File and line of the user's where an import ended; "" where it did not get into one."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    place, trace = "", error.__traceback__
    while trace:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith("<") and file not in (__file__, importlib.__file__):
            place = f"{file}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


@functools.cache
def parameters(target: str) -> Mapping[str, tuple[Setting, Any]]:
    """What a configuration may say to a class or function: name -> (setting, default).

    The default is `inspect.Parameter.empty` where one must be given. Parameters that a class hands
    on by `**kwargs` are those of the class above it.

    Raises:
        Refused: it cannot be imported; or a network of the user's has a parameter without a type.
    """
    thing = located(target)
    found: dict[str, tuple[Setting, Any]] = {}
    for owner in constructors(thing):
        strict = is_network(thing) and not owner.__module__.startswith("mnist_lab.")
        hints = type_hints(owner)
        rest = False
        for one in inspect.signature(owner).parameters.values():
            rest |= one.kind is one.VAR_KEYWORD
            if one.kind is one.VAR_POSITIONAL and strict:
                raise Refused(f"{target}: *{one.name}: a network takes its settings by name.")
            if one.kind in (one.VAR_KEYWORD, one.VAR_POSITIONAL, one.POSITIONAL_ONLY):
                continue
            if one.name in GIVEN or one.name in found:
                continue
            if strict and one.annotation is one.empty:
                raise Refused(
                    f"{target}: the parameter {one.name} has no type; write {one.name}: int, say."
                )
            setting = (
                SETTINGS.get(f"model.{one.name}") if not strict and is_network(thing) else None
            )
            found[one.name] = setting or setting_of(hints.get(one.name, Any)), one.default
        if not rest:
            break
    return found


def fill(config: Mapping[Any, Any]) -> None:
    """Give each node that names a class of the user's the defaults of its constructor, in place.

    So they can be set as those of the lab's own are, and stand in what a run stores.
    """
    for place, node in own.targets(config):
        target = node["_target_"]
        if place != "data" and isinstance(target, str) and not target.startswith(OF_LIBRARIES):
            fill_node(node, target)
            if place in PARTIAL:
                node["_partial_"] = True


def fill_node(node: MutableMapping[Any, Any], target: str) -> None:
    for name, (setting, default) in parameters(target).items():
        if name in node:
            continue
        if default is inspect.Parameter.empty:
            node[name] = "???"  # Hydra's own sign for what must be given
        elif setting.kind is not object or default is None:
            node[name] = list(default) if isinstance(default, tuple) else default


def constructor_arguments(target: str) -> Iterator[str]:
    for owner in constructors(located(target)):
        yield from inspect.signature(owner).parameters


def takes_anything(target: str) -> bool:
    """Whether names are taken that no signature tells: `**kwargs` to the end."""
    for owner in constructors(located(target)):
        kinds = {one.kind for one in inspect.signature(owner).parameters.values()}
        if inspect.Parameter.VAR_KEYWORD not in kinds:
            return False
    return True


def constructors(thing: Any) -> Iterator[Any]:
    """A function itself; of a class each `__init__`, the nearest first."""
    if not isinstance(thing, type):
        yield thing
        return
    for kind in thing.__mro__:
        if "__init__" in vars(kind) and kind is not object and kind.__module__ != "abc":
            yield vars(kind)["__init__"]


def is_network(thing: Any) -> bool:
    names = {f"{kind.__module__}.{kind.__name__}" for kind in getattr(thing, "__mro__", ())}
    return "mnist_lab.models.classifier.Classifier" in names


def type_hints(function: Any) -> dict[str, Any]:
    with contextlib.suppress(Exception):  # a name that only a type checker imports
        return typing.get_type_hints(function, include_extras=True)
    return {}


NUMBERS = {int: int, float: float, bool: bool, str: str}


def setting_of(hint: Any) -> Setting:
    """The setting that a type describes; where it describes none, any plain value."""
    anything = Setting(kind=object, meaning="")
    ranges: Sequence[Any] = ()
    if typing.get_origin(hint) is typing.Annotated:
        hint, *ranges = typing.get_args(hint)
    limits: dict[str, Any] = {}
    for limit in ranges:
        if isinstance(limit, Range):
            limits = {"low": limit.low, "high": limit.high}
    if hint in NUMBERS:
        return Setting(kind=NUMBERS[hint], meaning="", **limits)
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return Setting(kind=type(parts[0]), meaning="", choices=parts)
    if origin in (typing.Union, types.UnionType):
        known = [setting_of(part) for part in parts if part is not type(None)]
        known = [one for one in known if one.kind is not object]
        if len(known) != 1:
            return anything
        return Setting(**{**vars(known[0]), "optional": type(None) in parts, **limits})
    if origin in (list, tuple, Sequence) and parts:
        inner = setting_of(parts[0])
        same = all(part in (parts[0], ...) for part in parts)
        if inner.kind is not object and not inner.many and same:
            fixed = origin is tuple and ... not in parts
            lengths = {"min_items": len(parts), "max_items": len(parts)} if fixed else {}
            return Setting(**{**vars(inner), "many": True, **lengths, **limits})
    return anything
