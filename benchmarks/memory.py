"""Peak memory of a run beside that of importing torch and lightning and holding the data."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.process import run
from benchmarks.whole import MNIST_TRAIN
from benchmarks.work import Work

HOLD = """
import sys
from pathlib import Path
import torch, lightning
held = [torch.frombuffer(bytearray(file.read_bytes()), dtype=torch.uint8)
        for file in sorted(Path(sys.argv[1]).iterdir())]
print(sum(len(tensor) for tensor in held))
"""


def measure(
    works: list[Work], *, rounds: int, cwd: Path, progress: Callable[[str], None]
) -> dict[str, list[int]]:
    """Largest resident set in bytes: of importing and holding the data, and of each run."""
    raw = str(Path(works[0].folder) / "MNIST" / "raw")
    commands = {"import and data": [sys.executable, "-c", HOLD, raw]}
    commands |= {work.name: [MNIST_TRAIN, *work.overrides] for work in works}
    peaks: dict[str, list[int]] = {name: [] for name in commands}
    for round_ in range(rounds):
        progress(f"memory: round {round_ + 1} of {rounds}")
        for name, command in commands.items():
            peaks[name].append(run(command, cwd=cwd).peak_bytes)
    return peaks
