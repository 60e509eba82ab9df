"""Small data sets written as real IDX files, and runs trained on them in a second."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path

import numpy as np
from processes import last_of_each

from mnist_lab.data.files import FILES
from mnist_lab.models.classifier import Classifier
from mnist_lab.run.directory import Run
from mnist_lab.run.fit import resolved, train
from mnist_lab.run.stored import StoredRun
from mnist_lab.settings.compose import checked, compose


def write_data_set(folder: Path, *, num_train: int, num_test: int, seed: int) -> None:
    """Four IDX files of noisy, shifted strokes: ten classes that a small network half learns."""
    rng = np.random.default_rng(seed)
    strokes = np.random.default_rng(99).random((10, 28, 28)) < 0.12
    folder.mkdir(parents=True)
    for (images_name, labels_name), count in zip(
        (FILES[:2], FILES[2:]), (num_train, num_test), strict=True
    ):
        labels = rng.integers(0, 10, count, dtype=np.uint8)
        ink = strokes[labels] * rng.uniform(0.2, 1.0, (count, 1, 1))
        noise = rng.uniform(0, 0.75, (count, 28, 28))
        images = (255 * np.clip(ink + noise, 0, 1)).astype(np.uint8)
        (folder / images_name).write_bytes(
            struct.pack(">4B3I", 0, 0, 8, 3, count, 28, 28) + images.tobytes()
        )
        (folder / labels_name).write_bytes(
            struct.pack(">4BI", 0, 0, 8, 1, count) + labels.tobytes()
        )


def load_model(path: Path, *, checkpoint: str = "last") -> Classifier:
    """A run's network with its stored weights."""
    return StoredRun.find(path, checkpoint=checkpoint).load()[0]


def train_run(path: Path, *overrides: str) -> Path:
    """Train in this process, on one thread, into `path`."""
    typed = last_of_each("trainer=cpu", "threads=1", *overrides)
    settings = resolved(checked(compose(typed)))
    run = Run.claim(path)
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # Lightning's own go to train.log, as in a real run
        train(settings, run, quiet=True)
    run.release()
    return path
