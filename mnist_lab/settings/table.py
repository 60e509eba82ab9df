"""One table: what each setting means, its unit and its range. Imports neither torch nor Hydra."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from mnist_lab.settings.setting import Setting, flag, number, whole, word

INITS = ("torch", "glorot", "uniform")

SETTINGS: dict[str, Setting] = {
    # data
    "data.name": word("what tables and metrics.json call the data set"),
    "data.root": word(
        "folder that holds the data; null: data/, else the installed copy of MNIST", optional=True
    ),
    "data.folder": word("where in data.root the files lie"),
    "data.format": word(
        "what the files are: MNIST's IDX, Keras's .npz, Kaggle's CSV, or a folder of pictures a "
        "class",
        choices=("idx", "npz", "csv", "folders"),
    ),
    "data.first_label": whole(
        "label in the files that stands for the first of data.class_names", 0, 1000
    ),
    "data.transposed": flag("the files hold columns as rows, as EMNIST's do; turn them upright"),
    "data.mirrors": word("https addresses to download from, in turn", many=True, min_items=0),
    "data.class_names": word(
        "what the labels mean, in their order: a name for each class",
        many=True,
        min_items=2,
        max_items=1000,
    ),
    "data.download": flag("fetch the files when they are not there"),
    "data.batch_size": whole("images in one optimizer step", 1, 60_000),
    "data.val_fraction": number(
        "share of the training split kept for validation; 0: no validation", 0, 1, open_high=True
    ),
    "data.split_seed": whole(
        "draws the validation images, in each class the same share; null: the end of the split",
        0,
        2**32 - 1,
        optional=True,
    ),
    "data.shuffle_split": flag("draw the validation images by the run's seed instead"),
    "data.max_shift": whole(
        "pixels by which each training image is moved at most, anew in each epoch", 0, 14
    ),
    "data.max_turn": number("degrees by which it is turned at most, likewise", 0, 180),
    "data.max_slant": number("degrees by which an image's upright strokes lean at most", 0, 60),
    "data.max_bend": number("pixels by which a part of it is moved against the others", 0, 14),
    "data.max_pen": number(
        "pixels by which its strokes become broader, or narrower by half of them", 0, 1.5
    ),
    # model
    "model.init": word(
        "first weights: PyTorch's default, Glorot uniform or uniform +-0.05", choices=INITS
    ),
    "model.width": whole("units in a hidden layer", 1, 65_536),
    "model.depth": whole("hidden layers", 1, 100),
    "model.dropout": number(
        "probability that a hidden unit is silenced in a training step", 0, 1, open_high=True
    ),
    "model.channels": whole("feature maps of each convolution", 1, 4096, many=True, max_items=13),
    "model.kernels": whole("pixels a side of each convolution", 1, 28, many=True),
    "model.padded": flag("all convolutions but the first keep the size of their maps"),
    "model.pooled": whole(
        "convolutions, counted from 1, that 2x2 max-pooling follows", 1, 13, many=True
    ),
    "model.crop": whole("pixels of each edge of an image that are not looked at", 0, 12),
    "model.noise": number(
        "standard deviation of Gaussian noise on pixels and hidden units, in training", 0, 10
    ),
    "model.label_smoothing": number(
        "share of the target that is spread over all classes in training", 0, 1, open_high=True
    ),
    "model.class_weights": number(
        "of each class in the training loss; null: 1", 0, 1_000_000, many=True, optional=True
    ),
    # optimizer
    "optimizer.lr": number("learning rate", 0, 100, open_low=True),
    "optimizer.weight_decay": number("weight decay per step (L2; decoupled in adamw)", 0, 10),
    "optimizer.momentum": number("share of the last step kept", 0, 1, open_high=True),
    "optimizer.nesterov": flag("look ahead along the momentum"),
    "optimizer.alpha": number(
        "share of the running mean of squared gradients that is kept (Keras: rho)",
        0,
        1,
        open_high=True,
        open_low=True,
    ),
    "optimizer.betas": number(
        "shares of the running means of gradients and squared gradients that are kept",
        0,
        1,
        open_high=True,
        many=True,
        min_items=2,
        max_items=2,
    ),
    "optimizer.eps": number("keeps the division finite", 0, 1, open_low=True),
    # schedule
    "schedule.warmup": number(
        "share of the steps in which the learning rate goes up", 0, 1, open_high=True
    ),
    "schedule.start": number("factor of optimizer.lr at the first step", 0, 1),
    "schedule.end": number("factor of optimizer.lr at the end", 0, 1),
    # trainer
    "trainer.max_epochs": whole("passes over the training split", 1, 100_000),
    "trainer.patience": whole(
        "validations in a row without a lower val/loss, after which training ends; one an epoch, "
        "unless trainer.check_val_every_n_epoch has fewer; null: never",
        1,
        100_000,
        optional=True,
    ),
    "trainer.accelerator": word(
        "device; auto: a GPU where there is one", choices=("auto", "cpu", "gpu")
    ),
    "trainer.devices": Setting(
        kind=int,
        meaning="devices of one run; hydra/launcher=pool spreads a sweep over several",
        choices=(1,),
    ),
    "trainer.precision": word(
        "arithmetic of the forward pass; weights are 32 bit, in 64-true 64",
        choices=("32-true", "bf16-mixed", "16-mixed", "64-true"),
    ),
    "trainer.gradient_clip_val": number(
        "norm to which longer gradients are cut", 0, 1_000_000, open_low=True, optional=True
    ),
    "trainer.accumulate_grad_batches": whole(
        "batches whose gradients make one optimizer step", 1, 60_000
    ),
    "trainer.limit_train_batches": whole(
        "training batches of an epoch, the first ones: how many, or which share",
        1,
        60_000,
        otherwise=number("share", 0, 1, open_low=True),
    ),
    "trainer.limit_val_batches": whole(
        "validation batches, the first ones: how many, or which share; 0: no validation",
        0,
        60_000,
        otherwise=number("share", 0, 1),
    ),
    "trainer.overfit_batches": whole(
        "train on these first batches alone, the same in each epoch; 0: on all",
        0,
        60_000,
        otherwise=number("share", 0, 1),
    ),
    "trainer.check_val_every_n_epoch": whole("epochs from one validation to the next", 1, 100_000),
    "trainer.fast_dev_run": flag(
        "one batch of each split (or so many), to see whether all of it works",
        otherwise=whole("batches", 0, 60_000),
    ),
    "trainer.profiler": word(
        "a table of where the time went, at the end of training",
        choices=("simple", "advanced"),
        optional=True,
    ),
    "trainer.detect_anomaly": flag("say which operation made a gradient nan; slow"),
    # root
    "seed": whole("fixes first weights, order of batches and dropout", 0, 2**32 - 1),
    "threads": whole(
        "CPU threads of the run, at most one a core; null: one", 1, 1024, optional=True
    ),
    # hydra/launcher=pool
    "hydra.launcher.devices": word(
        "where a pool runs its jobs; auto: on GPUs where there are any",
        choices=("auto", "cpu", "gpu"),
    ),
    "hydra.launcher.slots": whole(
        "jobs at a time in a pool; null: as many as the cores, or the GPUs, allow",
        1,
        1024,
        optional=True,
    ),
    "hydra.launcher.threads": whole(
        "CPU threads of a slot; null: what the jobs ask for, else 1 (a GPU: its share)",
        1,
        1024,
        optional=True,
    ),
    "hydra.launcher.jobs_per_device": whole("slots of a pool that share one GPU", 1, 64),
    "hydra.launcher.on_failure": word(
        "when a job of a pool fails: go on with the others, or stop them",
        choices=("continue", "stop"),
    ),
    # hydra/launcher=slurm
    "hydra.launcher.timeout_min": whole("minutes until Slurm ends a job", 1, 100_000),
    "hydra.launcher.max_num_timeout": whole(
        "times that a job which ran out of minutes goes on", 0, 1000
    ),
    "hydra.launcher.cpus_per_task": whole(
        "cores that Slurm gives to a job", 1, 1024, optional=True
    ),
    # hydra/launcher=ray
    "hydra.launcher.ray.init.num_cpus": whole(
        "cores of a Ray of our own; null: all", 1, 1024, optional=True
    ),
    "hydra.launcher.ray.remote.num_cpus": number("cores that Ray gives to a job", 0, 1024),
    "hydra.launcher.ray.remote.num_gpus": number(
        "GPUs that Ray gives to a job; 0.25: four share one", 0, 1
    ),
    "hydra.launcher.ray.remote.max_retries": whole(
        "times that Ray starts a crashed job again", 0, 1000
    ),
}

# Tables that belong to a data set rather than being settings: file name -> hexadecimal digest.
DIGESTS = {"data.sha256": 64, "data.md5": 32}


def as_typed(value: object) -> str:
    """A value as a command line takes it, whatever Python calls it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(as_typed, value))}]"
    return str(value)


def nearest(name: str, names: Iterable[str]) -> str:
    """Suggest the valid name that a typo may have meant, or list what there is."""
    names = sorted(names)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else f"there is: {', '.join(names)}"


def leaves(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings to dotted names. Lists, digest tables and empty nodes are leaves."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value and name not in DIGESTS:
            flat |= leaves(value, f"{name}.")
        else:
            flat[name] = value
    return flat
