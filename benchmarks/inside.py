"""`python -m benchmarks.inside RUN_DIR ...`: runs' networks as the page computes them.

Beside the modules in torch, on 1,000 test images in a headless Chromium: how far logits and
probabilities lie apart, and how long a forward pass takes, all layers kept. `taskset -c 0` before
it leaves the browser a single core.
"""

from __future__ import annotations

import base64
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.process import ROOT
from mnist_lab.data.datamodule import scale
from mnist_lab.drawing.network import description
from mnist_lab.drawing.standalone import FOLDER
from mnist_lab.run.stored import StoredRun

NUM_IMAGES = 1_000
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


def main(paths: Sequence[str]) -> None:
    sys.path.append(str(ROOT / "docs"))
    browser: Any = importlib.import_module("browser")
    print(f"{'run':30} {'logits':>9} {'probs':>9} {'largest':>8} {'median':>8} {'99 %':>8}")
    with browser.Browser.started() as window:
        window.open("about:blank")
        for path in map(Path, paths):
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
            print(
                f"{run.name:30} {apart:9.1e} {probs_apart:9.1e} {expected.abs().max():8.1f} "
                f"{median:5.1f} ms {most:5.1f} ms",
                flush=True,
            )


if __name__ == "__main__":
    main(sys.argv[1:])
