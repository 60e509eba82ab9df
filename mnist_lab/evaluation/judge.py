"""A run's network judged by a split of images; or two of them by the same one. Prints and writes.

Torch is imported once nothing can be refused any more.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_lab.evaluation.tables import class_table, metric_table, pair_table, print_list
from mnist_lab.run.directory import is_held, read_epochs, read_json
from mnist_lab.run.stored import RunData, StoredRun
from mnist_lab.run.tensorboard import events_dir
from mnist_lab.ui.console import Screen, progress_bar
from mnist_lab.ui.errors import Refused
from mnist_lab.ui.files import write_csv, write_json

if TYPE_CHECKING:
    from mnist_lab.data.datamodule import MNISTDataModule
    from mnist_lab.evaluation.answers import Answers
    from mnist_lab.models.classifier import Classifier


def find_data(
    runs: Sequence[StoredRun], name: str | None, overrides: Sequence[str], *, split: str
) -> RunData:
    """The images to judge by: allowed for each of the runs, and the same for all.

    Raises:
        Refused: not there, trained on by one of them, or not the same images for two runs.
    """
    if name is None:
        data = runs[0].data(overrides)
        for run in runs[1:]:
            if run.data_sha256 != data.splits.sha256:
                raise Refused(
                    f"{run.path}: trained on other images than {runs[0].path}; "
                    "--data NAME says which to judge both by."
                )
    else:
        found = [run.other_data(name, overrides, split=split) for run in runs]
        data = next((each for each in found if not each.own), found[0])
    for run in runs:
        if len(run.class_names) != len(data.class_names):
            raise Refused(
                f"{run.path}: tells {len(run.class_names)} classes apart, and {data.name} has "
                f"{len(data.class_names)}; must be as many."
            )
    if split != "test" and len({splitting(run.config) for run in runs}) > 1:
        raise Refused(f"--split {split}: the runs split their images differently; use test.")
    if split == "val" and not data.splits.num_val(data.node["val_fraction"]):
        raise Refused("--split val: the run has no validation images (data.val_fraction=0).")
    return data


def splitting(config: dict[str, Any]) -> tuple[object, ...]:
    """What decides which images are for validation."""
    data = config["data"]
    seed = config["seed"] if data["shuffle_split"] else data["split_seed"]
    return data["val_fraction"], data["shuffle_split"], seed


def claim_folder(
    runs: Sequence[StoredRun], data: RunData, *, split: str, out: Path | None = None
) -> Path:
    """Make the folder for the results: one for each data set, split, checkpoint and opponent.

    Args:
        out: what the user named instead.
    """
    parts = [] if data.own else [re.sub(r"[^\w.]+", "_", data.name)]
    parts += [split] if split != "test" else []
    parts += [runs[0].checkpoint] if runs[0].checkpoint != "last" else []
    folder = runs[0].path / "evaluation" / "-".join(parts)
    earlier, sha256 = folder / "metrics.json", data.splits.sha256
    if not data.own and earlier.exists() and read_json(earlier).get("data_sha256") != sha256:
        folder = folder.with_name(f"{folder.name}-{sha256[:8]}")  # two sets of one name
    for other in runs[1:]:
        folder /= f"against_{other.name.replace('/', '_')}"
    folder = out or folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(
            f"{folder}: cannot be written ({error.strerror}); --out FOLDER names another."
        ) from None
    return folder


def ask(model: Classifier, images: MNISTDataModule, split: str) -> Answers:
    from mnist_lab.evaluation.answers import Answers, log_probs

    pixels, labels = images.splits[split]
    with progress_bar(f"{split} images", len(pixels)) as advance:
        return Answers(labels.numpy(), log_probs(model, pixels, progress=advance))


def judge(
    run: StoredRun,
    data: RunData,
    folder: Path,
    screen: Screen,
    *,
    split: str,
    num_words: int,
    projector: bool,
    beside: Path,
) -> None:
    """Judge one run: print the metrics, write them and the plots into `folder`.

    Args:
        num_words: mistakes that are put in words.
        projector: also write what its last hidden layer gives for TensorBoard's projector.
        beside: the folder of the curves and for TensorBoard: the run's, unless nothing goes there.
    """
    model, epoch = run.load_for_verb()
    from mnist_lab.evaluation import plots
    from mnist_lab.evaluation.metrics import (
        answer_columns,
        answer_rows,
        mistake_words,
        split_metrics,
    )
    from mnist_lab.evaluation.neighbours import features
    from mnist_lab.evaluation.tensorboard import write_pictures, write_projector
    from mnist_lab.ui.plotting import save

    images = data.load()
    answers = ask(model, images, split)
    metrics = {
        "data": data.name,
        "data_sha256": data.splits.sha256,
        "class_names": data.class_names,
        "split": split,
        "checkpoint": run.checkpoint,
        "epoch": epoch,
        **split_metrics(answers, split=split),
    }
    keep = folder.resolve().is_relative_to(run.path.resolve())  # --out leaves a run as it was
    metrics |= unsure_metrics(run, model, data, answers, screen, split=split, keep=keep)
    if data.own and split != "train":
        metrics["train/acc_eval"] = float(ask(model, images, "train").correct.mean())
        metrics["gap"] = metrics["train/acc_eval"] - metrics[f"{split}/acc"]

    columns, rows = answer_columns(len(data.class_names)), range(len(answers.labels))
    write_csv(folder / "predictions.csv", columns, answer_rows(answers, rows))
    write_csv(folder / "mistakes.csv", columns, answer_rows(answers, answers.mistakes))
    pixels, names = images.splits[split][0], data.class_names
    drawn = {
        "confusion": plots.confusion_figure(metrics[f"{split}/confusion"], names),
        "mistakes": plots.mistakes_figure(answers, pixels[:, 0].numpy(), names),
        "reliability": plots.reliability_figure(
            metrics[f"{split}/reliability"], error=metrics[f"{split}/calibration_error"]
        ),
    }
    saved = [save(figure, folder / f"{name}.png") for name, figure in drawn.items()]
    save(plots.curves_figure(read_epochs(run.path)), beside / "curves.png")
    write_json(folder / "metrics.json", metrics)

    screen.print(f"{run.path}")
    screen.print(metric_table(metrics))
    screen.print()
    screen.print(class_table(metrics))
    screen.print()
    total = len(answers.mistakes)
    words = mistake_words(answers, names, limit=num_words)
    title = f"{total:,} mistakes, the most confident first:"
    print_list(screen, title, words, total=total, all_in=folder / "mistakes.csv")
    screen.print()
    screen.print(f"Tables and pictures are in {folder}, the run's curves in {beside}.")
    tensorboard = events_dir(beside)
    if is_held(beside):  # a second event file would stop TensorBoard from following the first
        screen.print("TensorBoard gets the pictures from an evaluation after the run's end.")
    else:
        write_pictures(tensorboard, model=model, images=pixels, pictures=saved, epoch=epoch)
    if projector:
        num_images = write_projector(
            tensorboard,
            features=features(model, pixels).numpy(),
            images=pixels[:, 0].numpy(),
            answers=answers,
            class_names=names,
            name=f"{data.name}, {split}",
        )
        screen.print(
            f"{num_images:,} images are in TensorBoard's projector: tensorboard --logdir {beside}"
        )


def unsure_metrics(
    run: StoredRun,
    model: Classifier,
    data: RunData,
    answers: Answers,
    screen: Screen,
    *,
    split: str,
    keep: bool,
) -> dict[str, Any]:
    """The share of the split of which the network is unsure; nothing, and a line, if unknown."""
    from mnist_lab.evaluation.unsure import unsure_or_why

    unsure = unsure_or_why(run, model, screen.print, data=data, keep=keep)
    if unsure is None:
        return {}
    are_unsure = unsure(data.load().splits[split][0])
    return {
        f"{split}/unsure": float(are_unsure.mean()),
        f"{split}/unsure_mistakes": int((are_unsure & ~answers.correct).sum()),
        "unsure_by": unsure.words,
    }


def judge_pair(
    runs: Sequence[StoredRun],
    data: RunData,
    folder: Path,
    screen: Screen,
    *,
    split: str,
    num_words: int,
) -> None:
    """Judge two runs on the same images, image by image."""
    (model_a, epoch_a), (model_b, epoch_b) = runs[0].load_for_verb(), runs[1].load()
    from mnist_lab.evaluation import plots
    from mnist_lab.evaluation.metrics import Disagreement, disagreement_words, mcnemar_words
    from mnist_lab.ui.plotting import save

    images = data.load()
    pair = Disagreement(ask(model_a, images, split), ask(model_b, images, split))
    metrics = {
        "a": str(runs[0].path),
        "b": str(runs[1].path),
        "data": data.name,
        "data_sha256": data.splits.sha256,
        "split": split,
        "checkpoint": runs[0].checkpoint,
        "epoch_a": epoch_a,
        "epoch_b": epoch_b,
        **pair.metrics(split=split),
    }
    write_csv(folder / "disagreements.csv", pair.COLUMNS, pair.rows())
    figure = plots.disagreement_figure(
        pair, images.splits[split][0][:, 0].numpy(), data.class_names
    )
    save(figure, folder / "comparison.png")
    write_json(folder / "comparison.json", metrics)

    screen.print(pair_table(runs, metrics))
    screen.print()
    for letter, side in (("A", pair.only_a), ("B", pair.only_b)):
        words = disagreement_words(pair, side[:num_words], data.class_names)
        title = f"Only {letter} is right, the surest first:"
        print_list(screen, title, words, total=len(side), all_in=folder / "disagreements.csv")
    screen.print()
    screen.print(mcnemar_words(metrics, split=split))
    screen.print(
        "This is about these two networks; mnist-compare judges settings, by several seeds."
    )
    screen.print(f"Tables and pictures are in {folder}.")
