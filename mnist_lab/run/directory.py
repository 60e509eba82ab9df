"""A run directory: claimed by one process, written atomically, read back as plain data."""

from __future__ import annotations

import contextlib
import csv
import datetime
import fcntl
import json
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnist_lab.run.lock import LOCK, is_locked
from mnist_lab.settings.schema import SCHEMA
from mnist_lab.ui.errors import Refused
from mnist_lab.ui.files import (
    named,
    read_bytes,
    remove_leftovers,
    write_atomically,
    write_csv,
    write_json,
)

MAX_BYTES = 64 << 20  # of a stored JSON or CSV file; a sweep of 10,000 jobs has 5 MB


@dataclass(frozen=True)
class Run:
    """A run directory that this process holds: its lock is ours until the process ends.

    The kernel frees the lock when its holder dies, however it dies, so a directory whose status
    says `running` while nobody holds the lock belongs to a run that crashed.
    """

    path: Path
    lock: int

    @classmethod
    def claim_new(cls, parent: Path, *, time: datetime.datetime | None = None) -> Run:
        """Make `parent/<time>[-n]` alone, however many processes start in this second.

        Raises:
            Refused: the folder cannot be written, or a link would lead out of outputs/.
        """
        stamp = f"{time or datetime.datetime.now():%Y-%m-%d_%H-%M-%S}"
        for folder in (parent, parent.parent):
            if folder.is_symlink():
                raise Refused(
                    f"{folder}: a symbolic link; make outputs itself one, or name a directory with "
                    "hydra.run.dir=... (a sweep: hydra.sweep.dir=...)."
                )
        for n in range(10_000):
            path = parent / (f"{stamp}-{n}" if n else stamp)
            try:
                parent.mkdir(parents=True, exist_ok=True)
                path.mkdir()
            except OSError as error:
                if isinstance(error, FileExistsError) and parent.is_dir():
                    continue  # another process made it
                raise Refused(
                    f"{parent}: cannot be written ({error.strerror}); run in a folder that can, "
                    "or name one with hydra.run.dir=... (a sweep: hydra.sweep.dir=...)"
                ) from None
            return cls.hold(path)
        raise Refused(f"{parent}: 10,000 runs of one second are there already.")

    @classmethod
    def claim(cls, path: Path) -> Run:
        """Claim a directory that the user or Hydra named; it may exist but hold no run.

        Raises:
            Refused: it holds a run, another process has it, or it cannot be written.
        """
        try:
            path.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:  # a ValueError: there is a NUL in the name
            why = error.strerror if isinstance(error, OSError) else error
            raise Refused(f"{path}: cannot be written ({why}).") from None
        run = cls.hold(path)
        if (path / "status.json").exists():
            run.release()
            raise Refused(f"{path}: holds a run already; mnist-resume goes on with it.")
        return run

    @classmethod
    def hold(cls, path: Path) -> Run:
        """Lock an existing directory.

        Raises:
            Refused: another process holds it, and which; or it cannot be written.
        """
        try:
            lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise Refused(f"{path}: cannot be written ({error.strerror}).") from None
        if is_locked(lock, fcntl.LOCK_EX):
            holder = os.pread(lock, 200, 0).decode(errors="replace").strip()
            os.close(lock)
            raise Refused(f"{path}: in use by {holder or 'another process'}.") from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"process {os.getpid()} on {platform.node()}\n".encode(), 0)
        run = cls(path, lock)
        for folder in (path, run.checkpoints):
            remove_leftovers(folder)
        return run

    def release(self) -> None:
        with contextlib.suppress(OSError):  # on a disk that is full or gone
            os.ftruncate(self.lock, 0)
        os.close(self.lock)

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def write_status(self, state: str, **details: object) -> None:
        """Replace status.json; details such as `epoch` or `reason` that are not given are kept."""
        status = read_status(self.path) if (self.path / "status.json").exists() else {}
        if state == "running":
            for key in ("reason", "message", "signal"):
                status.pop(key, None)
        status |= {"state": state, "pid": os.getpid(), "host": platform.node()}
        status |= {"updated": f"{datetime.datetime.now():%Y-%m-%dT%H:%M:%S}", **details}
        write_json(self.path / "status.json", status)

    def write_config(self, config: dict[str, Any]) -> None:
        import yaml

        text = yaml.safe_dump({"schema": SCHEMA, **config}, sort_keys=False, allow_unicode=True)
        path = self.path / "config.yaml"
        if not path.exists() or path.read_bytes() != text.encode():
            write_atomically(path, lambda file: file.write(text.encode()))

    def append_epoch(self, row: dict[str, float]) -> None:
        """Add one row to metrics.csv; columns that no row had yet come last."""
        path = self.path / "metrics.csv"
        rows = read_rows(path)
        known = list(rows[0]) if rows else []
        columns = known + [name for name in row if name not in known]
        if columns == known:
            with named(path), path.open("a", newline="") as file:
                csv.DictWriter(file, columns, lineterminator="\n").writerow(row)
        else:
            every: list[dict[str, Any]] = [*rows, row]
            write_csv(path, columns, ([each.get(name, "") for name in columns] for each in every))

    def keep_epochs(self, num_epochs: int) -> None:
        """Drop the rows of metrics.csv that the checkpoint does not know of, cut ones included."""
        path = self.path / "metrics.csv"
        if not path.exists():
            return
        if num_epochs == 0:
            path.unlink()  # the header, too, may be cut
            return
        lines = path.read_bytes().splitlines(keepends=True)[: 1 + num_epochs]
        write_atomically(path, lambda file: file.writelines(lines))


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        Refused: the file is missing, not JSON or not an object.
    """
    try:
        value = json.loads(read_bytes(path, max_bytes=MAX_BYTES))
    except FileNotFoundError:
        raise Refused(f"{path}: not there; is {path.parent} a run directory?") from None
    except (OSError, ValueError, RecursionError) as error:
        raise Refused(f"{path}: cannot be read ({error}).") from None
    if not isinstance(value, dict):
        raise Refused(f"{path}: holds no JSON object.")
    return value


def read_status(path: Path) -> dict[str, Any]:
    return read_json(path / "status.json")


def read_state(path: Path) -> str:
    """running, finished, failed, interrupted, or crashed: running by its word, held by nobody."""
    state = str(read_status(path).get("state"))
    return "crashed" if state == "running" and not is_held(path) else state


def is_held(path: Path) -> bool:
    try:
        lock = os.open(path / LOCK, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        return is_locked(lock, fcntl.LOCK_SH)
    finally:
        os.close(lock)


def read_metrics(path: Path) -> dict[str, Any]:
    return read_json(path / "metrics.json")


def read_rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    return [*csv.DictReader(read_bytes(path, max_bytes=MAX_BYTES).decode().splitlines())]


def read_epochs(path: Path) -> list[dict[str, float]]:
    """Read metrics.csv: one row an epoch, as numbers; what an epoch lacks is left out."""
    try:
        return [
            {key: float(value) for key, value in row.items() if value}
            for row in read_rows(path / "metrics.csv")
        ]
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise Refused(f"{path / 'metrics.csv'}: cannot be read ({error}).") from None
