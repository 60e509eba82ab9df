"""Which functions have their arguments checked in the tests: those with shapes in the signature."""

import re
import typing

import beartype

SHAPE = re.compile(r"\[[\w.]+, ['\"]")  # as in Float32[Tensor, "n 10"]
CONF = beartype.BeartypeConf(is_pep484_tower=True)  # an int is a float, as mypy has it


def checked(function):
    """Decorate a function as jaxtyping's import hook asks; mypy sees to the types without shapes.

    The annotations are resolved where they can be, since an alias may stand for a shape.
    """
    try:
        annotations = typing.get_type_hints(function)
    except NameError:  # of a name that only the type checker imports
        annotations = getattr(function, "__annotations__", {})
    if annotations.get("return") is typing.Self:
        del function.__annotations__["return"]  # beartype knows it only in a class it decorates
    has_shape = any(SHAPE.search(str(annotation)) for annotation in annotations.values())
    return beartype.beartype(conf=CONF)(function) if has_shape else function
