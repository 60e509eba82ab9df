"""One run: from a checked configuration and a claimed directory to its final figures."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.model_summary.model_summary import ModelSummary
from torch.utils.tensorboard import SummaryWriter

from mnist_lab.callbacks import ProgressBar, Record, StopOnSignal
from mnist_lab.checkpoints import AtomicCheckpointIO, read_checkpoint
from mnist_lab.config import build, conf_dir
from mnist_lab.console import Console, layer_table, result_table
from mnist_lab.errors import Failed, Refused
from mnist_lab.files import shown_path
from mnist_lab.hparams import write_session_end, write_session_start
from mnist_lab.runs import read_epochs
from mnist_lab.seeding import epoch_seed
from mnist_lab.signals import Interrupted, signals
from mnist_lab.sources import Source, settled

if TYPE_CHECKING:
    from mnist_lab.data import MNISTDataModule
    from mnist_lab.runs import Run

# Lightning sets it when imported. With it, every step of torch's Adam looks for NVIDIA's library on
# the disk where there is no GPU: 0.3 to 0.5 ms, a third of a small network's step.
os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)

Config = dict[str, Any]
"""A resolved configuration: plain dictionaries, checked against the table of settings."""

DISK_ERRORS = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ENOENT, errno.EACCES)
}


def resolved(config: Config) -> Config:
    """Settle what the configuration leaves open: device, threads, absolute paths, the real source.

    Raises:
        Refused: a GPU that is not there, no data, or nothing of it left to train on.
    """
    data = settled(config["data"])
    Source.of(data).read().num_val(data["val_fraction"])
    trainer = {**config["trainer"], "accelerator": device_kind(config["trainer"]["accelerator"])}
    return {**config, "data": data, "trainer": trainer}


def device_kind(accelerator: str) -> str:
    available = torch.cuda.is_available()
    if accelerator == "gpu" and not available:
        raise Refused(
            "trainer.accelerator=gpu: no GPU that torch can use is here; allowed are cpu and auto."
        )
    return "gpu" if available and accelerator != "cpu" else "cpu"


def build_model(config: Config) -> LightningModule:
    """Build the network with the first weights that its seed gives."""
    torch.manual_seed(epoch_seed(config["seed"], 0, "weights"))
    optimizer = build(config["optimizer"])
    schedule = build(config["schedule"])
    model: LightningModule = build(config["model"], optimizer=optimizer, schedule=schedule)
    return model


def train(
    config: Config, run: Run, *, checkpoint: Path | None = None, quiet: bool = False
) -> dict[str, Any]:
    """Train, test and record one run; whatever ends it, its status says so.

    Args:
        config: as `resolved` returns it.
        checkpoint: the last finished epoch of this run, to go on from.
        quiet: write train.log only.

    Raises:
        Failed: NaN, full disk, GPU out of memory or a bug; the log holds the traceback.
        Interrupted: SIGINT or SIGTERM, obeyed at a batch's end.
    """
    run.write_config(config)
    run.write_status("running", epoch=0 if checkpoint is None else len(read_epochs(run.path)))
    with Console(run.path / "train.log", quiet=quiet) as console:
        try:
            with signals.defer():
                metrics = fit_and_test(config, run, console, checkpoint)
                run.write_status("finished", epoch=metrics["epochs"])
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
    if signals.received:  # Lightning, too, raises at a SIGTERM
        return Interrupted(signals.received)
    if isinstance(error, torch.OutOfMemoryError):
        size = config["data"]["batch_size"]
        return Failed("oom", f"the GPU's memory is too small for data.batch_size={size}.")
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        return Failed("disk", f"{error.strerror}: {error.filename or 'the run directory'}.")
    text = str(error).splitlines()[0] if str(error) else ""
    return Failed("error", f"{type(error).__name__}: {text}")


def fit_and_test(
    config: Config, run: Run, console: Console, checkpoint: Path | None
) -> dict[str, Any]:
    seed = config["seed"]
    data: MNISTDataModule = build(config["data"], seed=seed)
    model = build_model(config)
    threads = config["threads"] or choose_threads()
    torch.set_num_threads(threads)
    keep_freed_memory()
    run.write_config({**config, "threads": threads})
    run.write_status("running", data=data.source.name, data_sha256=data.sha256)
    write_session_start(run.path, config)
    board = SummaryWriter(run.path / "tensorboard", purge_step=len(read_epochs(run.path)) + 1)
    record = Record(run, console, board, seed=seed)
    trainer: Trainer = build(
        config["trainer"],
        callbacks=[StopOnSignal(), ProgressBar(console), record],
        plugins=[AtomicCheckpointIO()],
        default_root_dir=run.path,
        limit_val_batches=1.0 if data.num_val else 0,
        num_sanity_val_steps=0,
        logger=False,  # Record writes TensorBoard by epochs, so that runs of any batch size compare
        enable_progress_bar=False,  # ours asks the device only when it draws
        enable_model_summary=False,
        deterministic=True,
    )
    summary = describe(console, config, data, model, run)
    trainer.fit(model, datamodule=data, ckpt_path=checkpoint)

    console.start_bar("testing", 0)
    epochs = read_epochs(run.path)
    figures = {k: v for k, v in epochs[-1].items() if k not in ("epoch", "step", "lr", "seconds")}
    trainer.test(model, datamodule=data, verbose=False)
    figures |= {name: float(value) for name, value in trainer.callback_metrics.items()}
    figures |= means(trainer, model, data, "train", loss="train/loss_eval", acc="train/acc_eval")
    figures["gap"] = figures["train/acc_eval"] - figures["test/acc"]
    best: dict[str, Any] = {}
    if data.num_val:
        best = {"best_epoch": record.best_epoch, "val/acc_best": record.best_acc}
        figures["test/acc_best"] = figures["test/acc"]
        if record.best_epoch < len(epochs):
            weights = read_checkpoint(run.checkpoints / "best.ckpt")["state_dict"]
            model.load_state_dict(weights)
            figures |= means(trainer, model, data, "test", acc="test/acc_best")
    console.end_bar()
    metrics = {
        "data": data.source.name,
        "data_sha256": data.sha256,
        **{name: config["choices"][name] for name in ("experiment", "model", "optimizer")},
        "seed": seed,
        "epochs": len(epochs),
        "num_params": summary.total_parameters,
        **{name: round(value, 6) for name, value in figures.items()},
        **best,
        "seconds": round(sum(row["seconds"] for row in epochs), 3),
        "threads": threads,
        "device": device_name(config["trainer"]["accelerator"]),
        "precision": config["trainer"]["precision"],
        **environment(),
    }
    run.write_metrics(metrics)
    log_final(board, metrics)
    console.print()
    console.print(result_table(metrics, shown_path(run.path)))
    return metrics


def describe(
    console: Console, config: Config, data: MNISTDataModule, model: LightningModule, run: Run
) -> ModelSummary:
    """Print what is about to run."""
    model.example_input_array = torch.zeros(data.batch_size, 1, 28, 28)
    summary = ModelSummary(model, max_depth=-1)
    choices, threads = config["choices"], torch.get_num_threads()
    counts = ", ".join(f"{len(data.splits[name][0]):,} {name}" for name in data.splits)
    console.print(f"[bold]data[/]       {data.source.name}: {counts}")
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
    console.print()
    console.print(layer_table(summary))
    console.print()
    return summary


def means(
    trainer: Trainer, model: LightningModule, data: MNISTDataModule, split: str, **names: str
) -> dict[str, float]:
    """Loss and accuracy over a split with dropout off, under the names asked for."""
    outputs = trainer.predict(model, dataloaders=data.batches(split))
    assert outputs is not None
    logits = torch.cat([batch[0] for batch in outputs])
    labels = torch.cat([batch[1] for batch in outputs])
    values = {
        "loss": F.cross_entropy(logits, labels).item(),
        "acc": (logits.argmax(1) == labels).double().mean().item(),
    }
    return {name: values[key] for key, name in names.items()}


def choose_threads() -> int:
    """One: a second makes a recipe 1.0 to 1.6 times as fast, and far slower beside a busy core.

    The README has the figures. A sweep uses further cores for further runs.
    """
    return 1


def keep_freed_memory() -> None:
    """Have glibc keep what a step frees for the next one.

    Otherwise blocks of some megabytes go back to the kernel and come again as pages of zeros, one
    page fault for each 4 KB: a tenth to a fifth of a CNN's step. Elsewhere than on glibc: nothing.
    """
    mmap_threshold, trim_threshold = -3, -1  # their numbers in malloc.h
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(mmap_threshold, 32 << 20)  # bytes; the most that it takes
        libc.mallopt(trim_threshold, 2**31 - 1)


def log_final(board: SummaryWriter, metrics: Mapping[str, Any]) -> None:
    """Write the final figures to TensorBoard."""
    write_session_end(board, metrics)
    board.add_text("data set", metrics["data"])
    board.close()


def device_name(accelerator: str) -> str:
    return torch.cuda.get_device_name() if accelerator == "gpu" else f"CPU ({platform.machine()})"


@functools.cache
def environment() -> dict[str, str | None]:
    """Versions and the commit of the code, where it is a git checkout."""
    commit = None
    root = conf_dir().parent
    if (root / ".git").exists():
        command = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--dirty"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        commit = done.stdout.strip() or None
    packages = ("mnist_lab", "torch", "lightning")
    versions = {f"{name}_version": version(name) for name in packages}
    return {"git_commit": commit, "python_version": platform.python_version(), **versions}
