"""Images of a user's own that would train without a word: told in the run's head and record."""

import numpy as np
import pytest
from conftest import write_idx, write_idx_folder
from processes import last_of_each, run_cold

from mnist_lab.data.inspection import are_among, is_sorted
from mnist_lab.run.directory import read_metrics


def read(folder):
    images = [np.fromfile(folder / f"{p}-images-idx3-ubyte", np.uint8, offset=16) for p in PREFIXES]
    labels = [np.fromfile(folder / f"{p}-labels-idx1-ubyte", np.uint8, offset=8) for p in PREFIXES]
    return {
        prefix: (pixels.reshape(-1, 28, 28), numbers)
        for prefix, pixels, numbers in zip(PREFIXES, images, labels, strict=True)
    }


PREFIXES = ("train", "t10k")


def sorted_by_class(splits):
    images, labels = splits["train"]
    order = labels.argsort(kind="stable")
    splits["train"] = images[order], labels[order]


def trained_on(splits):
    images, labels = (values.copy() for values in splits["t10k"])
    images[10:17], labels[10:17] = (values[50:57] for values in splits["train"])
    splits["t10k"] = images, labels


def one_label(splits):
    splits["train"] = splits["train"][0], np.full_like(splits["train"][1], 4)


def without_classes(splits):
    images, labels = splits["train"]
    splits["train"] = images, np.where(labels == 3, 7, labels)
    images, labels = splits["t10k"]
    splits["t10k"] = images, np.where(labels < 2, 2, labels)


def inverted(splits):
    for prefix, (images, labels) in splits.items():
        splits[prefix] = 255 - images, labels


def zero_or_one(splits):
    for prefix, (images, labels) in splits.items():
        splits[prefix] = images // 128, labels


SORTED = "the training images are sorted by class"
LACKING = "classes without an image: "
FAULTS = {
    sorted_by_class: [SORTED],
    trained_on: ["7 of the 100 test images are training images: the test metrics are too good."],
    one_label: [
        "every training image has the label 4: there is nothing to tell apart.",
        LACKING + "0, 1, 2, 3, 5, 6, 7, 8, 9 in train; 0, 1, 2, 3, 5, 6, 7, 8, 9 in val.",
    ],
    without_classes: [LACKING + "3 in train; 3 in val; 0, 1 in test."],
    inverted: ["the training and test images have more ink than paper at their borders: inverted?"],
    zero_or_one: ["the largest grey level is 1 (training), 1 (test): full ink must be 255;"],
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_of_the_images_is_told_and_kept(fault, train_run, tmp_path):
    folder = write_idx_folder(tmp_path / "data")
    splits = read(folder)
    fault(splits)
    for prefix, (images, labels) in splits.items():
        write_idx(folder / f"{prefix}-images-idx3-ubyte", images)
        write_idx(folder / f"{prefix}-labels-idx1-ubyte", labels)
    path = train_run(tmp_path / "runs", f"data.root={folder}", "trainer.max_epochs=1")
    found = read_metrics(path)["data_warnings"]
    assert len(found) == len(FAULTS[fault])
    for text, beginning in zip(found, FAULTS[fault], strict=True):
        assert text.startswith(beginning)
        log = " ".join((path / "train.log").read_text().split())
        assert log.count(f"WARNING data: {text}") == 1
    assert log.count("WARNING") == len(found)
    assert log.index("WARNING") < log.index("epoch 1/1")


def test_a_validation_that_rounds_to_nothing_is_told(tiny, tmp_path):
    """As a user sees it."""
    settings = last_of_each(*tiny, "data.val_fraction=0.001", "trainer.max_epochs=1")
    ended = run_cold("-m", "mnist_lab.train", *settings, cwd=tmp_path)
    assert ended.code == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert lines[0].startswith("data       idx_folder: 400 train, 0 val, 100 test")
    told = "data.val_fraction=0.001: rounds to none of 400 images; there is no validation."
    assert lines[1] == f"WARNING data: {told}"
    (path,) = tmp_path.glob("outputs/runs/*/*")
    assert read_metrics(path)["data_warnings"] == [told]


def test_mnist_itself_raises_no_doubt(mnist_5k):
    assert mnist_5k.doubts == ()


def test_what_is_sorted(mnist_5k):
    rng = np.random.default_rng(0)
    labels = np.sort(rng.integers(0, 10, 2000, dtype=np.uint8))
    assert is_sorted(labels)
    assert is_sorted(labels[::-1])
    assert is_sorted(np.roll(labels, 77))
    some = labels.copy()
    some[rng.integers(0, 2000, 40)] = rng.integers(0, 10, 40)
    assert is_sorted(some)  # all but
    assert not is_sorted(rng.permutation(labels))
    assert not is_sorted(np.tile(np.arange(10, dtype=np.uint8), 50))  # taking turns
    assert not is_sorted(np.repeat(np.tile(np.arange(10, dtype=np.uint8), 50), 2))
    assert not is_sorted(np.full(50, 3, np.uint8))
    for _ in range(200):  # few images may come in any order
        assert not is_sorted(rng.permutation(np.array([0, 0, 1, 1], np.uint8)))
    assert not is_sorted(mnist_5k.train_labels)


def test_the_same_images_are_found_to_the_pixel():
    """Against a search of each pair; of many, some differ in a pixel or by one grey level."""
    rng = np.random.default_rng(1)
    images = np.where(rng.random((60, 28, 28)) < 0.01, 255, 0).astype(np.uint8)
    others = rng.permutation(images)[:40]
    for image in others[:20]:
        image[rng.integers(28), rng.integers(28)] ^= rng.choice([1, 128, 255])
    expected = [any(np.array_equal(image, other) for other in others) for image in images]
    assert are_among(images, others).tolist() == expected
    assert 10 < sum(expected) < 40
    assert are_among(np.zeros((3, 28, 28), np.uint8), others).tolist() == [False] * 3
