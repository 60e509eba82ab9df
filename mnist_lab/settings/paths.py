"""Settings that are paths: taken as they are typed, whatever Hydra would read into them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

PATHS = ("data.root", "data.folder", "hydra.run.dir", "hydra.sweep.dir")

# In a value of a job, which Hydra escapes, but not so that it could read all of it again.
ESCAPED = re.compile(r"\\([\\()\[\]{}:=, \t])")
# What says that several values are meant.
FUNCTION = re.compile(r"(choice|range|glob|shuffle|sort|extend_list)\(.*\)")


def quoted(text: str | Path) -> str:
    """As Hydra's override grammar takes any text."""
    from hydra.core.override_parser.types import Quote, QuotedString

    kind = Quote.double if "'" in str(text) and '"' not in str(text) else Quote.single
    return QuotedString(str(text), kind).with_quotes()


def paths_as_typed(overrides: Sequence[str], *, multirun: bool = False) -> list[str]:
    """Quote the values of settings that are paths; `~` is the home folder.

    Args:
        multirun: a comma separates values, unless all of them together name what is there.
    """
    return [_as_typed(text, multirun=multirun) for text in overrides]


def _as_typed(text: str, *, multirun: bool) -> str:
    name, equals, value = text.partition("=")
    key = name.lstrip("+")
    if key not in PATHS or not value or value[0] in "'\"" or (value, key[:5]) == ("null", "data."):
        return text
    if multirun and key.startswith("data."):
        if any(mark in value for mark in ("'", '"', "${")) or FUNCTION.fullmatch(value):
            return text
        if "," in value and not Path(value).expanduser().exists():
            return f"{name}={','.join(_path(part.strip()) for part in value.split(','))}"
    return f"{name}{equals}{_path(value)}"


def _path(value: str) -> str:
    if value.startswith("~"):
        value = str(Path(value).expanduser())
    return value if is_plain(value) else quoted(ESCAPED.sub(r"\1", value))


def is_plain(value: str) -> bool:
    """Whether Hydra's grammar takes it as this very text; or somebody has escaped it for Hydra."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        override = OverridesParser.create().parse_override(f"path={value}")
    except (HydraException, ValueError):
        return False
    if override.is_sweep_override() or not isinstance(override.value(), str):
        return False
    return override.value() == value or "\\" in value
