"""Lightning's training loop without what a run does not use of it, for the lab's own networks.

The Trainer's work around one optimizer step takes longer than the step of a small network. Here an
epoch's steps follow each other directly, and the Trainer looks again when they are done. Weights,
metrics and checkpoints are bitwise those of Lightning's own loop, which takes over by itself where
a run asks for anything else. Only this file and the optimizers touch private names of Lightning or
torch; pyproject.toml bounds both versions for it.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loops.fetchers import _DataFetcher
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.trainer.connectors.checkpoint_connector import _CheckpointConnector
from lightning.pytorch.utilities.types import LRSchedulerConfig
from torch.optim.lr_scheduler import LambdaLR

from mnist_lab.data.datamodule import EpochOrder
from mnist_lab.models.classifier import Classifier

# What happens around a single step, to a callback or a module that has something to do there.
AROUND_A_STEP = (
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
)
TRANSFER = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")
OF_A_MODULE = (
    *AROUND_A_STEP,
    *TRANSFER,
    "on_train_batch_end",
    "backward",
    "optimizer_step",
    "optimizer_zero_grad",
    "configure_gradient_clipping",
    "lr_scheduler_step",
)


class FastEpochLoop(_TrainingEpochLoop):
    """An epoch's optimizer steps in one go.

    Args:
        every_batch: callbacks whose `on_train_batch_end` is called after each batch. Those of
            others may log or look at the Trainer's counters, which stand still within an epoch.
        say: told in a line why a run goes the plain way.
    """

    def __init__(
        self,
        trainer: Trainer,
        *,
        every_batch: tuple[type[Callback], ...],
        say: Callable[[str], Any],
    ) -> None:
        super().__init__(trainer)
        self.every_batch = every_batch
        self.say = say
        self.plain: str | None = None  # why, once it is known

    def on_run_start(self, data_fetcher: _DataFetcher) -> None:
        super().on_run_start(data_fetcher)
        for scheduler in self._schedulers():  # an older lab's checkpoint has another step's
            set_lr(scheduler, scheduler.last_epoch)
        if self.plain is None:
            self.plain = why_plain(self.trainer, self.every_batch)
            if self.plain:
                self.say(self.plain)

    def advance(self, data_fetcher: _DataFetcher) -> None:
        if self.plain or self.restarting:
            super().advance(data_fetcher)
            return
        self.val_loop.restarting = False
        trainer: Any = self.trainer
        module, (optimizer,) = trainer.lightning_module, trainer.optimizers
        loader = trainer.train_dataloader
        precision = trainer.precision_plugin
        context = (
            contextlib.nullcontext if type(precision) is Precision else precision.train_step_context
        )
        callbacks = [one for one in trainer.callbacks if isinstance(one, self.every_batch)]
        schedulers = self._schedulers()
        first_step = self.global_step
        num_batches = 0
        for rows in loader.sampler:
            batch = loader.dataset[rows]
            with context():
                outputs = module.training_step(batch, num_batches)
            optimizer.zero_grad()
            outputs["loss"].backward()
            optimizer.step()
            num_batches += 1
            for scheduler in schedulers:
                set_lr(scheduler, first_step + num_batches)
            for callback in callbacks:
                callback.on_train_batch_end(trainer, module, outputs, batch, num_batches - 1)
        self._count(num_batches)
        for scheduler in schedulers:
            scheduler.last_epoch = first_step + num_batches
            scheduler._step_count = first_step + num_batches + 1
            scheduler._last_lr = [group["lr"] for group in optimizer.param_groups]

    def _schedulers(self) -> list[LambdaLR]:
        """Those that are a pure function of the step."""
        configs = self.trainer.lr_scheduler_configs
        return [one.scheduler for one in configs if by_step(one)]

    def _count(self, num_batches: int) -> None:
        """Leave every counter as that many turns of Lightning's own loop would have."""
        steps = self.automatic_optimization.optim_progress.optimizer
        for progress in (self.batch_progress, steps.step, steps.zero_grad):
            add(progress, num_batches)
        if self.trainer.lr_scheduler_configs:
            add(self.scheduler_progress, num_batches)
        self.batch_progress.is_last_batch = True
        self._batches_that_stepped += num_batches - 1  # the last one is counted when this ends


