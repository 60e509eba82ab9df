"""Both official splits of a data set as arrays, whatever their format. Torch only for a module."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mnist_lab.data.classes import Classes
from mnist_lab.data.csv import read_csv
from mnist_lab.data.folders import read_folders
from mnist_lab.data.idx import read_split
from mnist_lab.data.inspection import doubts
from mnist_lab.data.installed import read_copy
from mnist_lab.data.npz import read_npz
from mnist_lab.ui.errors import Refused

# Formats other than IDX: how each is read, and what it is.
READERS: dict[str, tuple[Callable[[Path, Classes], list[np.ndarray]], str]] = {
    "npz": (read_npz, "an .npz file of x_train, y_train, x_test and y_test"),
    "csv": (read_csv, "a folder with train.csv and test.csv, rows of label and 784 grey levels"),
    "folders": (read_folders, "a folder with train/CLASS/*.png and test/CLASS/*.png"),
}


@dataclass(frozen=True)
class Splits:
    """Both official splits, whole: images uint8 (n, 28, 28), class numbers (n,) from 0.

    They are uint8, of more than 256 classes uint16.

    `sha256` is one digest over the bytes of all four arrays: it names the data that a run has seen.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    sha256: str
    num_own_val: int | None = None  # the last training images, where a data set has its own

    @functools.cached_property
    def doubts(self) -> tuple[str, ...]:
        """What may be wrong with these images, a line for each kind."""
        train, test = (self.train_images, self.train_labels), (self.test_images, self.test_labels)
        return tuple(doubts(*train, *test))

    def num_val(self, val_fraction: float) -> int:
        """How many training images are kept for validation.

        Raises:
            Refused: all of them.
        """
        if self.num_own_val is not None:
            return self.num_own_val
        num_images = len(self.train_images)
        num_val = round(num_images * val_fraction)
        if num_val == num_images:
            raise Refused(
                f"data.val_fraction={val_fraction}: leaves none of {num_images} images to train on."
            )
        return num_val


@functools.lru_cache(maxsize=2)
def read_once(module: Any, classes: Classes) -> Splits:
    from mnist_lab.data.module import read_module  # which imports torch

    arrays, num_own_val = read_module(module, classes)
    return replace(with_digest(*arrays), num_own_val=num_own_val)


@functools.lru_cache(maxsize=2)
def read_splits(
    where: Path,
    of: str,
    *,
    format: str,
    classes: Classes,
    transposed: bool,
    sha256: tuple[tuple[str, str], ...],
    per_class: int | None = None,
) -> Splits:
    """Read a folder of IDX files, the installed copy, or another format.

    Args:
        of: which set of files in the folder; see `named_sets`.
        per_class: keep so many training images of each class.
    """
    if format in READERS:
        images, labels, *test = READERS[format][0](where, classes)
    elif where.is_file():
        images, labels, *test = read_copy(where, sha256=dict(sha256))
    else:
        images, labels, *test = (
            values
            for prefix in ("train", "t10k")
            for values in read_split(where, prefix, classes, sha256=dict(sha256), of=of)
        )
    if per_class is not None:
        rows = balanced_rows(labels, num_classes=len(classes), per_class=per_class)
        images, labels = images[rows], labels[rows]
    if transposed:
        images, test[0] = images.swapaxes(1, 2).copy(), test[0].swapaxes(1, 2).copy()
    return with_digest(images, labels, *test)


def balanced_rows(labels: np.ndarray, *, num_classes: int, per_class: int) -> np.ndarray:
    """Rows of the first images of each class, in the split's order, the classes taking turns.

    Row k is of class k % num_classes, so that every stretch, and so the validation images at the
    end, holds all classes equally.
    """
    of_class = [np.flatnonzero(labels == label)[:per_class] for label in range(num_classes)]
    return np.stack(of_class, axis=1).ravel()


def with_digest(
    train_images: np.ndarray,
    train_labels: np.ndarray,
    test_images: np.ndarray,
    test_labels: np.ndarray,
) -> Splits:
    digest = hashlib.sha256()
    for array in (train_images, train_labels, test_images, test_labels):
        digest.update(np.ascontiguousarray(array).data)
    return Splits(train_images, train_labels, test_images, test_labels, digest.hexdigest())
