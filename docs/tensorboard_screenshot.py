"""Look at a sweep in TensorBoard with a real browser: tensorboard_screenshot.py LOGDIR FOLDER

Writes tensorboard_time_series.png, tensorboard_table.png and tensorboard_parallel.png to FOLDER.
browser.py says what it needs.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from browser import PATIENCE_S, Browser, server

# TensorBoard's HParams tab lies inside nested shadow roots, where a selector does not reach.
EVERYTHING = """
const found = [];
const visit = (root) => root.querySelectorAll('*').forEach((element) => {
  found.push(element);
  if (element.shadowRoot) visit(element.shadowRoot);
});
visit(document);
"""
TEXT = f"""{EVERYTHING}
const leaves = found.filter((e) => !e.childElementCount && !e.matches('style, script'));
const texts = leaves.map((leaf) => leaf.textContent.trim()).filter(Boolean);
"""
PRESS = f"""{EVERYTHING}
const [selector, text] = arguments;
const hits = found.filter((e) => e.matches(selector) && e.textContent.trim() === text);
hits.forEach((element) => element.click());
return hits.length;
"""

# What TensorBoard shows before anybody clicks.
CHARTS = """
const texts = (selector) => [...document.querySelectorAll(selector)]
  .map((element) => element.title || element.textContent.trim()).filter(Boolean);
return [texts('runs-data-table .cell'), texts('scalar-card .tag')];
"""
COLUMNS = f"""{EVERYTHING}
const cells = found.filter((e) => e.matches('vaadin-grid-cell-content'));
return cells.map((cell) => cell.textContent.trim()).filter(Boolean);
"""
LINES = f"""{EVERYTHING}
const menu = found.find((e) => e.id === 'colorByDropDownMenu');
return [menu.value, found.filter((e) => e.matches('g.foreground path')).length];
"""


def tensorboard(logdir: Path) -> contextlib.AbstractContextManager[str]:
    """A server on a free port; gives its address."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logdir)]
    return server([*command, "--host", "127.0.0.1", "--port", "0"], r"(http://[\w.]+:\d+)")


def ask(url: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        return json.load(answer)


def wait_until_read(address: str, logdir: Path) -> None:
    """Wait until TensorBoard, which answers before it has read anything, shows all runs."""
    num_runs = len({file.parent for file in logdir.rglob("*tfevents*")})
    deadline = time.monotonic() + PATIENCE_S
    while (found := len(ask(f"{address}/data/runs"))) < num_runs:
        if time.monotonic() > deadline:
            raise TimeoutError(f"TensorBoard shows {found} of {num_runs} runs")
        time.sleep(0.5)


def texts(browser: Browser) -> list[str]:
    """All that is written on the page, piece by piece."""
    return list(browser.run(f"{TEXT} return texts;"))


def wait_for(browser: Browser, *words: str) -> None:
    browser.wait_until(f"{TEXT} return arguments[0].every((word) => texts.includes(word));", words)


def press(browser: Browser, selector: str, text: str) -> None:
    """Click the elements that match and have exactly this text."""
    if not browser.run(PRESS, selector, text):
        raise LookupError(f"the page has no {selector} called {text}")


def take_pictures(browser: Browser, address: str, folder: Path) -> tuple[Any, Any, Any]:
    """Go through Time Series, the table of HParams and its parallel coordinates, as they open.

    Returns:
        Runs and charts; columns; by what how many lines are coloured.
    """

    def picture(name: str, shown: str) -> Any:
        time.sleep(3)  # charts are still moving
        (folder / f"tensorboard_{name}.png").write_bytes(browser.picture())
        return browser.run(shown)

    browser.resize(1600, 860)
    browser.open(address)
    wait_for(browser, "2. train")
    charts = picture("time_series", CHARTS)
    browser.open(f"{address}/#hparams")
    wait_for(browser, "Trial ID")
    columns = picture("table", COLUMNS)
    press(browser, "paper-tab", "PARALLEL COORDINATES VIEW")
    wait_for(browser, "Color by")
    return charts, columns, picture("parallel", LINES)


def main(logdir: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tensorboard(logdir) as address, Browser.started() as browser:
        wait_until_read(address, logdir)
        take_pictures(browser, address, folder)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
