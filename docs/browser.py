"""A headless Chromium, driven over plain HTTP (W3C WebDriver).

Needs Debian's packages chromium and chromium-driver and nothing else.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any

PATIENCE_S = 120  # until something that must appear is given up
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")

Point = tuple[float, float]


def missing() -> list[str]:
    """Debian's packages that are needed and not installed."""
    commands = {"chromium": "chromium", "chromium-driver": "chromedriver"}
    return [package for package, command in commands.items() if shutil.which(command) is None]


def request(url: str, body: dict[str, Any] | None = None, *, method: str | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    with urllib.request.urlopen(
        urllib.request.Request(url, data, headers, method=method), timeout=PATIENCE_S
    ) as answer:
        return json.load(answer)["value"]


@contextlib.contextmanager
def server(command: Sequence[str], pattern: str) -> Iterator[str]:
    """Start a server; yield what its output says of its address."""
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


class Browser:
    """One window."""

    def __init__(self, driver: str) -> None:
        options = {"binary": shutil.which("chromium"), "args": FLAGS}
        always = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        capabilities = {"alwaysMatch": always}
        answer = request(f"{driver}/session", {"capabilities": capabilities})
        self.session = f"{driver}/session/{answer['sessionId']}"

    @classmethod
    @contextlib.contextmanager
    def started(cls) -> Iterator[Browser]:
        with server(["chromedriver", "--port=0"], r"successfully on port (\d+)") as port:
            browser = cls(f"http://127.0.0.1:{port}")
            try:
                yield browser
            finally:
                request(browser.session, method="DELETE")

    def resize(self, width: int, height: int, *, touch: bool = False) -> None:
        """Show pages as on a screen of this size, in CSS pixels."""
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if touch else 1,
            mobile=touch,
        )
        self.devtools("Emulation.setTouchEmulationEnabled", enabled=touch)

    def devtools(self, command: str, **params: Any) -> Any:
        return request(f"{self.session}/goog/cdp/execute", {"cmd": command, "params": params})

    def open(self, url: str) -> None:
        request(f"{self.session}/url", {"url": "about:blank"})  # a new # alone loads nothing
        request(f"{self.session}/url", {"url": url})

    def run(self, script: str, *args: Any) -> Any:
        """Run the body of a function in the page and return what it returns."""
        return request(f"{self.session}/execute/sync", {"script": script, "args": list(args)})

    def wait_for(self, script: str, *args: Any) -> Any:
        """Run the body of a function and wait for what it gives to its last argument."""
        return request(f"{self.session}/execute/async", {"script": script, "args": list(args)})

    def wait_until(self, script: str, *args: Any) -> Any:
        """Run a script until what it returns is true."""
        deadline = time.monotonic() + PATIENCE_S
        while not (value := self.run(script, *args)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"never came true: {script}")
            time.sleep(0.1)
        return value

    def draw(
        self, selector: str, *strokes: Sequence[Point], finger: bool = False, lift: bool = True
    ) -> None:
        """Draw lines through points on an element, 0..1 from its left upper corner.

        Args:
            lift: without it the pen stays down after the last stroke.
        """
        box = self.run(
            "const box = document.querySelector(arguments[0]).getBoundingClientRect();"
            "return [box.left, box.top, box.width, box.height];",
            selector,
        )
        moves: list[dict[str, Any]] = []
        for stroke in strokes:
            for k, (x, y) in enumerate(stroke):
                target = {"x": round(box[0] + x * box[2]), "y": round(box[1] + y * box[3])}
                moves.append({"type": "pointerMove", "duration": 20, **target})
                if k == 0:
                    moves.append({"type": "pointerDown", "button": 0})
            moves.append({"type": "pointerUp", "button": 0})
        moves = moves if lift else moves[:-1]
        kind = "touch" if finger else "mouse"
        pointer = {"type": "pointer", "id": kind, "parameters": {"pointerType": kind}}
        request(f"{self.session}/actions", {"actions": [{**pointer, "actions": moves}]})

    def complaints(self) -> list[str]:
        """Errors on the console since the last time, among them what the page may not do."""
        entries = request(f"{self.session}/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] == "SEVERE"]

    def picture(self) -> bytes:
        """What the window shows, as PNG."""
        return base64.b64decode(request(f"{self.session}/screenshot"))
