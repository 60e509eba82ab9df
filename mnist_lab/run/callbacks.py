"""What happens around the training: stop when asked, show progress, record each epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, Checkpoint, EarlyStopping

from mnist_lab.data.seeding import epoch_seed
from mnist_lab.models.means import lr_of_step
from mnist_lab.run.tensorboard import tag_of
from mnist_lab.ui.console import epoch_line
from mnist_lab.ui.errors import Failed
from mnist_lab.ui.signals import signals

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from mnist_lab.run.directory import Run
    from mnist_lab.ui.console import Console


class StopOnSignal(Callback):
    """Stop at a batch's end, in training, validation and testing alike."""

    def on_train_batch_end(self, *_: Any) -> None:
        signals.check()

    def on_validation_batch_end(self, *_: Any) -> None:
        signals.check()

    def on_test_batch_end(self, *_: Any) -> None:
        signals.check()


class SeedEpochs(Callback):
    """Dropout's masks in each epoch: a pure function of the run's seed and the epoch."""

    def __init__(self, *, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: Trainer, _: LightningModule) -> None:
        torch.manual_seed(epoch_seed(self.seed, trainer.current_epoch, "dropout"))


class Patience(EarlyStopping):
    """End training once the validation loss (nats) has not gone down for `patience` validations."""

    def __init__(self, patience: int) -> None:
        super().__init__("val/loss", mode="min", patience=patience)

    def on_train_start(self, trainer: Trainer, _: LightningModule) -> None:
        """Train no epoch more in a run that was killed after the last one, before its end."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True


class ProgressBar(Callback):
    """Batches done and the running means of the epoch; the device is asked only when drawing."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def on_train_epoch_start(self, trainer: Trainer, _: LightningModule) -> None:
        label = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        self.console.start_bar(label, int(trainer.num_training_batches))

    def on_train_batch_end(
        self,
        trainer: Trainer,  # noqa: ARG002
        module: Any,
        outputs: Any,  # noqa: ARG002
        batch: Any,  # noqa: ARG002
        batch_idx: int,
    ) -> None:
        if self.console.bar_is_due:
            means = module.running_means
            loss, acc = means.loss.compute(), means.acc.compute()
            self.console.draw_bar(batch_idx + 1, f"loss {loss:.4f} acc {100 * acc:.2f} %")


class Answered(Callback):
    """Keeps what the network answered to the images of the last split that was evaluated."""

    def __init__(self) -> None:
        self.batches: list[tuple[torch.Tensor, torch.Tensor]] = []  # predictions, labels

    def on_test_epoch_start(self, *_: Any) -> None:
        self.batches = []

    def on_test_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        del trainer, module
        if isinstance(outputs, Mapping) and "logits" in outputs:  # a module may have its own step
            self.batches.append((outputs["logits"].argmax(1), batch[1]))

    def take(self) -> tuple[np.ndarray, np.ndarray]:
        """Predicted classes and labels (n,), in the order of the split."""
        columns = zip(*self.batches, strict=True) if self.batches else ((), ())
        predicted, labels = (
            torch.cat(column).to("cpu", torch.uint8).numpy() if column else np.empty(0, np.uint8)
            for column in columns
        )
        return predicted, labels


class Record(Checkpoint):
    """At the end of each epoch: a row of metrics.csv, TensorBoard, the checkpoints, a line.

    A `Checkpoint` by class, so that Lightning calls it after everything that logs. The row is
    written before the checkpoint and rows that the checkpoint does not know are dropped at resume,
    so that none is there twice or missing.
    """

    def __init__(self, run: Run, console: Console, board: SummaryWriter) -> None:
        self.run = run
        self.console = console
        self.board = board
        self.former: dict[str, torch.Tensor] = {}  # what the Trainer holds of earlier epochs
        self.best_acc = -math.inf  # of the validation split
        self.best_epoch = 0  # counted from 1; 0: none yet
        self.started = 0.0
        self.lr = 0.0  # at the start of the epoch

    def state_dict(self) -> dict[str, Any]:
        return {"best_acc": self.best_acc, "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_acc = state_dict["best_acc"]
        self.best_epoch = state_dict["best_epoch"]

    def on_train_epoch_start(self, trainer: Trainer, _: LightningModule) -> None:
        self.started = time.perf_counter()
        self.former = dict(trainer.callback_metrics)
        self.lr = lr_of_step(trainer, trainer.global_step)

    def on_train_epoch_end(self, trainer: Trainer, model: LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        metrics = {
            name: float(value)
            for name, value in trainer.callback_metrics.items()
            if value is not self.former.get(name)  # else it is an earlier epoch's
        }
        self._refuse_non_finite(metrics, model)
        row = {
            "epoch": epoch,
            "step": trainer.global_step,
            **{name: metrics[name] for name in sorted(metrics)},
            "lr": lr_of_step(trainer, trainer.global_step - 1, otherwise=self.lr),
            "seconds": round(time.perf_counter() - self.started, 3),
        }
        self.run.append_epoch(row)
        for name, value in {**metrics, "lr": row["lr"]}.items():
            self.board.add_scalar(tag_of(name, self.run.path), value, epoch)
        if metrics.get("val/acc", -math.inf) > self.best_acc:
            self.best_acc, self.best_epoch = metrics["val/acc"], epoch
            trainer.save_checkpoint(self.run.checkpoints / "best.ckpt")
        trainer.save_checkpoint(self.run.checkpoints / "last.ckpt")
        self.run.write_status("running", epoch=epoch, **metrics)
        self.console.end_bar()
        self.console.print(epoch_line(row, trainer.max_epochs or epoch))
        signals.check()

    def _refuse_non_finite(self, metrics: dict[str, float], model: LightningModule) -> None:
        for name, value in metrics.items():
            if not math.isfinite(value):
                raise Failed("nan", f"{name} became {value} in epoch {model.current_epoch + 1}.")
        for name, weight in model.named_parameters():
            if not weight.isfinite().all():
                raise Failed("nan", f"{name} is not finite after epoch {model.current_epoch + 1}.")
