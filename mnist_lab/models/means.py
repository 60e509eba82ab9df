"""The running means of an epoch's training loss and accuracy, dropout on."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torchmetrics import MeanMetric

from mnist_lab.ui.errors import Failed

MOST_STEPS, MOST_IMAGES = 50, 4_096  # between two looks at what has gathered: each waits for a GPU


class RunningMeans(Callback):
    """Logs `train/loss` and `train/acc`, weighted per image, from what `training_step` returns.

    To log in the step itself doubles what Lightning's loop takes for a small network's step. Also
    stops a run whose loss is no longer finite, at most `MOST_STEPS` later.
    """

    def __init__(self) -> None:
        self.loss = MeanMetric()
        self.acc = MeanMetric()
        self.gathered: list[tuple[Tensor, Tensor | None, Tensor]] = []  # loss, logits, labels
        self.num_images = 0

    def on_train_epoch_start(self, _: Trainer, module: LightningModule) -> None:
        for mean in (self.loss, self.acc):
            mean.reset()
            mean.to(module.device)
        self.gathered, self.num_images = [], 0

    def on_train_batch_end(
        self,
        trainer: Trainer,
        module: LightningModule,  # noqa: ARG002
        outputs: Mapping[str, Any] | Tensor | None,
        batch: Any,
        batch_idx: int,
    ) -> None:
        assert isinstance(outputs, Mapping)
        self.gathered.append((outputs["loss"].detach(), outputs.get("logits"), batch[1]))
        self.num_images += len(batch[1])
        if len(self.gathered) == MOST_STEPS or self.num_images >= MOST_IMAGES:
            self.take_in(trainer, batch_idx)

    def take_in(self, trainer: Trainer, batch_idx: int) -> None:
        """Add what has gathered to the means.

        Raises:
            Failed: a loss is not finite.
        """
        if not self.gathered:
            return
        losses = torch.stack([loss for loss, _, _ in self.gathered])
        losses = losses * trainer.accumulate_grad_batches  # which the Trainer has divided them by
        finite = losses.isfinite()
        if not finite.all():
            first = int(finite.int().argmin())
            step = step_of_batch(trainer, batch_idx + 1 - len(losses) + first)
            lr = lr_of_step(trainer, step)
            raise Failed("nan", f"the loss became {losses[first]} at step {step + 1} (lr {lr:g}).")
        labels = [labels for _, _, labels in self.gathered]
        sizes = torch.tensor([len(some) for some in labels], device=losses.device)
        self.loss.update(losses, sizes)
        if logits := [some for _, some, _ in self.gathered if some is not None]:
            self.acc.update((torch.cat(logits).argmax(1) == torch.cat(labels)).float())
        self.gathered, self.num_images = [], 0

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        self.take_in(trainer, int(trainer.num_training_batches) - 1)
        means = {"train/loss": self.loss.compute(), "train/acc": self.acc.compute()}
        module.log_dict(means)


def step_of_batch(trainer: Trainer, batch_idx: int) -> int:
    """Which optimizer step of the run a batch of this epoch is a part of; both count from 0."""
    steps = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
    return trainer.current_epoch * steps + batch_idx // trainer.accumulate_grad_batches


def lr_of_step(trainer: Trainer, step: int, *, otherwise: float | None = None) -> float:
    """The learning rate of an optimizer step, counted from 0.

    Args:
        otherwise: what it is where no schedule goes by steps; None: as it is now.
    """
    for config in trainer.lr_scheduler_configs:
        scheduler = config.scheduler
        if config.interval == "step" and isinstance(scheduler, torch.optim.lr_scheduler.LambdaLR):
            return float(scheduler.base_lrs[0] * scheduler.lr_lambdas[0](step))
    if otherwise is not None:
        return otherwise
    return float(trainer.optimizers[0].param_groups[0]["lr"])
