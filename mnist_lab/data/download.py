"""Fetch .gz files from mirrors: whole and checked under their final name, or not at all.

No locks: each process writes a temporary file of its own and renames it at the end, so any number
of processes may fetch into one folder at once, also on file systems where locks do nothing.
"""

import hashlib
import itertools
import os
import queue
import re
import secrets
import socket
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing, suppress
from http.client import HTTPMessage
from pathlib import Path
from typing import IO

from mnist_lab.data.idx import find_idx

MAX_BYTES = 64 << 20  # of one .gz; the largest of MNIST has 9.9 MB
CHUNK = 1 << 16  # bytes
MAX_CAUSE = 160  # characters of one line of an error message
STALE_S = 24 * 60 * 60  # a download lasts minutes; a temporary file untouched for so long is dead
LOOPBACK = ("127.0.0.1", "::1", "localhost")

Piece = tuple[bytes, int | None]  # and the bytes to come in all, where the server tells
Check = Callable[[str, Path], None]
Progress = Callable[[str, int, int | None], None]


class DownloadError(OSError):
    """No mirror gave a file: its name, then one line with the cause for each mirror."""


class _MirrorFailed(Exception):
    """The message is the cause; the next mirror may do better."""


def fetch(
    files: Sequence[str],
    *,
    mirrors: Sequence[str],
    folder: Path,
    check: Check,
    md5: Mapping[str, str],
    timeout_s: float = 60.0,
    progress: Progress | None = None,
) -> list[str]:
    """Download NAME.gz for each name in `files` of which `folder` has neither NAME nor NAME.gz.

    The mirrors are tried in turn and share the time that is left; the next file begins with the
    mirror that worked. Only https, with certificates verified, also after redirects (and http to
    this very machine, for tests). Proxies are taken from the environment as urllib does.

    Args:
        mirrors: addresses that hold the files, with or without a slash at the end.
        check: called with a name and the path of its downloaded .gz, before that gets its final
            name; raises ValueError when the content is wrong.
        md5: name -> hex digest of NAME.gz; a name left out is left to `check`.
        timeout_s: for all files and mirrors together.
        progress: called with a name, the bytes so far, and those to come in all, None if unknown.

    Returns:
        The mirror of each file that was downloaded.

    Raises:
        DownloadError: no mirror gave a good file in time.
        OSError: `folder` cannot be written.
        ValueError: a mirror is not an https address.
    """
    missing = [name for name in files if find_idx(folder, name) is None]
    if not missing:
        return []
    for mirror in mirrors:
        if not _is_secure(mirror):
            raise ValueError(f"mirror {mirror!r} is not an https address")
    deadline = time.monotonic() + timeout_s
    if folder.is_dir():
        _remove_leftovers(folder)
    order, served = list(mirrors), []
    for name in missing:
        causes = []
        for i, mirror in enumerate(order):
            if find_idx(folder, name) is not None:  # another process was faster
                break
            share_s = (deadline - time.monotonic()) / (len(order) - i)
            try:
                if share_s <= 0:
                    raise _MirrorFailed(f"not tried, the {timeout_s:g} s are over")
                pieces = _pieces(f"{mirror.rstrip('/')}/{name}.gz", timeout_s=share_s)
                target = folder / f"{name}.gz"
                _store(pieces, target, check=check, md5=md5.get(name), progress=progress)
            except _MirrorFailed as failure:
                causes.append(f"\n  {mirror}: {failure}")
            else:
                order.insert(0, order.pop(i))
                served.append(mirror)
                break
        else:
            raise DownloadError(
                f"{name}.gz could not be downloaded{':' if order else ', there is no mirror'}"
                + "".join(causes)
            )
    return served


