"""One run: from a checked configuration and a claimed directory to its final metrics."""

from __future__ import annotations

import contextlib
import errno
import inspect
import math
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.utilities.model_summary.model_summary import ModelSummary
from rich.markup import escape
from torchmetrics import Metric

from mnist_lab.data.datamodule import EVAL_BATCH_SIZE
from mnist_lab.data.seeding import epoch_seed
from mnist_lab.data.source import settled
from mnist_lab.models.means import RunningMeans
from mnist_lab.run.callbacks import (
    Answered,
    Patience,
    ProgressBar,
    Record,
    SeedEpochs,
    StopOnSignal,
)
from mnist_lab.run.checkpoints import AtomicCheckpointIO
from mnist_lab.run.code import Code, own_code
from mnist_lab.run.device import INSTEAD, asked_of, departures, device_name, granted
from mnist_lab.run.directory import read_epochs
from mnist_lab.run.fast_loop import FastEpochLoop, ignore_stored_by_slurm
from mnist_lab.run.images import data_module, source_of
from mnist_lab.run.measure import measure, record
from mnist_lab.run.tensorboard import session
from mnist_lab.settings.build import build, build_extras, build_network
from mnist_lab.settings.hyperparameters import hyperparameters
from mnist_lab.ui.console import Console, layer_table, result_table
from mnist_lab.ui.errors import Failed, Refused, first_line
from mnist_lab.ui.files import shown_path
from mnist_lab.ui.signals import Interrupted, handlers_kept, signals

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from mnist_lab.data.datamodule import MNISTDataModule
    from mnist_lab.models.classifier import Classifier
    from mnist_lab.run.directory import Run

Config = dict[str, Any]
"""A resolved configuration: plain dictionaries, checked against the table of settings."""

DISK_ERRORS = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ENOENT, errno.EACCES)
}


# A second thread makes a recipe 1.0 to 1.6 times as fast, and far slower beside a busy core; the
# README has the times. A sweep uses further cores for further runs.
DEFAULT_THREADS = 1


def resolved(config: Config) -> Config:
    """Settle what the configuration leaves open: device, threads, absolute paths, the real source.

    Raises:
        Refused: a GPU that is not there, arithmetic that the device does not have, no data, or
            nothing of it left to train on.
    """
    data = settled(config["data"])
    splits = source_of(data).read()
    num_val = splits.num_val(data["val_fraction"])
    trainer = granted(config["trainer"])
    refuse_unfit_trainer(
        trainer,
        train_batches=math.ceil((len(splits.train_images) - num_val) / data["batch_size"]),
        val_batches=math.ceil(num_val / EVAL_BATCH_SIZE),
    )
    threads = config["threads"] or DEFAULT_THREADS
    asked = {k: v for k, v in config["trainer"].items() if v != trainer[k]}
    asked = {**asked_of(config), **asked}
    if trainer["precision"] != INSTEAD:
        asked.pop("precision", None)
    config = {**config, "data": data, "trainer": trainer, "threads": threads}
    config.pop("asked", None)
    return {**config, "asked": {"trainer": asked}} if asked else config


def refuse_unfit_trainer(trainer: Config, *, train_batches: int, val_batches: int) -> None:
    """Refuse what only the number of batches can tell."""
    for name, num_batches in (
        ("limit_train_batches", train_batches),
        ("overfit_batches", train_batches),
        ("limit_val_batches", val_batches),
    ):
        share = trainer[name]
        if isinstance(share, float) and share and num_batches and int(share * num_batches) < 1:
            raise Refused(
                f"trainer.{name}={share}: leaves none of {num_batches} batches; must be at least "
                f"{1 / num_batches:.2g}, or a whole number of batches."
            )


def build_model(config: Config, metrics: Mapping[str, Metric] | None = None) -> Classifier:
    """Build the network with the first weights that its seed gives."""
    torch.manual_seed(epoch_seed(config["seed"], 0, "weights"))
    optimizer = build(config["optimizer"])
    schedule = build(config["schedule"])
    model: Classifier = build_network(
        config, optimizer=optimizer, schedule=schedule, metrics=metrics
    )
    return model


