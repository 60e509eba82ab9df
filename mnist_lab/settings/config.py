"""Compose a configuration with Hydra, check it, and build what it names. Imports no torch."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_lab.settings.check import BUILDABLE, check
from mnist_lab.settings.schema import RETIRED
from mnist_lab.settings.table import DIGESTS, SETTINGS, leaves, nearest
from mnist_lab.ui.errors import Refused

if TYPE_CHECKING:
    from hydra._internal.hydra import Hydra
    from hydra.core.config_loader import ConfigLoader
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig

Config = dict[str, Any]

# Config groups whose choice says what a run is; kept with the run as `choices`.
GROUPS = ("data", "model", "optimizer", "schedule", "trainer", "experiment")

# Config groups that say which runs there are, and who launches them.
SWEEP = "sweep"
LAUNCHER = "hydra/launcher"

# Launchers that come with an optional extra of this package, and the module that it brings.
EXTRAS = {
    "slurm": "hydra_plugins.hydra_submitit_launcher",
    "ray": "hydra_plugins.hydra_ray_launcher",
}


def conf_dir() -> Path:
    """The folder of the YAML files: inside an installed package, beside an editable one."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))


def compose(overrides: Sequence[str], *, multirun: bool = False) -> DictConfig:
    """Compose `conf/train.yaml` with command-line overrides, the `hydra` node included.

    Args:
        multirun: overrides may have several values; composed is what the jobs have in common.

    Raises:
        Refused: an override cannot be read, or names a setting or choice that does not exist.
    """
    import hydra
    from hydra.errors import HydraException
    from hydra.types import RunMode
    from omegaconf.errors import OmegaConfBaseException

    with hydra_session() as session:
        parsed = parsed_overrides(overrides, session.config_loader)
        for override in parsed:
            if override.key_or_group == LAUNCHER:
                launchers = session.config_loader.get_group_options(LAUNCHER)
                check_launcher(override.get_value_element_as_str(), launchers)
            check_override(override, multirun=multirun)
        mode = RunMode.MULTIRUN if multirun else RunMode.RUN
        problem = None
        try:
            config = session.compose_config("train", list(overrides), mode, from_shell=False)
        except (HydraException, OmegaConfBaseException) as error:
            problem = str(error).splitlines()[0]
        if problem or any(override.is_add() or override.is_force_add() for override in parsed):
            single = [str(one.input_line) for one in parsed if not one.is_sweep_override()]
            groups = [text for text in single if text.partition("=")[0] in GROUPS]
            known = leaves(plain(hydra.compose("train", groups), resolve=False))
            for override in parsed:
                refuse_unless_composed(override, known)
    if problem:
        raise Refused(problem)
    return config


@contextlib.contextmanager
def hydra_session() -> Iterator[Hydra]:
    """Hydra as it reads our conf/: the one that runs a sweep, or one for the moment."""
    import hydra
    from hydra.core.global_hydra import GlobalHydra

    inside = GlobalHydra.instance().is_initialized()
    conf = hydra.initialize_config_dir(str(conf_dir()), version_base="1.3") if not inside else None
    with conf or contextlib.nullcontext():
        session = GlobalHydra.instance().hydra
        assert session is not None
        yield session


def parsed_overrides(
    overrides: Sequence[str], config_loader: ConfigLoader | None = None
) -> list[Override]:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser = OverridesParser.create(config_loader)
    parsed: list[Override] = []
    for text in overrides:
        try:
            parsed += parser.parse_overrides([text])
        except (HydraException, ValueError):  # an integer of over 4300 digits is a ValueError
            raise Refused(
                f"{text}: cannot be read; write setting=value, quoted where the shell or Hydra "
                "would take a character of it."
            ) from None
    return parsed


def sweep_arguments(overrides: Sequence[str]) -> list[str]:
    """Check the command line of a sweep as far as its jobs need not be known, for Hydra to expand.

    A setting with one value becomes a sweep of one: Hydra would look for it in the default choices,
    which need not be the jobs', before any job is looked at.
    """
    arguments = []
    for override in parsed_overrides(overrides):
        text = str(override.input_line)
        name, _, value = text.partition("=")
        if is_value(override) and not override.is_sweep_override():
            text = f"{name}=choice({value or 'null'})"
        arguments.append(text)
    compose(arguments, multirun=True)
    return arguments


