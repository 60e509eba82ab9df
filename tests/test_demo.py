"""mnist-demo as a real process: answers against plain numpy, wrong requests, and a real browser."""

from __future__ import annotations

import base64
import contextlib
import http.client
import importlib
import json
import re
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TEN, validation_rows
from formats import CLASSES, many_classes, write_formats
from PIL import Image, ImageDraw
from processes import WATCHDOG_S, Started, Warm

from mnist_lab.data.idx import read_split
from mnist_lab.demo import demo_command
from mnist_lab.drawing.facts import title_of
from mnist_lab.drawing.reader import SIDE
from mnist_lab.pictures.normalisation import drawing_as_mnist
from mnist_lab.ui.errors import Refused

# The browser serves the pictures of the README, too, and is no part of the package.
sys.path.append(str(Path(__file__).parents[1] / "docs"))
browser: Any = importlib.import_module("browser")

Line = list[tuple[float, float]]
SEVEN: Line = [(0.25, 0.2), (0.75, 0.22), (0.45, 0.85)]
FULL = SIDE * SIDE


@pytest.fixture(scope="module")
def run(train_run: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_run(tmp_path_factory.mktemp("demo"), "model.width=16")


@pytest.fixture(scope="module")
def demo(run: Path, verbs: Warm) -> Iterator[tuple[Started, int]]:
    with serving(run, verbs) as found:
        yield found


@contextlib.contextmanager
def serving(run: Path, verbs: Warm, *more: str) -> Iterator[tuple[Started, int]]:
    """The process and its port."""
    process = verbs.start("mnist_lab.demo", str(run), *more, "--port", "0", cwd=run)
    said = process.output / "stdout"
    deadline = time.monotonic() + WATCHDOG_S
    while not (said.exists() and said.read_text().endswith("\n")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    line = said.read_text()
    assert line.startswith("Draw at http://127.0.0.1:")
    yield process, int(line.split(":")[2].split("/")[0])
    process.send(signal.SIGTERM)
    ended = process.wait()
    assert ended.code == 128 + signal.SIGTERM
    assert ended.stderr.splitlines()[-1] == "interrupted by SIGTERM"
    assert "Traceback" not in ended.stderr


@pytest.fixture(scope="module")
def port(demo: tuple[Started, int]) -> int:
    return demo[1]


def drawn(line: Line) -> np.ndarray:
    """A drawing as the page may send it."""
    image = Image.new("L", (SIDE, SIDE), 255)
    ImageDraw.Draw(image).line([(SIDE * x, SIDE * y) for x, y in line], fill=17, width=11)
    return np.asarray(image)


def ask(
    port: int, method: str, path: str, body: bytes | None = None
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WATCHDOG_S)
    connection.request(method, path, body)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), content


def read(port: int, drawing: np.ndarray) -> dict[str, Any]:
    status, _, content = ask(port, "POST", "/read", drawing.tobytes())
    assert status == 200, content
    return json.loads(content)


def image(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(28, 28)


def test_the_answer_to_a_drawing(run: Path, port: int, data_dir: Path) -> None:
    drawing = drawn(SEVEN)
    answer = read(port, drawing)
    seen = drawing_as_mnist(drawing)
    np.testing.assert_array_equal(image(answer["image"]), seen)

    state = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    weights = {name: tensor.double().numpy() for name, tensor in state.items()}

    def hidden(images: np.ndarray) -> np.ndarray:
        pixels = images.reshape(-1, 784) / 255
        return np.maximum(pixels @ weights["layers.1.weight"].T + weights["layers.1.bias"], 0)

    logits = hidden(seen)[0] @ weights["layers.4.weight"].T + weights["layers.4.bias"]
    expected = np.exp(logits) / np.exp(logits).sum()
    assert answer["probs"] == pytest.approx(expected, rel=1e-4)

    images, labels = read_split(data_dir, "train", TEN, sha256={})
    kept = validation_rows(labels, num_val=100)
    images, labels = np.delete(images, kept, axis=0), np.delete(labels, kept)
    distances = np.linalg.norm(hidden(images) - hidden(seen), axis=1)
    order = distances.argsort()[:8]
    near = answer["neighbours"]
    assert [each["index"] for each in near] == order.tolist()
    assert [each["label"] for each in near] == labels[order].tolist()
    assert [each["distance"] for each in near] == pytest.approx(distances[order], rel=1e-4)
    for each, index in zip(near, order, strict=True):
        np.testing.assert_array_equal(image(each["image"]), images[index])


CLOTHES = ["T-shirt", "ankle boot", "bag"]
HEADINGS = [
    ("0123456789", "Draw a digit"),
    ("abc", "Draw a letter"),
    ("0aB", "Draw a character"),
    (CLOTHES, "Draw a T-shirt, or another of 3 classes"),
    (CLOTHES[1:], "Draw an ankle boot, or another of 2 classes"),
    (["class 1", "class 2"], "Draw one of 2 classes"),
]


@pytest.mark.parametrize(("names", "heading"), HEADINGS)
def test_the_heading_fits_the_classes(names: list[str], heading: str) -> None:
    assert title_of(names) == heading


def test_there_is_nothing_to_read_on_blank_paper(port: int) -> None:
    blank = np.full((SIDE, SIDE), 255, np.uint8)
    status, _, content = ask(port, "POST", "/read", blank.tobytes())
    assert (status, json.loads(content)) == (200, {"error": "no ink found: no contrast"})


def test_the_page_loads_nothing_from_elsewhere(port: int) -> None:
    for path, kind in (
        ("/", "text/html"),
        ("/page.css", "text/css"),
        ("/page.js", "text/javascript"),
    ):
        status, headers, content = ask(port, "GET", path)
        assert (status, headers["content-type"].split(";")[0]) == (200, kind)
        assert headers["content-security-policy"].startswith(
            "default-src 'none'; script-src 'self'"
        )
        assert not re.search(rb"https?:|[\"'(]//|@import|url\(", content)
    status, _, content = ask(port, "GET", "/network")
    facts = json.loads(content)
    assert (status, facts["class_names"]) == (200, [str(k) for k in range(10)])
    assert (facts["epoch"], facts["data"], facts["num_images"]) == (2, "idx_folder", 300)


def head(line: str, *headers: str, host: str | None = "Host: 127.0.0.1") -> bytes:
    lines = [f"{line} HTTP/1.1", host, *headers, "", ""]
    return "\r\n".join(each for each in lines if each is not None).encode()


WRONG = {
    "another host": (head("GET /", host="Host: evil.example"), 400),
    "no host": (head("GET /", host=None), 400),
    "two hosts": (head("GET /", "Host: 127.0.0.1"), 400),
    "another page": (
        head("POST /read", f"Content-Length: {FULL}", "Origin: http://evil.example"),
        403,
    ),
    "a page from nowhere": (head("POST /read", f"Content-Length: {FULL}", "Origin: null"), 403),
    "no such page": (head("GET /demo.py"), 404),
    "a path upwards": (head("GET /../demo.py"), 404),
    "an encoded path upwards": (head("GET /%2e%2e/demo.py"), 404),
    "an absolute path": (head("GET //etc/passwd"), 404),
    "a page posted to": (head("POST /", "Content-Length: 0"), 405),
    "a drawing not posted": (head("GET /read"), 405),
    "no drawing": (head("POST /read", "Content-Length: 0"), 400),
    "half a drawing": (head("POST /read", "Content-Length: 9") + b"123456789", 400),
    "too large": (head("POST /read", f"Content-Length: {10**12}"), 413),
    "too large by chunks": (
        head("POST /read", "Transfer-Encoding: chunked")
        + f"{FULL + 1:x}\r\n".encode()
        + bytes(FULL + 1),
        413,
    ),
    "no number": (head("POST /read", "Content-Length: many"), 400),
    "endless headers": (b"GET / HTTP/1.1\r\nX: " + bytes(100_000), 400),
    "no request": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_request_is_told_so_and_stops_nothing(name: str, port: int) -> None:
    raw, status = WRONG[name]
    with socket.create_connection(("127.0.0.1", port), timeout=WATCHDOG_S) as connection:
        connection.sendall(raw)
        answer = connection.recv(1000)
    assert answer.split()[1] == str(status).encode()
    assert b"Traceback" not in answer
    assert ask(port, "GET", "/")[0] == 200


def test_a_client_that_goes_away_stops_nothing(port: int) -> None:
    for sent in (b"", b"GET", head("POST /read", f"Content-Length: {FULL}") + b"1234"):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(sent)
    assert sum(read(port, drawn(SEVEN))["probs"]) == pytest.approx(1)


def test_only_this_machine_can_connect(demo: tuple[Started, int]) -> None:
    process, port = demo
    names = [str(each.readlink()) for each in Path(f"/proc/{process.pid}/fd").iterdir()]
    listening = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{process.pid}/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == "0A" and f"socket:[{inode}]" in names:
                listening.append(local)
    assert listening == [f"0100007F:{port:04X}"]  # 127.0.0.1, least significant byte first


def test_a_port_in_use_is_refused(run: Path, port: int) -> None:
    with pytest.raises(Refused, match=f"--port {port}: cannot be used"):
        demo_command([str(run), "--port", str(port)])
    with pytest.raises(Refused, match="--port: 65536: must be a whole number from 0 to 65535"):
        demo_command([str(run), "--port", "65536"])


@pytest.mark.parametrize("verb", ["demo", "export"])
def test_help_comes_without_torch(verb: str, light_verbs: Warm, tmp_path: Path) -> None:
    ended = light_verbs.run(f"mnist_lab.{verb}", "--help", cwd=tmp_path)
    assert ended.code == 0, ended.stderr
    assert f"mnist-{verb} RUN_DIR" in ended.stdout
    most = 2 if verb == "demo" else 1
    ended = light_verbs.run(f"mnist_lab.{verb}", *"abc"[: most + 1], cwd=tmp_path)
    number = "one, or two to compare" if verb == "demo" else "one"
    assert (ended.code, ended.stderr) == (2, f"{most + 1} run directories: must be {number}.\n")


@pytest.fixture(scope="module")
def window() -> Iterator[Any]:
    with browser.Browser.started() as window:
        yield window


SHOWN = """
const text = (element) => element.textContent;
return {
  digit: text(document.getElementById('digit')),
  share: text(document.getElementById('share')),
  labels: [...document.querySelectorAll('#bars .label')].map(text),
  percents: [...document.querySelectorAll('#bars .percent')].map(text),
  widths: [...document.querySelectorAll('#bars .fill')].map((e) => e.style.transform),
  neighbours: [...document.querySelectorAll('#neighbours li')].map(text),
  seen: [...document.getElementById('seen').getContext('2d').getImageData(0, 0, 28, 28).data],
  hint: getComputedStyle(document.getElementById('hint')).display,
};
"""
SETTLED = "return !asking && document.querySelectorAll('#neighbours li').length"


def opened(window: Any, port: int) -> None:
    window.open(f"http://127.0.0.1:{port}/")
    window.wait_until("return document.querySelectorAll('#bars li').length")


def check_shown(window: Any, port: int) -> None:
    """The page shows what the server answers to the drawing that is on the paper."""
    window.wait_until(SETTLED)
    answer = read(port, np.array(window.run("return [...drawing()]"), np.uint8))
    shown = window.run(SHOWN)
    best = int(np.argmax(answer["probs"]))
    percents = [f"{100 * p:.1f} %" for p in answer["probs"]]
    assert shown["labels"] == [str(k) for k in range(10)]
    assert (shown["digit"], shown["share"]) == (str(best), percents[best])
    assert shown["percents"] == percents
    widths = [float(text.removeprefix("scaleX(").removesuffix(")")) for text in shown["widths"]]
    assert widths == pytest.approx(answer["probs"], abs=1e-3)
    assert shown["neighbours"] == [str(each["label"]) for each in answer["neighbours"]]
    seen = np.array(shown["seen"], np.uint8).reshape(28, 28, 4)
    np.testing.assert_array_equal(seen[..., 0], 255 - image(answer["image"]))
    assert shown["hint"] == "none"


def chromium(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test that looks at the page, and skip it where there is no browser."""
    missing = browser.missing()
    reason = f"needs Debian's {' and '.join(missing)}"
    return pytest.mark.chromium(pytest.mark.skipif(bool(missing), reason=reason)(test))


@chromium
def test_the_answer_follows_the_mouse(window: Any, port: int) -> None:
    window.resize(1000, 760)
    opened(window, port)
    assert window.run(SHOWN)["hint"] == "grid"
    window.draw("#paper", SEVEN, lift=False)  # answered before the pen is lifted
    check_shown(window, port)
    first = window.run("return [...drawing()]")
    window.draw("#paper", [(0.35, 0.5), (0.7, 0.5)])
    window.wait_until(SETTLED)
    check_shown(window, port)
    assert window.run("return [...drawing()]") != first

    window.run("document.getElementById('clear').click()")
    cleared = window.run(SHOWN)
    assert (cleared["digit"], cleared["neighbours"], cleared["hint"]) == ("?", [], "grid")
    assert window.run("return strokes.length") == 0
    loaded = window.run("return performance.getEntriesByType('resource').map((e) => e.name)")
    assert loaded
    assert all(name.startswith(f"http://127.0.0.1:{port}/") for name in loaded)
    assert window.complaints() == []


@chromium
def test_of_many_classes_the_best_are_on_top(
    window: Any, train_run: Callable[..., Path], verbs: Warm, tmp_path: Path
) -> None:
    write_formats(tmp_path / "own", many_classes(per_class=2), names=CLASSES)
    names = f"data.class_names=[{','.join(CLASSES)}]"
    path = train_run(tmp_path / "runs", "data=npz", f"data.root={tmp_path}/own", names)
    window.resize(1000, 760)
    with serving(path, verbs) as (_, port):
        opened(window, port)
        assert window.run(SHOWN)["labels"] == CLASSES[:12]
        for line in (SEVEN, [(0.35, 0.5), (0.7, 0.5)]):
            window.draw("#paper", line)
            window.wait_until(SETTLED)
            answer = read(port, np.array(window.run("return [...drawing()]"), np.uint8))
            shown = window.run(SHOWN)
            best = np.argsort(-np.array(answer["probs"]), kind="stable")[:12]
            assert shown["labels"] == [CLASSES[k] for k in best]
            assert shown["percents"] == [f"{100 * answer['probs'][k]:.1f} %" for k in best]
            assert (shown["digit"], shown["share"]) == (CLASSES[best[0]], shown["percents"][0])
        window.run("document.getElementById('clear').click()")
        assert window.run(SHOWN)["labels"] == CLASSES[:12]
        assert window.complaints() == []


@chromium
def test_a_touch_without_a_move_draws_a_dot(window: Any, port: int) -> None:
    window.resize(1000, 760)
    opened(window, port)
    window.draw("#paper", [(0.25, 0.75)])
    check_shown(window, port)
    levels = window.run("return [...ink.getImageData(0, 0, 588, 588).data]")
    inked = np.array(levels).reshape(588, 588, 4)[..., 0] < 128
    ys, xs = inked.nonzero()
    assert (xs.mean(), ys.mean()) == pytest.approx((0.25 * 588, 0.75 * 588), abs=2)
    assert inked.sum() == pytest.approx(np.pi * (588 / 16 / 2) ** 2, rel=0.05)  # a round pen's
    assert window.complaints() == []  # nothing that was sent was blank


@chromium
def test_neither_place_nor_size_matters(window: Any, port: int) -> None:
    window.resize(1000, 760)
    seen = []
    for size, left, top in ((1, 0, 0), (0.5, 0.45, 0.5), (0.25, 0, 0.75), (1.1, -0.05, -0.05)):
        opened(window, port)
        window.draw("#paper", [(left + size * x, top + size * y) for x, y in SEVEN])
        check_shown(window, port)
        seen.append(window.run(SHOWN)["seen"][::4])  # red; the rest is the same or opacity
    assert np.corrcoef(seen)[0].min() > 0.95


@chromium
def test_nothing_is_sent_that_is_not_on_the_paper(window: Any, port: int) -> None:
    window.resize(1000, 760)
    opened(window, port)
    window.draw("#paper", [(0.5, 0.3), (0.5, 0.9), (1.4, 0.9)], lift=False)  # over the edge
    check_shown(window, port)
    assert window.run("return Math.max(...strokes.flat(2))") == 588  # pixels of the paper
    window.run("clearPaper()")  # as Escape does, with the pen still down
    window.run("paper.addEventListener('pointermove', (event) => { window.at = event.clientX; })")
    moved = {"type": "mouseMoved", "button": "left", "buttons": 1, "y": 200}
    for x in (150, 250):
        window.devtools("Input.dispatchMouseEvent", x=x, **moved)
        window.wait_until("return window.at === arguments[0]", x)
    inked = "return ink.getImageData(0, 0, 588, 588).data.some((level) => level < 255)"
    assert not window.run(inked)
    window.draw("#paper", SEVEN)
    assert window.run(inked)
    check_shown(window, port)


@chromium
def test_a_finger_draws_on_a_phone(window: Any, port: int) -> None:
    window.resize(390, 844, touch=True)
    opened(window, port)
    window.draw("#paper", SEVEN, finger=True)
    check_shown(window, port)
    width, top = window.run("return [document.documentElement.scrollWidth, scrollY]")
    assert (width, top) == (390, 0)  # nothing sticks out, and the finger did not scroll
    box = window.run(
        "const box = document.getElementById('bars').getBoundingClientRect();return box.bottom;"
    )
    assert box < 844  # the bars are seen while drawing
    assert window.complaints() == []
