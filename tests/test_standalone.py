"""mnist-export --page: the file opened from disk in a real browser, against the module in torch."""

from __future__ import annotations

import base64
import copy
import dataclasses
import importlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from processes import Warm
from tiny_run import load_model, train_run, write_data_set

from mnist_lab.drawing import network
from mnist_lab.drawing.doubt import doubt
from mnist_lab.drawing.reader import SIDE
from mnist_lab.drawing.standalone import FOLDER
from mnist_lab.evaluation.neighbours import layer_inputs
from mnist_lab.evaluation.unsure import MAX_WIDTH, OUTPUT_WEIGHT, Unsure, load_unsure, unit
from mnist_lab.export import export_command
from mnist_lab.pictures.normalisation import drawing_as_mnist
from mnist_lab.run.stored import StoredRun
from mnist_lab.ui.errors import Refused

# The browser serves the pictures of the README, too, and is no part of the package.
sys.path.append(str(Path(__file__).parents[1] / "docs"))
browser: Any = importlib.import_module("browser")

Stroke = list[tuple[float, float]]
HANDS: dict[str, dict[str, list[Stroke]]] = json.loads(
    Path(__file__).with_name("pictures").joinpath("strokes.json").read_text()
)
DIGITS = [strokes for hand in HANDS.values() for strokes in hand.values()]
HOSTILE = "</script><b>&quot;'"
MAX_BYTES = 2_500_000  # of a page with a network of 300,000 parameters


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    write_data_set(folder / "images", num_train=200, num_test=20, seed=0)
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    """The largest network that a page is promised for, with a class name that is markup."""
    names = [*"012345678", HOSTILE]
    data = ["data=idx_folder", f"data.root={folder}", "data.folder=images", "data.batch_size=10"]
    more = [f"data.class_names={json.dumps(names)}", "trainer.max_epochs=8"]
    return train_run(folder / "run", "experiment=cnn_12_20", *data, *more)


@pytest.fixture(scope="module")
def file(run: Path) -> Path:
    export_command([str(run), "--page", str(run.parent / "pages/digits.html")])
    return run.parent / "pages/digits.html"


@pytest.fixture(scope="module")
def window() -> Iterator[Any]:
    with browser.Browser.started() as window:
        window.resize(1000, 760)
        yield window


