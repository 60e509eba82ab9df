"""A configuration composed with Hydra, plain and checked. Imports no torch."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_lab.settings import own
from mnist_lab.settings.check import check
from mnist_lab.settings.groups import GROUPS, LAUNCHER, SWEEP, conf_dir
from mnist_lab.settings.hydras import RUN_DIR, SWEEP_DIR, refuse_idle
from mnist_lab.settings.origin import (
    AT_ROOT,
    chosen_files,
    composition_problem,
    misplaced,
    origin,
    unreadable,
)
from mnist_lab.settings.overrides import (
    changes_shape,
    check_launcher,
    check_override,
    groups_of_own_classes,
    is_of_own_class,
    is_value,
    parsed_overrides,
    refuse_repeated,
    refuse_unless_composed,
)
from mnist_lab.settings.parameters import fill
from mnist_lab.settings.shape import split_shapes
from mnist_lab.settings.table import SETTINGS, leaves
from mnist_lab.ui.errors import Refused, first_line

if TYPE_CHECKING:
    from hydra._internal.hydra import Hydra
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig

Config = dict[str, Any]
"""Settings as plain dictionaries; once checked, against the table."""


def compose(overrides: Sequence[str], *, multirun: bool = False) -> DictConfig:
    """Compose `conf/train.yaml` with command-line overrides, the `hydra` node included.

    Args:
        multirun: overrides may have several values; composed is what the jobs have in common.

    Raises:
        Refused: an override cannot be read, names a setting or choice that does not exist, or one
            that another override names, too.
    """
    import hydra
    from hydra.types import RunMode
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    refuse_repeated(overrides, multirun=multirun)
    with hydra_session() as session:
        parsed = parsed_overrides(overrides, session.config_loader, multirun=multirun)
        overrides = [str(override.input_line) for override in parsed]
        unknown = groups_of_own_classes(parsed)
        launcher = "basic"
        for override in parsed:
            if override.key_or_group == LAUNCHER and not override.is_sweep_override():
                launchers = session.config_loader.get_group_options(LAUNCHER)
                launcher = override.get_value_element_as_str()
                check_launcher(launcher, launchers)
        for override in parsed:
            check_override(override, launcher, multirun=multirun, unknown=unknown)
        mode = RunMode.MULTIRUN if multirun else RunMode.RUN
        problem = None
        try:
            config = session.compose_config("train", overrides, mode, from_shell=False)
        except Exception as error:  # whatever a file of the user's makes of Hydra
            files = chosen_files(config_folders(session), values_of_groups(parsed))
            problem = composition_problem(error, config_folders(session), files)
        theirs = [one for one in parsed if not problem and is_of_own_class(one, config)]
        if problem or any(changes_shape(override) for override in parsed):
            single = [str(one.input_line) for one in parsed if not one.is_sweep_override()]
            groups = [text for text in single if text.partition("=")[0] in GROUPS]
            try:
                known = leaves(plain(hydra.compose("train", groups), resolve=False))
            except Exception:  # the files themselves are at fault
                raise Refused(problem) from None
            for override in parsed:
                if override not in theirs:
                    refuse_unless_composed(override, known)
        folders = config_folders(session)
    if problem:
        raise Refused(problem)
    refuse_misplaced(config, folders)
    for name in {override.key_or_group for override in parsed} & {RUN_DIR, SWEEP_DIR}:
        try:
            OmegaConf.select(config, name)
        except OmegaConfBaseException as error:
            raise Refused(f"{name}: cannot be resolved: {first_line(error)}.") from None
    return config


def refuse_misplaced(config: DictConfig, folders: Sequence[Path]) -> None:
    """Refuse a file whose settings have come under its own folder's name, not where it meant."""
    chosen = {group: config.hydra.runtime.choices.get(group) for group in AT_ROOT}
    for file in chosen_files(folders, chosen):
        if file.parent.name in config:
            raise Refused(misplaced(file))


def values_of_groups(parsed: Iterable[Override]) -> dict[str, str]:
    """The choices of a command line, by their groups; of several values none."""
    return {
        override.key_or_group: override.get_value_element_as_str()
        for override in parsed
        if override.key_or_group in (*GROUPS, SWEEP) and not override.is_sweep_override()
    }


def config_folders(session: Hydra) -> list[Path]:
    """Where configurations are looked for, as far as these are folders, in this order."""
    sources = session.config_loader.get_sources()
    return [Path(source.path) for source in sources if source.scheme() == "file"]


@contextlib.contextmanager
def hydra_apart() -> Iterator[None]:
    """A Hydra for the moment, beside one that the user's own code may have set up."""
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.core.singleton import Singleton
    from hydra.version import VersionBase

    instances = {**Singleton._instances}
    for its_own in (GlobalHydra, HydraConfig, VersionBase):
        Singleton._instances.pop(its_own, None)
    try:
        yield
    finally:
        Singleton._instances.clear()
        Singleton._instances.update(instances)


