"""A data set of any number of classes, written in every format by somebody else's writers."""

import csv

import numpy as np
from conftest import write_idx
from PIL import Image

from mnist_lab.data.files import FILES

NAMES = ("train_images", "train_labels", "test_images", "test_labels")
CLASSES = [f"class {k}" for k in range(47)]


def many_classes(num_classes=47, *, per_class=6):
    """Images whose class can be learnt: training images, class numbers, and those of the test."""
    rng = np.random.default_rng(0)
    patterns = rng.random((num_classes, 28, 28)) < 0.15
    arrays = []
    for count in (per_class, 2):
        labels = np.repeat(np.arange(num_classes, dtype=np.uint8), count)
        ink = patterns[labels] ^ (rng.random((len(labels), 28, 28)) < 0.05)
        order = rng.permutation(len(labels))
        images = (ink * rng.integers(128, 256, ink.shape)).astype(np.uint8)
        arrays += [images[order], labels[order]]
    return arrays


def write_csv(path, images, labels, *, header=True):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        if header:
            writer.writerow(["label", *(f"pixel{k}" for k in range(784))])
        for image, label in zip(images.tolist(), labels.tolist(), strict=True):
            writer.writerow([label, *(level for row in image for level in row)])


def write_folders(root, arrays, names):
    for split, images, labels in (("train", *arrays[:2]), ("test", *arrays[2:])):
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            folder = root / split / names[label]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / f"{number:05}.png")


def write_formats(root, arrays, *, names, first_label=0):
    """In one folder: train.csv and test.csv, an .npz, pictures, and beside them EMNIST's files."""
    images, labels, test_images, test_labels = arrays
    root.mkdir(parents=True, exist_ok=True)
    labelled = labels + first_label, test_labels + first_label
    write_csv(root / "train.csv", images, labelled[0])
    write_csv(root / "test.csv", test_images, labelled[1], header=False)
    keras = {"x_train": images, "y_train": labelled[0].astype(np.int64)}
    keras |= {"x_test": test_images[..., None], "y_test": labelled[1].astype(np.int64)[:, None]}
    np.savez_compressed(root / "own.npz", **keras)
    write_folders(root, arrays, names)
    emnist = root / "emnist"
    upright = (images, labelled[0], test_images, labelled[1])
    for name, values in zip(FILES, upright, strict=True):
        turned = values.swapaxes(1, 2) if values.ndim == 3 else values
        write_idx(
            emnist / f"emnist-own-{name.replace('t10k', 'test')}", np.ascontiguousarray(turned)
        )
    return root
