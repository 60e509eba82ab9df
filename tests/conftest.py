"""Shared fixtures: tiny data, MNIST itself, runs in this process, verbs as real processes."""

import os
import struct
from fractions import Fraction
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
from processes import Warm, last_of_each

# Before anything imports the package: each call into it has its shapes checked.
jaxtyping.install_import_hook("mnist_lab", "shapes.checked")
os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the same tests everywhere; before torch is imported
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.pop("MNIST_LAB_DATA", None)

from mnist_lab.data.classes import Classes  # noqa: E402

TEN = Classes(tuple("0123456789"))

# Imported ahead by the processes that verbs are forked from; none of it imports torch.
LIGHT = [
    "mnist_lab.train",
    "mnist_lab.resume",
    "mnist_lab.data.source",
    "hydra._internal.hydra",
    "hydra._internal.config_loader_impl",
    "hydra.core.override_parser.overrides_parser",
]
NUM_TRAIN, NUM_TEST = 400, 100
FLIPPED = 0.3  # share of the pixels


def pytest_configure(config):
    # Lightning 2.6.6 asks torch 2.14 for a class that torch is about to take away; ours to mend
    # it is not, and it does no harm.
    config.addinivalue_line("filterwarnings", "ignore:.*LeafSpec.*:FutureWarning")


def digits(num_images, *, seed):
    """Images whose class can be learnt, but not perfectly: a tenth of the pixels, amid noise."""
    patterns = np.random.default_rng(0).random((10, 28, 28)) < 0.1
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, num_images, dtype=np.uint8)
    ink = patterns[labels] ^ (rng.random((num_images, 28, 28)) < FLIPPED)
    return (ink * rng.integers(1, 256, ink.shape)).astype(np.uint8), labels


def write_idx(path, values):
    header = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header + values.tobytes())


def write_idx_folder(folder, *, num_train=NUM_TRAIN, num_test=NUM_TEST, seed=1):
    for prefix, num_images, split_seed in (("train", num_train, seed), ("t10k", num_test, -seed)):
        images, labels = digits(num_images, seed=abs(2 * split_seed) + (prefix == "t10k"))
        write_idx(folder / f"{prefix}-images-idx3-ubyte", images)
        write_idx(folder / f"{prefix}-labels-idx1-ubyte", labels)
    return folder


def validation_rows(labels, *, num_val, split_seed=0):
    """Which training images of data=idx_folder are for validation, the slow way.

    Each class gives its share, rounded down; the largest remainders give one more. They are drawn.
    """
    import torch

    from mnist_lab.data.seeding import epoch_seed

    labels = [int(label) for label in labels]
    exact = {k: Fraction(num_val * labels.count(k), len(labels)) for k in sorted({*labels})}
    wanted = {k: int(share) for k, share in exact.items()}
    by_remainder = sorted(exact, key=lambda k: wanted[k] - exact[k])
    for k in by_remainder[: num_val - sum(wanted.values())]:
        wanted[k] += 1
    generator = torch.Generator().manual_seed(epoch_seed(split_seed, 0, "split"))
    rows = []
    for row in torch.randperm(len(labels), generator=generator).tolist():
        if wanted[labels[row]]:
            wanted[labels[row]] -= 1
            rows.append(row)
    return sorted(rows)


@pytest.fixture(scope="session")
def idx_folder():
    """`idx_folder(path, num_train=..., num_test=..., seed=...)` writes a tiny data set there."""
    return write_idx_folder


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    """400 training and 100 test images in IDX files, for data=idx_folder; not to be changed."""
    return write_idx_folder(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def mnist_5k():
    """Splits of data=mnist_5k; whoever asks for them is skipped where no copy is installed."""
    from mnist_lab.data.installed import INSTALL, installed_copy
    from mnist_lab.data.source import Source
    from mnist_lab.settings.compose import checked, compose

    if installed_copy() is None:
        pytest.skip(f"needs MNIST itself: {INSTALL}")
    return Source.of(checked(compose(["data=mnist_5k"]))["data"]).find().read()


@pytest.fixture(scope="session")
def tiny(data_dir):
    """Overrides of a run that takes a moment; with others: `last_of_each(*tiny, ...)`."""
    return [
        "data=idx_folder",
        f"data.root={data_dir}",
        "data.batch_size=32",
        "data.val_fraction=0.25",
        "model.width=8",
        "model.dropout=0",
        "trainer=cpu",
        "trainer.max_epochs=2",
        "threads=1",
    ]


@pytest.fixture(scope="session")
def train_run(tiny):
    """`train_run(parent, *overrides)` trains in this process and returns the run directory."""
    from mnist_lab.run.directory import Run
    from mnist_lab.run.fit import resolved, train
    from mnist_lab.settings.compose import checked, compose

    def train_run(parent: Path, *overrides: str) -> Path:
        base = [
            text for text in tiny if not (text.startswith("model.") and "model=linear" in overrides)
        ]
        config = resolved(checked(compose(last_of_each(*base, *overrides))))
        run = Run.claim_new(parent)
        try:
            train(config, run, quiet=True)
        finally:
            run.release()
        return run.path

    return train_run


@pytest.fixture(scope="session")
def verbs():
    """Real processes of the verbs, forked from an interpreter that has torch imported already.

    `verbs.run("mnist_lab.train", *args, cwd=folder)` waits; `verbs.start(...)` can be signalled.
    """
    with Warm([*LIGHT, "mnist_lab.run.fit", "mnist_lab.models.mlp"]) as warm:
        yield warm


@pytest.fixture(scope="session")
def light_verbs():
    """Real processes that die when they import torch or zarr: for what is answered without them."""
    heavy = ["torch", "lightning", "torchvision", "torchmetrics", "zarr", "numcodecs"]
    with Warm(LIGHT, forbidden=heavy) as warm:
        yield warm
