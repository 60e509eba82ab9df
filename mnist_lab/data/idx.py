"""Bytes of an IDX file -> uint8 array, and every way such a file can lie.

The format: LeCun, Cortes & Burges, "The MNIST database of handwritten digits", section
"File formats".
"""

import gzip
import hashlib
import math
import stat
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from mnist_lab.data.classes import Classes
from mnist_lab.data.files import named_sets

IMAGE_SIZE = 28  # pixels a side
MAX_BYTES = 1 << 28  # five times the largest MNIST file; whoever promises more is not believed
UNSIGNED_BYTE = 0x08  # the type code of uint8 values
OTHER_TYPES = {
    0x09: "signed bytes",
    0x0B: "16-bit integers",
    0x0C: "32-bit integers (QMNIST's labels? their column 0 are MNIST's)",
    0x0D: "32-bit floats",
    0x0E: "64-bit floats",
}
MAX_RANK = 3
GZIP_MAGIC = b"\x1f\x8b"
CHUNK = 1 << 20  # bytes read or inflated at a time


def parse_idx(raw: bytes | bytearray) -> npt.NDArray[np.uint8]:
    """View the bytes of one uncompressed IDX file as an array.

    Big-endian: two zero bytes, a type code, the rank r, r sizes of 4 bytes, then the values in
    C order.

    Returns:
        Images as (n, 28, 28) grey levels 0..255 (0 paper, 255 ink), labels as (n,) class numbers.
        It shares memory with `raw` and is writable where `raw` is.

    Raises:
        ValueError: not IDX, not unsigned bytes, rank not in 1..3, or not as many bytes as the sizes
            promise.
    """
    sizes = _sizes(raw)
    promised = _num_bytes(sizes)
    if len(raw) != promised:
        raise ValueError(f"its sizes {sizes} promise {promised} bytes but {len(raw)} are there")
    return np.frombuffer(raw, dtype=np.uint8, offset=_header_bytes(sizes)).reshape(sizes)


def read_idx(
    path: Path, *, sha256: str | None = None, max_bytes: int = MAX_BYTES
) -> npt.NDArray[np.uint8]:
    """Read one IDX file, plain or gzipped (its content tells, not its name).

    Memory grows with what the file really holds, up to what its header promises, and never beyond
    `max_bytes`.

    Args:
        sha256: hex digest of the decompressed file.

    Raises:
        ValueError: the file cannot be read or is not what it should be; the message begins with
            the path.
    """
    try:
        content = _content(path, max_bytes)
        values = parse_idx(content)
        found = hashlib.sha256(content).hexdigest() if sha256 else None
        if sha256 and found != sha256.lower():
            raise ValueError(f"its SHA-256 is {found}, not {sha256}")
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise ValueError(_damaged(path, f"its gzip data are damaged ({error})")) from error
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except ValueError as error:
        raise ValueError(_damaged(path, str(error))) from error
    return values


def read_split(
    folder: Path, prefix: str, classes: Classes, *, sha256: Mapping[str, str], of: str = ""
) -> tuple[npt.NDArray[np.uint8], np.ndarray]:
    """Read the two files of a split, and check that they belong together.

    Args:
        prefix: "train" or "t10k".
        of: which set of files in the folder; see `named_sets`.
        sha256: file name without .gz -> hex digest of the decompressed file; a name left out is
            not checked.

    Returns:
        Images (n, 28, 28) and class numbers (n,), n >= 1.

    Raises:
        FileNotFoundError: at least one of the files is not in `folder`.
        ValueError: a file is damaged, or the two do not make a split.
    """
    names = split_names(prefix)
    found = named_sets(folder).get(of, {})
    if missing := [f"{name}[.gz]" for name in names if name not in found]:
        raise FileNotFoundError(f"{folder}: no MNIST files there (looked for {', '.join(missing)})")
    image_path, label_path = (found[name] for name in names)

    images = read_idx(image_path, sha256=sha256.get(names[0]))
    if images.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE):
        raise ValueError(_damaged(image_path, _misfit(images, "images (n, 28, 28)")))
    labels = read_idx(label_path, sha256=sha256.get(names[1]))
    if labels.ndim != 1:
        raise ValueError(_damaged(label_path, _misfit(labels, "labels (n,)")))
    if len(images) == 0:
        raise ValueError(_damaged(image_path, "there is no image in it"))
    if len(images) != len(labels):
        problem = f"it has {len(labels)} labels for the {len(images)} images of {image_path.name}"
        raise ValueError(_damaged(label_path, problem))
    try:
        return images, classes.numbered(labels)
    except ValueError as error:
        raise ValueError(_damaged(label_path, str(error))) from None


