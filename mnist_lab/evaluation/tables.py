"""What mnist-evaluate prints: metrics for people, accuracies in percent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from mnist_lab.run.stored import StoredRun
from mnist_lab.ui.console import Screen, percent, plain_table, two_columns


def print_list(
    screen: Screen, title: str, lines: Sequence[str], *, total: int, all_in: Path
) -> None:
    """Print the first of `total` lines, and where all are."""
    if lines:
        screen.print(title)
    for line in lines:
        screen.print(f"  {line}")
    if len(lines) < total:
        screen.print(f"  and {total - len(lines):,} more in {all_in}")


def metric_table(metrics: dict[str, Any]) -> Table:
    split = metrics["split"]
    low, high = metrics[f"{split}/acc_low"], metrics[f"{split}/acc_high"]
    rows = {
        "weights": f"{metrics['checkpoint']} checkpoint, epoch {metrics['epoch']}",
        "images": f"{metrics['data']}, {split}: {metrics[f'{split}/num_images']:,}",
        "loss": f"{metrics[f'{split}/loss']:.4f}",
        "accuracy": f"{percent(metrics[f'{split}/acc'])}  "
        f"(95 % interval {100 * low:.2f} to {100 * high:.2f} %)",
    }
    if "gap" in metrics:
        rows["training accuracy"] = percent(metrics["train/acc_eval"])
        rows[f"gap, training - {split}"] = f"{100 * metrics['gap']:.2f} points"
    error = metrics[f"{split}/calibration_error"]
    rows["expected calibration error"] = f"{100 * error:.2f} points"
    if f"{split}/unsure" in metrics:
        rows["unsure"] = (
            f"{percent(metrics[f'{split}/unsure'])}, with {metrics[f'{split}/unsure_mistakes']:,} "
            f"of the mistakes  (threshold: {metrics['unsure_by']})"
        )
    return two_columns(rows)


def pair_table(runs: Sequence[StoredRun], metrics: dict[str, Any]) -> Table:
    split = metrics["split"]
    a, b, both, only_a, only_b, neither = (
        metrics[f"{split}/{name}"]
        for name in ("acc_a", "acc_b", "both", "only_a", "only_b", "neither")
    )
    return two_columns(
        {
            "A": f"{runs[0].path}, epoch {metrics['epoch_a']}: {percent(a)}",
            "B": f"{runs[1].path}, epoch {metrics['epoch_b']}: {percent(b)}",
            "images": f"{metrics['data']}, {split}: {metrics[f'{split}/num_images']:,}",
            "right": f"both {both:,}, only A {only_a:,}, only B {only_b:,}, neither {neither:,}",
        }
    )


def class_table(metrics: dict[str, Any]) -> Table:
    """Precision, recall and F1 of each class, and what it is most often taken for."""
    split, names = metrics["split"], metrics["class_names"]
    table = plain_table("class", right=("images", "precision", "recall", "F1"))
    table.add_column("most often taken for")
    for k, counts in enumerate(metrics[f"{split}/confusion"]):
        wrong = {other: count for other, count in enumerate(counts) if other != k and count}
        other = max(wrong, key=wrong.__getitem__, default=None)
        table.add_row(
            names[k],
            f"{sum(counts):,}",
            *(percent(metrics[f"{split}/{name}"][k]) for name in ("precision", "recall", "f1")),
            "-" if other is None else f"{names[other]} ({wrong[other]:,})",
        )
    return table