def _store(
    pieces: Generator[Piece],
    target: Path,
    *,
    check: Check,
    md5: str | None,
    progress: Progress | None,
) -> None:
    """Write a temporary file, check it, and give it its final name."""
    name = target.stem
    part = target.with_name(
        f".{target.name}.{_machine()}-{os.getpid()}-{secrets.token_hex(4)}.part"
    )
    digest = hashlib.md5(usedforsecurity=False)
    num_bytes = 0
    try:
        arrived = list(itertools.islice(pieces, 1))
        target.parent.mkdir(parents=True, exist_ok=True)  # not before there is something for it
        with closing(pieces), part.open("xb") as file:
            for piece, total in itertools.chain(arrived, pieces):
                file.write(piece)
                digest.update(piece)
                num_bytes += len(piece)
                if progress is not None:
                    progress(name, num_bytes, total)
            file.flush()
            os.fsync(file.fileno())  # or a power cut after the rename could leave an empty file
        if md5 is not None and digest.hexdigest() != md5.lower():
            raise _MirrorFailed(f"wrong content, {num_bytes} bytes with MD5 {digest.hexdigest()}")
        try:
            check(name, part)
        except ValueError as error:  # its advice to delete the file is not for this one
            problem = str(error).removeprefix(f"{part}: ").split(". ")[0]
            raise _MirrorFailed(f"wrong content, {_one_line(problem)}") from error
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _pieces(url: str, *, timeout_s: float) -> Generator[Piece]:
    """The content at `url`, which must arrive to its end within `timeout_s`.

    A thread does what can block for longer than any socket timeout: resolving names, and a server
    that sends one byte now and then. It touches no file and is left to itself when the time is up.
    """
    arrivals: queue.SimpleQueue[Piece | _MirrorFailed] = queue.SimpleQueue()
    abandoned = threading.Event()
    deadline = time.monotonic() + timeout_s
    threading.Thread(
        target=_receive, args=(url, timeout_s, arrivals, abandoned), daemon=True
    ).start()
    num_bytes = 0
    try:
        while True:
            try:
                arrival = arrivals.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise _MirrorFailed(f"{num_bytes} bytes in {timeout_s:.1f} s, gave up") from None
            if isinstance(arrival, _MirrorFailed):
                raise arrival
            if not arrival[0]:
                return
            num_bytes += len(arrival[0])
            yield arrival
    finally:
        abandoned.set()


def _receive(
    url: str,
    timeout_s: float,
    arrivals: queue.SimpleQueue[Piece | _MirrorFailed],
    abandoned: threading.Event,
) -> None:
    """Put the content piece by piece, then b"", or else what went wrong."""
    try:
        opener = urllib.request.build_opener(_SecureRedirects)
        opener.addheaders = [("User-Agent", "mnist_lab")]
        # One second more than the reader waits: it ends this thread, the reader tells the user.
        with opener.open(url, timeout=timeout_s + 1) as response:
            if response.status != 200:
                raise ValueError(f"HTTP {response.status} {response.reason}")
            length = response.headers.get("Content-Length")
            total = None if length is None else int(length)
            num_bytes = 0
            while not abandoned.is_set():
                if max(num_bytes, total or 0) > MAX_BYTES:
                    raise ValueError(f"more than {MAX_BYTES} bytes")
                piece = response.read1(CHUNK)
                num_bytes += len(piece)
                if not piece and total not in (None, num_bytes):
                    raise ValueError(f"connection closed after {num_bytes} of {total} bytes")
                arrivals.put((piece, total))
                if not piece:
                    return
    except Exception as error:  # whatever it is, the reader must not wait for the deadline
        arrivals.put(_MirrorFailed(_cause(error)))


def _cause(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        error.close()
        return _one_line(f"HTTP {error.code} {error.reason}")
    if isinstance(error, urllib.error.URLError):
        return _one_line(str(error.reason))
    return _one_line(str(error) or type(error).__name__)


def _one_line(text: str) -> str:
    """What a server says reaches a terminal: no control characters, and not too much."""
    return "".join(c if c.isprintable() else " " for c in text)[:MAX_CAUSE]


def _is_secure(url: str) -> bool:
    try:
        parts = urllib.parse.urlsplit(url)
        local = parts.scheme == "http" and parts.hostname in LOOPBACK
        return (parts.scheme == "https" and bool(parts.hostname)) or local
    except ValueError:
        return False


class _SecureRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        downgraded = req.type == "https" and urllib.parse.urlsplit(newurl).scheme != "https"
        if downgraded or not _is_secure(newurl):
            fp.close()
            raise ValueError(f"redirected to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _machine() -> str:
    """12 hex digits for where process ids mean the same: one boot of one kernel, one container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        where = f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        where = socket.gethostname()
    return hashlib.sha256(where.encode()).hexdigest()[:12]


def _remove_leftovers(folder: Path) -> None:
    """Remove temporary files whose process is known to be dead, or that are a day old.

    Those of another machine or container may be alive; only their age can tell.
    """
    here = _machine()
    for path in folder.glob(".*.part"):
        match = re.fullmatch(r"\..+\.gz\.([0-9a-f]{12})-(\d{1,7})-[0-9a-f]{8}\.part", path.name)
        if match is None:
            continue
        # Another process may remove it at the same time, or it may belong to another user.
        with suppress(FileNotFoundError, PermissionError):
            dead = match[1] == here and not _is_alive(int(match[2]))
            if dead or time.time() - path.stat().st_mtime > STALE_S:
                path.unlink()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True
