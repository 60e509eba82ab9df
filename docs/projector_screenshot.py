"""Look at a run's features in TensorBoard's projector: projector_screenshot.py RUN_DIR FOLDER

Writes projector.png to FOLDER. The run needs `mnist-evaluate RUN_DIR --projector` before;
browser.py says what else.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from browser import PATIENCE_S, Browser
from tensorboard_screenshot import ask, tensorboard

# The projector lies in a frame in a frame, and its parts in nested shadow roots; the
# share of the variance comes with the points.
PROJECTED = """
const texts = [];
const visit = (root) => root.querySelectorAll('*').forEach((element) => {
  if (!element.childElementCount) texts.push(element.textContent);
  if (element.shadowRoot) visit(element.shadowRoot);
  if (element.contentDocument) visit(element.contentDocument);
});
visit(document);
return texts.some((text) => /Total variance described: [\\d.]+%/.test(text));
"""


def wait_until_active(address: str) -> None:
    """Wait until TensorBoard has read the features; a page that is opened before stays empty."""
    deadline = time.monotonic() + PATIENCE_S
    while not ask(f"{address}/data/plugins_listing")["projector"]["enabled"]:
        if time.monotonic() > deadline:
            raise TimeoutError("TensorBoard finds nothing for its projector")
        time.sleep(0.5)


def main(run_dir: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tensorboard(run_dir) as address, Browser.started() as browser:
        wait_until_active(address)
        browser.resize(1400, 800)
        browser.open(f"{address}/#projector")
        browser.wait_until(PROJECTED)
        (folder / "projector.png").write_bytes(browser.picture())


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
