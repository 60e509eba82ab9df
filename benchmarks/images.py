"""The four MNIST files where every competitor can read them: torchvision takes no .gz."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

NAMES = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}


def stage(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write uint8 images (n, 28, 28) and labels (n,) as IDX files into folder/MNIST/raw/."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, file in NAMES.items():
        array = np.ascontiguousarray(arrays[name], dtype=np.uint8)
        head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
        (raw / file).write_bytes(head + array.tobytes())


def read(folder: Path) -> dict[str, np.ndarray]:
    """Read back what `stage` wrote."""
    arrays = {}
    for name, file in NAMES.items():
        raw = (folder / "MNIST" / "raw" / file).read_bytes()
        rank = raw[3]
        shape = struct.unpack_from(f">{rank}I", raw, 4)
        arrays[name] = np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)
    return arrays
