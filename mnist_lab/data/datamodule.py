"""MNISTDataModule: whole splits in memory as uint8, batches taken by index and scaled as tensors.

The first two of the four hops from a digit to the loss are in `Images.__getitem__`.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, UInt, UInt8
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, SequentialSampler

from mnist_lab.data.augment import shift
from mnist_lab.data.hands import NUM_DRAWS, Hands
from mnist_lab.data.inspection import lacking
from mnist_lab.data.seeding import epoch_seed
from mnist_lab.data.source import Source

Split = tuple[UInt8[Tensor, "n 1 28 28"], Int64[Tensor, "n"]]  # grey levels, class numbers
Batch = tuple[Float[Tensor, "n 1 28 28"], Int64[Tensor, "n"]]  # 0 paper to 1 ink, class numbers
Rows = Sequence[int] | Int64[Tensor, "n"]  # which images of a split

EVAL_BATCH_SIZE = 512  # images at a time without gradients: few, so that a CNN's maps stay in cache


def scale(images: UInt8[Tensor, "n 1 28 28"]) -> Float32[Tensor, "n 1 28 28"]:
    """Grey levels 0..255 to 0..1, and nothing else."""
    return images.float().div_(255.0)


class EpochOrder(Sampler[Tensor]):
    """The training images of an epoch in batches of indices, a pure function of (seed, epoch).

    Lightning calls `set_epoch` before each epoch, as for a DistributedSampler. In a plain loop each
    pass is the next epoch. Nothing is drawn from torch's global generator.
    """

    def __init__(self, num_items: int, *, batch_size: int, seed: int) -> None:
        self.num_items = num_items
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = -1  # of the pass that is going on
        self.next_epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.next_epoch = epoch

    def __len__(self) -> int:
        return math.ceil(self.num_items / self.batch_size)

    def __iter__(self) -> Iterator[Tensor]:
        """Indices of one batch after the other; the last one may be smaller."""
        self.epoch, self.next_epoch = self.next_epoch, self.next_epoch + 1
        yield from self.indices(self.epoch).split(self.batch_size)

    def indices(self, epoch: int) -> Int64[Tensor, "n"]:
        """A permutation, drawn on the CPU so that every device sees the same order."""
        generator = torch.Generator().manual_seed(epoch_seed(self.seed, epoch, "order"))
        return torch.randperm(self.num_items, generator=generator)


class Images(Dataset[Batch]):
    """A split in memory, on the device that will use it; indexed by a whole batch of rows.

    Args:
        order: of the epochs, where images are to be drawn or moved anew in each of them.
        hands: how each image is drawn.
        max_shift: pixels by which each image is moved at most.
    """

    def __init__(
        self,
        split: Split,
        *,
        order: EpochOrder | None = None,
        hands: Hands | None = None,
        max_shift: int = 0,
    ) -> None:
        self.images, self.labels = split
        self.order = order
        self.hands = hands
        self.max_shift = max_shift
        self.drawn_epoch = -1
        self.draws = self.moves = torch.empty(0)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: Rows) -> Batch:
        rows = torch.as_tensor(rows, device=self.images.device)
        # index_select: a tenth of the time that images[rows] takes
        images = self.images.index_select(0, rows)  # hop 1: uint8 (n, 1, 28, 28)
        if self.hands or self.max_shift:
            self._draw()
        if self.hands:
            images = self.hands.redrawn(images, self.draws.index_select(0, rows))
        if self.max_shift:
            images = shift(images, self.moves.index_select(0, rows), most=self.max_shift)
        labels = self.labels.index_select(0, rows)
        return scale(images), labels  # hop 2: float (n, 1, 28, 28); hop 3: the model

    def _draw(self) -> None:
        """Draw how each image is changed in this epoch, whatever batch it comes in."""
        assert self.order is not None
        if self.drawn_epoch == self.order.epoch:
            return
        self.drawn_epoch = self.order.epoch
        if self.hands:
            draws = torch.rand((len(self), NUM_DRAWS), generator=self._generator("hands"))
            self.draws = (2 * draws - 1).to(self.images.device)
        if self.max_shift:
            size = (len(self), 2)
            moves = torch.randint(2 * self.max_shift + 1, size, generator=self._generator("shift"))
            self.moves = (moves - self.max_shift).to(self.images.device)

    def _generator(self, purpose: str) -> torch.Generator:
        assert self.order is not None
        seed = epoch_seed(self.order.seed, self.order.epoch, purpose)
        return torch.Generator().manual_seed(seed)


class InOrder(SequentialSampler):
    """The images of a split in their own order, in batches of indices."""

    def __init__(self, data_source: Images, *, batch_size: int) -> None:
        super().__init__(data_source)
        self.batches = torch.arange(len(data_source)).split(batch_size)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Tensor]:  # type: ignore[override]  # batches, not single indices
        return iter(self.batches)


class MNISTDataModule(LightningDataModule):
    """MNIST, or any data set of its shape, in three splits.

    The test split is the official one. Validation is the end of the training split; with
    `split_seed` it is drawn by that number, in each class the same share; with `shuffle_split` it
    is drawn by the run's seed. Everything is held on the device of the run, since it is small; the
    loaders yield `(images, labels)` and need no workers.

    Args:
        max_shift: pixels by which each training image is moved at most, anew in each epoch.
        max_turn, max_slant, max_bend, max_pen: how differently each is drawn, likewise; see
            `Hands`.
        seed: of the run; fixes the order of the epochs and the shuffled split.
        module: the user's own, that data.module names, built.
        settings: those of the group `data` that say where the images are; see `Source`.
    """

    def __init__(
        self,
        *,
        batch_size: int,
        val_fraction: float,
        split_seed: int | None,
        shuffle_split: bool,
        max_shift: int,
        max_turn: float,
        max_slant: float,
        max_bend: float,
        max_pen: float,
        class_names: Sequence[str],
        seed: int,
        module: Any = None,
        **settings: object,
    ) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.max_shift = max_shift
        self.hands = Hands(
            max_turn=max_turn, max_slant=max_slant, max_bend=max_bend, max_pen=max_pen
        )
        self.class_names = list(class_names)
        self.seed = seed
        self.source = Source.of(
            {**settings, "class_names": class_names, "module": module}, module=module
        )
        splits = self.source.read()
        self.sha256 = splits.sha256
        images, labels = as_tensors(splits.train_images, splits.train_labels)
        self.num_val = splits.num_val(val_fraction)
        is_drawn = self.num_val and splits.num_own_val is None  # a data set's own is at the end
        if is_drawn and shuffle_split:
            rows = drawn(len(images), seed=seed)
            images, labels = images[rows], labels[rows]
        elif is_drawn and split_seed is not None:
            rows = stratified(labels, self.num_val, seed=split_seed)
            images, labels = images[rows], labels[rows]
        cut = len(images) - self.num_val
        self.splits: dict[str, Split] = {
            "train": (images[:cut], labels[:cut]),
            "val": (images[cut:], labels[cut:]),
            "test": as_tensors(splits.test_images, splits.test_labels),
        }
        self.warnings: list[str] = []
        if val_fraction and not self.num_val:
            self.warnings.append(
                f"data.val_fraction={val_fraction}: rounds to none of {len(images):,} images; "
                "there is no validation."
            )
        if splits.num_own_val is not None:
            self.warnings.append(
                f"validation: the {self.num_val:,} images of the module's own; data.val_fraction, "
                "split_seed and shuffle_split do nothing."
            )
        if self.source.is_own:
            numbers = {name: values.numpy() for name, (_, values) in self.splits.items()}
            self.warnings += [
                *self.source.notes,
                *splits.doubts,
                *lacking(numbers, self.class_names),
            ]

    @property
    def num_train(self) -> int:
        return len(self.splits["train"][0])

    def split(self, name: str) -> Split:
        """A split on the run's device, moved there once."""
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        images, labels = self.splits[name]
        self.splits[name] = images.to(device), labels.to(device)
        return self.splits[name]

    def train_dataloader(self) -> DataLoader[Batch]:
        if getattr(self.trainer, "overfit_batches", 0):
            return self.eval_dataloader("train", batch_size=self.batch_size)  # the same ones again
        order = EpochOrder(self.num_train, batch_size=self.batch_size, seed=self.seed)
        images = Images(
            self.split("train"), order=order, hands=self.hands, max_shift=self.max_shift
        )
        return loader(images, order)

    def eval_dataloader(self, name: str, *, batch_size: int = EVAL_BATCH_SIZE) -> DataLoader[Batch]:
        """A split in its own order, its images as they are."""
        images = Images(self.split(name))
        return loader(images, InOrder(images, batch_size=batch_size))

    def val_dataloader(self) -> DataLoader[Batch]:
        return self.eval_dataloader("val")

    def test_dataloader(self) -> DataLoader[Batch]:
        return self.eval_dataloader("test")

    def predict_dataloader(self) -> DataLoader[Batch]:
        return self.eval_dataloader("test")


