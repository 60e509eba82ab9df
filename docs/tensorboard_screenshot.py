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
from urllib.parse import urlencode

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

# Curves alone, unsmoothed, coloured by optimizer.
TIME_SERIES = {
    "tagFilter": "^(train|val)/",
    "smoothing": 0,
    "runColorGroup": r"regex:optimizer=(\w+)",
}


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


def tick(browser: Browser, *names: str, on: bool) -> None:
    """Set checkboxes; those that are so already, or not there, are left alone."""
    for name in names:
        browser.run(PRESS, f"paper-checkbox{':not([checked])' if on else '[checked]'}", name)


def take_pictures(browser: Browser, address: str, folder: Path) -> None:
    """Go through Time Series, the table of HParams and its parallel coordinates."""

    def picture(name: str) -> None:
        time.sleep(3)  # charts are still moving
        (folder / f"tensorboard_{name}.png").write_bytes(browser.picture())

    browser.resize(1600, 860)
    browser.open(f"{address}/?{urlencode(TIME_SERIES)}#timeseries")
    wait_for(browser, "Tags matching filter", "val", "/loss")
    press(browser, "button", "Settings")
    picture("time_series")

    browser.open(f"{address}/#hparams")
    wait_for(browser, "Trial ID", "test/acc")
    tick(browser, "seed", "data", "gap", "lr", on=False)
    tick(browser, "val/acc", "val/loss", on=True)
    press(browser, "paper-item", "val/acc")  # to sort by
    press(browser, "paper-item", "Descending")
    picture("table")

    press(browser, "paper-tab", "PARALLEL COORDINATES VIEW")
    wait_for(browser, "Color by")
    press(browser, "paper-item", "val/acc")
    picture("parallel")


def main(logdir: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tensorboard(logdir) as address, Browser.started() as browser:
        wait_until_read(address, logdir)
        take_pictures(browser, address, folder)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
