"""Whole recipes: from the command to the test figures, in a fresh process each time."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.process import run
from benchmarks.work import Work

MNIST_TRAIN = str(Path(sys.executable).with_name("mnist-train"))


def lab_run(work: Work, cwd: Path) -> tuple[float, float]:
    """Seconds and test accuracy of `mnist-train` with all features on."""
    run_dir = cwd / "lab" / f"{work.name}_{work.seed}_{work.threads}"
    finished = run([MNIST_TRAIN, *work.overrides, f"hydra.run.dir={run_dir}"], cwd=cwd)
    return finished.seconds, json.loads((run_dir / "metrics.json").read_text())["test/acc"]


def keras_run(work: Work, cwd: Path, keras_python: str) -> tuple[float, float]:
    given, result = cwd / "work.json", cwd / "result.json"
    given.write_text(json.dumps(work.plain()))
    command = [keras_python, "-m", "benchmarks.keras_", "whole", str(given), str(result)]
    finished = run(command, cwd=cwd)
    return finished.seconds, json.loads(result.read_text())["test_acc"]


def measure(
    works: list[Work], *, keras_python: str, cwd: Path, progress: Callable[[str], None]
) -> dict[str, dict[str, list[float]]]:
    """Run one piece of work (one of these a round, by seed) with the lab and with Keras in turn."""
    runs: dict[str, Callable[[Work], tuple[float, float]]] = {
        "lab": lambda work: lab_run(work, cwd),
        "keras": lambda work: keras_run(work, cwd, keras_python),
    }
    results: dict[str, dict[str, list[float]]] = {
        name: {"seconds": [], "test_acc": []} for name in runs
    }
    for round_, work in enumerate(works):
        progress(f"{work.name}, whole: round {round_ + 1} of {len(works)}")
        for name in list(runs)[:: -1 if round_ % 2 else 1]:
            seconds, accuracy = runs[name](work)
            results[name]["seconds"].append(seconds)
            results[name]["test_acc"].append(accuracy)
    return results
