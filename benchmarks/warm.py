"""Several jobs in one process, as a sweep's worker has them: what each costs beyond its training.

`python -m benchmarks.warm WORK.json OUT.json`
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from mnist_lab.evaluation.answers import log_probs
from mnist_lab.run.directory import Run
from mnist_lab.run.fit import build_model, resolved, train
from mnist_lab.settings.build import build
from mnist_lab.settings.compose import checked, compose

JOBS = 5


def seconds_beyond(overrides: list[str]) -> float:
    """From the overrides to the final figures, less the seconds that its epochs took."""
    started = time.perf_counter()
    config = resolved(checked(compose(overrides)))
    run = Run.claim_new(Path("outputs/runs").absolute() / "warm")
    metrics = train(config, run, quiet=True)
    run.release()
    return time.perf_counter() - started - float(metrics["seconds"])


def seconds_of_answers(overrides: list[str]) -> float:
    """Answering the images that such a job evaluates, those of test and training, and no more."""
    config = resolved(checked(compose(overrides)))
    network, data = build_model(config).eval(), build(config["data"], seed=0)
    started = time.perf_counter()
    for split in ("test", "train"):
        log_probs(network, data.splits[split][0])
    return time.perf_counter() - started


def main() -> None:
    overrides = json.loads(Path(sys.argv[1]).read_text())["overrides"]
    fixed = [text for text in overrides if not text.startswith("seed=")]
    beyond = [seconds_beyond([*fixed, f"seed={seed}"]) for seed in range(JOBS)]
    answers = [seconds_of_answers(overrides) for _ in range(JOBS)]
    result = {"beyond": beyond[1:], "answers": answers[1:]}
    Path(sys.argv[2]).write_text(json.dumps(result))


if __name__ == "__main__":
    main()
