"""Fetch .gz files from mirrors: whole and checked under their final name, or not at all.

Each process writes a file of its own, `.NAME.gz.*.part`, so any number of them may fetch into one
folder. It is locked while its process lives; what a dead one has left is copied and gone on with.
"""

import contextlib
import fcntl
import hashlib
import os
import queue
import secrets
import shutil
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.client import HTTPMessage
from pathlib import Path
from typing import IO, BinaryIO

from mnist_lab.data.files import find_idx
from mnist_lab.data.idx import GZIP_MAGIC

ANSWER_S = 10.0  # until a host is given up, for the life of this process
STALL_S = 20.0  # without a byte, once it has answered
SLOW_S, SLOW_BYTES = 60.0, 300_000  # a byte now and then is no stall; at 5 kB/s MNIST takes 40 min
MAX_BYTES = 64 << 20  # of one .gz; the largest of MNIST has 9.9 MB
CHUNK = 1 << 16  # bytes
MAX_CAUSE = 160  # characters of one line of an error message
LOOPBACK = ("127.0.0.1", "::1", "localhost")

Check = Callable[[str, Path], None]
Progress = Callable[[str, int, int | None], None]

unreachable: set[str] = set()  # hosts that did not answer


class DownloadError(OSError):
    """No mirror gave a file: its name, then one line with the cause for each mirror."""


class MirrorFailed(Exception):
    """The message is the cause; what has come may be gone on with."""


class WrongContent(MirrorFailed):
    """What has come is of no use."""


# Where what comes begins and how long the file is in all, None if unknown; a piece, b"" at the end.
Arrival = tuple[int, int | None] | bytes | MirrorFailed


def fetch(
    files: Sequence[str],
    *,
    mirrors: Sequence[str],
    folder: Path,
    check: Check,
    md5: Mapping[str, str],
    progress: Progress | None = None,
) -> list[str]:
    """Download NAME.gz for each name in `files` of which `folder` has neither NAME nor NAME.gz.

    The mirrors are tried in turn; the next file begins with the one that worked. Only https, with
    certificates verified, also after redirects (and http to this very machine, for tests). Proxies
    are taken from the environment as urllib does.

    Args:
        check: called with a name and the path of its downloaded .gz, before that gets its final
            name; raises ValueError when the content is wrong.
        md5: name -> hex digest of NAME.gz; a name left out is left to `check`.
        progress: called with a name, the bytes so far, and those to come in all, None if unknown.

    Returns:
        The mirror of each file that was downloaded.

    Raises:
        DownloadError: no mirror gave a good file.
        OSError: `folder` cannot be written.
        ValueError: a mirror is not an https address.
    """
    for mirror in mirrors:
        if not is_secure(mirror):
            raise ValueError(f"mirror {mirror!r} is not an https address")
    order, served = list(mirrors), []
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        for name in files:
            if find_idx(folder, name) is None:
                target = folder / f"{name}.gz"
                served.append(fetch_file(target, order, check, md5.get(name), progress))
                order.sort(key=served[-1].__ne__)
    finally:
        for path in made:
            with contextlib.suppress(OSError):
                path.rmdir()  # where nothing came
    return served


def fetch_file(
    target: Path, mirrors: Sequence[str], check: Check, md5: str | None, progress: Progress | None
) -> str:
    """Download one file; return the mirror that gave it."""
    waiting, causes = list(mirrors), []
    with own_part(target) as file:
        while waiting:
            mirror, resumed = waiting.pop(0), file.tell() > 0
            try:
                for total in receive(f"{mirror.rstrip('/')}/{target.name}", file):
                    if progress is not None:
                        progress(target.stem, file.tell(), total)
                verify(target.stem, file, check, md5)
                Path(file.name).replace(target)
                return mirror
            except WrongContent as problem:
                file.seek(0)
                file.truncate()
                if resumed:  # what an earlier download has left may be to blame
                    waiting.insert(0, mirror)
                else:
                    causes.append(f"\n  {mirror}: {problem}")
            except MirrorFailed as problem:
                causes.append(f"\n  {mirror}: {problem}")
    hint = ":" if causes else ", there is no mirror"
    raise DownloadError(f"{target.name} could not be downloaded{hint}{''.join(causes)}")


@contextlib.contextmanager
def own_part(target: Path) -> Iterator[BinaryIO]:
    """A file of this process alone, which begins with what dead ones have left.

    That is copied, never written to: where locks do nothing, its writer may yet live.
    """
    path = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    with path.open("x+b") as file:
        with contextlib.suppress(OSError):  # without locks none is taken for dead
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for left in target.parent.glob(f".{target.name}.*.part"):
            if left != path and left.is_file():
                with contextlib.suppress(OSError):  # locked; gone by now; another user's
                    take_over(left, file)
        try:
            yield file
        finally:
            if not file.tell():
                path.unlink(missing_ok=True)


