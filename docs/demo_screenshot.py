"""Draw on the page of mnist-demo in a real browser: python docs/demo_screenshot.py RUN_DIR OUT

Writes OUT/demo.png, with a mouse, and OUT/demo_phone.png, with a finger. See browser.py for what it
needs.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

from browser import Browser, Point, server


def arc(x: float, y: float, radius: float, start: float, end: float) -> list[Point]:
    """Points of a circle's arc, in degrees clockwise from the right."""
    angles = [math.radians(start + (end - start) * k / 60) for k in range(61)]
    return [(x + radius * math.cos(a), y + radius * math.sin(a)) for a in angles]


THREE = arc(0.48, 0.33, 0.15, -160, 90) + arc(0.48, 0.65, 0.17, -90, 150)


def main() -> None:
    run_dir, out = sys.argv[1:]
    command = [sys.executable, "-m", "mnist_lab.demo", run_dir, "--port", "0"]
    with server(command, r"(http://\S+)") as address, Browser.started() as browser:
        for name, digit, size, finger in (
            ("demo", THREE, (1000, 1180), False),
            ("demo_phone", THREE, (390, 844), True),
        ):
            browser.resize(*size, touch=finger)
            browser.open(address)
            browser.wait_until("return document.querySelectorAll('#bars li').length")
            browser.draw("#paper", digit, finger=finger)
            browser.wait_until(
                "return !asking && document.querySelectorAll('#neighbours li').length"
                " && !document.getAnimations().length"
            )
            (Path(out) / f"{name}.png").write_bytes(browser.picture())


if __name__ == "__main__":
    main()