def chromium(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test that looks at the page, and skip it where there is no browser."""
    missing = browser.missing()
    reason = f"needs Debian's {' and '.join(missing)}"
    return pytest.mark.chromium(pytest.mark.skipif(bool(missing), reason=reason)(test))


def probs_of(run: Path, seen: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        logits = load_model(run)(torch.from_numpy(seen / 255).float().view(1, 1, 28, 28))
    return logits.double().softmax(dim=1)[0].numpy()


SHOWN = """
const text = (element) => element.textContent;
return {
  digit: text(document.getElementById('digit')),
  labels: [...document.querySelectorAll('#bars .label')].map(text),
  percents: [...document.querySelectorAll('#bars .percent')].map(text),
};
"""


@chromium
def test_a_page_from_disk_answers_the_mouse(file: Path, run: Path, window: Any) -> None:
    window.open(f"file://{file}")
    answers = set()
    for digit in ("1", "4", "7"):
        window.run("document.getElementById('clear').click()")
        assert window.run(SHOWN)["digit"] == "?"
        window.draw("#paper", *HANDS["plain"][digit])
        window.wait_until("return document.getElementById('digit').textContent !== '?'")
        drawing = np.array(window.run("return [...drawing()]"), np.uint8)
        seen = drawing_as_mnist(drawing.reshape(SIDE, SIDE))
        expected = probs_of(run, seen)
        shown = window.run(SHOWN)
        assert shown["labels"] == [*"012345678", HOSTILE]
        percents = [float(text.removesuffix(" %")) for text in shown["percents"]]
        np.testing.assert_allclose(percents, 100 * expected, atol=0.5)  # a grey level or so apart
        assert shown["digit"] == shown["labels"][int(expected.argmax())]
        answers.add(tuple(percents))
    assert len(answers) == 3
    assert window.run("return performance.getEntriesByType('resource').length") == 0
    assert window.complaints() == []


CLICK = """
const [index, unit] = arguments;
const { canvas, width, height, columns } = views.find((view) => view.index === index);
canvas.scrollIntoView({ block: 'center' });
const box = canvas.getBoundingClientRect();
const scale = canvas.clientWidth / canvas.width;
return [
  box.left + 1 + scale * (width + 1) * ((unit % columns) + 0.4),
  box.top + 1 + scale * (height + 1) * (Math.floor(unit / columns) + 0.4),
];
"""
PROBS = "return [...document.querySelectorAll('#bars .fill')].map((bar) => bar.style.transform)"


def click(window: Any, index: int, unit: int) -> None:
    """Click with the mouse on a unit's cell."""
    x, y = window.run(CLICK, index, unit)
    for kind in ("mousePressed", "mouseReleased"):
        window.devtools(
            "Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1
        )


def shown_probs(window: Any) -> list[float]:
    window.wait_until("return !asking")
    return [float(text.removeprefix("scaleX(")[:-1]) for text in window.run(PROBS)]


@chromium
def test_what_is_broken_by_hand_is_seen_at_once_and_undone(
    file: Path, run: Path, window: Any
) -> None:
    window.open(f"file://{file}")
    window.draw("#paper", *HANDS["european"]["4"])
    before = shown_probs(window)
    model = load_model(run)
    drawing = np.array(window.run("return [...drawing()]"), np.uint8)
    pixels = torch.from_numpy(drawing_as_mnist(drawing.reshape(SIDE, SIDE)) / 255).float()

    def probs(change: Callable[[Any], None]) -> np.ndarray:
        broken = copy.deepcopy(model)
        change(broken.layers)
        with torch.inference_mode():
            return broken(pixels.view(1, 1, 28, 28)).double().softmax(dim=1)[0].numpy()

    def silence(layers: Any) -> None:
        layers[2].weight[[3, 7]] = 0
        layers[2].bias[[3, 7]] = 0

    def zero(layers: Any) -> None:
        layers[0].weight[5] = 0

    def press(name: str) -> None:
        window.run(
            "[...document.querySelectorAll('button')]"
            ".find((each) => each.textContent === arguments[0]).click()",
            name,
        )

    with torch.no_grad():
        for unit in (3, 7, 9, 9):  # the last is clicked away again
            click(window, 2, unit)
        np.testing.assert_allclose(shown_probs(window), probs(silence), atol=5e-3)
        assert np.abs(np.subtract(shown_probs(window), before)).max() > 1e-2
        for _ in range(4):
            press("undo")
        assert shown_probs(window) == before
        window.run("pointAt(views[0], 5)")
        press("zero its weights")
        np.testing.assert_allclose(shown_probs(window), probs(zero), atol=5e-3)
        assert np.abs(np.subtract(shown_probs(window), before)).max() > 1e-2
    press("mend all")
    for share in (1, 2):
        window.run(
            "const { slider } = views[0];"
            "slider.value = arguments[0];"
            "slider.dispatchEvent(new Event('input'));",
            share,
        )
        assert max(abs(np.array(shown_probs(window)) - before)) > 0.01
    press("undo")  # of both pulls at once
    assert shown_probs(window) == before

    # The canvas of the first ReLU: the stronger, the larger a value.
    strength, values, most = window.run(
        "const { values } = forward(runs[0].layers, Float32Array.from(arguments[0])).layers[1];"
        "const { canvas } = views.find((view) => view.index === 1);"
        "const pixels = canvas.getContext('2d').getImageData(1, 1, 26, 26).data;"
        "const strength = [...pixels].filter((_, i) => i % 4 === 3);"
        "return [strength, [...values.subarray(0, 26 * 26)], Math.max(...values)];",
        pixels.flatten().tolist(),
    )
    np.testing.assert_allclose(strength, 255 * np.array(values) / most, atol=3)
    assert np.ptp(strength) > 20
    assert window.complaints() == []


def unsure_of(run: Path) -> Unsure:
    stored = StoredRun.find(run, checkpoint="last")
    return load_unsure(stored, stored.load()[0])


def rows_of(text: str, width: int) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), np.int8).astype(float).reshape(-1, width)


