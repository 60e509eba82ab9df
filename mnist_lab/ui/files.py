"""Files that are whole or not there."""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from mnist_lab.ui.errors import Refused

# What a file system answers that cannot do what it is asked for, be it a lock or a flush.
UNSUPPORTED = (errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


def shown_path(path: Path) -> Path:
    """Relative to where the command runs, when it lies below."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def write_atomically(
    path: Path, write: Callable[[BinaryIO], object], *, former: Path | None = None
) -> None:
    """Write a file so that, whatever happens, `path` holds all of the new bytes or the old ones.

    The temporary file lies in the same folder, since a rename is only atomic within a file system.

    Args:
        former: in the same folder; the name under which the old bytes are kept.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            synchronise(file.fileno())
        if former is not None and path.exists():
            keep(path, former)
        temporary.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename = str(path)  # rather than the temporary one
        raise
    with contextlib.suppress(OSError):  # some file systems cannot: all is written none the less
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the rename itself survives a power cut
        finally:
            os.close(folder)


@contextlib.contextmanager
def named(path: Path) -> Iterator[None]:
    """Have an error say which file it is about: of a full disk, Python names none."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def synchronise(file: int) -> None:
    """Bring what was written to the disk, where the file system knows how.

    Raises:
        OSError: it does, and could not.
    """
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise


def keep(path: Path, former: Path) -> None:
    """Give a file a second name, in place of what had that; `path` is never missing meanwhile."""
    link = former.with_name(f".{former.name}.{os.getpid()}.tmp")
    try:
        link.hardlink_to(path)
    except OSError:  # a file system without hard links
        path.replace(former)
        return
    link.replace(former)
    link.unlink(missing_ok=True)  # a rename between two names of one file does nothing


def read_bytes(path: Path, *, max_bytes: int) -> bytes:
    """Read a file that anybody may have made.

    Raises:
        OSError: it is not there, or cannot be read.
        ValueError: not a regular file (a FIFO would wait for a writer), or too large.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("not a regular file")
    if status.st_size > max_bytes:
        raise ValueError(f"{status.st_size:,} bytes, more than the {max_bytes:,} allowed")
    return path.read_bytes()


def refuse_ways_out(folder: Path) -> None:
    """Refuse a directory that may be a stranger's, if writing in it could change other places.

    Raises:
        Refused: a symbolic link leads out of it, or something in it is neither file nor folder.
    """
    home = os.path.realpath(folder)
    pending = [os.fspath(folder)]
    while pending:
        with contextlib.suppress(OSError), os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_symlink():
                    if os.path.commonpath((home, os.path.realpath(entry))) != home:
                        raise Refused(
                            f"{entry.path}: a symbolic link that leads out of {folder}; remove it."
                        )
                elif entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                elif not entry.is_file(follow_symlinks=False):
                    raise Refused(f"{entry.path}: neither a file nor a folder; remove it.")


def write_bytes(path: Path, content: bytes) -> None:
    write_atomically(path, lambda file: file.write(content))


def csv_table(header: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    write_bytes(path, csv_table(header, rows).encode())


def write_json(path: Path, value: dict[str, Any]) -> None:
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_bytes(path, text.encode())


def remove_leftovers(folder: Path) -> None:
    """Remove what killed writers left; only for a folder whose lock the caller holds."""
    for path in folder.glob(".*.tmp"):
        if re.fullmatch(r"\..+\.\d+\.tmp", path.name):  # a folder that a user names may hold others
            path.unlink(missing_ok=True)
