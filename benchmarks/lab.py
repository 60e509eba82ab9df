"""The lab through mnist-train's own path, every feature of a run on; only the stopwatch is added.

The one change is a subclass of the callback that Lightning calls last.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.channel import Channel
from benchmarks.pace import Pace
from benchmarks.work import Work


def main() -> None:
    channel = Channel.inherited()
    work = Work(**channel.receive())
    accuracy = train(work, Pace(channel, work))
    channel.send({"test_acc": accuracy})


def train(work: Work, pace: Pace) -> float:
    """Run a piece of work below the current folder; return the test accuracy."""
    from mnist_lab import training
    from mnist_lab.callbacks import Record
    from mnist_lab.config import checked, compose
    from mnist_lab.runs import Run

    class TimedRecord(Record):
        epoch_start = 0

        def on_train_start(self, trainer: Any, model: Any) -> None:
            super().on_train_start(trainer, model)
            pace.begin(sum(weight.numel() for weight in model.parameters()))

        def on_train_batch_start(self, trainer: Any, model: Any, batch: Any, index: int) -> None:
            super().on_train_batch_start(trainer, model, batch, index)
            if index == 0:
                self.epoch_start = trainer.global_step
                pace.steps_begin()

        def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
            super().on_train_batch_end(trainer, *args)
            pace.stepped(trainer.global_step - self.epoch_start)

        def on_train_epoch_end(self, trainer: Any, model: Any) -> None:
            super().on_train_epoch_end(trainer, model)
            pace.epoch_ends()

    training.Record = TimedRecord  # type: ignore[attr-defined]
    config = training.resolved(checked(compose(work.overrides)))
    run = Run.claim_new(Path("outputs/runs").absolute() / work.name)
    metrics = training.train(config, run)
    return float(metrics["test/acc"])


if __name__ == "__main__":
    main()
