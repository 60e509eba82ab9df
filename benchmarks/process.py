"""One command from start to end: seconds, peak memory, what it said."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.terminal import Terminal

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Finished:
    """How a process ended; `peak_bytes` is its largest resident set."""

    seconds: float
    peak_bytes: int
    exit_code: int
    output: str


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Ours, with the repository on the path and nothing that sets a number of threads."""
    dropped = ("OMP_", "MKL_", "OPENBLAS_", "TF_", "KERAS_")
    kept = {name: text for name, text in os.environ.items() if not name.startswith(dropped)}
    return {**kept, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **(extra or {})}


def run(
    command: Sequence[str],
    *,
    cwd: Path,
    extra: Mapping[str, str] | None = None,
    exit_codes: Sequence[int] = (0,),
) -> Finished:
    """Run a command on a terminal of its own.

    Raises:
        RuntimeError: it ended with another exit code; the message ends with what it said.
    """
    terminal = Terminal()
    started = time.perf_counter()
    child = subprocess.Popen(
        command,
        cwd=cwd,
        env=environment(extra),
        stdin=subprocess.DEVNULL,
        stdout=terminal.slave,
        stderr=terminal.slave,
    )
    terminal.close_slave()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - started
    child.returncode = os.waitstatus_to_exitcode(status)
    output = terminal.end()
    if child.returncode not in exit_codes:
        raise RuntimeError(f"{' '.join(command)} ended with {child.returncode}:\n{output}")
    return Finished(seconds, usage.ru_maxrss * 1024, child.returncode, output)


def processor() -> str:
    """Its name, as far as the system tells it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
