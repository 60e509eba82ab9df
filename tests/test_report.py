"""mnist-compare --html: one file, looked at in a real browser from disk, with no network."""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from test_compare import ACCURACIES, finished, read_results, study

from mnist_lab.compare import compare_command
from mnist_lab.study.curves import read_curves
from mnist_lab.study.html import plotly_script, write_html
from mnist_lab.ui.errors import Refused

# The browser serves the pictures of the README, too, and is no part of the package.
sys.path.append(str(Path(__file__).resolve().parent.parent / "docs"))
browser: Any = importlib.import_module("browser")
needs_plotly = pytest.mark.skipif(plotly_script() is None, reason="needs the extra report")
HOSTILE = "</script><img src=x onerror=document.title=1>"


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweeps")
    for (optimizer, width), accuracies in ACCURACIES.items():
        for seed, acc in enumerate(accuracies):
            path = folder / f"{optimizer}_{width}_{seed}"
            overrides = [f"optimizer={optimizer}", f"model.width={width}"]
            finished(path, *overrides, seed=seed, val_acc=acc, num_params=795 * width + 10)
    return folder


def document(path: Path) -> dict[str, Any]:
    """What the page was given."""
    (found,) = re.findall(
        r'<script id="data" type="application/json">(.*)</script>', path.read_text()
    )
    return json.loads(found)


@needs_plotly
def test_the_report_holds_the_studys_figures_and_plotly_once(
    sweep: Path, tmp_path: Path, capsys: Any
) -> None:
    file = tmp_path / "new" / "report.html"
    compare_command([str(sweep), "--html", str(file), "--out", str(tmp_path)])
    assert f"report: {file}" in capsys.readouterr().err
    found = study(read_results([sweep])[0])
    given = document(file)
    assert given["verdict"] == [*found.verdict]
    assert [row[1:3] for row in given["table"][1:]] == [
        *(["adam", "128"], ["adam", "32"], ["sgd", "128"], ["sgd", "32"])
    ]
    assert all(
        len(row) == len(keys) for row, keys in zip(given["table"][1:], given["sort"], strict=True)
    )
    kinds = [[trace["type"] for trace in figure["data"]] for figure in given["figures"]]
    assert [set(kind) for kind in kinds] == [{"scatter"}, {"parcoords"}, {"scatter"}, {"scatter"}]
    dots, lines, *_ = given["figures"]
    means = [100 * sum(values) / 3 for values in ACCURACIES.values()]
    assert sorted(x for trace in dots["data"] for x in trace["x"]) == pytest.approx(sorted(means))
    assert [axis["label"] for axis in lines["data"][0]["dimensions"]] == [
        *("optimizer", "width", "val/acc %")
    ]
    assert file.read_text().count("plotly.js v") == 1
    assert file.stat().st_size < 6e6


def test_without_plotly_the_plots_are_as_ever_and_a_line_names_the_extra(
    sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    file, out = tmp_path / "a.html", tmp_path / "out"
    compare_command([str(sweep), "--html", str(file), "--out", str(out)])
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "No report" in line] == [
        "No report: it needs plotly; pip install 'mnist_lab[report]'"
    ]
    assert not file.exists()
    assert (out / "effects.png").exists()


@needs_plotly
def test_a_file_that_cannot_be_written_is_refused(sweep: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(Refused, match=r"--html .*folder: cannot be written"):
        compare_command([str(sweep), "--html", str(tmp_path / "folder")])


@needs_plotly
@pytest.mark.chromium
@pytest.mark.skipif(bool(browser.missing()), reason="needs chromium and chromium-driver")
def test_the_report_in_a_browser(sweep: Path, tmp_path: Path) -> None:
    """Sorted by a click, dark where the system is, no request, and nothing from a run is markup."""
    found = study(read_results([sweep])[0])
    file = tmp_path / "report.html"
    script = plotly_script()
    assert script is not None
    write_html(found, read_curves(found), file, script=script, remarks=[HOSTILE])
    with browser.Browser.started() as window:
        window.resize(1200, 900)
        window.open(f"file://{file}")
        drawn = "return document.querySelectorAll('.js-plotly-plot .main-svg').length > 0"
        window.wait_until(drawn)
        assert window.run("return document.querySelectorAll('.js-plotly-plot').length") == 4
        assert window.run("return document.getElementById('notes').textContent") == HOSTILE
        assert window.run("return document.title") == "4 settings by val/acc"
        column = (
            "return [...document.querySelectorAll('#settings td:nth-child(3)')]"
            ".map((cell) => cell.textContent)"
        )
        assert window.run(column) == ["128", "32", "128", "32"]
        click = "document.querySelectorAll('#settings th button')[2].click()"
        window.run(click)
        assert window.run(column) == ["32", "32", "128", "128"]
        window.run(click)
        assert window.run(column) == ["128", "128", "32", "32"]
        for scheme, paper in (("light", "#fff"), ("dark", "#16181c")):
            features = [{"name": "prefers-color-scheme", "value": scheme}]
            window.devtools("Emulation.setEmulatedMedia", features=features)
            window.wait_until(
                "return [...document.querySelectorAll('.js-plotly-plot')]"
                ".every((plot) => plot._fullLayout.paper_bgcolor === arguments[0])",
                paper,
            )
        body = window.run("return getComputedStyle(document.body).backgroundColor")
        assert body == "rgb(22, 24, 28)"
        assert window.run("return performance.getEntriesByType('resource').length") == 0
        assert window.complaints() == []
