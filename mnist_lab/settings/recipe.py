"""A recipe (conf/experiment): what it sets for a choice holds for that choice alone. No torch."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import IConfigRepository
from hydra.core.default_element import ConfigDefault, GroupDefault, ResultDefault
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig, OmegaConf, open_dict

from mnist_lab.settings import own
from mnist_lab.settings.parameters import fill
from mnist_lab.settings.table import as_typed, leaves

RECIPE = "experiment"


class RecipeLoader(ConfigLoaderImpl):
    """Composes as Hydra does, but merges nothing into a choice that a recipe set for another one.

    Hydra merges dictionaries: of `optimizer: {lr: 0.001, alpha: 0.9}`, which a recipe has for
    rmsprop, sgd would get an alpha that it does not know and a learning rate that is not its own.
    """

    def _compose_config_from_defaults_list(
        self, defaults: list[ResultDefault], repo: IConfigRepository
    ) -> DictConfig:
        root = next((default.config_path for default in defaults if default.primary), None)
        paths = [PurePosixPath(str(one.config_path)) for one in defaults if one.parent == root]
        chosen = {str(path.parent): path.name for path in paths}
        # What the repository has loaded it keeps, and gives again to the merging.
        for group, _, content in list(superseded(repo, chosen)):
            del content[group]
        own.name_sources(self.get_search_path().get_path())
        config = super()._compose_config_from_defaults_list(defaults, repo)
        with open_dict(config):
            fill(config)
        return config


def superseded(
    repo: IConfigRepository, chosen: Mapping[str, str | None]
) -> Iterator[tuple[str, str, DictConfig]]:
    """What the chosen recipe sets for choices that are not taken.

    Yields:
        A group, the choice that the recipe names for it, and the file's content that has the group.
    """
    named: dict[str, Any] = {}
    for file in recipe_files(repo, chosen.get(RECIPE)):
        for default in file.defaults_list or ():
            if isinstance(default, GroupDefault) and default.override:
                named[str(default.group).lstrip("/")] = default.value
        assert isinstance(file.config, DictConfig)
        for group, choice in named.items():
            if group in file.config and choice != chosen.get(group):
                yield group, choice, file.config


def recipe_files(repo: IConfigRepository, name: str | None) -> Iterator[ConfigResult]:
    """The file of a recipe, after those of other recipes that it builds on."""
    path = posixpath.join(RECIPE, name or "").lstrip("/")
    if name is None or (file := repo.load_config(path)) is None:
        return
    for default in file.defaults_list or ():
        if isinstance(default, ConfigDefault) and not default.is_self():
            yield from recipe_files(repo, default.path)
    yield file


def dropped(repo: IConfigRepository, chosen: Mapping[str, str | None]) -> str:
    """Say what the chosen recipe would have set for other choices; "" where that is nothing."""
    parts = []
    for group, choice, content in superseded(repo, chosen):
        node: Any = OmegaConf.to_container(content[group], resolve=False)
        settings = ", ".join(f"{name}={as_typed(value)}" for name, value in leaves(node).items())
        parts.append(f"{group}={chosen[group]} drops {settings} of {choice}")
    return f"{RECIPE}={chosen[RECIPE]}: {'; '.join(parts)}" if parts else ""