def add(progress: Any, count: int) -> None:
    for tracker in (progress.total, progress.current):
        for field in fields(tracker):
            setattr(tracker, field.name, getattr(tracker, field.name) + count)


def by_step(config: LRSchedulerConfig) -> bool:
    return (
        type(config.scheduler) is LambdaLR and config.interval == "step" and config.frequency == 1
    )


def set_lr(scheduler: LambdaLR, step: int) -> None:
    for group, base_lr, factor in zip(
        scheduler.optimizer.param_groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True
    ):
        group["lr"] = base_lr * factor(step)


def why_plain(trainer: Any, every_batch: tuple[type[Callback], ...]) -> str | None:
    """What a run asks for that only Lightning's own loop does, or None."""
    reasons = itertools.chain(
        asked_of_trainer(trainer),
        own_hooks(trainer),
        others(trainer.callbacks, every_batch),
        parts(trainer),
    )
    return next(reasons, None)


def asked_of_trainer(trainer: Any) -> Iterator[str]:
    asked = {
        "fast_dev_run": trainer.fast_dev_run,
        "overfit_batches": trainer.overfit_batches,
        "limit_train_batches": trainer.limit_train_batches != 1.0,
        "accumulate_grad_batches": trainer.accumulate_grad_batches != 1,
        "gradient_clip_val": trainer.gradient_clip_val,
        "detect_anomaly": trainer._detect_anomaly,
        "profiler": not isinstance(trainer.profiler, PassThroughProfiler),
        "max_steps": trainer.max_steps != -1,
        "val_check_interval": trainer.val_check_interval != 1.0,
        "devices": trainer.world_size != 1,
    }
    yield from (f"trainer.{name}" for name, value in asked.items() if value)
    plugin = trainer.precision_plugin
    if not (type(plugin) is Precision or getattr(plugin, "precision", "") == "bf16-mixed"):
        yield "trainer.precision"


def own_hooks(trainer: Any) -> Iterator[str]:
    """Methods that a module or data module has made its own."""
    module, data = trainer.lightning_module, trainer.datamodule
    if not isinstance(module, Classifier):
        yield type(module).__name__
        return
    bases: list[tuple[Any, type, tuple[str, ...]]] = [
        (module, LightningModule, OF_A_MODULE),
        (module, Classifier, ("training_step",)),
        *([(data, LightningDataModule, TRANSFER)] if data else []),
    ]
    for owner, base, names in bases:
        for name in names:
            if getattr(type(owner), name) is not getattr(base, name):
                yield f"{type(owner).__name__}.{name}"


def others(callbacks: list[Callback], every_batch: tuple[type[Callback], ...]) -> Iterator[str]:
    """Callbacks that have something to do around a step."""
    for callback in callbacks:
        called = () if isinstance(callback, every_batch) else ("on_train_batch_end",)
        for name in (*AROUND_A_STEP, *called):
            if getattr(type(callback), name) is not getattr(Callback, name):
                yield f"{type(callback).__name__}.{name}"


def parts(trainer: Any) -> Iterator[str]:
    if not isinstance(getattr(trainer.train_dataloader, "sampler", None), EpochOrder):
        yield type(trainer.train_dataloader).__name__
    if len(trainer.optimizers) != 1:
        yield f"{len(trainer.optimizers)} optimizers"
    for config in trainer.lr_scheduler_configs:
        if not by_step(config):
            yield type(config.scheduler).__name__


class OwnCheckpoints(_CheckpointConnector):
    """Reads the checkpoints that it is told to, and never one that Slurm's signals left behind.

    Under Slurm, whatever environment the Trainer is given, Lightning prefers an hpc_ckpt_N.ckpt in
    its folder: training would go on, and metrics be taken, from another place than asked for.
    """

    @property
    def _hpc_resume_path(self) -> None:
        return None


def ignore_stored_by_slurm(trainer: Trainer) -> None:
    trainer._checkpoint_connector = OwnCheckpoints(trainer)
