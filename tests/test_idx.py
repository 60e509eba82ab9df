"""IDX files against torchvision's reader, and damaged in every way we could think of."""

import contextlib
import gzip
import hashlib
import os
import random
import re
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from conftest import TEN
from torchvision.datasets import MNIST

from mnist_lab.data.files import find_idx
from mnist_lab.data.idx import parse_idx, read_idx, read_split, split_names

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def idx_bytes(sizes, values=b"", type_code=8):
    """An IDX file that announces `sizes` and holds `values`, true or not."""
    return struct.pack(f">HBB{len(sizes)}I", 0, type_code, len(sizes), *sizes) + bytes(values)


def digits(n, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
    return images, rng.integers(0, 10, n, dtype=np.uint8)


def write_split(folder, prefix, images, labels, *, compress=False):
    folder.mkdir(parents=True, exist_ok=True)
    digests = {}
    for name, values in zip(split_names(prefix), (images, labels), strict=True):
        raw = idx_bytes(values.shape, values.tobytes())
        digests[name] = hashlib.sha256(raw).hexdigest()
        if compress:
            (folder / f"{name}.gz").write_bytes(gzip.compress(raw))
        else:
            (folder / name).write_bytes(raw)
    return digests


def refused(path, problem, **settings):
    """read_idx says where, what, and what to do."""
    with pytest.raises(ValueError, match=problem) as caught:
        read_idx(path, **settings)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert message.endswith(".")
    assert "Delete" not in message  # it may be the user's own
    assert "\n" not in message


@pytest.mark.parametrize("compress", [False, True])
def test_splits_equal_torchvision(tmp_path, compress):
    splits = {"train": digits(23), "t10k": digits(7, seed=1)}
    for prefix, split in splits.items():  # torchvision wants all four files, uncompressed
        write_split(tmp_path / "MNIST" / "raw", prefix, *split)
    for prefix, split in splits.items():
        digests = write_split(tmp_path / "ours", prefix, *split, compress=compress)
        reference = MNIST(tmp_path, train=prefix == "train", download=False)
        images, labels = read_split(tmp_path / "ours", prefix, TEN, sha256=digests)
        np.testing.assert_array_equal(images, reference.data.numpy())
        np.testing.assert_array_equal(labels, reference.targets.numpy())
        assert images.dtype == labels.dtype == np.uint8
        assert images.flags.writeable  # torch.from_numpy warns otherwise
        assert labels.flags.writeable


def test_raw_wins_over_gz(tmp_path):
    assert find_idx(tmp_path, LABELS) is None
    (tmp_path / f"{LABELS}.gz").touch()
    assert find_idx(tmp_path, LABELS) == tmp_path / f"{LABELS}.gz"
    (tmp_path / LABELS).touch()
    assert find_idx(tmp_path, LABELS) == tmp_path / LABELS


def test_content_tells_compression(tmp_path):
    raw = idx_bytes((3,), b"\1\2\3")
    (tmp_path / "inflated_by_a_browser.gz").write_bytes(raw)
    (tmp_path / "still_compressed").write_bytes(gzip.compress(raw))
    for path in tmp_path.iterdir():
        assert read_idx(path).tolist() == [1, 2, 3]


@pytest.mark.parametrize("compress", [False, True])
def test_no_single_byte_can_change(tmp_path, compress):
    images, _ = digits(1)
    raw = idx_bytes(images.shape, images.tobytes())
    sha256 = hashlib.sha256(raw).hexdigest()
    stored = gzip.compress(raw) if compress else raw
    path = tmp_path / IMAGES
    path.write_bytes(stored)
    np.testing.assert_array_equal(read_idx(path, sha256=sha256.upper()), images)

    rng = random.Random(0)
    for _ in range(200):
        damaged = bytearray(stored)
        position = rng.randrange(len(stored))
        damaged[position] ^= rng.randrange(1, 256)
        path.write_bytes(damaged)
        if compress and position in range(3, 10):  # flags, time and system: content may survive
            with contextlib.suppress(ValueError):
                np.testing.assert_array_equal(read_idx(path, sha256=sha256), images)
        else:
            with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: "):
                read_idx(path, sha256=sha256)


def test_length_must_be_as_promised(tmp_path):
    raw = idx_bytes((2, 3), range(6))
    path = tmp_path / "file"
    for n in range(len(raw)):
        path.write_bytes(raw[:n])
        refused(path, "empty|not an IDX file|ends within its header|promise 18 bytes but")
        path.write_bytes(gzip.compress(raw[:n]))
        refused(path, "empty|not an IDX file|ends within its header|promise 18 bytes but")
    for extended in (raw + b"\0", gzip.compress(raw + b"\0")):
        path.write_bytes(extended)
        refused(path, "promise 18 bytes but more are there")
    with pytest.raises(ValueError, match="promise 18 bytes but 19 are there"):
        parse_idx(raw + b"\0")
    with pytest.raises(ValueError, match="promise 18 bytes but 17 are there"):
        parse_idx(raw[:-1])


def test_gzip_must_be_whole(tmp_path):
    stored = gzip.compress(idx_bytes((200,), digits(200)[1]))
    path = tmp_path / f"{LABELS}.gz"
    for n in range(2, len(stored)):
        path.write_bytes(stored[:n])
        refused(path, "gzip data are damaged .*ended before the end")
    path.write_bytes(stored + b"<html>")
    refused(path, "gzip data are damaged .*Not a gzipped file")
    path.write_bytes(stored + stored)
    refused(path, "promise 208 bytes but more are there")
    path.write_bytes(stored + b"\0\0")  # padding, as gzip has it on tapes
    assert len(read_idx(path)) == 200
    path.write_bytes(stored[:-8] + b"\0\0\0\0" + stored[-4:])
    refused(path, "gzip data are damaged .*CRC check failed")


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"<!DOCTYPE html>", "not an IDX file .it begins with b'<!DOCTYP'"),
        (idx_bytes((2,), b"abcdefgh", type_code=0x0D), "type code 0x0d, not 0x08"),
        (idx_bytes((), b"a"), "rank 0, not 1..3"),
        (idx_bytes((1, 1, 1, 1), b"a"), "rank 4, not 1..3"),
    ],
)
def test_other_formats(tmp_path, raw, problem):
    path = tmp_path / IMAGES
    path.write_bytes(raw)
    refused(path, problem)


