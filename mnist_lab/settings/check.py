"""A configuration against the table of settings. Imports neither torch nor Hydra."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mnist_lab.settings.groups import GROUPS
from mnist_lab.settings.suggestion import no_such_setting
from mnist_lab.settings.table import DIGESTS, SETTINGS, as_typed, leaves
from mnist_lab.ui.errors import Refused

# The only names that may be built from a configuration. A test holds this list against conf/.
BUILDABLE = frozenset(
    {
        "lightning.pytorch.Trainer",
        "mnist_lab.data.datamodule.MNISTDataModule",
        "mnist_lab.models.cnn.CNN",
        "mnist_lab.models.linear.Linear",
        "mnist_lab.models.mlp.MLP",
        "mnist_lab.models.pooled_cnn.PooledCNN",
        "mnist_lab.optim.optimizers.Adam",
        "mnist_lab.optim.optimizers.AdamW",
        "mnist_lab.optim.optimizers.RMSprop",
        "mnist_lab.optim.optimizers.SGD",
        "mnist_lab.optim.schedules.constant",
        "mnist_lab.optim.schedules.cosine",
        "mnist_lab.optim.schedules.one_cycle",
    }
)


def check(config: Mapping[str, Any]) -> None:
    """Check every leaf of a composed configuration, without its `hydra` node, against the table.

    Raises:
        Refused: names the first setting that is unknown, of the wrong type or out of range.
    """
    for key, value in leaves(config).items():
        name = key.removeprefix("asked.")  # those that the device had not
        last = name.rpartition(".")[2]
        if last == "_target_":
            if not isinstance(value, str) or value not in BUILDABLE:
                raise Refused(f"{name}={as_typed(value)}: not a name that this lab builds.")
        elif last == "_partial_":
            if value is not True:
                raise Refused(f"{name}={as_typed(value)}: must be true.")
        elif name in DIGESTS:
            check_digests(name, value)
        elif name.startswith("choices."):
            if not (value is None or isinstance(value, str)):
                raise Refused(f"{name}={as_typed(value)}: must be the name of a choice.")
        elif name in GROUPS:
            raise Refused(
                f"{name}={as_typed(value)}: must hold settings; a choice stands in the list of "
                f"defaults, as - override /{name}: NAME"
            )
        elif name not in SETTINGS:
            raise Refused(f"{name}: no such setting; {no_such_setting(name, SETTINGS)}")
        elif not SETTINGS[name].accepts(value):
            raise Refused(f"{name}={as_typed(value)}: must be {SETTINGS[name].allowed}.")
    check_trainer(config.get("trainer", {}))
    if {"channels", "kernels"} <= set(config.get("model", {})):
        check_kernels(config["model"])


def check_trainer(trainer: Mapping[str, Any]) -> None:
    """Settings that exclude each other: Lightning would follow one and forget the other."""
    limits = [name for name in ("limit_train_batches", "limit_val_batches") if name in trainer]
    changed = [name for name in limits if trainer[name] != 1 or isinstance(trainer[name], int)]
    changed += ["overfit_batches"] if trainer.get("overfit_batches") else []
    for name in ("fast_dev_run", "overfit_batches"):
        others = [other for other in changed if other != name]
        if trainer.get(name) and others:
            raise Refused(
                f"trainer.{name}={as_typed(trainer[name])} and "
                f"trainer.{others[0]}={as_typed(trainer[others[0]])}: "
                "exclude each other; leave one out."
            )
    every, epochs = trainer.get("check_val_every_n_epoch"), trainer.get("max_epochs")
    if every and epochs and every > epochs:
        raise Refused(
            f"trainer.check_val_every_n_epoch={every}: must be at most trainer.max_epochs={epochs}."
        )


def check_kernels(model: Mapping[str, Any]) -> None:
    """Each convolution has a kernel, and 28x28 pixels are enough for all of them."""
    channels, kernels, side = model["channels"], model["kernels"], 28
    if len(kernels) != len(channels):
        raise Refused(
            f"model.kernels={as_typed(kernels)}: must be one for each entry of "
            f"model.channels={as_typed(channels)}."
        )
    for kernel in kernels:
        side = (side - kernel + 1) // 2  # the convolution takes kernel - 1, pooling halves
    if side < 1:
        raise Refused(
            f"model.kernels={as_typed(kernels)}: nothing of 28x28 pixels is left after these."
        )


def check_digests(name: str, value: object) -> None:
    length = DIGESTS[name]
    good = value is None or (
        isinstance(value, Mapping)
        and all(
            isinstance(d, str) and len(d) == length and set(d) <= set("0123456789abcdef")
            for d in value.values()
        )
    )
    if not good:
        raise Refused(f"{name}: must be file names with {length} hexadecimal digits each.")
