"""Downloads from real servers on the loopback that misbehave in every way we could think of."""

import contextlib
import fcntl
import gzip
import hashlib
import os
import random
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from mnist_lab.data import download as module
from mnist_lab.data.download import DownloadError, fetch
from mnist_lab.data.idx import read_idx

IMAGES, LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


def idx_gz(*sizes, seed=0):
    header = bytes([0, 0, 8, len(sizes)]) + np.array(sizes, ">u4").tobytes()
    return gzip.compress(header + random.Random(seed).randbytes(int(np.prod(sizes))))


FILES = {f"{IMAGES}.gz": idx_gz(400, 28, 28), f"{LABELS}.gz": idx_gz(400)}
MD5 = {name.removesuffix(".gz"): hashlib.md5(raw).hexdigest() for name, raw in FILES.items()}

# Only for the servers below: self-signed, for the address 127.0.0.1.
CERTIFICATE = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgKdawb8lJ/6BwIf/+
ERQQ7iTrEtYCBTBP5QoFTPy1iI2hRANCAATUFXKJxARVpFg0Jm8dW9vFae+HWVPU
Nt+Pg83GquiBMfw2DjGfpnB4s3efIzTwI+HhxxlGL9fxks0fA0yB4zV6
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBjDCCATOgAwIBAgIBATAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAkxMjcuMC4w
LjEwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBQxEjAQBgNVBAMM
CTEyNy4wLjAuMTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNQVconEBFWkWDQm
bx1b28Vp74dZU9Q234+Dzcaq6IEx/DYOMZ+mcHizd58jNPAj4eHHGUYv1/GSzR8D
TIHjNXqjdDByMB0GA1UdDgQWBBQkUECeK65vY3y6Avo/RCoaJaVOjTAfBgNVHSME
GDAWgBQkUECeK65vY3y6Avo/RCoaJaVOjTAPBgNVHRMBAf8EBTADAQH/MA8GA1Ud
EQQIMAaHBH8AAAEwDgYDVR0PAQH/BAQDAgKEMAoGCCqGSM49BAMCA0cAMEQCIAjI
MYN1rxA1VOUfG1+tf1hq/N0UIXsqiRbC64SPTA7xAiArFE+b7g9i6ssAnhJ6UDgl
c+uqc3WBS5ek+bRBrIfGtw==
-----END CERTIFICATE-----
"""


class Mirror(BaseHTTPRequestHandler):
    """GET /BEHAVIOUR/FILE"""

    def do_GET(self):
        self.server.requests.append(self.path)
        self.server.ranges.append(self.headers["Range"])
        behaviour, file = urlsplit(self.path).path.split("/")[-2:]
        getattr(self, behaviour)(FILES[file])

    def start(self, length, **headers):
        self.send_response(200)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def part(self, raw, begin):
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {begin}-{len(raw) - 1}/{len(raw)}")
        self.send_header("Content-Length", str(len(raw) - begin))
        self.end_headers()
        self.wfile.write(raw[begin:])

    def redirect_to(self, address):
        self.send_response(302)
        self.send_header("Location", address)
        self.end_headers()

    def good(self, raw):
        self.start(len(raw))
        self.wfile.write(raw)

    def ranged(self, raw):
        begin = int((self.headers["Range"] or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        if begin < len(raw):
            self.part(raw, begin) if begin else self.good(raw)
        else:
            self.send_error(416)

    def misplaced(self, raw):
        self.part(raw, len(raw) // 3)

    def without_length(self, raw):
        self.start(None)
        self.wfile.write(raw)

    def steady(self, raw):
        self.start(len(raw))
        for i in range(0, len(raw), 10_000):
            self.wfile.write(raw[i : i + 10_000])
            time.sleep(0.01)

    def slow(self, raw):
        self.start(len(raw))
        for i in range(0, len(raw), len(raw) // 17):
            self.wfile.write(raw[i : i + len(raw) // 17])
            time.sleep(0.1)

    def half(self, raw):
        self.start(len(raw))
        self.wfile.write(raw[: len(raw) // 2])
        self.server.closing.wait(20)

    def half_cut(self, raw):
        self.start(len(raw))
        self.wfile.write(raw[: len(raw) // 2])

    def forbidden(self, _):
        self.send_error(403, "\x1b[31mForbidden")

    def unavailable(self, _):
        self.send_error(503)

    def no_content(self, _):
        self.send_response(204)
        self.end_headers()

    def page(self, _):
        self.start(None, **{"Content-Type": "text/html"})
        self.wfile.write(b"<!DOCTYPE html><title>Log in to the hotel</title>")

    def other(self, _):
        self.good(idx_gz(400, seed=1))

    def cut(self, raw):
        self.start(len(raw))
        self.wfile.write(raw[:-1])

    def cut_without_length(self, raw):
        self.without_length(raw[:-1])

    def huge(self, _):
        self.start(1 << 40)
        self.server.closing.wait(20)

    def endless(self, _):
        self.start(None)
        while not self.server.closing.is_set():
            self.wfile.write(bytes(1 << 20))

    def silent(self, _):
        self.server.closing.wait(20)

    def drip(self, _):
        self.start(None)
        while not self.server.closing.wait(0.02):
            self.wfile.write(b"\0")

    def drip_headers(self, _):
        self.wfile.write(b"HTTP/1.0 200 OK\r\n")
        while not self.server.closing.wait(0.02):
            self.wfile.write(b"X: y\r\n")

    def not_http(self, _):
        self.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")

    def elsewhere(self, _):
        self.redirect_to("http://192.0.2.1/")

    def to_file(self, _):
        self.redirect_to("file:///etc/passwd")

    def to_good(self, _):
        self.redirect_to(self.path.replace("to_good", "good"))

    def to_plain(self, _):
        self.redirect_to(f"{self.server.plain}{self.path.replace('to_plain', 'good')}")

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    block_on_close = False
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Mirror)
        self.requests = []
        self.ranges = []
        self.closing = threading.Event()
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.plain = None

    def handle_error(self, *_):  # clients that gave up are what the tests are about
        pass

    def __enter__(self):
        # A short poll interval: shutdown() waits for it.
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.closing.set()
        self.shutdown()
        self.server_close()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(module, "unreachable", set())
    with Server() as server:
        yield server


@pytest.fixture
def impatient(monkeypatch):
    """Gives up after 0.8 s of whatever it is."""
    for name in ("ANSWER_S", "STALL_S", "SLOW_S"):
        monkeypatch.setattr(module, name, 0.8)


def intact(_, path):
    read_idx(path)


def download(folder, *mirrors, files=(LABELS,), **changes):
    settings = {"check": intact, "md5": MD5} | changes
    return fetch(files, mirrors=mirrors, folder=folder, **settings)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def assert_good(folder, *files):
    assert names(folder) == sorted(f"{name}.gz" for name in files)
    for name in files:
        assert (folder / f"{name}.gz").read_bytes() == FILES[f"{name}.gz"]


KEPT = ("cut", "half", "drip")


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("good", ["good/", "ranged"])
@pytest.mark.parametrize(
    ("behaviour", "cause"),
    [
        ("forbidden", r"HTTP 403  \[31mForbidden"),  # without the escape character
        ("unavailable", "HTTP 503 Service Unavailable"),
        ("no_content", "HTTP 204 No Content"),
        ("page", r"an HTML page \(of a login\?\) instead of gzip data"),
        ("other", "wrong content, [0-9]{3} bytes with MD5"),
        ("cut", "connection closed after ([0-9]+) of [0-9]+ bytes"),
        ("cut_without_length", "wrong content"),
        ("huge", "more than 67108864 bytes"),
        ("endless", "more than 67108864 bytes"),
        ("misplaced", "HTTP 206 Partial Content"),
        ("silent", "no answer in 0.8 s, gave up"),
        ("half", "no byte in 0.8 s, gave up"),
        ("drip", "[0-9]+ bytes in 0.8 s, gave up"),
        ("drip_headers", "no answer in 0.8 s, gave up"),
        ("not_http", "SSH-2.0"),
        ("elsewhere", "redirected to http://192.0.2.1/, which is not https"),
        ("to_file", "Redirection to url .file:///etc/passwd. is not allowed"),
    ],
)
def test_bad_mirror_is_named_and_the_next_one_tried(tmp_path, server, behaviour, cause, good):
    bad = f"{server.address}/{behaviour}"
    with pytest.raises(DownloadError) as caught:
        download(tmp_path, bad)
    header, line = str(caught.value).split("\n")
    assert header == f"{LABELS}.gz could not be downloaded:"
    assert re.match(f"  {bad}: .*({cause})", line)
    kept = names(tmp_path)  # what has come of a file that may be the right one
    assert [name.split(".")[-1] for name in kept] == ["part"] * (behaviour in KEPT)

    with Server() as other:
        assert download(tmp_path, bad, f"{other.address}/{good}") == [f"{other.address}/{good}"]
    assert_good(tmp_path, LABELS)


@pytest.mark.parametrize("behaviour", ["good", "without_length", "to_good"])
def test_file_and_progress(tmp_path, server, behaviour):
    seen = []
    download(
        tmp_path / "new" / "folder",
        f"{server.address}/{behaviour}",
        files=[IMAGES, LABELS],
        progress=lambda *report: seen.append(report),
    )
    assert_good(tmp_path / "new" / "folder", IMAGES, LABELS)
    umask = os.umask(0)
    os.umask(umask)
    mode = (tmp_path / "new" / "folder" / f"{LABELS}.gz").stat().st_mode
    assert mode & 0o777 == 0o666 & ~umask  # whoever shares the folder can read it
    assert [name for name, *_ in seen] == sorted(name for name, *_ in seen)  # IMAGES < LABELS
    for name in (IMAGES, LABELS):
        size = len(FILES[f"{name}.gz"])
        counts = [(num, total) for seen_name, num, total in seen if seen_name == name]
        assert counts == sorted(counts)
        assert counts[-1] == (size, None if behaviour == "without_length" else size)


def test_check_sees_the_file_before_others_do(tmp_path, server):
    def check(name, path):
        assert name == LABELS
        assert names(tmp_path) == [path.name]
        assert path.read_bytes() in (FILES[f"{LABELS}.gz"], idx_gz(400, seed=1))
        read_idx(path, sha256=sha256)

    sha256 = hashlib.sha256(gzip.decompress(FILES[f"{LABELS}.gz"])).hexdigest()
    with pytest.raises(DownloadError, match=r"wrong content, its SHA-256 is [^.]*$"):
        download(tmp_path, f"{server.address}/other", check=check, md5={})
    with pytest.raises(DownloadError, match=r"wrong content, its gzip data are damaged \("):
        download(tmp_path, f"{server.address}/cut_without_length", check=intact, md5={})
    download(tmp_path, f"{server.address}/other", f"{server.address}/good", check=check, md5={})
    assert_good(tmp_path, LABELS)


def test_mirror_that_worked_comes_first(tmp_path, server):
    mirrors = [f"{server.address}/{path}" for path in ("forbidden", "good")]
    download(tmp_path, *mirrors, files=[IMAGES, LABELS])
    assert server.requests == [
        f"/forbidden/{IMAGES}.gz",
        f"/good/{IMAGES}.gz",
        f"/good/{LABELS}.gz",
    ]


def test_no_request_when_all_files_are_there(tmp_path, server):
    (tmp_path / IMAGES).touch()
    (tmp_path / f"{LABELS}.gz").touch()
    download(tmp_path, f"{server.address}/good", files=[IMAGES, LABELS])
    assert server.requests == []
    assert names(tmp_path) == [IMAGES, f"{LABELS}.gz"]


def test_no_mirror(tmp_path):
    with pytest.raises(DownloadError, match=f"{LABELS}.gz could not be downloaded, there is no"):
        download(tmp_path)


@pytest.mark.parametrize(
    "mirror",
    [
        "http://example.org/mnist",
        "http://127.0.0.1.example.org/mnist",
        "http://127.0.0.1@example.org/mnist",
        "ftp://127.0.0.1/mnist",
        "file:///etc",
        "https://",
        "https://[::1/",
        "example.org/mnist",
        "",
    ],
)
def test_mirror_must_be_https(tmp_path, mirror):
    with pytest.raises(ValueError, match=re.escape(f"mirror {mirror!r} is not an https address")):
        download(tmp_path / "folder", "https://example.org", mirror)
    assert names(tmp_path) == []


def test_https_is_verified_and_never_left(tmp_path, server, monkeypatch):
    certificate = tmp_path / "certificate.pem"
    certificate.write_text(CERTIFICATE)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with Server() as secure:
        secure.socket = context.wrap_socket(secure.socket, server_side=True)
        secure.plain = server.address
        mirror = f"https://127.0.0.1:{secure.server_port}"
        with pytest.raises(DownloadError, match="certificate verify failed"):
            download(tmp_path / "folder", f"{mirror}/good")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        with pytest.raises(DownloadError, match=f"redirected to {server.address}/.*not https"):
            download(tmp_path / "folder", f"{mirror}/to_plain")
        assert server.requests == []
        download(tmp_path / "folder", f"{mirror}/to_good")
        assert_good(tmp_path / "folder", LABELS)


def test_proxy_from_the_environment(tmp_path, server, monkeypatch):
    monkeypatch.delenv("no_proxy")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("http_proxy", server.address)
    download(tmp_path, "http://localhost:1/good")  # nobody listens there
    assert server.requests == [f"http://localhost:1/good/{LABELS}.gz"]


def full_backlog(listener):
    """No connection to `listener` is ever completed any more: its queue is full."""
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    waiting = [socket.socket() for _ in range(3)]
    for client in waiting:
        client.setblocking(False)
        client.connect_ex(listener.getsockname())
    return waiting


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("hanging", ["silent", "connect", "dns"])
def test_a_host_that_does_not_answer_is_asked_once(tmp_path, server, monkeypatch, hanging):
    mirror = f"{server.address}/{hanging}"
    with Server() as other, socket.socket() as listener:
        clients = full_backlog(listener)
        if hanging == "connect":
            mirror = f"http://127.0.0.1:{listener.getsockname()[1]}"
        if hanging == "dns":
            mirror = mirror.replace("127.0.0.1", "localhost")
            resolve = socket.getaddrinfo

            def hang(host, *args, **kwargs):
                if host == "localhost":
                    server.closing.wait(20)
                return resolve(host, *args, **kwargs)

            monkeypatch.setattr(socket, "getaddrinfo", hang)
        with pytest.raises(DownloadError, match=f"{mirror}: no answer in 0.8 s, gave up"):
            download(tmp_path, mirror)
        good = f"{other.address}/good"
        assert download(tmp_path, mirror, good, files=[IMAGES, LABELS]) == [good, good]
        with pytest.raises(DownloadError, match=f"{mirror}/x: did not answer before"):
            download(tmp_path / "new", f"{mirror}/x")
        for client in clients:
            client.close()
    assert_good(tmp_path, IMAGES, LABELS)
    assert len(server.requests) == (hanging == "silent")


@pytest.mark.usefixtures("impatient")
def test_slow_but_steady_arrives(tmp_path, server, monkeypatch):
    """It takes longer than any limit, since there is none for the whole."""
    monkeypatch.setattr(module, "SLOW_BYTES", 50_000)
    start = time.monotonic()
    download(tmp_path, f"{server.address}/slow", files=[IMAGES])
    assert time.monotonic() - start > 2 * module.STALL_S
    assert_good(tmp_path, IMAGES)


@pytest.mark.parametrize("good", ["ranged", "good"])
def test_what_has_come_is_gone_on_with(tmp_path, server, good):
    raw = FILES[f"{IMAGES}.gz"]
    seen = []
    mirrors = [f"{server.address}/{name}" for name in ("half_cut", good)]
    for mirror in mirrors:  # one run after the other
        with contextlib.suppress(DownloadError):
            download(tmp_path, mirror, files=[IMAGES], progress=lambda *report: seen.append(report))
    assert_good(tmp_path, IMAGES)
    assert server.ranges == [None, f"bytes={len(raw) // 2}-"]
    assert seen[-1] == (IMAGES, len(raw), len(raw))
    counts = [num for _, num, _ in seen]
    assert (counts == sorted(counts)) == (good == "ranged")  # or from the beginning
    (tmp_path / f"{IMAGES}.gz").unlink()
    download(tmp_path, *mirrors, files=[IMAGES])  # within one run, from the next mirror
    assert server.ranges[2:] == server.ranges[:2]
    assert_good(tmp_path, IMAGES)


@pytest.mark.parametrize("size", [100, len(FILES[f"{LABELS}.gz"]), 100_000])
def test_what_was_left_may_be_of_no_use(tmp_path, server, size):
    (tmp_path / f".{LABELS}.gz.0123abcd.part").write_bytes(bytes(size))
    assert download(tmp_path, f"{server.address}/ranged")
    assert_good(tmp_path, LABELS)
    assert server.ranges == [f"bytes={size}-", None]


class Stop(OSError):
    """Raised by a signal handler; of a kind that downloads also raise by themselves."""


@pytest.mark.parametrize("behaviour", ["silent", "drip"])
def test_signal_handler_may_raise(tmp_path, server, behaviour):
    def handler(*_):
        raise Stop

    previous = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        start = time.monotonic()
        with pytest.raises(Stop):
            download(tmp_path, f"{server.address}/{behaviour}", f"{server.address}/good")
        assert time.monotonic() - start < 2
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert len(names(tmp_path)) == (behaviour == "drip")
    assert not any("good" in path for path in server.requests)


def test_folder_that_cannot_be_written_is_no_fault_of_a_mirror(tmp_path, server):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        download(tmp_path / "file" / "folder", f"{server.address}/good")


def test_folder_is_not_made_before_something_arrives(tmp_path, server):
    with pytest.raises(DownloadError):
        download(tmp_path / "data" / "folder", f"{server.address}/forbidden")
    assert names(tmp_path) == []


CHILD = """
import signal, sys
from pathlib import Path
from mnist_lab.data.download import fetch
from mnist_lab.data.idx import read_idx

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job would ignore it
mirror, folder, *files = sys.argv[1:]
fetch(
    files,
    mirrors=[mirror],
    folder=Path(folder),
    check=lambda name, path: read_idx(path),
    md5={},
    progress=lambda name, *_: print(name, flush=True),
)
"""


def start_child(mirror, folder, *files):
    command = [sys.executable, "-c", CHILD, mirror, str(folder), *files]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=Path(__file__).parent.parent
    )


def test_four_processes_at_once(tmp_path, server):
    files = (IMAGES, LABELS)
    children = [start_child(f"{server.address}/steady", tmp_path, *files) for _ in range(4)]
    most_parts = 0
    while any(child.poll() is None for child in children):
        for path in tmp_path.iterdir():
            if path.suffix == ".gz":
                assert path.read_bytes() == FILES[path.name]  # at any moment
        most_parts = max(most_parts, sum(name.endswith(".part") for name in names(tmp_path)))
        time.sleep(0.005)
    for child in children:
        _, errors = child.communicate()
        assert (child.returncode, errors) == (0, b"")
    assert most_parts > 1  # or it tested nothing
    assert_good(tmp_path, *files)


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGINT])
def test_stopped_and_started_again(tmp_path, server, signum):
    raw = FILES[f"{IMAGES}.gz"]
    child = start_child(f"{server.address}/half", tmp_path, IMAGES)
    assert child.stdout.readline().decode().strip() == IMAGES
    (part,) = names(tmp_path)
    assert part.endswith(".part")
    download(tmp_path, f"{server.address}/ranged")  # while it lives
    assert names(tmp_path) == sorted([part, f"{LABELS}.gz"])
    child.send_signal(signum)
    _, errors = child.communicate()
    assert child.returncode == -signum
    if signum == signal.SIGINT:
        assert errors.strip().endswith(b"KeyboardInterrupt")
    assert names(tmp_path) == sorted([part, f"{LABELS}.gz"])
    arrived = (tmp_path / part).stat().st_size
    download(tmp_path, f"{server.address}/ranged", files=[IMAGES])
    assert_good(tmp_path, IMAGES, LABELS)
    assert server.ranges[-1] == (f"bytes={arrived}-" if arrived else None)
    if signum == signal.SIGINT:  # what it held in memory came to the disk
        assert arrived == len(raw) // 2


def test_two_of_which_one_lives(tmp_path, server):
    """The part of a process that lives is left alone, whatever becomes of the others."""
    for size in (50, 70, 60):
        (tmp_path / f".{LABELS}.gz.{size}.part").write_bytes(FILES[f"{LABELS}.gz"][:size])
    for name, age_s in (("young", 0), ("old", 120)):  # somebody may be about to lock a young one
        (tmp_path / f".{LABELS}.gz.{name}.part").touch()
        os.utime(tmp_path / f".{LABELS}.gz.{name}.part", (time.time() - age_s,) * 2)
    with (tmp_path / f".{LABELS}.gz.70.part").open("rb") as alive:
        fcntl.flock(alive, fcntl.LOCK_EX)
        download(tmp_path, f"{server.address}/ranged")
    left = [f".{LABELS}.gz.{name}.part" for name in ("70", "young")]
    assert names(tmp_path) == sorted([*left, f"{LABELS}.gz"])
    assert server.ranges == ["bytes=60-"]
    assert (tmp_path / f"{LABELS}.gz").read_bytes() == FILES[f"{LABELS}.gz"]
