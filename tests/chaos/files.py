"""Bytes of data files, checkpoints and pictures that are not what they were."""

import hashlib
import time
import warnings

import numpy as np
import torch
from test_pictures import drawn_digit, mutated
from test_pictures import seeds as pictures

from mnist_lab.data.files import FILES
from mnist_lab.data.idx import read_idx
from mnist_lab.pictures.digits import to_mnist
from mnist_lab.pictures.picture import PictureError, load_picture
from mnist_lab.run.checkpoints import AtomicCheckpointIO, Damaged, read_checkpoint


def altered(raw, rng):
    raw = bytearray(raw)
    raw[rng.randrange(len(raw))] ^= rng.randrange(1, 256)
    return bytes(raw)


def bytes_changed(tally, folder, rng):
    """One byte of a data file, of a checkpoint; each is read unaltered first."""
    file = folder / "data" / FILES[0]
    raw = file.read_bytes()
    sha256 = hashlib.sha256(raw).hexdigest()
    read_idx(file, sha256=sha256)
    copy = folder / "copy"
    outcomes = []
    for _ in range(tally.times(200)):
        copy.write_bytes(altered(raw, rng))
        try:
            read_idx(copy, sha256=sha256)
            outcomes.append((False, 0))
        except ValueError:
            outcomes.append((True, 0))
    tally.add("one byte of a data file changed: refused", outcomes)
    path = folder / "bytes" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"state_dict": {"weight": torch.randn(10_000)}}, path)
    raw = path.read_bytes()
    read_checkpoint(path)
    outcomes = []
    for _ in range(tally.times(200)):
        path.write_bytes(
            altered(raw, rng) if rng.random() < 0.8 else raw[: rng.randrange(len(raw))]
        )
        try:
            read_checkpoint(path)
            outcomes.append((False, 0))
        except Damaged:
            outcomes.append((True, 0))
    tally.add("one byte of a checkpoint changed, or its end cut: noticed", outcomes)


def pictures_mutated(tally, folder):
    rng = np.random.default_rng(5)
    files = list(pictures(drawn_digit()))
    path = folder / "picture"
    outcomes, num_read = [], 0
    for number in range(tally.times(1000)):
        path.write_bytes(bytes(mutated(files[number % len(files)], files, rng)))
        began = time.perf_counter()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                to_mnist(load_picture(path))
            num_read += 1
            good = True
        except PictureError as error:
            good = bool(str(error))
        except Exception:
            good = False
        outcomes.append((good, time.perf_counter() - began))
    assert 0 < num_read < len(outcomes), "both outcomes are tried"
    tally.add("a picture mutated: read, or refused with a reason", outcomes, 5)
