"""What a command line overrides: read, and refused where a name or a choice is not there."""

from __future__ import annotations

import importlib.util
import shlex
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mnist_lab.settings import own
from mnist_lab.settings.check import BUILDABLE, OPEN
from mnist_lab.settings.groups import EXTRAS, GROUPS, LAUNCHER, SWEEP, choices
from mnist_lab.settings.hydras import check_hydras
from mnist_lab.settings.paths import paths_as_typed, quoted
from mnist_lab.settings.schema import RETIRED
from mnist_lab.settings.shape import SHAPES
from mnist_lab.settings.suggestion import no_such_setting
from mnist_lab.settings.table import DIGESTS, SETTINGS, nearest
from mnist_lab.ui.errors import Refused

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from hydra.core.override_parser.types import Override


def parsed_overrides(
    overrides: Sequence[str],
    config_loader: ConfigLoader | None = None,
    *,
    multirun: bool = False,
) -> list[Override]:
    """Parse overrides by Hydra's grammar, paths as they are typed.

    Raises:
        Refused: one cannot be read; gives the line that works, where quotes make it one.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser = OverridesParser.create(config_loader)
    parsed: list[Override] = []
    for text in paths_as_typed(overrides, multirun=multirun):
        try:
            parsed += parser.parse_overrides([text])
        except (HydraException, ValueError):  # an integer of over 4300 digits is a ValueError
            name, _, value = text.partition("=")
            help_ = "setting=value, quoted where the shell or Hydra would take a character of it."
            if value and name in SETTINGS and SETTINGS[name].kind is str:
                help_ = shlex.quote(f"{name}={quoted(value)}")
            raise Refused(f"{text}: cannot be read; write {help_}") from None
    return parsed


def refuse_repeated(overrides: Sequence[str], *, multirun: bool | None = None) -> None:
    """Refuse a setting or group that is given more than once: Hydra takes the last, in silence.

    Args:
        multirun: several values of a setting are a sweep, in this command or, if false, with -m.
    """
    given: dict[str, list[str]] = {}
    for text in overrides:
        key, _, value = text.lstrip("+~").partition("=")
        given.setdefault(key.partition("@")[0], []).append(value)
    for key, values in given.items():
        if not key or len(values) == 1:
            continue
        said = f"{key}: given {len(values)} times; must be given once:"
        distinct = list(dict.fromkeys(filter(None, values))) or [""]
        last, every = (
            shlex.quote(f"{key}={value}") for value in (distinct[-1], ",".join(distinct))
        )
        if multirun is None or key == SWEEP or key.startswith("hydra") or "(" in every:
            raise Refused(f"{said} {last}")
        if multirun or every == last:
            raise Refused(f"{said} {every}")
        raise Refused(f"{said} {last}, or for a run of each value -m {every}")


def is_value(override: Override) -> bool:
    """Whether an override changes one setting of a run, and no choice of a file."""
    changes = not changes_shape(override)
    name = override.key_or_group
    return changes and bool(name in SETTINGS or own_place(name)) and not name.startswith("hydra.")


def own_place(name: str) -> str:
    """Where a class of the user's may have it, "" nowhere; composing tells whether it has."""
    return next((place for place in OPEN if name.startswith(f"{place}.")), "")


def is_number(name: str) -> bool:
    """Whether a setting has a range of numbers to draw from; the seed is not drawn."""
    setting = SETTINGS.get(name)
    return setting is not None and setting.kind in (int, float) and not setting.many and "." in name


