"""Downloads from real servers on the loopback that misbehave in every way we could think of."""

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
        behaviour, file = urlsplit(self.path).path.split("/")[-2:]
        getattr(self, behaviour)(FILES[file])

    def start(self, length, **headers):
        self.send_response(200)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def redirect_to(self, address):
        self.send_response(302)
        self.send_header("Location", address)
        self.end_headers()

    def good(self, raw):
        self.start(len(raw))
        self.wfile.write(raw)

    def without_length(self, raw):
        self.start(None)
        self.wfile.write(raw)

    def steady(self, raw):
        self.start(len(raw))
        for i in range(0, len(raw), 10_000):
            self.wfile.write(raw[i : i + 10_000])
            time.sleep(0.01)

    def half(self, raw):
        self.start(len(raw))
        self.wfile.write(raw[: len(raw) // 2])
        self.server.closing.wait(20)

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
    with Server() as server:
        yield server


def intact(_, path):
    read_idx(path)


def download(folder, *mirrors, files=(LABELS,), timeout_s=20.0, **changes):
    settings = {"check": intact, "md5": MD5} | changes
    fetch(files, mirrors=mirrors, folder=folder, timeout_s=timeout_s, **settings)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def assert_good(folder, *files):
    assert names(folder) == sorted(f"{name}.gz" for name in files)
    for name in files:
        assert (folder / f"{name}.gz").read_bytes() == FILES[f"{name}.gz"]


@pytest.mark.parametrize(
    ("behaviour", "cause"),
    [
        ("forbidden", r"HTTP 403  \[31mForbidden"),  # without the escape character
        ("unavailable", "HTTP 503 Service Unavailable"),
        ("no_content", "HTTP 204 No Content"),
        ("page", "wrong content, 49 bytes with MD5 [0-9a-f]{32}"),
        ("other", "wrong content, [0-9]{3} bytes with MD5"),
        ("cut", "connection closed after ([0-9]+) of [0-9]+ bytes"),
        ("cut_without_length", "wrong content"),
        ("huge", "more than 67108864 bytes"),
        ("endless", "more than 67108864 bytes"),
        ("silent", "0 bytes in 0.4 s, gave up"),
        ("drip", "[0-9]+ bytes in 0.4 s, gave up"),
        ("drip_headers", "0 bytes in 0.4 s, gave up"),
        ("not_http", "SSH-2.0"),
        ("elsewhere", "redirected to http://192.0.2.1/, which is not https"),
        ("to_file", "Redirection to url .file:///etc/passwd. is not allowed"),
    ],
)
def test_bad_mirror_is_named_and_the_next_one_tried(tmp_path, server, behaviour, cause):
    bad, good = f"{server.address}/{behaviour}", f"{server.address}/good/"
    quick = 0.4 if "gave up" in cause else 20.0
    with pytest.raises(DownloadError) as caught:
        download(tmp_path, bad, timeout_s=quick)
    header, line = str(caught.value).split("\n")
    assert header == f"{LABELS}.gz could not be downloaded:"
    assert re.match(f"  {bad}: .*({cause})", line)
    assert names(tmp_path) == []

    download(tmp_path, bad, good, timeout_s=5 * quick)
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
    with pytest.raises(DownloadError, match="wrong content, it is not an IDX file"):
        download(tmp_path, f"{server.address}/page", check=intact, md5={})
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


@pytest.mark.parametrize("hanging", ["silent", "drip", "connect", "dns"])
def test_one_deadline_for_everything(tmp_path, server, monkeypatch, hanging):
    mirrors = [f"{server.address}/{hanging}", f"{server.address}/./{hanging}"]
    with socket.socket() as listener:
        clients = full_backlog(listener)
        if hanging == "connect":
            mirrors = [f"http://127.0.0.1:{listener.getsockname()[1]}/{i}" for i in range(2)]
        if hanging == "dns":
            monkeypatch.setattr(socket, "getaddrinfo", lambda *_: server.closing.wait(20))
        start = time.monotonic()
        with pytest.raises(DownloadError) as caught:
            download(tmp_path, *mirrors, files=[IMAGES, LABELS], timeout_s=0.8)
        assert 0.7 < time.monotonic() - start < 1.6
        for client in clients:
            client.close()
    _, *causes = str(caught.value).split("\n")
    assert [cause.split(": ")[0].strip() for cause in causes] == mirrors
    assert all("bytes in 0.4 s, gave up" in cause for cause in causes), causes
    assert names(tmp_path) == []


def test_late_files_are_not_tried(tmp_path, server):
    def slow_check(*_):
        time.sleep(0.6)

    with pytest.raises(DownloadError, match=f"{LABELS}.gz .*\n.*: not tried, the 0.5 s are over"):
        download(
            tmp_path,
            f"{server.address}/good",
            files=[IMAGES, LABELS],
            timeout_s=0.5,
            check=slow_check,
        )
    assert_good(tmp_path, IMAGES)


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
    assert names(tmp_path) == []
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


def test_killed_and_started_again(tmp_path, server):
    child = start_child(f"{server.address}/half", tmp_path, IMAGES)
    assert child.stdout.readline().decode().strip() == IMAGES
    (part,) = names(tmp_path)
    assert part.endswith(".part")
    download(tmp_path, f"{server.address}/good")  # while it lives
    assert names(tmp_path) == sorted([part, f"{LABELS}.gz"])
    child.kill()
    child.communicate()
    assert names(tmp_path) == sorted([part, f"{LABELS}.gz"])
    download(tmp_path, f"{server.address}/good", files=[IMAGES])
    assert_good(tmp_path, IMAGES, LABELS)


def test_interrupted(tmp_path, server):
    child = start_child(f"{server.address}/half", tmp_path, IMAGES)
    child.stdout.readline()
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=5)
    assert child.returncode == -signal.SIGINT
    assert errors.strip().endswith(b"KeyboardInterrupt")
    assert names(tmp_path) == []


def test_leftovers_of_other_machines_go_after_a_day(tmp_path, server):
    day = 24 * 60 * 60
    foreign = f".{LABELS}.gz.0123456789ab-1-89abcdef.part"
    other = f".{LABELS}.part"  # no name that we give
    for age_s, left in ((0, [foreign, other]), (day - 60, [foreign, other]), (day + 60, [other])):
        for name in (foreign, other):
            (tmp_path / name).touch()
            os.utime(tmp_path / name, (time.time() - age_s,) * 2)
        download(tmp_path, f"{server.address}/good")
        assert names(tmp_path) == sorted([*left, f"{LABELS}.gz"])
        (tmp_path / f"{LABELS}.gz").unlink()
