"""Checkpoints of before they had a schema version, made ones of today."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from torch import Tensor

from mnist_lab.run.config import stored_config
from mnist_lab.run.directory import MAX_BYTES
from mnist_lab.settings.schema import upgrade
from mnist_lab.ui.errors import Refused
from mnist_lab.ui.files import read_bytes

# What a checkpoint that is not as it should be comes to, wherever it is taken apart.
UNFIT = (KeyError, TypeError, ValueError, AttributeError, RuntimeError)


def upgrade_checkpoint(checkpoint: dict[str, Any], run_dir: Path) -> None:
    """Make a checkpoint without a schema version one of today, in place.

    What does not fit is left as it is, and refused where it is used.

    Args:
        run_dir: its run's, whose config.yaml tells how old it is; there need be none.
    """
    with contextlib.suppress(*UNFIT):
        count_steps(checkpoint)
    with contextlib.suppress(*UNFIT, Refused):
        config = stored_config(run_dir)
        if "schema" in config:
            return
        by_maps = "max_shift" not in config["data"] and not logged(run_dir, b"FlattenPixels")
        upgrade(config, 0)
        if by_maps:
            order_by_pixels(checkpoint, config["model"])
        keep_squares_alone(checkpoint, config["optimizer"])


def logged(run_dir: Path, layer: bytes) -> bool:
    """Whether the table of layers at the head of a run's log names such a layer."""
    log = run_dir / "train.log"
    return log.exists() and layer in read_bytes(log, max_bytes=MAX_BYTES)


def count_steps(checkpoint: dict[str, Any]) -> None:
    """Before automatic optimization, steps were counted as those of manual optimization.

    And the schedule had no state: its place follows from the steps. The loop sets the learning rate
    that goes with it.
    """
    loop = checkpoint["loops"]["fit_loop"]
    manual = loop["epoch_loop.manual_optimization.optim_step_progress"]
    steps = loop["epoch_loop.automatic_optimization.optim_progress"]["optimizer"]
    if steps["step"]["total"]["completed"] or not manual["total"]["completed"]:
        return
    in_all = manual["total"]["completed"]
    of_epoch = in_all // (checkpoint["epoch"] + 1)
    for name, count in (("total", in_all), ("current", of_epoch)):
        steps["step"][name] = {"ready": count, "completed": count}
        steps["zero_grad"][name] = {"ready": count, "started": count, "completed": count}
        loop["epoch_loop.scheduler_progress"][name] = {"ready": count, "completed": count}
        batches = loop["epoch_loop.batch_progress"]  # which counted groups of batches
        batches[name] = dict.fromkeys(batches[name], count)
        manual[name] = {"ready": 0, "completed": 0}
    loop["epoch_loop.state_dict"]["_batches_that_stepped"] = in_all
    (optimizer,) = checkpoint["optimizer_states"]
    groups = optimizer["param_groups"]
    checkpoint["lr_schedulers"] = [
        {
            "base_lrs": [group["initial_lr"] for group in groups],
            "last_epoch": in_all,
            "_step_count": in_all + 1,
            "_last_lr": [group["lr"] for group in groups],
            "lr_lambdas": [None for _ in groups],
        }
    ]


def order_by_pixels(checkpoint: dict[str, Any], model: dict[str, Any]) -> None:
    """Before `FlattenPixels`, the layer after the convolutions read its inputs map by map.

    Its weights are of the same shape: in the old order they would answer, and wrongly.
    """
    if "channels" not in model:
        return
    weights = checkpoint["state_dict"]
    names = [*weights]
    (index, *_) = (i for i, name in enumerate(names) if weights[name].dim() == 2)
    shape, num_maps = weights[names[index]].shape, model["channels"][-1]

    def by_pixels(weight: Tensor) -> Tensor:
        maps = weight.view(shape[0], num_maps, -1)  # (width, maps, pixels)
        return maps.transpose(1, 2).reshape(shape)

    weights[names[index]] = by_pixels(weights[names[index]])
    for optimizer in checkpoint["optimizer_states"]:
        moments = optimizer["state"].get(index, {})
        for name, value in moments.items():
            if isinstance(value, Tensor) and value.shape == shape:
                moments[name] = by_pixels(value)


def keep_squares_alone(checkpoint: dict[str, Any], optimizer: dict[str, Any]) -> None:
    """Before it called the kernel itself, RMSprop kept a whole Adam: u = v + eps is its square."""
    if not optimizer["_target_"].endswith(".RMSprop"):
        return
    for stored in checkpoint["optimizer_states"]:
        for index, state in stored["state"].items():
            if "exp_avg_sq" in state:
                stored["state"][index] = {"square_plus_eps": state["exp_avg_sq"]}
        for group in stored["param_groups"]:
            if "betas" in group:
                kept = ("params", "lr", "initial_lr", "weight_decay")
                for name in group.keys() - {*kept}:
                    del group[name]
                group.update({name: optimizer[name] for name in ("alpha", "eps")})