def check_launcher(name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise Refused(f"{LAUNCHER}={name}: no such launcher; {nearest(name, known)}")
    if name in EXTRAS and importlib.util.find_spec(EXTRAS[name]) is None:
        raise Refused(f"{LAUNCHER}={name}: needs an extra; pip install 'mnist_lab[{name}]'.")


def groups_of_own_classes(overrides: Sequence[Override]) -> set[str]:
    """Places whose settings only composing can tell, for a user's classes may be in them."""
    typed = {own_place(one.key_or_group) for one in overrides if names_class(one)}
    return {"metrics", "callbacks", "logger", *typed, *(OPEN if own.folders else ())}


def names_class(override: Override) -> bool:
    return override.key_or_group.endswith("._target_")


def check_override(
    override: Override,
    launcher: str = "basic",
    *,
    multirun: bool,
    unknown: Collection[str],
) -> None:
    """Refuse an unknown key or choice, with the nearest valid name, before Hydra composes.

    Args:
        launcher: the one that the other overrides choose.
        unknown: as `groups_of_own_classes` returns them.
    """
    key = override.key_or_group
    if key == "hydra" or key.startswith(("hydra.", "hydra/")):
        check_hydras(override, launcher)
        return
    text = override.input_line
    groups = (*GROUPS, SWEEP)
    if key in SHAPES:
        raise Refused(f"{text}: shapes a sweep; write {key}=..., with -m and the values.")
    if key in RETIRED:
        raise Refused(f"{text}: no longer a setting ({RETIRED[key]}); leave it out.")
    digests = tuple(f"{name}." for name in DIGESTS)
    may_be = bool(own_place(key)) and own_place(key) in unknown
    if not (key in groups or key in SETTINGS or key.startswith(digests) or may_be):
        raise Refused(
            f"{text}: no such setting; {no_such_setting(key, [*groups, *SETTINGS, *SHAPES])}"
        )
    if override.is_delete() and not may_be:
        raise Refused(f"{text}: a run needs all of its settings; none can be taken away.")
    check_values(override, multirun=multirun)


def check_values(override: Override, *, multirun: bool) -> None:
    """Refuse several values where one is meant, and a choice that there is not."""
    key, text = override.key_or_group, override.input_line
    if override.is_sweep_override():
        if not multirun:
            raise Refused(f"{text}: several values are a sweep; add -m (lab.sweep) to run all.")
        if override.is_interval_sweep() and is_number(key):
            return  # to be drawn from
        if not override.is_discrete_sweep() or key == SWEEP:
            raise Refused(f"{text}: a sweep needs a list of values, as in model.width=1,2,3.")
        values = [str(value) for value in override.sweep_string_iterator()]
    else:
        values = [override.get_value_element_as_str()]
    if key in (*GROUPS, SWEEP):
        for value in values:
            if value not in choices(key):
                hint = nearest(value, choices(key))
                if not (own.folders or hint.startswith("did")):
                    hint += f"; {own.FLAG} FOLDER brings your own"
                raise Refused(f"{key}={value}: no such {key}; {hint}")


def is_of_own_class(override: Override, config: Mapping[str, Any]) -> bool:
    """Whether it is about a class of the user's, which may take what conf/ does not know."""
    place, node = own_place(override.key_or_group), config
    for part in place.split("."):
        node = node.get(part, {}) if isinstance(node, Mapping) else {}
    target = node.get("_target_", "") if isinstance(node, Mapping) else ""
    return bool(place) and target not in BUILDABLE


def changes_shape(override: Override) -> bool:
    return override.is_add() or override.is_force_add() or override.is_delete()


def refuse_unless_composed(override: Override, known: Mapping[str, Any]) -> None:
    key = override.key_or_group
    if key in (*GROUPS, SWEEP) or key.startswith(("hydra", *(f"{name}." for name in DIGESTS))):
        return
    if key in known and override.is_add():
        name = str(override.input_line).lstrip("+")
        raise Refused(f"{override.input_line}: is there already; write {name}, without the +.")
    if override.is_delete():
        raise Refused(
            f"{override.input_line}: a run needs all of its settings; none can be taken away."
        )
    if key not in known:
        group = key.partition(".")[0]
        here = [name for name in known if name.startswith(f"{group}.")]
        here = [name for name in here if not name.endswith(("._target_", "._partial_"))]
        raise Refused(
            f"{override.input_line}: not a setting of this {group}; it has: {', '.join(here)}"
        )
