"""The lab through mnist-train's own path, every feature of a run on; only the stopwatch is added.

The one change is two subclasses of callbacks that a run has: the one that Lightning calls after
each batch, and the one that it calls last. With `plain` before the file descriptor, Lightning's own
loop trains in place of the fast one.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from benchmarks.channel import Channel
from benchmarks.pace import Pace
from benchmarks.work import Work


def main() -> None:
    channel = Channel.inherited()
    work = Work(**channel.receive())
    accuracy = train(work, Pace(channel, work), plain="plain" in sys.argv)
    channel.send({"test_acc": accuracy})


def train(work: Work, pace: Pace, *, plain: bool = False) -> float:
    """Run a piece of work below the current folder; return the test accuracy."""
    from mnist_lab.ui.startup import import_lightning

    import_lightning()
    from mnist_lab.run import fast_loop
    from mnist_lab.run import fit as training
    from mnist_lab.run.callbacks import ProgressBar, Record
    from mnist_lab.run.directory import Run
    from mnist_lab.settings.compose import checked, compose

    class TimedBar(ProgressBar):
        def on_train_epoch_start(self, *args: Any) -> None:
            super().on_train_epoch_start(*args)
            pace.steps_begin()

        def on_train_batch_end(self, *args: Any) -> None:
            super().on_train_batch_end(*args)
            pace.stepped(args[-1] + 1)

    class TimedRecord(Record):
        def on_train_start(self, trainer: Any, model: Any) -> None:
            super().on_train_start(trainer, model)
            pace.begin(sum(weight.numel() for weight in model.parameters()))

        def on_train_epoch_end(self, trainer: Any, model: Any) -> None:
            super().on_train_epoch_end(trainer, model)
            pace.epoch_ends()

    training.ProgressBar = TimedBar  # type: ignore[attr-defined]
    training.Record = TimedRecord  # type: ignore[attr-defined]
    if plain:
        fast_loop.why_plain = lambda *_: "the benchmark"
    config = training.resolved(checked(compose(work.overrides)))
    run = Run.claim_new(Path("outputs/runs").absolute() / work.name)
    metrics = training.train(config, run)
    return float(metrics["test/acc"])


if __name__ == "__main__":
    main()
