"""MNISTDataModule: whole splits in memory as uint8, batches taken by index and scaled as tensors.

The first two of the four hops from a digit to the loss are in `Batches.batch`.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8
from lightning.pytorch import LightningDataModule
from torch import Tensor

from mnist_lab.augment import shift
from mnist_lab.seeding import epoch_seed
from mnist_lab.signals import signals
from mnist_lab.sources import Source

Split = tuple[UInt8[Tensor, "n 1 28 28"], Int64[Tensor, "n"]]  # grey levels, labels 0..9
Batch = tuple[Float32[Tensor, "n 1 28 28"], Int64[Tensor, "n"]]  # 0 paper to 1 ink, labels 0..9

EVAL_BATCH_SIZE = 512  # images at a time without gradients: few, so that a CNN's maps stay in cache
CHUNK_IMAGES = 2_048  # images, and
CHUNK_STEPS = 50  # optimizer steps at most, between two looks of the Trainer at the run


def scale(images: UInt8[Tensor, "n 1 28 28"]) -> Float32[Tensor, "n 1 28 28"]:
    """Grey levels 0..255 to 0..1, and nothing else."""
    return images.float().div_(255.0)


class EpochOrder:
    """The order of the training images in each epoch, a pure function of (seed, epoch).

    Lightning calls `set_epoch` on a loader's `sampler` before each epoch, as for a
    DistributedSampler.
    """

    def __init__(self, num_items: int, *, seed: int) -> None:
        self.num_items = num_items
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def indices(self) -> Int64[Tensor, "n"]:
        """A permutation, drawn on the CPU so that every device sees the same order."""
        generator = torch.Generator().manual_seed(epoch_seed(self.seed, self.epoch, "order"))
        return torch.randperm(self.num_items, generator=generator)


class Batches:
    """A split in batches, on the device that will use them; the last one may be smaller.

    Args:
        max_shift: pixels by which each image is moved at most; for training alone.
    """

    def __init__(self, split: Split, *, batch_size: int, max_shift: int = 0) -> None:
        self.images, self.labels = split
        self.batch_size = batch_size
        self.max_shift = max_shift

    def __len__(self) -> int:
        return math.ceil(len(self.images) / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        rows = torch.arange(len(self.images), device=self.images.device)
        yield from map(self.batch, rows.split(self.batch_size))

    def batch(self, rows: Int64[Tensor, "n"]) -> Batch:
        # index_select: a tenth of the time that images[rows] takes
        images = self.images.index_select(0, rows)  # hop 1: uint8 (n, 1, 28, 28)
        if self.max_shift:
            images = shift(images, most=self.max_shift)
        labels = self.labels.index_select(0, rows)
        return scale(images), labels  # hop 2: float (n, 1, 28, 28); hop 3: the model


class Chunk:
    """Some consecutive batches of an epoch, each made when it is asked for."""

    def __init__(self, batches: Batches, rows: Int64[Tensor, "n"]) -> None:
        self.batches = batches
        self.rows = rows

    def __iter__(self) -> Iterator[Batch]:
        for rows in self.rows.split(self.batches.batch_size):
            signals.check()  # a slow network's chunk takes long: stop at a batch's end
            yield self.batches.batch(rows)


class TrainChunks:
    """The training split in the epoch's order, some batches at a time.

    One call of `training_step` takes one chunk and makes all of its optimizer steps: the Trainer's
    work between two steps costs more than a step of a small network.
    """

    def __init__(self, batches: Batches, *, sampler: EpochOrder) -> None:
        self.batches = batches
        self.sampler = sampler
        steps = max(1, min(CHUNK_STEPS, CHUNK_IMAGES // batches.batch_size))
        self.chunk_images = steps * batches.batch_size

    def __len__(self) -> int:
        return math.ceil(self.sampler.num_items / self.chunk_images)

    def __iter__(self) -> Iterator[Chunk]:
        order = self.sampler.indices().to(self.batches.images.device)
        for rows in order.split(self.chunk_images):
            yield Chunk(self.batches, rows)


class MNISTDataModule(LightningDataModule):
    """MNIST, or any data set of its shape, in three splits.

    The test split is the official one. Validation is the end of the training split, or drawn by
    seed with `shuffle_split`. Everything is held on the device of the run, since it is small.

    Args:
        max_shift: pixels by which each training image is moved at most, anew in each epoch.
        seed: of the run; fixes the order of the epochs and the shuffled split.
        settings: those of the group `data` that say where the images are; see `Source`.
    """

    def __init__(
        self,
        *,
        batch_size: int,
        val_fraction: float,
        shuffle_split: bool,
        max_shift: int,
        class_names: Sequence[str],
        seed: int,
        **settings: object,
    ) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.max_shift = max_shift
        self.class_names = list(class_names)
        self.seed = seed
        self.source = Source.of({**settings, "class_names": class_names})
        splits = self.source.read()
        self.sha256 = splits.sha256
        images, labels = as_tensors(splits.train_images, splits.train_labels)
        self.num_val = splits.num_val(val_fraction)
        if shuffle_split and self.num_val:
            generator = torch.Generator().manual_seed(epoch_seed(seed, 0, "split"))
            rows = torch.randperm(len(images), generator=generator)
            images, labels = images[rows], labels[rows]
        cut = len(images) - self.num_val
        self.splits: dict[str, Split] = {
            "train": (images[:cut], labels[:cut]),
            "val": (images[cut:], labels[cut:]),
            "test": as_tensors(splits.test_images, splits.test_labels),
        }

    @property
    def num_train(self) -> int:
        return len(self.splits["train"][0])

    def batches(self, split: str, *, batch_size: int = CHUNK_IMAGES, max_shift: int = 0) -> Batches:
        """A split in its own order, for evaluation and for looking."""
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        images, labels = self.splits[split]
        return Batches(
            (images.to(device), labels.to(device)), batch_size=batch_size, max_shift=max_shift
        )

    def train_dataloader(self) -> TrainChunks:
        return TrainChunks(
            self.batches("train", batch_size=self.batch_size, max_shift=self.max_shift),
            sampler=EpochOrder(self.num_train, seed=self.seed),
        )

    def val_dataloader(self) -> Batches:
        return self.batches("val")

    def test_dataloader(self) -> Batches:
        return self.batches("test")


def as_tensors(images: UInt8[np.ndarray, "n 28 28"], labels: UInt8[np.ndarray, "n"]) -> Split:
    return torch.as_tensor(images).unsqueeze(1), torch.as_tensor(labels).long()
