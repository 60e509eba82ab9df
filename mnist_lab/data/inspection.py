"""What may be wrong with images that no SHA-256 vouches for, told before they are learnt. No torch.

All of it takes a moment: images are looked at as whole arrays, and compared by fingerprints.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, UInt, UInt8, UInt64

FEW_TURNS = 0.1  # of as many changes of class from one image to the next as a shuffled split has
FAINT = 64  # largest grey level below which pixels were hardly meant to be 0..255


def doubts(
    train_images: UInt8[np.ndarray, "n 28 28"],
    train_labels: UInt[np.ndarray, "n"],
    test_images: UInt8[np.ndarray, "m 28 28"],
    test_labels: UInt[np.ndarray, "m"],
) -> Iterator[str]:
    """What both official splits make doubtful, a line for each kind."""
    images = {"training": train_images, "test": test_images}
    labels = {"training": train_labels, "test": test_labels}
    if single := [
        f"every {name} image has the label {v[0]}" for name, v in labels.items() if np.ptp(v) == 0
    ]:
        yield f"{'; '.join(single)}: there is nothing to tell apart."
    if is_sorted(train_labels):
        yield (
            "the training images are sorted by class: at the split's end, where validation is with "
            "data.split_seed=null, are the last classes alone."
        )
    if num_shared := int(are_among(test_images, train_images).sum()):
        yield (
            f"{num_shared:,} of the {len(test_images):,} test images are training images: the test "
            "metrics are too good."
        )
    if inverted := [name for name, each in images.items() if is_inverted(each)]:
        yield (
            f"the {' and '.join(inverted)} images have more ink than paper at their borders: "
            "inverted? 0 must be paper, 255 ink."
        )
    if faint := [f"{each.max()} ({name})" for name, each in images.items() if each.max() < FAINT]:
        yield f"the largest grey level is {', '.join(faint)}: full ink must be 255; multiply them."


def lacking(labels: Mapping[str, np.ndarray], class_names: Sequence[str]) -> Iterator[str]:
    """The classes of which splits that have images have none, in a line.

    Args:
        labels: (n,) of each split, by its name.
    """
    found = []
    for split, values in labels.items():
        counts = np.bincount(values, minlength=len(class_names))
        names = [name for name, count in zip(class_names, counts, strict=True) if not count]
        if names and len(values):
            found.append(f"{', '.join(names)} in {split}")
    if found:
        yield f"classes without an image: {'; '.join(found)}."


def is_sorted(labels: UInt[np.ndarray, "n"]) -> bool:
    """Whether each class, or nearly, is one stretch of the split."""
    turns = int(np.count_nonzero(labels[1:] != labels[:-1]))
    shares = np.bincount(labels) / len(labels)
    classes = int(np.count_nonzero(shares))
    shuffled = (len(labels) - 1) * (1 - float(np.square(shares).sum()))
    return classes > 1 and turns <= max(classes - 1, FEW_TURNS * shuffled) < shuffled / 2


def is_inverted(images: UInt8[np.ndarray, "n 28 28"]) -> bool:
    border = np.ones(images.shape[1:], bool)
    border[1:-1, 1:-1] = False
    return bool(images[:, border].mean() > images.max() / 2)


def are_among(
    images: UInt8[np.ndarray, "n 28 28"], others: UInt8[np.ndarray, "m 28 28"]
) -> Bool[np.ndarray, "n"]:
    """Which of the images are among the others, to the pixel."""
    ours, theirs = fingerprints(images), fingerprints(others)
    candidates: np.ndarray = np.isin(ours, theirs)
    seen = {image.tobytes() for image in others[np.isin(theirs, ours[candidates])]}
    candidates[candidates] = [image.tobytes() in seen for image in images[candidates]]
    return candidates


def fingerprints(images: UInt8[np.ndarray, "n 28 28"]) -> UInt64[np.ndarray, "n"]:
    """A number for each image; the same images have the same, others seldom."""
    words = np.ascontiguousarray(images).reshape(len(images), -1).view(np.uint64)
    weights = np.random.default_rng(0).integers(1 << 63, size=words.shape[1], dtype=np.uint64)
    found: np.ndarray = words @ (2 * weights + 1)  # modulo 2^64
    return found