@chromium
def test_a_page_says_where_its_network_is_unsure(file: Path, run: Path, window: Any) -> None:
    """Its distances are those of the directions in the file; so far off that it says so, or not."""
    unsure = unsure_of(run)
    told = doubt(unsure)
    window.open(f"file://{file}")
    window.draw("#paper", *HANDS["plain"]["4"])
    window.wait_until("return digits.length")
    seen = window.run(
        "return [...Uint8Array.from(atob(digits[0][0].image), (c) => c.charCodeAt(0))]"
    )
    images = torch.tensor(seen, dtype=torch.uint8).view(1, 1, 28, 28)
    given, _ = layer_inputs(unsure.model, images, last=2)
    expected = 0.0
    for weight, values, layer in zip((1, OUTPUT_WEIGHT), given, told["layers"], strict=True):
        narrow = values[0].double().numpy()
        if layer["matrix"]:
            narrow = rows_of(layer["matrix"], len(narrow)) @ narrow
        known = rows_of(layer["known"], len(narrow)) * layer["step"]
        cosine = np.sort(known @ (narrow / np.linalg.norm(narrow)))[-3]
        expected += weight * np.sqrt(2 - 2 * cosine)
    script = """
    const [most, least] = arguments;
    Object.assign(alone.doubt, { most, least });
    const { unsure } = alone.read(drawing());
    digits[0][0].unsure = unsure;
    show();
    return [unsure, document.querySelector('.remark').textContent.slice(0, 8)];
    """
    assert window.run(script, expected + 1e-3, 0) == [False, ""]
    assert window.run(script, expected - 1e-3, 0) == [True, "unsure: "]
    assert window.run(script, 9, 1.1) == [True, "unsure: "]  # its best class is not likely enough
    assert window.complaints() == []


@chromium
def test_nothing_but_the_page_s_own_scripts_runs(file: Path, window: Any) -> None:
    window.open(f"file://{file}")
    window.run(
        "const added = document.createElement('script');"
        "added.textContent = 'window.strange = true';"
        "document.body.append(added);"
        "document.body.append(Object.assign(new Image(), { src: 'http://127.0.0.1:9/' }));"
    )
    assert window.run("return window.strange") is None
    blocked = "\n".join(window.complaints())
    assert "inline script" in blocked
    assert "http://127.0.0.1:9/" in blocked


@chromium
def test_a_drawing_is_brought_to_28x28_as_in_python(window: Any) -> None:
    """Thirty digits of three hands, dots, and the digits small, stretched and slanted."""
    rng = np.random.default_rng(0)
    changed = [
        [[tuple(p) for p in (np.array(stroke) - 0.5) @ matrix * size + place] for stroke in strokes]
        for strokes in DIGITS
        for matrix, size, place in [
            (
                np.eye(2) + rng.normal(0, 0.15, (2, 2)),
                rng.uniform(0.2, 0.8),
                rng.uniform(0.3, 0.7, 2),
            )
        ]
    ]
    dots = [[[tuple(rng.uniform(0, 1, 2))]] for _ in range(5)]
    window.open(f"file://{FOLDER}/index.html")
    script = (FOLDER / "network.js").read_text() + (FOLDER / "picture.js").read_text()
    script += """
    return arguments[0].map((lines) => {
      strokes = lines.map((line) => line.map((point) => point.map((each) => each * paper.width)));
      return [[...drawing()], [...toMnist(drawing())]];
    });
    """
    apart = []
    for drawing, seen in window.run(script, [*DIGITS, *changed, *dots]):
        expected = drawing_as_mnist(np.array(drawing, np.uint8).reshape(SIDE, SIDE)).astype(int)
        assert expected.sum() > 5_000
        apart.append(np.abs(expected - np.array(seen).reshape(28, 28)).max())
    assert np.median(apart) <= 1  # of 255 grey levels
    assert max(apart) <= 10
    blank = "return toMnist(new Uint8Array(140 * 140).fill(255))"
    scripts = script.partition("return arguments")[0]
    assert window.run(scripts + blank) is None


