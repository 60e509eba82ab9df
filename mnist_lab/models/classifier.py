"""The abstract LightningModule: a batch's logits and loss, the optimizer, the evaluation."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from lightning.pytorch import Callback, LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from mnist_lab.data.datamodule import Batch
from mnist_lab.models.means import RunningMeans

AnyBatch = Batch | list[Tensor]  # torch collates a batch of pairs into a list
NUM_CLASSES = 10
NUM_PIXELS = 28 * 28


class Classifier(LightningModule, ABC):
    """A network from images to logits, trained by cross-entropy.

    Args:
        optimizer: takes the parameters and returns an optimizer; None: torch.optim.Adam, lr 1e-3.
            Left out of the hyper-parameters, as is `schedule`.
        schedule: the factor of the learning rate at a progress of 0 (before the first step) to 1
            (after the last) through the run; None: the learning rate stays.
    """

    def __init__(
        self,
        *,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] | None,
        schedule: Callable[[float], float] | None,
    ) -> None:
        super().__init__()
        self.optimizer = optimizer
        self.schedule = schedule
        self.example_input_array = torch.zeros(1, 1, 28, 28)  # for summaries of the layers
        self.running_means = RunningMeans()
        self.eval_loss = MeanMetric()
        self.eval_acc = MulticlassAccuracy(NUM_CLASSES, average="micro")

    @abstractmethod
    def forward(self, images: Float[Tensor, "n 1 28 28"]) -> Float[Tensor, "n 10"]:
        """Logits: a pure function of the weights and the images, but for dropout in training."""

    def training_step(self, batch: AnyBatch, batch_idx: int) -> dict[str, Tensor]:  # noqa: ARG002
        """Loss in nats, mean over the batch, and logits (n, 10).

        Nothing is logged here: a callback keeps the running means of what is returned.
        """
        images, labels = batch
        logits = self(images)  # hop 3: (n, 10)
        loss = F.cross_entropy(logits, labels)  # hop 4: nats
        return {"loss": loss, "logits": logits.detach()}

    def configure_callbacks(self) -> list[Callback]:
        return [self.running_means]

    def configure_optimizers(self) -> Any:
        if self.optimizer is None:
            optimizer: Optimizer = torch.optim.Adam(self.parameters(), lr=1e-3)
        else:
            optimizer = self.optimizer(self.parameters())
        if self.schedule is None:
            return optimizer
        schedule, num_steps = self.schedule, self.trainer.estimated_stepping_batches
        scheduler = LambdaLR(optimizer, lambda step: schedule(step / num_steps))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def validation_step(self, batch: AnyBatch, batch_idx: int) -> dict[str, Tensor]:  # noqa: ARG002
        images, labels = batch
        logits = self(images)
        self.eval_loss.update(F.cross_entropy(logits, labels), len(labels))
        self.eval_acc.update(logits, labels)
        return {"logits": logits}

    def on_validation_epoch_end(self) -> None:
        self.log_evaluation("val")

    def test_step(self, batch: AnyBatch, batch_idx: int) -> dict[str, Tensor]:
        return self.validation_step(batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        self.log_evaluation("test")

    def log_evaluation(self, split: str) -> None:
        self.log_dict(
            {f"{split}/loss": self.eval_loss.compute(), f"{split}/acc": self.eval_acc.compute()}
        )
        self.eval_loss.reset()
        self.eval_acc.reset()

    def predict_step(self, batch: AnyBatch, batch_idx: int) -> Float[Tensor, "n 10"]:  # noqa: ARG002
        """Logits."""
        images, _ = batch
        logits: Tensor = self(images)
        return logits