def take_over(left: Path, file: BinaryIO) -> None:
    """Remove what a dead process has left; copy it, where `file` has less.

    Raises:
        OSError: its process lives.
    """
    with left.open("rb") as old:
        status = left.stat()
        if not status.st_size and time.time() - status.st_mtime < SLOW_S:
            return  # it may be about to be locked
        fcntl.flock(old, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if file.tell() < status.st_size <= MAX_BYTES:
            file.seek(0)
            shutil.copyfileobj(old, file)
        left.unlink()


def receive(url: str, file: BinaryIO) -> Iterator[int | None]:
    """Add to `file` what it lacks; yield, with each piece, how many bytes it will have in all.

    A thread asks, since no timeout covers all of it: resolving a name, one address of a host after
    the other, a header that comes by the byte. It is left to itself when it takes too long.
    """
    host = urllib.parse.urlsplit(url).netloc
    if host in unreachable:
        raise MirrorFailed("did not answer before")
    arrivals: queue.SimpleQueue[Arrival] = queue.SimpleQueue()
    over = threading.Event()
    threading.Thread(target=ask, args=(url, file.tell(), arrivals, over), daemon=True).start()
    begun, total, since, counted = False, None, time.monotonic(), 0
    try:
        while arrival := arrivals.get(timeout=STALL_S if begun else ANSWER_S):
            if isinstance(arrival, MirrorFailed):
                raise arrival
            if isinstance(arrival, tuple):
                begun, (begin, total) = True, arrival
                file.seek(begin)
                file.truncate()  # the mirror may give files only as a whole
                continue
            file.write(arrival)
            counted += len(arrival)
            yield total
            if time.monotonic() - since > SLOW_S:
                if counted < SLOW_BYTES:
                    raise MirrorFailed(f"{counted} bytes in {SLOW_S:g} s, gave up")
                since, counted = time.monotonic(), 0
    except queue.Empty:
        if begun:
            raise MirrorFailed(f"no byte in {STALL_S:g} s, gave up") from None
        unreachable.add(host)
        raise MirrorFailed(f"no answer in {ANSWER_S:g} s, gave up") from None
    finally:
        over.set()


def ask(url: str, start: int, arrivals: queue.SimpleQueue[Arrival], over: threading.Event) -> None:
    """Put into the queue what comes from byte `start` on."""
    headers = {"User-Agent": "mnist_lab"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        request = urllib.request.Request(url, headers=headers)
        opener = urllib.request.build_opener(SecureRedirects)
        with opener.open(request, timeout=STALL_S + 1) as response:  # whoever waits is told before
            sent = response.headers.get("Content-Range", "")
            goes_on = response.status == 206 and sent.startswith(f"bytes {start}-")
            if not goes_on and response.status != 200:
                raise MirrorFailed(f"HTTP {response.status} {response.reason}")
            num_bytes = start if goes_on else 0
            total = None if response.length is None else num_bytes + response.length
            arrivals.put((num_bytes, total))
            while not over.is_set():
                if max(num_bytes, total or 0) > MAX_BYTES:
                    raise WrongContent(f"more than {MAX_BYTES} bytes")
                piece = response.read1(CHUNK)
                num_bytes += len(piece)
                if not piece and total not in (None, num_bytes):
                    raise MirrorFailed(f"connection closed after {num_bytes} of {total} bytes")
                arrivals.put(piece)
                if not piece:
                    return
    except MirrorFailed as failure:
        arrivals.put(failure)
    except urllib.error.HTTPError as error:
        error.close()
        kind = WrongContent if error.code == 416 else MirrorFailed  # 416: there is no such range
        arrivals.put(kind(one_line(f"HTTP {error.code} {error.reason}")))
    except Exception as error:  # whatever it is, nobody shall wait for it
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        arrivals.put(MirrorFailed(one_line(str(reason) or type(error).__name__)))


def one_line(text: str) -> str:
    """What a server says reaches a terminal: no control characters, and not too much."""
    return "".join(c if c.isprintable() else " " for c in text)[:MAX_CAUSE]


def verify(name: str, file: BinaryIO, check: Check, md5: str | None) -> None:
    """Hold a whole file against what it must be, and bring it safely to the disk."""
    file.flush()
    os.fsync(file.fileno())  # or a power cut after the rename could leave an empty file
    file.seek(0)
    content = file.read()
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if not content.startswith(GZIP_MAGIC):
        html = content.lstrip().startswith(b"<")
        what = "an HTML page (of a login?)" if html else one_line(repr(content[:16]))
        raise WrongContent(f"{what} instead of gzip data")
    if md5 is not None and digest != md5.lower():
        raise WrongContent(f"wrong content, {len(content)} bytes with MD5 {digest}")
    try:
        check(name, Path(file.name))
    except ValueError as error:
        problem = str(error).removeprefix(f"{file.name}: ").rstrip(".")
        raise WrongContent(f"wrong content, {one_line(problem)}") from error


def is_secure(url: str) -> bool:
    try:
        parts = urllib.parse.urlsplit(url)
        local = parts.scheme == "http" and parts.hostname in LOOPBACK
        return (parts.scheme == "https" and bool(parts.hostname)) or local
    except ValueError:
        return False


class SecureRedirects(urllib.request.HTTPRedirectHandler):
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
        if downgraded or not is_secure(newurl):
            fp.close()
            raise ValueError(f"redirected to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)