def is_value(override: Override) -> bool:
    """Whether an override changes one setting of a run, and no choice of a file."""
    changes = not (override.is_add() or override.is_force_add() or override.is_delete())
    name = override.key_or_group
    return changes and name in SETTINGS and not name.startswith("hydra.")


def check_launcher(name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise Refused(f"{LAUNCHER}={name}: no such launcher; {nearest(name, known)}")
    if name in EXTRAS and importlib.util.find_spec(EXTRAS[name]) is None:
        raise Refused(f"{LAUNCHER}={name}: needs an extra; pip install 'mnist_lab[{name}]'.")


def check_override(override: Override, *, multirun: bool) -> None:
    """Refuse an unknown key or choice, with the nearest valid name, before Hydra composes."""
    key = override.key_or_group
    if key == "hydra" or key.startswith(("hydra.", "hydra/")):
        return
    text = override.input_line
    groups = (*GROUPS, SWEEP)
    if key in RETIRED:
        raise Refused(f"{text}: no longer a setting ({RETIRED[key]}); leave it out.")
    if not (key in groups or key in SETTINGS or key.startswith(tuple(f"{d}." for d in DIGESTS))):
        raise Refused(f"{text}: no such setting; {nearest(key, [*groups, *SETTINGS])}")
    if override.is_delete():
        raise Refused(f"{text}: a run needs all of its settings; none can be taken away.")
    if override.is_sweep_override():
        if not multirun:
            raise Refused(f"{text}: several values are a sweep; add -m to run them all.")
        if not override.is_discrete_sweep() or key == SWEEP:
            raise Refused(f"{text}: a sweep needs a list of values, as in model.width=1,2,3.")
        values = [str(value) for value in override.sweep_string_iterator()]
    else:
        values = [override.get_value_element_as_str()]
    if key in groups:
        for value in values:
            if value not in choices(key):
                raise Refused(f"{key}={value}: no such {key}; {nearest(value, choices(key))}")


def refuse_unless_composed(override: Override, known: Mapping[str, Any]) -> None:
    key = override.key_or_group
    if key in (*GROUPS, SWEEP) or key.startswith(("hydra", *(f"{name}." for name in DIGESTS))):
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
    try:
        for name in sorted(OmegaConf.missing_keys(config) if resolve else ()):
            raise Refused(f"{name}: must be given ({SETTINGS[name].meaning}).")
        container = OmegaConf.to_container(config, resolve=resolve)
    except OmegaConfBaseException as error:
        raise Refused(f"{error.full_key}: {str(error).splitlines()[0]}") from None
    assert isinstance(container, dict)
    return container  # type: ignore[return-value]


def checked(config: DictConfig) -> Config:
    """Check a composed configuration and return it plain, with the chosen files as `choices`."""
    container = plain(config)
    check(container)
    num_cores = os.cpu_count() or 1
    if (container["threads"] or 0) > num_cores:
        raise Refused(f"threads={container['threads']}: this machine has {num_cores} cores.")
    chosen = config.hydra.runtime.choices
    container["choices"] = {group: chosen.get(group) for group in GROUPS}
    return container


def build(node: Mapping[str, Any], **kwargs: Any) -> Any:
    """Build the object that a configuration node names: the only place that instantiates.

    Raises:
        Refused: the name is not on the exact list of what this lab builds, or what is built
            refuses its settings.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    target = node.get("_target_")
    if not isinstance(target, str) or target not in BUILDABLE:
        raise Refused(f"_target_={target}: not a name that this lab builds.")
    try:
        built = instantiate(dict(node), _recursive_=False, _convert_="all", **kwargs)
    except InstantiationException as error:
        if isinstance(error.__cause__, Refused):
            raise error.__cause__ from None
        raise
    if node.get("_partial_"):
        # Hydra's partial checks its policy again at each call, 0.1 ms; a schedule is called a step.
        built = functools.partial(built.func, *built.args, **built.keywords)
    return built