def drawn(num_images: int, *, seed: int) -> Int64[Tensor, "n"]:
    generator = torch.Generator().manual_seed(epoch_seed(seed, 0, "split"))
    return torch.randperm(num_images, generator=generator)


def stratified(labels: Int64[Tensor, "n"], num_val: int, *, seed: int) -> Int64[Tensor, "n"]:
    """The rows of a split in order, but those of `num_val` images last, of each class its share."""
    rows = drawn(len(labels), seed=seed)
    shares = labels.bincount() * num_val  # in units of 1 / len(labels)
    wanted, rest = shares // len(labels), shares % len(labels)
    left = num_val - int(wanted.sum())  # go to the classes that were rounded down the most
    wanted[rest.argsort(descending=True, stable=True)[:left]] += 1
    val = torch.cat([rows[labels[rows] == k][:n] for k, n in enumerate(wanted.tolist())])
    train = torch.ones(len(labels), dtype=torch.bool).index_fill_(0, val, False)
    return torch.cat([train.nonzero()[:, 0], val.sort().values])


def loader(images: Images, sampler: Sampler[Any]) -> DataLoader[Batch]:
    """Batches as the data set makes them, whole; with a generator of its own, as else each pass
    would take a number from torch's global one."""
    return DataLoader(
        images, batch_size=None, sampler=sampler, collate_fn=as_it_is, generator=torch.Generator()
    )


def as_it_is(batch: Any) -> Any:
    return batch


def as_tensors(images: UInt8[np.ndarray, "n 28 28"], labels: UInt[np.ndarray, "n"]) -> Split:
    return torch.as_tensor(images).unsqueeze(1), torch.as_tensor(labels.astype(np.int64))
