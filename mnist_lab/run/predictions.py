"""predictions.npz: a run's answer to each validation and test image at its last epoch. No torch."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from mnist_lab.ui.files import read_bytes, write_atomically

NAME = "predictions.npz"
MAX_BYTES = 16 << 20  # of the file, which has some 20 kB
MAX_IMAGES = 10**7  # of a split: what is compressed may claim anything
UNREADABLE = (  # what numpy and zipfile raise at a file that is cut, another's or a trap
    *(OSError, ValueError, KeyError, EOFError, MemoryError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error),
)


@dataclass(frozen=True)
class Predictions:
    """Of the n images of a split, in its order.

    Attributes:
        identity: equal for two runs exactly if they saw the same images in the same order: SHA-256
            of the data, and what decides the split.
    """

    predicted: UInt8[np.ndarray, n]
    labels: UInt8[np.ndarray, n]
    identity: str

    @property
    def correct(self) -> np.ndarray:
        correct: np.ndarray = self.predicted == self.labels
        return correct


def split_identity(split: str, *, sha256: str, num_val: int, drawn_by: str) -> str:
    """Say which images a split has; `drawn_by` tells what draws the validation images."""
    return f"{sha256} test" if split == "test" else f"{sha256} {split} {num_val} {drawn_by}"


def write_predictions(run_dir: Path, found: Mapping[str, Predictions]) -> None:
    arrays = {}
    for split, predictions in found.items():
        arrays[split] = predictions.predicted
        arrays[f"{split}_labels"] = predictions.labels
        arrays[f"{split}_identity"] = np.array(predictions.identity)
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]  # its next one is a flag
    write_atomically(run_dir / NAME, lambda file: file.write(content.getvalue()))


def read_predictions(run_dir: Path, split: str) -> Predictions | None:
    """None where there are none, as in runs of before, or where the file is damaged."""
    try:
        content = read_bytes(run_dir / NAME, max_bytes=MAX_BYTES)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if any(part.file_size > MAX_IMAGES for part in archive.infolist()):
                return None
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            predicted, labels = arrays[split], arrays[f"{split}_labels"]
            identity = str(arrays[f"{split}_identity"])
    except UNREADABLE:
        return None
    sound = predicted.dtype == labels.dtype == np.uint8 and predicted.ndim == 1
    if not sound or predicted.shape != labels.shape or not predicted.size:
        return None
    return Predictions(predicted, labels, identity)
