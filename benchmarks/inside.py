"""`python -m benchmarks.inside RUN_DIR ...`: runs' networks as the page computes and shows them.

Beside the modules in torch, on 1,000 test images in a headless Chromium: how far logits and
probabilities lie apart, how long a forward pass takes, all layers kept, and how long it takes from
a movement of the pen until all is shown (28x28, two passes, probabilities, every layer's picture,
layout) and until it is painted, in a page from a file. `taskset -c 0` before it leaves the browser
a single core.
"""

from __future__ import annotations

import base64
import importlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64

from benchmarks.process import ROOT
from mnist_lab.data.datamodule import scale
from mnist_lab.drawing.facts import facts_of
from mnist_lab.drawing.network import description
from mnist_lab.drawing.standalone import FOLDER, standalone
from mnist_lab.models.classifier import Classifier
from mnist_lab.run.stored import StoredRun

NUM_IMAGES = 1_000
NUM_MOVES = 60  # of the pen
SCRIPT = """
const network = unpackNetwork(JSON.parse(arguments[0]));
const levels = Uint8Array.from(atob(arguments[1]), (letter) => letter.charCodeAt(0));
const [logits, probs, times] = [[], [], []];
for (let start = 0; start < levels.length; start += 784) {
  const image = Float32Array.from(levels.subarray(start, start + 784), (level) => level / 255);
  const begin = performance.now();
  const answer = forward(network, image);
  times.push(performance.now() - begin);
  logits.push([...answer.logits]);
  probs.push([...answer.probs]);
}
return [logits, probs, times];
"""
# A unit is pointed at, so that what leads into it is shown, too. The first moves compile.
MOVES = """
const done = arguments[arguments.length - 1];
const line = [[0.3, 0.2], [0.7, 0.22], [0.45, 0.8], [0.6, 0.5], [0.2, 0.6]].map((point) =>
  point.map((each) => each * paper.width));
const times = [];
(async () => {
  pointAt(views[0], 1);
  for (let k = 0; k < arguments[0] + 5; k += 1) {
    const [from, to] = [line[k % 5], line[(k + 1) % 5]];
    strokes = [[from, from.map((each, i) => each + ((k % 7) / 7) * (to[i] - each)), to]];
    await new Promise(requestAnimationFrame);
    const begin = performance.now();
    drawLines(ink, strokes, PEN * paper.width);
    digits = groups().map((each) => [alone.read(drawing(each))]);
    chosen = 0;
    show();
    document.body.offsetHeight; // layout
    const shown = performance.now() - begin;
    await new Promise((painted) => requestAnimationFrame(() => setTimeout(painted)));
    times.push([shown, performance.now() - begin]);
  }
  done(times.slice(5));
})();
"""


def main(paths: Sequence[str]) -> None:
    sys.path.append(str(ROOT / "docs"))
    browser: Any = importlib.import_module("browser")
    print(
        f"{'run':30} {'logits':>9} {'probs':>9} {'largest':>8} {'median':>8} {'99 %':>8} "
        f"{'shown':>8} {'longest':>8} {'painted':>8} {'longest':>8}"
    )
    with browser.Browser.started() as window:
        for path in map(Path, paths):
            window.open("about:blank")
            run = StoredRun.find(path, checkpoint="last")
            model, _ = run.load()
            images = torch.from_numpy(run.data().splits.test_images[:NUM_IMAGES]).unsqueeze(1)
            with torch.inference_mode():
                expected = model(scale(images))
            code = (FOLDER / "network.js").read_text() + SCRIPT
            levels = base64.b64encode(images.numpy().tobytes()).decode()
            found = [np.array(each) for each in window.run(code, description(model), levels)]
            apart = np.abs(found[0] - expected.numpy()).max()
            probs_apart = np.abs(found[1] - expected.double().softmax(dim=1).numpy()).max()
            median, most = np.percentile(found[2], (50, 99))
            shown, painted = moves_of(window, run, model).T
            print(
                f"{run.name:30} {apart:9.1e} {probs_apart:9.1e} {expected.abs().max():8.1f} "
                f"{median:5.1f} ms {most:5.1f} ms "
                + " ".join(
                    f"{f(each):5.1f} ms" for each in (shown, painted) for f in (np.median, max)
                ),
                flush=True,
            )


def moves_of(window: Any, run: StoredRun, model: Classifier) -> Float64[np.ndarray, "moves 2"]:
    """Milliseconds from a movement of the pen until all is shown, and until it is painted."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "page.html"
        facts = facts_of(run, epoch=1)
        file.write_text(standalone(facts, description(model), {}))
        window.open(f"file://{file}")
        window.wait_until("return views.length")
        return np.array(window.wait_for(MOVES, NUM_MOVES))


if __name__ == "__main__":
    main(sys.argv[1:])
