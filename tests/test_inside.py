"""The inside on the page of mnist-demo, in a real browser, against the module in torch."""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from processes import Warm
from test_demo import SEVEN, SIDE, ask, chromium, image, read, serving

from mnist_lab.evaluation.unsure import METHOD, load_unsure, weights_sha256, write_unsure
from mnist_lab.run.stored import StoredRun

# The browser serves the pictures of the README, too, and is no part of the package.
sys.path.append(str(Path(__file__).parents[1] / "docs"))
browser: Any = importlib.import_module("browser")

ONE = [(0.5, 0.2), (0.5, 0.8)]
CNN = ("model=cnn", "model.channels=[3,4]", "model.width=16")
DRAWN = "return !asking && digits.length === arguments[0]"
PROBS = "return [...document.querySelectorAll('.answer')].map((card) => [...card.querySelectorAll"
PROBS += "('.fill')].map((bar) => +bar.style.transform.slice(7, -1)))"


@pytest.fixture(scope="module")
def window() -> Iterator[Any]:
    with browser.Browser.started() as window:
        window.resize(1000, 900)
        yield window


@pytest.fixture(scope="module")
def runs(train_run: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    parent = tmp_path_factory.mktemp("inside")
    return [train_run(parent, *CNN), train_run(parent)]


@pytest.fixture(scope="module")
def port(runs: list[Path], verbs: Warm) -> Iterator[int]:
    with serving(runs[0], verbs, str(runs[1])) as (_, port):
        yield port


@pytest.fixture
def page(window: Any, port: int) -> Any:
    window.open(f"http://127.0.0.1:{port}/")
    window.wait_until("return views.length")
    return window


def draw(page: Any, *lines: Any) -> None:
    """Digits beside each other, from left to right."""
    for k, line in enumerate(lines):
        page.draw("#paper", [((k + x) / len(lines), y) for x, y in line])
    page.wait_until(DRAWN, len(lines))


def press(page: Any, name: str) -> None:
    page.run(
        "[...document.querySelectorAll('button')]"
        ".find((each) => each.textContent === arguments[0]).click()",
        name,
    )


def answers(run: Path, pixels: np.ndarray) -> list[np.ndarray]:
    """What each module without children gives, and the probabilities."""
    model, _ = StoredRun.find(run, checkpoint="last").load()
    found: list[np.ndarray] = []
    for each in model.modules():
        if not [*each.children()]:
            each.register_forward_hook(lambda _, __, out: found.append(out[0].clone().numpy()))
    with torch.inference_mode():
        logits = model(torch.from_numpy(pixels.copy()).view(1, 1, 28, 28) / 255)
    return [*found, logits[0].softmax(0).numpy()]


def seen(port: int, page: Any) -> np.ndarray:
    return image(read(port, np.array(page.run("return [...drawing()]"), np.uint8))["image"])


@chromium
def test_every_layer_answers_as_in_the_module(page: Any, port: int, runs: list[Path]) -> None:
    draw(page, SEVEN)
    pixels = seen(port, page)
    for k, run in enumerate(runs):
        page.run("lookInto(arguments[0])", k)
        *expected, probs = answers(run, pixels)
        layers = page.run("return answered.layers.map(({ values }) => [...values])")
        assert len(layers) == len(expected)
        for values, module in zip(layers, expected, strict=True):
            np.testing.assert_allclose(values, module.flatten(), atol=1e-4)
        np.testing.assert_allclose(page.run(PROBS)[k], probs, atol=1e-3)
        names = page.run(
            "return [...document.querySelectorAll('#layers code')].map((e) => e.innerText)"
        )
        assert names[0].startswith("layers.0")
        assert any("Linear(" in name for name in names)
    assert page.complaints() == []


@chromium
def test_two_networks_answer_one_drawing(page: Any, port: int) -> None:
    draw(page, SEVEN)
    drawing = np.array(page.run("return [...drawing()]"), np.uint8)
    shown = page.run(PROBS)
    assert len(shown) == 2
    for k in (0, 1):
        status, _, content = ask(port, "POST", f"/read?run={k}", drawing.tobytes())
        assert status == 200
        np.testing.assert_allclose(shown[k], json.loads(content)["probs"], atol=1e-3)
    assert np.abs(np.subtract(*shown)).max() > 1e-3


@chromium
def test_an_unsure_network_says_so(
    window: Any, train_run: Callable[..., Path], tmp_path: Path, verbs: Warm
) -> None:
    runs = [train_run(tmp_path / name) for name in ("never", "always")]
    for run, most in zip(runs, (9.0, -1.0), strict=True):
        stored = StoredRun.find(run, checkpoint="last")
        model, _ = stored.load()
        unsure = dataclasses.replace(load_unsure(stored, model), most=most, least=0.0)
        identity = f"{METHOD} {weights_sha256(model)}"
        write_unsure(run / "unsure-last.npz", unsure, identity=identity)
    remarks = "return [...document.querySelectorAll('.remark')].map((each) => each.textContent)"
    with serving(runs[0], verbs, str(runs[1])) as (_, port):
        window.open(f"http://127.0.0.1:{port}/")
        window.wait_until("return views.length")
        draw(window, SEVEN)
        sure, unsure_words = window.run(remarks)
        assert sure == ""
        assert unsure_words.startswith("unsure: ")
        window.run("document.getElementById('clear').click()")
        assert window.run(remarks) == ["", ""]


@chromium
def test_a_finger_points_and_breaks_and_the_breaking_is_undone(page: Any) -> None:
    page.resize(390, 844, touch=True)
    try:
        draw(page, SEVEN)
        before = page.run(PROBS)
        assert page.run("return document.querySelector('#mend button').disabled")
        box = page.run(
            "const { canvas } = views.at(-1); canvas.scrollIntoView({ block: 'center' });"
            "const { left, top, width, height } = canvas.getBoundingClientRect();"
            "return [left + (7.5 / 10) * width, top + height / 2, width / 10]"
        )
        assert box[2] > 15  # CSS pixels a unit
        touch = [{"x": box[0], "y": box[1]}]
        page.devtools("Input.dispatchTouchEvent", type="touchStart", touchPoints=touch)
        page.devtools("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        page.wait_until("return isBroken()")
        last = page.run("return views.at(-1).index")
        assert page.run("return broken.silenced") == {str(last): [7]}
        assert page.run("return document.getElementById('name').textContent").startswith(
            f"{page.run('return runs[0].layers.at(-1).name')}, unit 7 for 7"
        )
        assert page.run(PROBS)[0] != before[0]
        press(page, "undo")
        assert page.run(PROBS) == before
    finally:
        page.resize(1000, 900)


@chromium
def test_digits_beside_each_other_are_read_one_by_one(page: Any, port: int) -> None:
    draw(page, ONE, SEVEN, ONE)
    parts = page.run("return groups().map((each) => [...drawing(each)])")
    best = [int(np.argmax(read(port, np.array(part, np.uint8))["probs"])) for part in parts]
    shown = page.run("return [...document.querySelectorAll('#found li')].map((e) => e.innerText)")
    assert [text.split()[0] for text in shown] == [str(each) for each in best]
    for k in (1, 0):
        page.run("document.querySelectorAll('#found button')[arguments[0]].click()", k)
        assert page.run("return document.getElementById('digit').textContent") == str(best[k])
    page.run("document.getElementById('back').click()")  # the last stroke
    page.wait_until(DRAWN, 2)


@chromium
def test_what_is_shown_to_the_networks_can_be_changed_and_undone(page: Any, port: int) -> None:
    draw(page, SEVEN)
    whole, before = seen(port, page).astype(int), page.run(PROBS)
    levels = "const { data } = document.getElementById('seen').getContext('2d')"
    levels += ".getImageData(0, 0, 28, 28); return [...data].filter((_, i) => i % 4 === 0)"

    def ink() -> np.ndarray:
        return 255 - np.array(page.run(levels)).reshape(28, 28)

    changes: dict[str, Callable[[np.ndarray], bool]] = {
        "invert": lambda now: bool((now == 255 - whole).all()),
        "→": lambda now: bool((now[:, 2:] == whole[:, :-2]).all()),
        "↑": lambda now: bool((now[:-2] == whole[2:]).all()),
        "thicker": lambda now: bool((now >= whole).all() and now.sum() > 1.2 * whole.sum()),
        "thinner": lambda now: bool((now <= whole).all() and now.sum() < 0.8 * whole.sum()),
        "blur": lambda now: bool(
            now.max() <= whole.max() and abs(now.sum() / whole.sum() - 1) < 0.02
        ),
        "turn left": lambda now: bool(
            abs(now.sum() / whole.sum() - 1) < 0.1 and (now != whole).any()
        ),
    }
    for name, is_so in changes.items():
        press(page, name)
        assert is_so(ink()), name
        assert page.run(PROBS) != before, name
        press(page, "undo")
        np.testing.assert_array_equal(ink(), whole)
        assert page.run(PROBS) == before


@chromium
def test_units_are_silenced_by_keys_alone(page: Any) -> None:
    draw(page, SEVEN)
    before = page.run(PROBS)
    page.run("views[1].canvas.focus()")
    keys = {"ArrowRight": 39, "Enter": 13, "Escape": 27}

    def key(name: str) -> None:
        for kind in ("keyDown", "keyUp"):
            page.devtools(
                "Input.dispatchKeyEvent", type=kind, key=name, windowsVirtualKeyCode=keys[name]
            )

    key("ArrowRight")
    assert page.run("return [pointed.layer, pointed.unit]") == [
        page.run("return views[1].index"),
        1,
    ]
    key("Enter")
    assert page.run("return broken.silenced") == {str(page.run("return views[1].index")): [1]}
    values = page.run(
        "const { values, shape } = answered.layers[views[1].index];"
        "return [...values.slice(shape[1] * shape[2], 2 * shape[1] * shape[2])]"
    )
    assert set(values) == {0}
    assert page.run(PROBS)[0] != before[0]
    assert page.run(PROBS)[1] == before[1]  # the other network is whole
    key("Escape")
    assert page.run("return strokes.length") == 0


@chromium
def test_why(page: Any, port: int, runs: list[Path]) -> None:
    draw(page, SEVEN)
    near = page.run("return document.getElementById('nearest').textContent")
    labels = [
        each["label"]
        for each in read(port, np.array(page.run("return [...drawing()]"), np.uint8))["neighbours"]
    ]
    best = int(np.argmax(page.run(PROBS)[0]))
    assert near.endswith(f"{labels.count(best)} of 8 are labelled {best}.")
    page.run("document.getElementById('cover').click()")
    page.wait_until("return !document.getElementById('covered').hidden")
    told = page.run("return document.getElementById('explained').textContent")
    assert f"{best} loses up to " in told
    other = (best + 3) % 10
    page.run("document.getElementById('towards').selectedIndex = arguments[0];", other)
    page.run("document.getElementById('go').click()")
    page.wait_until("return document.getElementById('explained').textContent.startsWith('After')")
    status, _, content = ask(port, "POST", f"/towards?label={other}", seen(port, page).tobytes())
    moved = json.loads(content)
    assert status == 200
    probs = answers(runs[0], image(moved["image"]))[-1]
    assert probs[other] == pytest.approx(moved["prob"], abs=1e-4)
    assert moved["prob"] > page.run(PROBS)[0][other]
    draw(page, ONE)  # a change of the drawing: what was explained is gone
    assert page.run("return document.getElementById('explained').textContent") == ""


def test_wrong_questions(port: int) -> None:
    for path, body in (
        ("/read?run=2", bytes(SIDE * SIDE)),
        ("/read?run=-1", bytes(SIDE * SIDE)),
        ("/towards?label=10", bytes(784)),
        ("/towards?label=x", bytes(784)),
        ("/towards?label=1", bytes(783)),
    ):
        assert ask(port, "POST", path, body)[0] == 400, path
    assert ask(port, "POST", "/towards?label=1", bytes(785))[0] == 413
    assert ask(port, "GET", "/inside?run=7")[0] == 400


def test_runs_of_other_classes_are_refused(
    runs: list[Path], train_run: Callable[..., Path], tmp_path: Path, verbs: Warm
) -> None:
    other = train_run(tmp_path, f"data.class_names=[{','.join('abcdefghij')}]")
    ended = verbs.run("mnist_lab.demo", str(runs[0]), str(other), "--port", "0", cwd=tmp_path)
    assert ended.code == 2
    assert "has other classes than" in ended.stderr
    assert len(ended.stderr.splitlines()) <= 2
