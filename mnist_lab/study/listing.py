"""What lies below a folder: all runs and sweeps with their states, sizes and dates. No torch."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mnist_lab.run.directory import read_json, read_state
from mnist_lab.study.results import run_directories
from mnist_lab.ui.errors import Refused

SWEEP = "sweep.json"
HEADER = ("state", "MB", "of it checkpoints", "last written", "directory")


@dataclass(frozen=True)
class Entry:
    """A single run, or a sweep with all that lies in it.

    Attributes:
        num_bytes: of all its files; `checkpoints`: of its checkpoints alone.
        written: seconds since 1970 of the file that was written last.
    """

    path: Path
    state: str
    num_bytes: int
    checkpoints: int
    written: float

    @classmethod
    def of(cls, path: Path, state: str) -> Entry:
        files = [file for file in path.rglob("*") if file.is_file() and not file.is_symlink()]
        sizes = {file: file.stat().st_size for file in files}
        weights = sum(size for file, size in sizes.items() if file.suffix == ".ckpt")
        written = max((file.stat().st_mtime for file in files), default=path.stat().st_mtime)
        return cls(path, state, sum(sizes.values()), weights, written)

    @property
    def row(self) -> tuple[str, ...]:
        date = datetime.datetime.fromtimestamp(self.written)
        sizes = (f"{self.num_bytes / 1e6:.1f}", f"{self.checkpoints / 1e6:.1f}")
        return self.state, *sizes, f"{date:%Y-%m-%d %H:%M}", str(self.path)


def listing(folders: Iterable[Path]) -> list[Entry]:
    """All runs and sweeps, the oldest first.

    Raises:
        Refused: a folder is not there.
    """
    entries: dict[Path, Entry] = {}
    for folder in folders:
        if not folder.is_dir():
            raise Refused(f"{folder}: no such directory; name a run, a sweep or a folder of them.")
        runs = list(run_directories(folder))
        sweeps = {*(run.parent for run in runs), *(file.parent for file in folder.rglob(SWEEP))}
        for path in (*runs, *sweeps):
            if (path / SWEEP).exists():
                entries[path.resolve()] = Entry.of(path, sweep_state(path))
            elif path in runs and not (path.parent / SWEEP).exists():
                entries[path.resolve()] = Entry.of(path, run_state(path))
    return sorted(entries.values(), key=lambda entry: entry.written)


def run_state(path: Path) -> str:
    try:
        return read_state(path)
    except Refused:
        return "pending" if not (path / "status.json").exists() else "unreadable"


def sweep_state(path: Path) -> str:
    """How many of its jobs are in which state."""
    try:
        jobs = read_json(path / SWEEP).get("jobs")
    except Refused:
        return "unreadable"
    states = Counter(run_state(path / name) for name in jobs) if isinstance(jobs, dict) else {}
    return ", ".join(f"{number} {state}" for state, number in states.items()) or "unreadable"


def lines(entries: Sequence[Entry]) -> list[str]:
    """A table, and what all of it takes; the sizes are flush right."""
    num_bytes, weights = (
        sum(getattr(entry, name) for entry in entries) / 1e6
        for name in ("num_bytes", "checkpoints")
    )
    rows = [HEADER, *(entry.row for entry in entries)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligned = [
        "  ".join(
            cell.rjust(width) if place in (1, 2) else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return [
        *aligned,
        "",
        f"{len(entries)} runs and sweeps, {num_bytes:.1f} MB, of it checkpoints {weights:.1f} MB",
    ]
