"""experiment=handwriting: digits of three hands, drawn with the mouse on the page, are read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import Warm
from test_demo import SETTLED, browser, chromium, opened, serving
from tiny_run import train_run

from mnist_lab.data.installed import INSTALL, installed_copy
from mnist_lab.run.directory import read_metrics
from mnist_lab.settings.compose import checked, compose
from mnist_lab.settings.groups import conf_dir
from mnist_lab.settings.table import SETTINGS

HANDS: dict[str, dict[str, list[Any]]] = json.loads(
    (Path(__file__).parent / "strokes.json").read_text()
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if installed_copy() is None:
        pytest.skip(f"needs MNIST itself: {INSTALL}")
    return train_run(tmp_path_factory.mktemp("handwriting") / "run", "experiment=handwriting")


@pytest.fixture(scope="module")
def window() -> Iterator[Any]:
    with browser.Browser.started() as window:
        window.resize(1000, 760)
        yield window


def read_wrongly(window: Any, port: int) -> list[str]:
    """Draw thirty digits with the mouse; what is read of those that are read wrongly."""
    wrong = []
    for hand, digits in HANDS.items():
        for digit, strokes in digits.items():
            opened(window, port)
            window.draw("#paper", *strokes)
            window.wait_until(SETTLED)
            read = window.run("return document.getElementById('digit').textContent")
            wrong += [] if read == digit else [f"{hand} {digit}: {read}"]
    return wrong


@pytest.mark.slow
@chromium
def test_thirty_digits_drawn_with_the_mouse_are_read(run: Path, window: Any, verbs: Warm) -> None:
    assert sum(len(digits) for digits in HANDS.values()) == 30
    with serving(run, verbs) as (_, port):
        assert read_wrongly(window, port) == []


@pytest.mark.slow
def test_it_is_as_good_on_the_test_split_as_it_says(run: Path) -> None:
    assert read_metrics(run)["test/acc"] >= 0.99


def test_every_way_to_redraw_is_of_a_recipe() -> None:
    """No setting without a use: each `data.max_...` is above 0 somewhere."""
    names = [name for name in SETTINGS if name.startswith("data.max_")]
    recipes = [path.stem for path in (conf_dir() / "experiment").glob("*.yaml")]
    configs = [checked(compose([f"experiment={name}"]))["data"] for name in recipes]
    for name in names:
        assert any(data[name.removeprefix("data.")] > 0 for data in configs), name