@contextlib.contextmanager
def hydra_session() -> Iterator[Hydra]:
    """Hydra as it reads our conf/: the one that runs a sweep, or one for the moment."""
    import hydra
    from hydra.core.global_hydra import GlobalHydra

    if (found := GlobalHydra.instance().hydra) is not None:
        path = found.config_loader.get_search_path().get_path()
        if str(conf_dir()) in {(part.path or "").removeprefix("file://") for part in path}:
            yield with_recipes(found)
            return
    with hydra_apart(), hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        yield with_recipes(GlobalHydra.instance().hydra)


def with_recipes(session: Hydra | None) -> Hydra:
    """Have Hydra compose a recipe as the lab means it."""
    from mnist_lab.settings.recipe import RecipeLoader

    assert session is not None
    if not isinstance(session.config_loader, RecipeLoader):
        session.config_loader = RecipeLoader(session.config_loader.get_search_path())
    return session


def sweep_arguments(overrides: Sequence[str], *, resume: bool = False) -> list[str]:
    """Check the command line of a sweep as far as its jobs need not be known, for Hydra to expand.

    A setting with one value becomes a sweep of one: Hydra would look for it in the default choices,
    which need not be the jobs', before any job is looked at.

    Args:
        resume: as `refuse_idle` takes it.
    """
    refuse_idle(overrides, multirun=True, resume=resume)
    refuse_repeated(overrides, multirun=True)
    overrides, arguments = split_shapes(overrides)
    for override in parsed_overrides(overrides, multirun=True):
        text = str(override.input_line)
        name, _, value = text.partition("=")
        if is_value(override) and not override.is_sweep_override():
            text = f"{name}=choice({value or 'null'})"
        arguments.append(text)
    compose(arguments, multirun=True)
    return arguments


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
            meaning = f" ({SETTINGS[name].meaning})" if name in SETTINGS else ""
            raise Refused(f"{name}: must be given{meaning}.")
        container = OmegaConf.to_container(config, resolve=resolve)
    except OmegaConfBaseException as error:
        raise Refused(f"{error.full_key}: {str(error).splitlines()[0]}") from None
    assert isinstance(container, dict)
    return container  # type: ignore[return-value]


def checked(config: DictConfig) -> Config:
    """Check a composed configuration and return it plain, with the chosen files as `choices`."""
    chosen = config.hydra.runtime.choices
    try:
        container = plain(config)
        fill(container)
        own.name_targets(container)
        check(container)
    except Refused as error:
        raise with_origin(error, chosen) from None
    num_cores = os.cpu_count() or 1
    if (container["threads"] or 0) > num_cores:
        raise Refused(f"threads={container['threads']}: this machine has {num_cores} cores.")
    container["choices"] = {group: chosen.get(group) for group in GROUPS}
    for group in ("metrics", "callbacks", "logger"):
        container.setdefault(group, {})
    return container


def with_origin(error: Refused, chosen: Mapping[str, object]) -> Refused:
    """Say of a setting that was refused in which file it stands, unless it was typed."""
    with hydra_session() as session:
        files = chosen_files(config_folders(session), chosen)
    if slip := unreadable(files):  # which Hydra has read otherwise than it was meant
        return Refused(slip)
    return Refused(f"{found}: {error}") if (found := origin(str(error), files)) else error


def shown(overrides: Sequence[str], *, part: str, resolve: bool) -> str:
    """A run's configuration as YAML: `part` is job, hydra or all; a recipe's drops are comments."""
    from omegaconf import OmegaConf

    config = compose(overrides)
    notes = "".join(f"# {line}\n" for line in dropped_lines([checked(config)]))
    with hydra_session() as session:
        config = session.get_sanitized_cfg(config, part)
    if resolve:
        OmegaConf.resolve(config)
    return notes + OmegaConf.to_yaml(config)


def dropped_lines(configs: Iterable[Config]) -> list[str]:
    """Say what a recipe has set for other choices than are taken, a line for each distinct case.

    Args:
        configs: checked.
    """
    from mnist_lab.settings.recipe import RecipeLoader, dropped

    cases: dict[str, str] = {}
    rates: dict[str, set[float]] = {}
    with hydra_session() as session:
        assert isinstance(session.config_loader, RecipeLoader)
        for config in configs:
            choices = config["choices"]
            key = str(choices)
            if key not in cases:
                cases[key] = dropped(session.config_loader.repository, choices)
            rates.setdefault(cases[key], set()).add(config["optimizer"]["lr"])
    return [
        f"{case}; lr {' to '.join(f'{lr:g}' for lr in sorted({min(lrs), max(lrs)}))} is in force"
        for case, lrs in rates.items()
        if case
    ]
