"""Look at a sweep in TensorBoard with a real browser: tensorboard_screenshot.py LOGDIR FOLDER

Writes tensorboard_time_series.png, tensorboard_table.png and tensorboard_parallel.png to FOLDER.
Needs Debian's packages chromium and chromium-driver; no other, as the driver speaks plain HTTP
(W3C WebDriver).
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

WIDTH, HEIGHT = 1600, 1000  # pixels of the window
PATIENCE_S = 120  # until something that must appear is given up
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", f"--window-size={WIDTH},{HEIGHT}")

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
return leaves.map((leaf) => leaf.textContent.trim()).filter(Boolean);
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


def request(url: str, body: dict[str, Any] | None = None, *, method: str | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    with urllib.request.urlopen(
        urllib.request.Request(url, data, headers, method=method), timeout=PATIENCE_S
    ) as answer:
        return json.load(answer)


@contextlib.contextmanager
def server(command: list[str], pattern: str) -> Iterator[str]:
    """Start a server on a free port; yield what its output says of its address."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        try:
            said = ""
            for line in process.stdout:
                said += line
                if address := re.search(pattern, line):
                    yield address[1]
                    break
            else:
                raise RuntimeError(f"{command[0]} ended:\n{said}")
        finally:
            process.terminate()


def tensorboard(logdir: Path) -> contextlib.AbstractContextManager[str]:
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logdir)]
    return server([*command, "--host", "127.0.0.1", "--port", "0"], r"(http://[\w.]+:\d+)")


class Browser:
    """A headless Chromium, driven through one WebDriver session."""

    def __init__(self, driver: str) -> None:
        self.driver = driver
        options = {"binary": shutil.which("chromium"), "args": FLAGS}
        capabilities = {"alwaysMatch": {"goog:chromeOptions": options}}
        answer = request(f"{driver}/session", {"capabilities": capabilities})
        self.session = f"{driver}/session/{answer['value']['sessionId']}"

    @classmethod
    @contextlib.contextmanager
    def started(cls) -> Iterator[Browser]:
        with server(["chromedriver", "--port=0"], r"successfully on port (\d+)") as port:
            browser = cls(f"http://127.0.0.1:{port}")
            try:
                yield browser
            finally:
                request(browser.session, method="DELETE")

    def open(self, url: str) -> None:
        request(f"{self.session}/url", {"url": "about:blank"})  # a new # alone loads nothing
        request(f"{self.session}/url", {"url": url})

    def run(self, script: str, *args: Any) -> Any:
        body = {"script": script, "args": list(args)}
        return request(f"{self.session}/execute/sync", body)["value"]

    def texts(self) -> list[str]:
        """All that is written on the page, piece by piece."""
        return list(self.run(TEXT))

    def wait_for(self, *words: str) -> None:
        """Wait until the page shows all of these texts."""
        deadline = time.monotonic() + PATIENCE_S
        while missing := set(words) - set(self.texts()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the page does not show {', '.join(missing)}")
            time.sleep(0.5)

    def press(self, selector: str, text: str) -> None:
        """Click the elements that match and have exactly this text."""
        if not self.run(PRESS, selector, text):
            raise LookupError(f"the page has no {selector} called {text}")

    def tick(self, *names: str, on: bool) -> None:
        """Set checkboxes; those that are so already, or not there, are left alone."""
        for name in names:
            self.run(PRESS, f"paper-checkbox{':not([checked])' if on else '[checked]'}", name)

    def picture(self, path: Path) -> None:
        time.sleep(3)  # charts are still moving
        path.write_bytes(base64.b64decode(request(f"{self.session}/screenshot")["value"]))


def wait_until_read(address: str, logdir: Path) -> None:
    """Wait until TensorBoard, which answers before it has read anything, shows all runs."""
    num_runs = len({file.parent for file in logdir.rglob("*tfevents*")})
    deadline = time.monotonic() + PATIENCE_S
    while (found := len(request(f"{address}/data/runs"))) < num_runs:
        if time.monotonic() > deadline:
            raise TimeoutError(f"TensorBoard shows {found} of {num_runs} runs")
        time.sleep(0.5)


def take_pictures(browser: Browser, address: str, folder: Path) -> None:
    """Go through Time Series, the table of HParams and its parallel coordinates."""
    browser.open(f"{address}/?{urlencode(TIME_SERIES)}#timeseries")
    browser.wait_for("Tags matching filter", "val", "/loss")
    browser.press("button", "Settings")
    browser.picture(folder / "tensorboard_time_series.png")

    browser.open(f"{address}/#hparams")
    browser.wait_for("Trial ID", "test/acc")
    browser.tick("seed", "data", "gap", "lr", on=False)
    browser.tick("val/acc", "val/loss", on=True)
    browser.press("paper-item", "val/acc")  # to sort by
    browser.press("paper-item", "Descending")
    browser.picture(folder / "tensorboard_table.png")

    browser.press("paper-tab", "PARALLEL COORDINATES VIEW")
    browser.wait_for("Color by")
    browser.press("paper-item", "val/acc")
    browser.picture(folder / "tensorboard_parallel.png")


def main(logdir: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tensorboard(logdir) as address, Browser.started() as browser:
        wait_until_read(address, logdir)
        take_pictures(browser, address, folder)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
