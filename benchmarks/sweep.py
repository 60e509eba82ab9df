"""A sweep: the lab's pool beside a Keras script that trains one network after the other."""

from __future__ import annotations

import itertools
import json
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks.process import run
from benchmarks.whole import MNIST_TRAIN
from benchmarks.work import Work

LRS = (3e-4, 1e-3, 3e-3, 1e-2)
SEEDS = range(6)


def grid(base: Work, *, seeds: range = SEEDS) -> list[Work]:
    """One piece of work a run: all learning rates with all seeds."""
    return [
        replace(base, optimizer={**base.optimizer, "lr": lr}, seed=seed)
        for lr, seed in itertools.product(LRS, seeds)
    ]


def lab_sweep(works: list[Work], cwd: Path) -> dict[str, float]:
    folder = cwd / "sweep" / f"width_{works[0].model['width']}"
    fixed = [text for text in works[0].overrides if not text.startswith("seed=")]
    lrs = ",".join(str(lr) for lr in LRS)
    seeds = ",".join(str(seed) for seed in sorted({work.seed for work in works}))
    command = [MNIST_TRAIN, "-m", "hydra/launcher=pool", f"hydra.sweep.dir={folder}", *fixed]
    finished = run([*command, f"optimizer.lr={lrs}", f"seed={seeds}"], cwd=cwd)
    accuracies = [
        json.loads(file.read_text())["test/acc"] for file in folder.glob("**/metrics.json")
    ]
    return summary(finished.seconds, accuracies, len(works))


def keras_sweep(works: list[Work], cwd: Path, keras_python: str) -> dict[str, float]:
    given, result = cwd / "works.json", cwd / "result.json"
    given.write_text(json.dumps([work.plain() for work in works]))
    command = [keras_python, "-m", "benchmarks.keras_", "sweep", str(given), str(result)]
    finished = run(command, cwd=cwd)
    return summary(finished.seconds, json.loads(result.read_text())["test_acc"], len(works))


def summary(seconds: float, accuracies: list[float], num_runs: int) -> dict[str, float]:
    if len(accuracies) != num_runs:
        raise RuntimeError(f"{len(accuracies)} of {num_runs} runs of the sweep have figures.")
    return {
        "seconds": seconds,
        "runs": num_runs,
        "runs_a_minute": 60 * num_runs / seconds,
        "mean_test_acc": statistics.fmean(accuracies),
    }


def measure(
    works: list[Work], *, keras_python: str, cwd: Path, progress: Callable[[str], None]
) -> dict[str, dict[str, float]]:
    """Runs a minute, from the command to the last run's test figures."""
    title = f"sweep of {len(works)} runs at width {works[0].model['width']}"
    progress(f"{title}: the lab's pool")
    lab = lab_sweep(works, cwd)
    progress(f"{title}: Keras")
    return {"lab": lab, "keras": keras_sweep(works, cwd, keras_python)}