HUGE = 2**32 - 1


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (idx_bytes((HUGE, HUGE, HUGE), b"a" * 99), "more than the 268435456 allowed"),
        (idx_bytes((HUGE,), b"a"), "more than the 268435456 allowed"),
        (idx_bytes((300_000, 28, 28), b"a"), "promise 235200016 bytes but 17 are there"),
        (gzip.compress(idx_bytes((300_000, 28, 28), b"a")), "but 17 are there"),
        (gzip.compress(idx_bytes((1,), bytes(2**26))), "promise 9 bytes but more are there"),
    ],
    ids=["beyond 64 bits", "beyond the cap", "below the cap", "below the cap, gz", "bomb"],
)
def test_forged_header_costs_no_memory(tmp_path, content, problem):
    path = tmp_path / IMAGES
    path.write_bytes(content)
    tracemalloc.start()
    try:
        refused(path, problem)
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


def test_cap_holds_for_the_file_and_for_its_content(tmp_path):
    path = tmp_path / "zeros"
    raw = idx_bytes((5000,), bytes(5000))
    path.write_bytes(raw)
    assert len(read_idx(path, max_bytes=len(raw))) == 5000
    refused(path, "has 5008 bytes, more than the 5007 allowed", max_bytes=5007)
    path.write_bytes(gzip.compress(raw))
    assert len(read_idx(path, max_bytes=len(raw))) == 5000
    refused(path, "promise 5008 bytes, more than the 5007 allowed", max_bytes=5007)


@pytest.mark.parametrize("make", [os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_not_a_regular_file(tmp_path, make):
    make(tmp_path / LABELS)
    refused(tmp_path / LABELS, "not a regular file")


def test_fifo_is_refused_without_waiting(tmp_path):
    path = tmp_path / LABELS
    os.mkfifo(path)
    fifo = os.open(path, os.O_RDWR)  # it has a writer, so that even a wrong reader ends
    try:
        os.write(fifo, idx_bytes((1,), b"a"))
        refused(path, "not a regular file")
    finally:
        os.close(fifo)


def test_unreadable_file(tmp_path):
    path = tmp_path / "absent"
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: cannot be read .No such file"):
        read_idx(path)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        read_split(tmp_path, "t10k", TEN, sha256={})
    for part in (str(tmp_path), "t10k-images-idx3-ubyte[.gz]", "t10k-labels-idx1-ubyte[.gz]"):
        assert part in str(caught.value)
    write_split(tmp_path, "t10k", *digits(1))
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError) as caught:
        read_split(tmp_path, "t10k", TEN, sha256={})
    assert "images" not in str(caught.value)
    with pytest.raises(ValueError, match='"test" is not one of'):
        read_split(tmp_path, "test", TEN, sha256={})


def swapped(images, labels):
    return labels, images


@pytest.mark.parametrize(
    ("forge", "bad_name", "problem"),
    [
        (swapped, IMAGES, r"shape \(20,\) where images \(n, 28, 28\) belong"),
        (lambda images, _: (images, images), LABELS, r"shape \(20, 28, 28\) where labels \(n,\)"),
        (lambda images, labels: (images[:, 4:, 4:], labels), IMAGES, r"shape \(20, 24, 24\)"),
        (lambda images, labels: (images[:0], labels[:0]), IMAGES, "no image in it"),
        (lambda images, labels: (images, labels[:5]), LABELS, "5 labels for the 20 images"),
        (lambda images, labels: (images, labels[:0]), LABELS, "0 labels for the 20 images"),
        (
            lambda images, _: (images, np.arange(20, dtype=np.uint8).clip(0, 10)),
            LABELS,
            "label 10 is 10, not",
        ),
        (lambda images, _: (images, np.full(20, 200, np.uint8)), LABELS, "label 0 is 200, not in"),
    ],
)
def test_files_that_make_no_split(tmp_path, forge, bad_name, problem):
    write_split(tmp_path, "train", *forge(*digits(20)))
    bad_path = re.escape(str(Path(tmp_path, bad_name)))
    with pytest.raises(ValueError, match=f"^{bad_path}: .*{problem}"):
        read_split(tmp_path, "train", TEN, sha256={})


def test_each_file_has_its_own_checksum(tmp_path):
    digests = write_split(tmp_path, "train", *digits(3))
    for name in split_names("train"):
        wrong = digests | {name: "0" * 64}
        with pytest.raises(ValueError, match=f"{name}: its SHA-256 is {digests[name]}, not 0000"):
            read_split(tmp_path, "train", TEN, sha256=wrong)