def test_a_page_is_unsure_of_as_many_digits_as_its_run(run: Path) -> None:
    unsure = unsure_of(run)
    rng = torch.Generator().manual_seed(0)
    spread = torch.rand((2_000, 1), generator=rng)  # some lie among others, some do not

    def strewn(width: int) -> torch.Tensor:
        one = torch.randn((1, width), generator=rng)
        return unit(one + spread * torch.randn((2_000, width), generator=rng))

    known = tuple(strewn(each.shape[1]) for each in unsure.known)
    far = torch.zeros(2_000)
    for weight, rows in zip((1, OUTPUT_WEIGHT), known, strict=True):
        chords = torch.cdist(rows, rows).sort(dim=1).values[:, 3]  # the first is that to itself
        far += weight * chords
    most = float(far.sort().values[-61])
    told = doubt(dataclasses.replace(unsure, known=known, most=most))
    distances = np.zeros(2_000)
    for layer, rows in zip(told["layers"], known, strict=True):
        width = 32 if rows.shape[1] == MAX_WIDTH else 25  # of 9,680 values, and of 25
        narrow = rows_of(layer["known"], width) * layer["step"]
        order = narrow / np.linalg.norm(narrow, axis=1, keepdims=True)
        nearest = np.sort(order @ order.T, axis=1)[:, -4]
        distances += layer["weight"] * np.sqrt(2 - 2 * nearest.clip(max=1))
    assert int((distances > told["most"]).sum()) == pytest.approx(60, abs=3)


def test_a_page_is_small(file: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unsure = unsure_of(run)
    more = tuple(each[:1].expand(20_000, -1) for each in unsure.known)  # as many as a run keeps
    told = (unsure, dataclasses.replace(unsure, known=more))
    few, most = (len(json.dumps(doubt(each))) for each in told)
    num_params = sum(weight.numel() for weight in load_model(run).parameters())
    num_bytes = file.stat().st_size
    # What 300,000 parameters would take.
    assert num_bytes + most - few + 4 * (300_000 - num_params) * 4 / 3 <= MAX_BYTES
    export_command([str(run), "--page", str(file)])  # again, over the first
    assert (
        capsys.readouterr().out
        == f"{file}: {num_bytes / 1e6:.2f} MB; open it in a browser and draw.\n"
    )


def test_what_cannot_become_a_page_is_refused(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(message: str, *args: str) -> None:
        with pytest.raises(Refused, match=message):
            export_command([str(run), *args])

    refused(
        f"--page {tmp_path}: must be a file to write that ends in .html", "--page", str(tmp_path)
    )
    (tmp_path / "folder.html").mkdir()
    refused("folder.html: is a directory", "--page", f"{tmp_path}/folder.html")
    (tmp_path / "in_the_way").write_text("")
    refused("page.html: cannot be written", "--page", f"{tmp_path}/in_the_way/page.html")
    page = ["--page", f"{tmp_path}/page.html"]
    refused("--out elsewhere: a page goes where --page says", *page, "--out", "elsewhere")
    refused("data.root=x: a page needs no images; leave it out", *page, "data.root=x")
    monkeypatch.setattr(network, "TOLERANCE", -1.0)
    refused("a page cannot compute this network: its forward does more", *page)
    assert not (tmp_path / "page.html").exists()


def test_as_a_process(run: Path, verbs: Warm, tmp_path: Path) -> None:
    """Where neither the images nor the page's folder are there."""
    moved = shutil.copytree(run, tmp_path / "moved")
    (moved / "config.yaml").write_text(
        (moved / "config.yaml").read_text().replace(str(run.parent), str(tmp_path / "gone"))
    )
    (moved / "unsure-last.npz").unlink()
    ended = verbs.run("mnist_lab.export", "moved", "--page", "new/a.html", cwd=tmp_path)
    assert (ended.code, ended.stderr) == (0, "")
    assert ended.stdout.startswith("new/a.html: ")
    assert "Whether the network is unsure cannot be told" in ended.stdout
    assert 'id="doubt">{}</script>' in (tmp_path / "new/a.html").read_text()
    assert "connect-src" not in (tmp_path / "new/a.html").read_text()
