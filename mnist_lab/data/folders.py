"""A folder of pictures for each class: train/CLASS/*.png and test/CLASS/*.png. No torch."""

from pathlib import Path

import numpy as np

from mnist_lab.data.classes import Classes
from mnist_lab.data.idx import IMAGE_SIZE

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")


def read_folders(root: Path, classes: Classes) -> list[np.ndarray]:
    """Read both splits.

    Pictures of 28x28 are taken as they are: 0 paper to 255 ink. In others the ink is sought and
    brought into MNIST's form, as mnist-predict does. The classes take turns, in each the pictures
    in the order of their names.

    Returns:
        Training images uint8 (n, 28, 28) and class numbers (n,), then those of the test split.

    Raises:
        ValueError: a folder or picture is not what it should be; the message begins with its path.
    """
    return [values for split in ("train", "test") for values in read_split(root / split, classes)]


def read_split(folder: Path, classes: Classes) -> tuple[np.ndarray, np.ndarray]:
    if twice := {name for name in classes.names if classes.names.count(name) > 1}:
        raise ValueError(f"{folder}: data.class_names has {min(twice)} twice.")
    try:
        there = sorted(path.name for path in folder.iterdir() if path.is_dir())
        if other := [name for name in there if name not in classes.names]:
            names = ", ".join(classes.names[:5]) + (", ..." if len(classes) > 5 else "")
            raise ValueError(f"{folder / other[0]}: no class of data.class_names ({names}).")
        pictures = [
            (turn, number, path)
            for number, name in enumerate(classes.names)
            for turn, path in enumerate(pictures_of(folder / name) if name in there else ())
        ]
    except OSError as error:
        raise ValueError(f"{folder}: cannot be read ({error.strerror or error}).") from None
    with_pictures = {number for _, number, _ in pictures}
    for number, name in enumerate(classes.names):
        if number not in with_pictures:
            kinds = ", ".join(SUFFIXES)
            raise ValueError(f"{folder / name}: no picture of this class there ({kinds}).")
    pictures.sort()
    images = np.stack([read_picture(path) for _, _, path in pictures])
    numbers = np.array([number for _, number, _ in pictures])
    return images, Classes(classes.names).numbered(numbers)


def pictures_of(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )


def read_picture(path: Path) -> np.ndarray:
    from mnist_lab.pictures.digits import to_mnist
    from mnist_lab.pictures.picture import PictureError, load_picture

    try:
        grey = load_picture(path)
        if grey.shape != (IMAGE_SIZE, IMAGE_SIZE):
            return to_mnist(grey)
        levels: np.ndarray = np.rint(255 * grey).astype(np.uint8)
        return levels
    except PictureError as error:
        raise ValueError(f"{path}: {error}.") from None
