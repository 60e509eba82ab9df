"""The abstract LightningModule: a batch's loss, the optimizer steps, the figures of an epoch."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from mnist_lab.data import EVAL_BATCH_SIZE, Batch
from mnist_lab.errors import Failed

NUM_CLASSES = 10
NUM_PIXELS = 28 * 28


class Classifier(LightningModule, ABC):
    """A network from images to logits, trained by cross-entropy.

    Args:
        optimizer: takes the parameters and returns an optimizer. Left out of the hyper-parameters,
            as is `schedule`: a model loaded without them predicts but does not fit.
        schedule: the factor of the learning rate at a progress of 0 to 1 through the run.
    """

    def __init__(
        self,
        *,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] | None,
        schedule: Callable[[float], float] | None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False  # one training_step makes a whole chunk of steps
        self.optimizer = optimizer
        self.schedule = schedule
        self.num_steps = 0  # optimizer steps of the whole run; known when it starts
        self.train_loss = MeanMetric()
        self.train_acc = MeanMetric()
        self.eval_loss = MeanMetric()
        self.eval_acc = MulticlassAccuracy(NUM_CLASSES, average="micro")

    @abstractmethod
    def forward(self, images: Float32[Tensor, "n 1 28 28"]) -> Float[Tensor, "n 10"]:
        """Logits: a pure function of the weights and the images, but for dropout in training."""

    def configure_optimizers(self) -> Optimizer:
        if self.optimizer is None or self.schedule is None:
            raise Failed("setup", "a model without an optimizer and a schedule cannot be trained.")
        optimizer = self.optimizer(self.parameters())
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        return optimizer

    def on_train_start(self) -> None:
        chunks: Any = self.trainer.train_dataloader
        self.num_steps = (self.trainer.max_epochs or 1) * len(chunks.batches)

    def training_step(self, chunk: Iterable[Batch], _: int) -> None:
        assert self.schedule is not None
        optimizer: Any = self.optimizers(use_pl_optimizer=False)
        losses, logits_of_all, labels_of_all = [], [], []
        for step, (images, labels) in enumerate(chunk, start=self.trainer.global_step):
            factor = self.schedule(step / self.num_steps)
            for group in optimizer.param_groups:
                group["lr"] = factor * group["initial_lr"]
            logits = self(images)  # hop 3: (n, 10)
            loss = F.cross_entropy(logits, labels)  # hop 4: nats, mean over the batch
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            torch.clear_autocast_cache()  # else bf16 goes on with the weights before the step
            losses.append(loss.detach())
            logits_of_all.append(logits.detach())
            labels_of_all.append(labels)
        self.record_steps(torch.stack(losses), logits_of_all, labels_of_all)

    def record_steps(self, losses: Tensor, logits: list[Tensor], labels: list[Tensor]) -> None:
        """Add a chunk's figures to the running means of the epoch, weighted per image.

        Raises:
            Failed: a loss is not finite; one look a chunk, since each is a wait for a GPU.
        """
        finite = losses.isfinite()
        if not finite.all():
            first = int(finite.int().argmin())
            step = self.trainer.global_step + first + 1
            lr = self.trainer.optimizers[0].param_groups[0]["lr"]
            raise Failed("nan", f"the loss became {losses[first]} at step {step} (lr {lr:g}).")
        # Raw optimizers do not tell the Trainer of their steps; its global_step stays true so.
        progress = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        for counter in (progress.total, progress.current):
            counter.ready += len(losses)
            counter.completed += len(losses)
        sizes = torch.tensor([len(batch) for batch in labels], device=losses.device)
        self.train_loss.update(losses, sizes)
        self.train_acc.update((torch.cat(logits).argmax(1) == torch.cat(labels)).float())

    def on_train_epoch_end(self) -> None:
        means = {"train/loss": self.train_loss.compute(), "train/acc": self.train_acc.compute()}
        self.log_dict(means, logger=False)  # callbacks.Record writes each epoch where it belongs
        self.train_loss.reset()
        self.train_acc.reset()

    def eval_logits(self, images: Float32[Tensor, "n 1 28 28"]) -> Float[Tensor, "n 10"]:
        """Logits of an evaluation batch, taken in parts whose feature maps stay in cache."""
        return torch.cat([self(some) for some in images.split(EVAL_BATCH_SIZE)])

    def validation_step(self, batch: Batch, _: int) -> None:
        images, labels = batch
        logits = self.eval_logits(images)
        self.eval_loss.update(F.cross_entropy(logits, labels), len(labels))
        self.eval_acc.update(logits, labels)

    def on_validation_epoch_end(self) -> None:
        self.log_eval("val")

    def test_step(self, batch: Batch, index: int) -> None:
        self.validation_step(batch, index)

    def on_test_epoch_end(self) -> None:
        self.log_eval("test")

    def log_eval(self, split: str) -> None:
        means = {f"{split}/loss": self.eval_loss.compute(), f"{split}/acc": self.eval_acc.compute()}
        self.log_dict(means, logger=False)
        self.eval_loss.reset()
        self.eval_acc.reset()

    def predict_step(self, batch: Batch, _: int) -> tuple[Tensor, Tensor]:
        """Logits (n, 10) and labels (n,), for figures that no loop of its own gives."""
        images, labels = batch
        return self.eval_logits(images).float(), labels
