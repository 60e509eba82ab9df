"""What a trained network reaches: measured on each split, and recorded as the run's result."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from mnist_lab.run.checkpoints import read_run_checkpoint
from mnist_lab.run.code import Code, installed_version
from mnist_lab.run.device import asked_of, device_name
from mnist_lab.run.directory import read_epochs
from mnist_lab.run.predictions import Predictions, split_identity, write_predictions
from mnist_lab.run.tensorboard import write_final
from mnist_lab.settings.schema import SCHEMA
from mnist_lab.ui.errors import Refused
from mnist_lab.ui.files import write_json

if TYPE_CHECKING:
    from mnist_lab.run.directory import Run
    from mnist_lab.run.fit import Parts
    from mnist_lab.ui.console import Console


def measure(config: dict[str, Any], parts: Parts, run: Run, console: Console) -> dict[str, float]:
    """The metrics of the last epoch's weights, and what the best epoch's answer to the test split.

    Losses in nats, accuracies 0..1; `gap` is the accuracy on the training images, dropout off, less
    that on the test images. What the last epoch's weights answered goes to predictions.npz.
    """
    console.start_bar("testing", 0)
    parts.trainer.loggers = []  # each split is read as if it were the test split
    last_epoch = read_epochs(run.path)[-1]
    metrics = {k: v for k, v in last_epoch.items() if k.startswith(("train/", "val/"))}
    found: dict[str, Predictions] = {}
    test = evaluate(parts, "test")
    found |= answers(config, parts, "test")
    train = evaluate(parts, "train")
    found |= answers(config, parts, "train")
    if parts.data.num_val and parts.trainer.limit_val_batches == 1.0:
        val = evaluate(parts, "val")  # of these weights: that of an earlier epoch is another's
        found |= answers(config, parts, "val")
        metrics |= {f"val/{name}": value for name, value in val.items()}
    for split, predictions in found.items():
        metrics[f"{split}/num_images"] = predictions.correct.size
        metrics[f"{split}/num_correct"] = int(predictions.correct.sum())
    found.pop("train", None)
    write_predictions(run.path, found)
    metrics |= {f"test/{name}": value for name, value in test.items()}
    metrics |= {f"train/{name}_eval": value for name, value in train.items()}
    metrics["gap"] = train["acc"] - test["acc"]
    if best_epoch := parts.recorder.best_epoch:
        metrics["val/acc_best"] = parts.recorder.best_acc
        is_last = best_epoch == last_epoch["epoch"]
        best = test if is_last else evaluate_best(parts, run, console, epoch=best_epoch)
        if best:
            metrics["test/acc_best"] = best["acc"]
    console.end_bar()
    return metrics


def answers(config: dict[str, Any], parts: Parts, split: str) -> dict[str, Predictions]:
    """What was answered to the split that has just been evaluated, under its name.

    Empty where not every image was asked.
    """
    data, node = parts.data, config["data"]
    predicted, labels = parts.answered.take()
    if not len(labels) or len(labels) != len(data.splits[split][1]):
        return {}
    by = "end" if node["split_seed"] is None else f"split_seed {node['split_seed']}"
    by = f"seed {config['seed']}" if node["shuffle_split"] else by
    identity = split_identity(split, sha256=data.sha256, num_val=data.num_val, drawn_by=by)
    return {split: Predictions(predicted, labels, identity)}


def evaluate_best(
    parts: Parts, run: Run, console: Console, *, epoch: int
) -> dict[str, float] | None:
    """The test metrics of the best epoch's weights, or a warning where these are gone."""
    path = run.checkpoints / "best.ckpt"
    try:
        stored = read_run_checkpoint(path)
        if stored["epoch"] + 1 != epoch:
            raise Refused(f"{path}: of epoch {stored['epoch'] + 1}, not of {epoch}, the best.")
    except Refused as error:
        console.warn(f"{escape(str(error))} test/acc_best is left out.")
        return None
    parts.model.load_state_dict(stored["state_dict"])
    return evaluate(parts, "test")


def evaluate(parts: Parts, split: str) -> dict[str, float]:
    """Loss and accuracy over a split, dropout off: the one way in which a run computes them."""
    loader = parts.data.eval_dataloader(split)
    (found,) = parts.trainer.test(parts.model, dataloaders=loader, verbose=False)
    return {name.removeprefix("test/"): value for name, value in found.items()}


def record(
    config: dict[str, Any], run: Run, parts: Parts, measured: dict[str, float], code: Code
) -> dict[str, Any]:
    """Write the final metrics to metrics.json, TensorBoard and the user's loggers."""
    epochs = read_epochs(run.path)
    own_metrics: Any = parts.model.metrics
    directions = {name: metric.higher_is_better for name, metric in own_metrics.items()}
    best_epoch = parts.recorder.best_epoch
    metrics = {
        "schema": SCHEMA,
        "data": parts.data.source.name,
        "data_sha256": parts.data.sha256,
        "data_warnings": parts.data.warnings,
        **{name: config["choices"][name] for name in ("experiment", "model", "optimizer")},
        "seed": config["seed"],
        "epochs": len(epochs),
        "max_epochs": config["trainer"]["max_epochs"],
        "num_params": parts.summary.total_parameters,
        **{name: round(value, 6) for name, value in measured.items()},
        **({"higher_is_better": directions} if directions else {}),
        **({"best_epoch": best_epoch} if best_epoch else {}),
        "seconds": round(sum(row["seconds"] for row in epochs), 3),
        "threads": config["threads"],
        "device": device_name(config["trainer"]["accelerator"]),
        "precision": config["trainer"]["precision"],
        "precision_asked": {**config["trainer"], **asked_of(config)}["precision"],
        "git_commit": code.git_commit,
        "python_version": platform.python_version(),
        "mnist_lab_version": code.version,
        **{f"{name}_version": installed_version(name) for name in ("torch", "lightning")},
    }
    write_json(run.path / "metrics.json", metrics)
    write_final(parts.board, run.path, metrics)
    for logger in parts.loggers:
        logger.log_metrics(measured, parts.trainer.global_step)
        logger.finalize("success")
    return metrics
