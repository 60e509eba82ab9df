"""A NumPy archive in Keras's layout: x_train, y_train, x_test, y_test. No torch, no pickle."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from mnist_lab.data.classes import Classes
from mnist_lab.data.idx import IMAGE_SIZE, MAX_BYTES

ARRAYS = ("x_train", "y_train", "x_test", "y_test")


def find_npz(path: Path) -> Path | None:
    """The archive: the path itself, or the only one in a folder."""
    if path.is_file():
        return path
    found = sorted(path.glob("*.npz"))
    return found[0] if len(found) == 1 else None


def read_npz(path: Path, classes: Classes) -> list[np.ndarray]:
    """Read both splits.

    Args:
        path: of the archive, or of a folder with no other. Its images are uint8 (n, 28, 28) or
            (n, 28, 28, 1), its labels whole numbers (n,) or (n, 1).

    Returns:
        Training images uint8 (n, 28, 28) and class numbers (n,), then those of the test split.

    Raises:
        ValueError: it cannot be read, or holds something else; the message begins with the path.
    """
    if (archive_path := find_npz(path)) is None:
        raise ValueError(f"{path}: there is not one .npz file in it.")
    try:
        with zipfile.ZipFile(archive_path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > 2 * MAX_BYTES:
            raise ValueError(f"it unpacks to {size} bytes, more than the {2 * MAX_BYTES} allowed")
        with np.load(archive_path, allow_pickle=False) as arrays:
            if missing := [name for name in ARRAYS if name not in arrays]:
                raise ValueError(f"it holds {', '.join(arrays)} and not {', '.join(missing)}")
            raw = [arrays[name] for name in ARRAYS]
        found = []
        for k in (0, 2):
            images = images_of(raw[k], ARRAYS[k])
            found += [images, labels_of(raw[k + 1], ARRAYS[k + 1], len(images), classes)]
        return found
    except (zipfile.BadZipFile, zlib.error, EOFError, MemoryError) as error:
        raise ValueError(f"{path}: cannot be read ({error or type(error).__name__}).") from None
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror or error}).") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}.") from None


def images_of(values: np.ndarray, name: str) -> np.ndarray:
    if values.shape[3:] == (1,):
        values = values[..., 0]
    if values.dtype != np.uint8 or values.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE):
        raise ValueError(
            f"{name} are {values.dtype} {values.shape}; must be uint8 (n, 28, 28), 0 paper to 255"
        )
    if not len(values):
        raise ValueError(f"there is no image in {name}")
    return np.ascontiguousarray(values)


def labels_of(values: np.ndarray, name: str, num_images: int, classes: Classes) -> np.ndarray:
    if values.shape[1:] == (1,):
        values = values[:, 0]
    if values.dtype.kind not in "iu" or values.shape != (num_images,):
        raise ValueError(
            f"{name} are {values.dtype} {values.shape}; must be whole numbers, {num_images} of them"
        )
    return classes.numbered(values, place=lambda index: f"{name}[{index}]")