def split_names(prefix: str) -> tuple[str, str]:
    """The official names of the image file and the label file of split "train" or "t10k"."""
    if prefix not in ("train", "t10k"):
        raise ValueError(f'split "{prefix}" is not one of "train", "t10k"')
    return f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"


def _sizes(head: bytes | bytearray) -> tuple[int, ...]:
    """The r sizes that the first bytes of an IDX file announce."""
    if not head:
        raise ValueError("it is empty")
    if len(head) < 4 or head[:2] != b"\0\0":
        raise ValueError(f"it is not an IDX file (it begins with {bytes(head[:8])!r})")
    if head[2] != UNSIGNED_BYTE:
        found = f"type code 0x{head[2]:02x}, not 0x08 (unsigned bytes)"
        known = OTHER_TYPES.get(head[2])
        raise ValueError(f"its values have {found}" + (f": they are {known}" if known else ""))
    rank = head[3]
    if not 1 <= rank <= MAX_RANK:
        raise ValueError(f"it has rank {rank}, not 1..{MAX_RANK}")
    if len(head) < 4 + 4 * rank:
        raise ValueError(f"it ends within its header, after {len(head)} bytes")
    return tuple(int.from_bytes(head[4 + 4 * i : 8 + 4 * i], "big") for i in range(rank))


def _header_bytes(sizes: tuple[int, ...]) -> int:
    return 4 + 4 * len(sizes)


def _num_bytes(sizes: tuple[int, ...]) -> int:
    """Of the whole file, header included. Python integers: forged sizes do not overflow."""
    return _header_bytes(sizes) + math.prod(sizes)


def _content(path: Path, max_bytes: int) -> bytearray:
    """The uncompressed bytes of a file, just as many as its own header promises."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # opening a FIFO would wait for a writer
        is_folder = stat.S_ISDIR(status.st_mode)
        other = ", but a folder without the file in it" if is_folder else ""
        raise ValueError(f"it is not a regular file{other}")
    if status.st_size > max_bytes:
        raise ValueError(f"it has {status.st_size} bytes, more than the {max_bytes} allowed")
    with path.open("rb", buffering=0) as file:
        compressed = file.read(2) == GZIP_MAGIC
        file.seek(0)
        source = gzip.GzipFile(fileobj=file) if compressed else file
        content = bytearray()
        _fill(content, source, _header_bytes((0,) * MAX_RANK))
        sizes = _sizes(content)
        promised = _num_bytes(sizes)
        if promised > max_bytes:
            raise ValueError(
                f"its sizes {sizes} promise {promised} bytes, more than the {max_bytes} allowed"
            )
        _fill(content, source, promised + 1)
    if len(content) > promised:
        raise ValueError(f"its sizes {sizes} promise {promised} bytes but more are there")
    return content


def _fill(content: bytearray, source: BinaryIO | gzip.GzipFile, size: int) -> None:
    """Read on until `content` has `size` bytes or `source` ends, a bounded piece at a time."""
    while len(content) < size and (piece := source.read(min(CHUNK, size - len(content)))):
        content += piece


def _misfit(values: npt.NDArray[np.uint8], expected: str) -> str:
    return f"it holds values of shape {values.shape} where {expected} belong (files swapped?)"


def _damaged(path: Path, problem: str) -> str:
    return f"{path}: {problem}."
