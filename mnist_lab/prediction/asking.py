"""Pictures and test images read, and a run's network asked about them; only then torch comes."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from mnist_lab.pictures.picture import SUFFIXES
from mnist_lab.prediction.prediction import Prediction
from mnist_lab.run.stored import RunData, StoredRun
from mnist_lab.ui.console import progress_bar
from mnist_lab.ui.errors import Refused

if TYPE_CHECKING:
    from torch import Tensor

    from mnist_lab.models.classifier import Classifier

MAX_SHOWN = 20  # pictures in one figure


def read_pictures(paths: Sequence[Path], *, one: bool = False) -> list[Prediction]:
    """Find the digits of each picture; a folder stands for its pictures."""
    files = [file for path in paths for file in pictures_of(path)]
    with progress_bar("pictures", len(files)) as advance:
        predictions: list[Prediction] = []
        num_read = 0
        for file in files:
            for each in Prediction.of_file(file, one=one):
                num_read += each.error is None
                if num_read > MAX_SHOWN:
                    each.picture = None  # no figure needs it
                predictions.append(each)
            advance(1)
    return predictions


def pictures_of(path: Path) -> list[Path]:
    """A folder's pictures, 2.png before 10.png; a file itself.

    Raises:
        Refused: a folder without any.
    """
    if not path.is_dir():
        return [path]
    try:
        there = [each for each in path.iterdir() if each.suffix.lower() in SUFFIXES]
    except OSError as error:
        raise Refused(f"{path}: cannot be read ({error.strerror}).") from None
    if not there:
        raise Refused(f"{path}: no picture in this folder ({', '.join(SUFFIXES)}).")
    return sorted(there, key=lambda each: [*map(_natural, re.split(r"(\d+)", each.name))])


def _natural(part: str) -> tuple[int, str]:
    return (int(part), "") if part.isdecimal() and part.isascii() else (0, part)


def test_items(
    data: RunData, indices: Sequence[int], num_random: int | None, *, seed: int | None
) -> list[Prediction]:
    """Items of the official test split, by number and then drawn without repetition.

    Raises:
        Refused: there are not so many.
    """
    total = len(data.splits.test_images)
    for index in indices:
        if not 0 <= index < total:
            raise Refused(f"--index {index}: the test split has the images 0 to {total - 1}.")
    if num_random is not None and not 1 <= num_random <= total:
        raise Refused(f"--random {num_random}: must be a whole number from 1 to {total}.")
    drawn = np.random.default_rng(seed).choice(total, num_random or 0, replace=False).tolist()
    return [Prediction.of_test_item(data.splits, index) for index in [*indices, *drawn]]


def ask(
    run: StoredRun,
    predictions: Sequence[Prediction],
    *,
    data: RunData | None = None,
    num_neighbours: int = 0,
) -> None:
    """Fill in the probabilities of all pictures that were read, and their neighbours in `data`."""
    asked = [each for each in predictions if each.image is not None]
    if not asked:
        return
    model, _ = run.load_for_verb()
    import torch

    from mnist_lab.evaluation.answers import log_probs

    images = torch.from_numpy(np.stack([each.image for each in asked])).unsqueeze(1)  # type: ignore[misc]
    for each, logs in zip(asked, log_probs(model, images), strict=True):
        each.probs = np.exp(logs)
    tell_unsure(run, model, asked, images, data=data)
    if data is None or not num_neighbours:
        return
    from mnist_lab.evaluation.neighbours import TrainingImages, features

    split = data.load().splits["train"]
    with progress_bar("training images", len(split[0])) as advance:
        training = TrainingImages.of(model, split, progress=advance)
    found = training.nearest(features(model, images), num_neighbours=num_neighbours)
    for each in predictions:
        each.neighbours = []
    for each, neighbours in zip(asked, found, strict=True):
        each.neighbours = neighbours


def tell_unsure(
    run: StoredRun,
    model: Classifier,
    asked: Sequence[Prediction],
    images: UInt8[Tensor, "n 1 28 28"],
    *,
    data: RunData | None,
) -> None:
    """Fill in where the network is unsure, unless that cannot be told: then a line says why."""
    from mnist_lab.evaluation.unsure import unsure_or_why

    unsure = unsure_or_why(run, model, functools.partial(print, file=sys.stderr), data=data)
    if unsure is None:
        return
    for each, is_unsure in zip(asked, unsure(images).tolist(), strict=True):
        each.unsure = is_unsure
