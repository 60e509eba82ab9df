"""A configuration against the table of settings, or the signatures of a user's own classes.

Imports neither torch nor Hydra; what a user names is imported where it has settings to check.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mnist_lab.settings import own
from mnist_lab.settings.groups import GROUPS
from mnist_lab.settings.parameters import parameters, takes_anything
from mnist_lab.settings.suggestion import no_such_setting
from mnist_lab.settings.table import DIGESTS, SETTINGS, as_typed, leaves, nearest
from mnist_lab.ui.errors import Refused

# The lab's own: names that may be built whoever wrote the configuration. A test holds this list
# against conf/.
BUILDABLE = frozenset(
    {
        "lightning.pytorch.Trainer",
        "lightning.pytorch.callbacks.EMAWeightAveraging",
        "lightning.pytorch.callbacks.EarlyStopping",
        "lightning.pytorch.callbacks.LearningRateMonitor",
        "lightning.pytorch.loggers.CSVLogger",
        "mnist_lab.data.datamodule.MNISTDataModule",
        "mnist_lab.models.batchnorm_cnn.BatchNormCNN",
        "mnist_lab.models.batchnorm_mlp.BatchNormMLP",
        "mnist_lab.models.cnn.CNN",
        "mnist_lab.models.deep_cnn.DeepCNN",
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
        "torchmetrics.classification.MulticlassAccuracy",
        "torchmetrics.classification.MulticlassF1Score",
    }
)
# Likewise torch's: they are told numbers, and do nothing but step.
TORCHS = re.compile(r"torch\.optim\.(lr_scheduler\.)?[A-Z]\w*")

TABLED = ("data", "model", "optimizer", "schedule", "trainer")  # of the lab's own in these
EXTRAS = ("metrics", "callbacks", "logger")  # none or any number in these
OPEN = ("model", "optimizer", "schedule", *EXTRAS, "data.module")  # to a user's classes


def is_own(target: str) -> bool:
    return target in BUILDABLE or TORCHS.fullmatch(target) is not None


def check(config: Mapping[str, Any], *, to_build: bool = True) -> None:
    """Check every leaf of a composed configuration, without its `hydra` node.

    Args:
        to_build: false for a stored one that is read as data; then a class that nobody has named on
            this command line may be named in it, and its settings are taken as they are.

    Raises:
        Refused: names the first setting that is unknown, of the wrong type or out of range.
    """
    foreign = foreign_nodes(config, to_build=to_build)
    for key, value in leaves(config).items():
        name = key.removeprefix("asked.")  # those that the device had not
        last = name.rpartition(".")[2]
        place = next((place for place in foreign if name.startswith(f"{place}.")), None)
        if last == "_target_" and name.count(".") <= 2:
            continue
        if last == "_partial_":
            if value is not True:
                raise Refused(f"{name}={as_typed(value)}: must be true.")
        elif place is not None:
            check_foreign(name, value, place, foreign[place])
        elif name in DIGESTS:
            check_digests(name, value)
        elif name.startswith("choices."):
            if not (value is None or isinstance(value, str)):
                raise Refused(f"{name}={as_typed(value)}: must be the name of a choice.")
        elif name not in SETTINGS:
            if name in EXTRAS and not value:
                continue  # no metrics, no callbacks
            raise unknown(name, value)
        elif not SETTINGS[name].accepts(value):
            raise Refused(f"{name}={shown(name, value)}: must be {SETTINGS[name].allowed}.")
    check_trainer(config.get("trainer", {}))
    check_patience(config)
    if "model" not in foreign and {"channels", "kernels"} <= set(config.get("model", {})):
        check_kernels(config["model"])


def shown(name: str, value: object) -> str:
    if isinstance(value, list) and len(value) > SETTINGS[name].max_items:
        return f"{len(value)} of them"
    return as_typed(value)


def foreign_nodes(config: Mapping[str, Any], *, to_build: bool) -> dict[str, str]:
    """Where classes stand that the table of settings does not know, and their names.

    Raises:
        Refused: one that neither the lab nor this command line names; or no name.
    """
    foreign = {}
    for place, node in own.targets(config):
        target, group = node["_target_"], place.partition(".")[0]
        name = f"{place}._target_={target}"
        if not isinstance(target, str) or not re.fullmatch(r"[A-Za-z_]\w*(\.\w+)+", target):
            raise Refused(f"{name}: not a name that this lab builds.")
        if target in BUILDABLE and group in TABLED:
            continue
        if not {group, place} & {*OPEN}:
            raise Refused(f"{name}: not a name that this lab builds.")
        if to_build and not is_own(target) and target not in own.named:
            raise Refused(
                f"{name}: not a name that this lab builds by itself; add {own.FLAG} FOLDER, the "
                "folder of yours that names it in a YAML file."
            )
        foreign[place] = target
    return foreign


def check_foreign(name: str, value: object, place: str, target: str) -> None:
    """Check one leaf against the signature of the class that is to get it."""
    if target in BUILDABLE and place.startswith("logger."):
        raise Refused(f"{name}: this logger has no settings; it writes into the run's directory.")
    if not is_own(target) and target not in own.named:
        return  # it is read, and not built
    parameter = name.removeprefix(f"{place}.").partition(".")[0]
    known = parameters(target)
    if parameter not in known:
        if takes_anything(target) and not parameter.startswith("_"):  # those are Hydra's
            return
        hint = nearest(parameter, known) if known else "it has none"
        raise Refused(f"{name}: no setting of {target}; {hint}")
    setting, _ = known[parameter]
    if setting.kind is not object and not setting.accepts(value):
        shown = "null" if value is None else value
        raise Refused(f"{name}={shown}: must be {setting.allowed}.")


def unknown(name: str, value: object) -> Refused:
    if name not in GROUPS:
        return Refused(f"{name}: no such setting; {no_such_setting(name, SETTINGS)}")
    return Refused(
        f"{name}={as_typed(value)}: must hold settings; a choice stands in the list of defaults, "
        f"as - override /{name}: NAME"
    )


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


def check_patience(config: Mapping[str, Any]) -> None:
    trainer, data = config.get("trainer", {}), config.get("data", {})
    if not trainer.get("patience"):
        return
    none = {
        "data.val_fraction": data.get("val_fraction") == 0 and not data.get("module"),
        "trainer.limit_val_batches": trainer.get("limit_val_batches") == 0,
    }
    if names := [name for name, is_off in none.items() if is_off]:
        raise Refused(
            f"trainer.patience={trainer['patience']} and {names[0]}=0: without validation no run "
            "can be stopped by it; leave one out."
        )


def check_kernels(model: Mapping[str, Any]) -> None:
    """Each convolution has a kernel, and 28x28 pixels are enough for all of them.

    Where a network has neither `pooled` nor `padded`, pooling follows each, and none is padded.
    """
    channels, kernels, side = model["channels"], model["kernels"], 28 - 2 * model.get("crop", 0)
    every = range(1, len(channels) + 1)
    pooled, padded = model.get("pooled", every), model.get("padded", False)
    if len(kernels) != len(channels):
        raise Refused(
            f"model.kernels={as_typed(kernels)}: must be one for each entry of "
            f"model.channels={as_typed(channels)}."
        )
    if max(pooled) > len(channels):
        raise Refused(
            f"model.pooled={as_typed(pooled)}: must be numbers of convolutions, of which there are "
            f"{len(channels)}."
        )
    for k, kernel in enumerate(kernels, start=1):
        side -= kernel - 1
        if padded and k > 1:
            side += 2 * (kernel // 2)
        if k in pooled:
            side //= 2
        if side < 1:
            raise Refused(
                f"model.kernels={as_typed(kernels)}: nothing of the image is left after these."
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
