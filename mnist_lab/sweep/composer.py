"""The jobs of a sweep composed: what they have in common once. Imports no torch."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mnist_lab.settings.compose import Config, checked, compose, plain
from mnist_lab.settings.overrides import is_value, parsed_overrides
from mnist_lab.settings.table import SETTINGS, leaves
from mnist_lab.ui.errors import Refused

if TYPE_CHECKING:
    from omegaconf import DictConfig


@dataclass
class Composer:
    """Composes jobs that share most of their overrides.

    Hydra takes 0.1 s a job, nearly all of it to find and merge the files that the groups choose.
    Jobs that differ in values alone have the files in common: composed once, then copied.

    Attributes:
        hydra_overrides: those of the `hydra` node, the same for all jobs.
    """

    hydra_overrides: Sequence[str] = ()
    bases: dict[tuple[str, ...], DictConfig] = field(default_factory=dict)
    known: dict[tuple[str, ...], dict[str, Any]] = field(default_factory=dict)

    def settings(self, overrides: Sequence[str]) -> Config:
        """Compose one job and check it: its settings, plain.

        Raises:
            Refused: names the setting.
        """
        return checked(self._compose(overrides, with_hydra=False))

    def config(self, overrides: Sequence[str]) -> DictConfig:
        """Compose one job whole, as `hydra.compose` does with the `hydra` node."""
        from hydra._internal.config_loader_impl import get_overrides_dirname

        config = self._compose(overrides, with_hydra=True)
        config.hydra.overrides.task = list(overrides)
        form = config.hydra.job.config.override_dirname
        config.hydra.job.override_dirname = get_overrides_dirname(
            overrides=parsed_overrides(overrides),
            kv_sep=form.kv_sep,
            item_sep=form.item_sep,
            exclude_keys=form.exclude_keys,
        )
        return config

    def lacking(self, overrides: Sequence[str]) -> set[str]:
        """The settings among these that there are not with the choices among these.

        Nothing of a user's own classes, nor where the choices cannot be composed.
        """
        from mnist_lab.settings.check import BUILDABLE

        names = {text.partition("=")[0] for text in overrides} & {*SETTINGS}
        key = tuple(text for text in overrides if text.partition("=")[0] not in SETTINGS)
        if key not in self.known:
            try:
                found = leaves(plain(self._base(key), resolve=False))
            except Refused:
                found = dict.fromkeys(SETTINGS)
            self.known[key] = found
        found = self.known[key]
        own = {name.partition(".")[0] for name in names - set(found)}
        own = {place for place in own if found.get(f"{place}._target_") in BUILDABLE}
        return {name for name in names - set(found) if name.partition(".")[0] in own}

    def _base(self, key: tuple[str, ...]) -> DictConfig:
        if key not in self.bases:
            self.bases[key] = compose([*key, *self.hydra_overrides])
        return self.bases[key]

    def _compose(self, overrides: Sequence[str], *, with_hydra: bool) -> DictConfig:
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException

        parsed = parsed_overrides(overrides)
        values = [override for override in parsed if is_value(override)]
        key = tuple(str(override.input_line) for override in parsed if not is_value(override))
        whole = self._base(key)
        if with_hydra:
            config = copy.deepcopy(whole)
        else:  # the hydra node is most of a configuration; all that counts of it are the choices
            config = OmegaConf.masked_copy(whole, [str(name) for name in whole if name != "hydra"])
            config.hydra = {"runtime": {"choices": whole.hydra.runtime.choices}}
        OmegaConf.set_struct(config, True)
        try:
            for override in values:
                OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
        except OmegaConfBaseException:
            compose([*overrides, *self.hydra_overrides])  # refuses, in words
            raise
        return config
