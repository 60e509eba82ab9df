"""Compose a configuration with Hydra, check it, and build what it names. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_lab.errors import Refused
from mnist_lab.settings import BUILDABLE, DIGESTS, SETTINGS, check, leaves, nearest

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig

Config = dict[str, Any]

# Config groups whose choice says what a run is; kept with the run as `choices`.
GROUPS = ("data", "model", "optimizer", "schedule", "trainer", "experiment")


def conf_dir() -> Path:
    """The folder of the YAML files: inside an installed package, beside an editable one."""
    package = Path(__file__).resolve().parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))


def compose(overrides: Sequence[str], *, multirun: bool = False) -> DictConfig:
    """Compose `conf/train.yaml` with command-line overrides, the `hydra` node included.

    Raises:
        Refused: an override cannot be read, or names a setting or choice that does not exist.
    """
    import hydra
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    parsed: list[Override] = []
    for text in overrides:
        try:
            parsed += OverridesParser.create().parse_overrides([text])
        except HydraException:
            raise Refused(
                f"{text}: cannot be read; write setting=value, quoted where the shell or Hydra "
                "would take a character of it."
            ) from None
    for override in parsed:
        check_override(override, multirun=multirun)
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        try:
            return hydra.compose("train", list(overrides), return_hydra_config=True)
        except (HydraException, OmegaConfBaseException) as error:
            groups = [text for text in overrides if text.partition("=")[0].strip("+") in GROUPS]
            if len(groups) < len(overrides):
                known = leaves(plain(hydra.compose("train", groups), resolve=False))
                for override in parsed:
                    refuse_unless_composed(override, known)
            raise Refused(str(error).splitlines()[0]) from None


def check_override(override: Override, *, multirun: bool) -> None:
    """Refuse an unknown key or choice, with the nearest valid name, before Hydra composes."""
    key = override.key_or_group
    if key == "hydra" or key.startswith(("hydra.", "hydra/")):
        return
    text = override.input_line
    if not (key in GROUPS or key in SETTINGS or key.startswith(tuple(f"{d}." for d in DIGESTS))):
        raise Refused(f"{text}: no such setting; {nearest(key, [*GROUPS, *SETTINGS])}")
    if override.is_sweep_override():
        if not multirun:
            raise Refused(f"{text}: several values are a sweep; add -m to run them all.")
        if not override.is_discrete_sweep():
            raise Refused(f"{text}: a sweep needs a list of values, as in {key}=1,2,3.")
        values = [str(value) for value in override.sweep_string_iterator()]
    else:
        values = [override.get_value_element_as_str()]
    if key in GROUPS and not override.is_delete():
        for value in values:
            if value not in choices(key) and not (key == "experiment" and value == "null"):
                raise Refused(f"{key}={value}: no such {key}; {nearest(value, choices(key))}")


def refuse_unless_composed(override: Override, known: Mapping[str, Any]) -> None:
    key = override.key_or_group
    if override.is_add() or override.is_force_add() or key in GROUPS or key.startswith("hydra"):
        return
    if key not in known:
        group = key.partition(".")[0]
        here = [name for name in known if name.startswith(f"{group}.") and name in SETTINGS]
        raise Refused(
            f"{override.input_line}: not a setting of this {group}; it has: {', '.join(here)}"
        )


def plain(config: DictConfig, *, resolve: bool = True) -> Config:
    """Turn a composed configuration into plain dictionaries, without its `hydra` node.

    Raises:
        Refused: a value that must be given is missing, or an interpolation cannot be resolved.
    """
    from omegaconf import OmegaConf, open_dict
    from omegaconf.errors import OmegaConfBaseException

    if "hydra" in config:
        config = config.copy()
        with open_dict(config):
            del config["hydra"]
    if resolve:
        for name in sorted(OmegaConf.missing_keys(config)):
            raise Refused(f"{name}: must be given ({SETTINGS[name].meaning}).")
    try:
        container = OmegaConf.to_container(config, resolve=resolve)
    except OmegaConfBaseException as error:
        raise Refused(str(error).splitlines()[0]) from None
    assert isinstance(container, dict)
    return container  # type: ignore[return-value]


def checked(config: DictConfig) -> Config:
    """Check a composed configuration and return it plain, with the chosen files as `choices`."""
    container = plain(config)
    check(container)
    chosen = config.hydra.runtime.choices
    container["choices"] = {group: chosen.get(group) for group in GROUPS}
    return container


def build(node: Mapping[str, Any], **kwargs: Any) -> Any:
    """Build the object that a configuration node names: the only place that instantiates.

    Raises:
        Refused: the name is not on the exact list of what this lab builds.
    """
    from hydra.utils import instantiate

    if node.get("_target_") not in BUILDABLE:
        raise Refused(f"_target_={node.get('_target_')}: not a name that this lab builds.")
    return instantiate(dict(node), _recursive_=False, _convert_="all", **kwargs)
