"""Compose the jobs of a sweep as Hydra would, but resolve each choice of files only once."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mnist_lab.settings.compose import Config, checked, compose
from mnist_lab.settings.overrides import is_value, parsed_overrides

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

    def settings(self, overrides: Sequence[str]) -> Config:
        """Compose and check one job, plain.

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

    def _compose(self, overrides: Sequence[str], *, with_hydra: bool) -> DictConfig:
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException

        parsed = parsed_overrides(overrides)
        values = [override for override in parsed if is_value(override)]
        key = tuple(str(override.input_line) for override in parsed if not is_value(override))
        if key not in self.bases:
            self.bases[key] = compose([*key, *self.hydra_overrides])
        whole = self.bases[key]
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
