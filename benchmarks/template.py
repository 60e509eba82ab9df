"""Plain Lightning as common templates have it.

torchvision's MNIST with ToTensor, a DataLoader, automatic optimization, torchmetrics, the default
progress bar and checkpoint callback, a TensorBoard logger.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import DataLoader, Subset
from torchmetrics.classification import MulticlassAccuracy
from torchvision.datasets import MNIST
from torchvision.transforms import ToTensor

from benchmarks.channel import Channel
from benchmarks.networks import count_params, plain_network
from benchmarks.pace import Pace
from benchmarks.work import Work


def main() -> None:
    channel = Channel.inherited()
    work = Work(**channel.receive())
    accuracy = train(work, Pace(channel, work))
    channel.send({"test_acc": accuracy})


class PlainModule(LightningModule):
    def __init__(self, work: Work) -> None:
        super().__init__()
        self.work = work
        self.network = plain_network(work)
        self.accuracy = torch.nn.ModuleDict(
            {name: MulticlassAccuracy(10, average="micro") for name in ("fit", "val", "test")}
        )

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """torch's own optimizers, as a user would write them."""
        settings = self.work.optimizer
        name = settings["_target_"].rpartition(".")[2]
        kwargs: dict[str, Any] = {"lr": settings["lr"]}
        if name == "Adam":
            kwargs |= {"betas": tuple(settings["betas"]), "eps": settings["eps"]}
        elif name == "RMSprop":
            kwargs |= {"alpha": settings["alpha"], "eps": settings["eps"]}
        optimizer: torch.optim.Optimizer = getattr(torch.optim, name)(self.parameters(), **kwargs)
        return optimizer

    def training_step(self, batch: Any, _: int) -> torch.Tensor:
        return self.shared_step(batch, "fit", "train", prog_bar=True)

    def validation_step(self, batch: Any, _: int) -> None:
        self.shared_step(batch, "val", "val", prog_bar=True)

    def test_step(self, batch: Any, index: int) -> None:  # noqa: ARG002
        self.shared_step(batch, "test", "test", prog_bar=False)

    def shared_step(self, batch: Any, metric: str, name: str, *, prog_bar: bool) -> torch.Tensor:
        images, labels = batch
        logits = self.network(images)
        loss = F.cross_entropy(logits, labels)
        accuracy: Any = self.accuracy[metric]
        accuracy(logits, labels)
        self.log(f"{name}/loss", loss, prog_bar=prog_bar)
        self.log(f"{name}/acc", accuracy, on_step=False, on_epoch=True, prog_bar=prog_bar)
        return loss


class Stopwatch(Callback):
    def __init__(self, pace: Pace) -> None:
        self.pace = pace

    def on_train_start(self, _: Trainer, module: LightningModule) -> None:
        self.pace.begin(count_params(module))

    def on_train_batch_start(self, *args: Any) -> None:
        if args[-1] == 0:
            self.pace.steps_begin()

    def on_train_batch_end(self, *args: Any) -> None:
        self.pace.stepped(args[-1] + 1)

    def on_train_epoch_start(self, trainer: Trainer, _: LightningModule) -> None:
        # The checkpoint callback ends an epoch after all others: it is behind us only here.
        if trainer.current_epoch:
            self.pace.epoch_ends()

    def on_train_end(self, *_: Any) -> None:
        self.pace.epoch_ends()


def train(work: Work, pace: Pace) -> float:
    torch.set_num_threads(work.threads)
    torch.manual_seed(work.seed)
    training = MNIST(work.folder, train=True, transform=ToTensor())
    test = MNIST(work.folder, train=False, transform=ToTensor())
    cut, size = work.num_train, work.batch_size
    fit = DataLoader(Subset(training, range(cut)), batch_size=size, shuffle=True)
    val = DataLoader(Subset(training, range(cut, len(training))), batch_size=size)
    trainer = Trainer(
        max_epochs=work.epochs,
        accelerator="cpu",
        logger=TensorBoardLogger("outputs/template"),
        callbacks=[Stopwatch(pace)],
    )
    module = PlainModule(work)
    trainer.fit(module, fit, val if work.num_val else None)
    (figures,) = trainer.test(module, DataLoader(test, batch_size=size), verbose=False)
    return float(figures["test/acc"])


if __name__ == "__main__":
    main()