def train(
    config: Config,
    run: Run,
    *,
    checkpoint: Path | None = None,
    code: Code | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Train, test and record one run; whatever ends it, its status says so.

    Args:
        config: as `resolved` returns it.
        checkpoint: the last finished epoch of this run, to go on from.
        code: that which trains, where somebody else has asked; None: this process asks.
        quiet: write train.log only.

    Raises:
        Failed: NaN, full disk, GPU out of memory or a bug; the log holds the traceback.
        Interrupted: a signal of STOPPING, obeyed at a batch's end.
    """
    run.write_config(config)
    code = code or own_code()
    other_code = code.keep(run.path, begun=(run.path / "status.json").exists())
    with signals.defer(), Console(run.path / "train.log", quiet=quiet) as console:
        try:
            num_done = 0 if checkpoint is None else len(read_epochs(run.path))
            run.write_status("running", epoch=num_done)
            if other_code:
                console.warn(escape(other_code))
            with handlers_kept(), num_threads(config["threads"]):
                with session(run.path, config) as board:
                    parts = build_parts(config, run, console, board)
                    fit(parts, console, checkpoint)
                    metrics = record(config, run, parts, measure(config, parts, run, console), code)
                run.write_status("finished", epoch=metrics["epochs"])
                console.print()
                console.print(result_table(metrics, shown_path(run.path)))
        except BaseException as error:
            failure = explain(error, config)
            with contextlib.suppress(OSError):  # on a full disk that is all that can be done
                if isinstance(failure, Interrupted):
                    run.write_status("interrupted", signal=str(failure))
                else:
                    run.write_status("failed", reason=failure.reason, message=str(failure))
                console.log_traceback()
            raise failure from error
        return metrics


def explain(error: BaseException, config: Config) -> Failed | Interrupted:
    """Say what an exception means for the run."""
    if isinstance(error, (Failed, Interrupted)):
        return error
    if signals.received:
        return Interrupted(signals.received)
    if isinstance(error, (KeyboardInterrupt, SystemExit)):  # where nobody listens for signals
        by_key = isinstance(error, KeyboardInterrupt) or isinstance(
            error.__context__, KeyboardInterrupt
        )  # Lightning makes an exit of it, and of a SIGTERM another
        return Interrupted(signal.SIGINT if by_key else signal.SIGTERM)
    if isinstance(error, torch.OutOfMemoryError):
        size = config["data"]["batch_size"]
        return Failed("oom", f"the GPU's memory is too small for data.batch_size={size}.")
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        return Failed("disk", f"{error.strerror}: {error.filename or 'the run directory'}.")
    return Failed("error", f"{type(error).__name__}: {first_line(error)}")


@contextlib.contextmanager
def num_threads(threads: int) -> Iterator[None]:
    """Have torch use so many CPU threads for the moment."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class Parts:
    """What a run is made of."""

    data: MNISTDataModule
    model: Classifier
    trainer: Trainer
    summary: ModelSummary
    recorder: Record
    answered: Answered
    board: SummaryWriter
    loggers: list[Logger]


def build_parts(config: Config, run: Run, console: Console, board: SummaryWriter) -> Parts:
    """Build what a run is made of, and print it."""
    data = data_module(config["data"], seed=config["seed"])
    extras = build_extras(config, save_dir=run.path)
    model = build_model(config, extras["metrics"])
    summary = ModelSummary(model, max_depth=-1)
    if config["trainer"]["precision"] == "64-true":
        model.double()  # Lightning does so after it has read a checkpoint's weights, into 32 bits
    run.write_status("running", data=data.source.name, data_sha256=data.sha256)
    recorder = Record(run, console, board)
    answered = Answered()
    settings = {**trainer_defaults(), **config["trainer"]}
    patience = settings.pop("patience")
    if not data.num_val:
        settings["limit_val_batches"] = 0
    loggers = [*extras["logger"].values()]
    trainer: Trainer = build(
        settings,
        callbacks=[
            StopOnSignal(),
            SeedEpochs(seed=config["seed"]),
            ProgressBar(console),
            *([Patience(patience)] if patience else []),
            *extras["callbacks"].values(),
            recorder,
            answered,
        ],
        plugins=[AtomicCheckpointIO(), LightningEnvironment()],  # no scheduler's variables
        default_root_dir=run.path,
        num_sanity_val_steps=0,
        # Record writes TensorBoard by epochs, so that runs of any batch size compare.
        logger=loggers,
        enable_progress_bar=False,  # ours asks the device only when it draws
        enable_model_summary=False,
        deterministic=True,
    )
    ignore_stored_by_slurm(trainer)
    for logger in loggers:
        logger.log_hyperparams(hyperparameters(config))
    describe(console, config, data, summary, run)

    def say(why: str) -> None:
        console.print_plain(
            f"{why}: the fast loop has none of it, so this run takes Lightning's own.\n"
        )

    trainer.fit_loop.epoch_loop = FastEpochLoop(
        trainer, every_batch=(RunningMeans, StopOnSignal, ProgressBar), say=say
    )
    return Parts(data, model, trainer, summary, recorder, answered, board, loggers)


def trainer_defaults() -> dict[str, Any]:
    """Every argument of the Trainer; one that is left out it takes from PL_TRAINER_* variables."""
    parameters = inspect.signature(Trainer.__init__).parameters.values()
    return {one.name: one.default for one in parameters if one.default is not one.empty}


def fit(parts: Parts, console: Console, checkpoint: Path | None) -> None:
    trainer: Any = parts.trainer
    trainer.fit(parts.model, datamodule=parts.data, ckpt_path=checkpoint)
    console.end_bar()
    if not isinstance(trainer.profiler, PassThroughProfiler):
        console.print_plain(trainer.profiler.summary())


def describe(
    console: Console, config: Config, data: MNISTDataModule, summary: ModelSummary, run: Run
) -> None:
    """Print what is about to run."""
    choices, threads = config["choices"], config["threads"]
    counts = ", ".join(f"{len(data.splits[name][0]):,} {name}" for name in data.splits)
    console.print(f"[bold]data[/]       {data.source.name}: {counts}")
    for text in data.warnings:
        console.warn(escape(f"data: {text}"))
    console.print(
        f"[bold]model[/]      {choices['model']}, {summary.total_parameters:,} parameters; "
        f"{choices['optimizer']}, lr {config['optimizer']['lr']:g}, batch {data.batch_size}, "
        f"seed {config['seed']}"
    )
    console.print(
        f"[bold]device[/]     {device_name(config['trainer']['accelerator'])}, "
        f"{threads} thread{'s' if threads > 1 else ''}, {config['trainer']['precision']}"
    )
    console.print(f"[bold]directory[/]  {shown_path(run.path)}")
    for line in departures(asked_of(config), config["trainer"]):
        console.warn(escape(line))
    console.print()
    console.print(layer_table(summary))
    console.print()
