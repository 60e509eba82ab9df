"""Several jobs in one process, as a sweep's worker has them: what each costs beyond its training.

`python -m benchmarks.warm WORK.json OUT.json`
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from mnist_lab.config import checked, compose
from mnist_lab.runs import Run
from mnist_lab.training import resolved, train

JOBS = 5


def seconds_beyond(overrides: list[str]) -> float:
    """From the overrides to the final figures, less the seconds that its epochs took."""
    started = time.perf_counter()
    config = resolved(checked(compose(overrides)))
    run = Run.claim_new(Path("outputs/runs").absolute() / "warm")
    metrics = train(config, run, quiet=True)
    run.release()
    return time.perf_counter() - started - float(metrics["seconds"])


def main() -> None:
    overrides = json.loads(Path(sys.argv[1]).read_text())["overrides"]
    beyond = [seconds_beyond([*overrides, f"seed={seed}"]) for seed in range(JOBS)]
    Path(sys.argv[2]).write_text(json.dumps(beyond[1:]))


if __name__ == "__main__":
    main()
