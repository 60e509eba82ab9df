"""How long until an answer: help, settings, a refusal, the first training step, the next job."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.process import run
from benchmarks.whole import MNIST_TRAIN
from benchmarks.work import Work

TORCH = [sys.executable, "-c", "import torch, lightning"]
REFUSED = 2  # exit code
COMMANDS = {
    "help": ["--help"],
    "settings": ["--cfg", "job"],
    "misspelt": ["optimzer.lr=0.1"],
}
TORCH_IMPORTED = """
import sys
from mnist_lab.train import main
try:
    main()
finally:
    print("torch imported:", "torch" in sys.modules)
"""


def imports_torch(args: list[str], cwd: Path) -> bool:
    command = [sys.executable, "-c", TORCH_IMPORTED, *args]
    return "torch imported: True" in run(command, cwd=cwd, exit_codes=(0, REFUSED)).output


def measure(
    work: Work, *, jobs: list[Work], rounds: int, cwd: Path, progress: Callable[[str], None]
) -> dict[str, Any]:
    """Seconds of each command, in turn, round by round, and of jobs in a warm process.

    Args:
        work: an MLP of one epoch, whose first step is waited for.
        jobs: MLPs of one epoch, of several widths.
    """
    first_step = [sys.executable, "-m", "benchmarks.first_step", *work.overrides]
    commands = {name: [MNIST_TRAIN, *args] for name, args in COMMANDS.items()}
    commands |= {"import torch, lightning": TORCH, "first step": first_step}
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    names = list(commands)
    for round_ in range(rounds):
        progress(f"start-up: round {round_ + 1} of {rounds}")
        shift = round_ % len(names)
        for name in names[shift:] + names[:shift]:
            codes = (REFUSED,) if name == "misspelt" else (0,)
            finished = run(commands[name], cwd=cwd, exit_codes=codes)
            seconds[name].append(finished.seconds)
    return {
        "seconds": seconds,
        "imports_torch": {name: imports_torch(args, cwd) for name, args in COMMANDS.items()},
        "next_jobs": {str(job.model["width"]): next_jobs(job, cwd=cwd) for job in jobs},
    }


def next_jobs(work: Work, *, cwd: Path) -> dict[str, list[float]]:
    """Seconds of the second and later jobs in one process.

    Returns:
        `beyond`: all that is not training; `answers`: what a bare loop needs for the images that
        are evaluated in it.
    """
    given, result = cwd / "work.json", cwd / "result.json"
    given.write_text(json.dumps(work.plain()))
    run([sys.executable, "-m", "benchmarks.warm", str(given), str(result)], cwd=cwd)
    seconds: dict[str, list[float]] = json.loads(result.read_text())
    return seconds
