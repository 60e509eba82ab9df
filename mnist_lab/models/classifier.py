"""The abstract LightningModule: a batch's logits and loss, the optimizer, the evaluation."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from lightning.pytorch import Callback, LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from torchmetrics import MeanMetric, Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from mnist_lab.data.datamodule import EVAL_BATCH_SIZE, Batch
from mnist_lab.data.images import as_pixels
from mnist_lab.models.means import RunningMeans

AnyBatch = Batch | list[Tensor]  # torch collates a batch of pairs into a list
NOT_STORED = ["optimizer", "schedule", "metrics"]  # among a checkpoint's hyper-parameters
NUM_CLASSES = 10  # MNIST's: of scripts and checkpoints that do not say
NUM_PIXELS = 28 * 28


class Classifier(LightningModule, ABC):
    """A network from images to logits, trained by cross-entropy.

    A network adds its own arguments and hands on the others: `super().__init__(**kwargs)`. All but
    optimizer, schedule and metrics become hyper-parameters, which a checkpoint keeps.

    Args:
        num_classes: logits of an image.
        label_smoothing: share of the target that is spread over all classes, in training alone.
        class_weights: of each class in the training loss; None: 1.
        optimizer: takes the parameters and returns an optimizer; None: torch.optim.Adam, lr 1e-3.
        schedule: the factor of the learning rate at a progress of 0 (before the first step) to 1
            (after the last) through the run; or takes the optimizer and returns one of torch's
            schedulers, which steps once an epoch and, if it looks, at val/loss; None: the learning
            rate stays.
        metrics: by name, beside loss and accuracy: told the logits and labels of an evaluation.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        *,
        num_classes: int = NUM_CLASSES,
        label_smoothing: float = 0.0,
        class_weights: Sequence[float] | None = None,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] | None = None,
        schedule: Callable[[Any], Any] | None = None,
        metrics: Mapping[str, Metric] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(
            ignore=NOT_STORED, logger=False
        )  # those of a network that does not
        self.num_classes = num_classes
        self.optimizer = optimizer
        self.schedule = schedule
        self.label_smoothing = label_smoothing
        weights = None if class_weights is None else torch.tensor(class_weights)
        self.register_buffer("class_weights", weights, persistent=False)
        self.example_input_array = torch.zeros(1, 1, 28, 28)  # for summaries of the layers
        self.running_means = RunningMeans()
        self.eval_loss = MeanMetric()
        self.eval_acc = MulticlassAccuracy(num_classes, average="micro")
        self.metrics = MetricCollection(dict(metrics or {}), compute_groups=False)

    @abstractmethod
    def forward(self, images: Float[Tensor, "n 1 28 28"]) -> Float[Tensor, "n classes"]:
        """Logits: a pure function of the weights and the images, but for dropout in training."""

    def training_step(self, batch: AnyBatch, batch_idx: int) -> dict[str, Tensor]:  # noqa: ARG002
        """Loss in nats, mean over the batch, and logits (n, classes).

        Nothing is logged here: a callback keeps the running means of what is returned.
        """
        images, labels = batch
        logits = self(images)  # hop 3: (n, classes)
        loss = F.cross_entropy(  # hop 4: nats
            logits, labels, self.class_weights, label_smoothing=self.label_smoothing
        )
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
        schedule = self.schedule
        if isinstance(kind := getattr(schedule, "func", schedule), type):
            assert issubclass(kind, LRScheduler)
            return {
                "optimizer": optimizer,
                "lr_scheduler": {"scheduler": schedule(optimizer), "monitor": "val/loss"},
            }
        num_steps = self.trainer.estimated_stepping_batches
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
        self.metrics.update(logits, labels)
        return {"logits": logits}

    def on_validation_epoch_end(self) -> None:
        self.log_evaluation("val")

    def test_step(self, batch: AnyBatch, batch_idx: int) -> dict[str, Tensor]:
        return self.validation_step(batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        self.log_evaluation("test")

    def log_evaluation(self, split: str) -> None:
        metrics = {"loss": self.eval_loss.compute(), "acc": self.eval_acc.compute()}
        metrics |= self.metrics.compute()
        self.log_dict({f"{split}/{name}": value for name, value in metrics.items()})
        for metric in (self.eval_loss, self.eval_acc, self.metrics):
            metric.reset()

    def predict_step(self, batch: AnyBatch, batch_idx: int) -> Float[Tensor, "n classes"]:  # noqa: ARG002
        """Logits."""
        images, _ = batch
        logits: Tensor = self(images)
        return logits

    def predict(self, images: Any) -> Any:
        """Probabilities of a user's own images, with dropout off whatever mode the network is in.

        Args:
            images: uint8 0..255 or floats 0..1, 0 paper; (n, 28, 28) or (n, 1, 28, 28).

        Returns:
            float64 (n, 10): a torch tensor on the CPU for a tensor, a numpy array for an array.

        Raises:
            Refused: images of another kind, shape or range; says which.
        """
        pixels = as_pixels(images)
        training = self.training
        self.eval()
        try:
            with torch.no_grad():
                batches = (
                    self(batch.to(self.device, self.dtype)).cpu().double().softmax(dim=1)
                    for batch in pixels.split(EVAL_BATCH_SIZE)
                )
                probs = torch.cat([torch.empty(0, NUM_CLASSES, dtype=torch.float64), *batches])
        finally:
            self.train(training)
        return probs if isinstance(images, Tensor) else probs.numpy()
