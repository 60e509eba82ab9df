"""What the page says of a network beside its answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mnist_lab.run.directory import read_metrics
from mnist_lab.run.stored import StoredRun
from mnist_lab.ui.console import printable


def facts_of(run: StoredRun, *, epoch: int) -> dict[str, Any]:
    """Its name, its data and its test accuracy, null where it never was measured."""
    suffix = "_best" if run.checkpoint == "best" else ""
    return {
        "title": title_of(run.class_names),
        "run": printable(run.name),
        "epoch": epoch,
        "data": printable(run.config["data"]["name"]),
        "class_names": run.class_names,
        "test_acc": read_metrics(run.path).get(f"test/acc{suffix}"),
        "num_runs": 1,
    }


def title_of(class_names: Sequence[str]) -> str:
    """What the page asks for."""
    if all(len(name) == 1 and name.isdecimal() for name in class_names):
        return "Draw a digit"
    if all(len(name) == 1 and name.isalpha() for name in class_names):
        return "Draw a letter"
    if all(len(name) == 1 for name in class_names):
        return "Draw a character"
    if all(
        len(name) > 2 and name.replace(" ", "").replace("-", "").isalpha() for name in class_names
    ):
        article = "an" if class_names[0][0].lower() in "aeiou" else "a"
        return f"Draw {article} {class_names[0]}, or another of {len(class_names)} classes"
    return f"Draw one of {len(class_names)} classes"
