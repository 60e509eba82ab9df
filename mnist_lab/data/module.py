"""A LightningDataModule of a user's own, read once into memory."""

from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch.utils.data import DataLoader, IterableDataset, RandomSampler, SequentialSampler

from mnist_lab.data.classes import Classes
from mnist_lab.data.idx import IMAGE_SIZE
from mnist_lab.ui.errors import Refused, first_line

UNCALLED = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")


def read_module(module: Any, classes: Classes) -> tuple[list[np.ndarray], int | None]:
    """Read all images of a module: order, batches and movement through them are then the lab's.

    What a run needs of a module:

    - `prepare_data()`, `setup("fit")` and `setup("test")`, called in this order, without a Trainer.
    - `train_dataloader()` and `test_dataloader()`, each a torch DataLoader of a map-style data set,
      shuffled or not; `val_dataloader()` if it has validation images of its own, else
      data.val_fraction of the training images are kept for it.
    - Batches `(images, labels)`: images uint8 (n, 1, 28, 28), 0 paper to 255 ink; labels whole
      numbers (n,), data.first_label standing for the first of data.class_names.
    - The same images whenever they are read, since their SHA-256 names them in what a run stores:
      what changes images at random is data.max_shift's affair.

    Returns:
        Training images uint8 (n, 28, 28) and class numbers (n,), then those of the test split; how
        many of the training images, at the end, are the module's own validation, None without one.

    Raises:
        Refused: it does not give that, in one line.
    """
    name = type(module).__name__
    try:
        if not isinstance(module, LightningDataModule):
            raise ValueError("must be a lightning.pytorch.LightningDataModule")
        for hook in UNCALLED:
            if is_overridden(hook, module):
                raise ValueError(f"its {hook} would not be called; leave it out")
        module.prepare_data()
        module.setup("fit")
        module.setup("test")
        splits = ["train", "test"]
        splits += ["val"] if is_overridden("val_dataloader", module) else []
        train, test, *val = (read_split(module, split, classes) for split in splits)
    except Refused:
        raise
    except Exception as error:
        raise Refused(f"data.module={name}: {first_line(error)}.") from error
    if not val:
        return [*train, *test], None
    images, labels = (np.concatenate(both) for both in zip(train, *val, strict=True))
    return [images, labels, *test], len(val[0][1])


def read_split(
    module: LightningDataModule, split: str, classes: Classes
) -> tuple[np.ndarray, np.ndarray]:
    said = f"{split}_dataloader()"
    loader = getattr(module, said[:-2])()
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        raise ValueError(f"{said} gives {type(loader).__name__}; must be a map-style DataLoader")
    in_order = isinstance(loader.sampler, SequentialSampler)
    shuffled = isinstance(loader.sampler, RandomSampler) and not loader.sampler.replacement
    if loader.batch_size is None or not (in_order or shuffled):
        raise ValueError(
            f"{said} has a sampler of its own; must take each image of its data set once "
            "(torch.utils.data.Subset takes some)"
        )
    plain: DataLoader[Any] = DataLoader(
        loader.dataset, batch_size=loader.batch_size, collate_fn=loader.collate_fn
    )
    batches = [arrays(batch, said) for batch in plain]
    if not batches:
        raise ValueError(f"{said} gives no image")
    if not np.array_equal(batches[0][0], arrays(next(iter(plain)), said)[0]):
        raise ValueError(f"{said} gives other images when it is read again; see data.max_shift")
    images, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    return images, classes.numbered(labels, place=f"label {{}} of {said}".format)


def arrays(batch: Any, said: str) -> tuple[np.ndarray, np.ndarray]:
    """A batch as images (n, 28, 28) and labels (n,)."""
    if not (isinstance(batch, (tuple, list)) and len(batch) == 2):
        raise ValueError(f"{said} gives {type(batch).__name__}; must be batches (images, labels)")
    images, labels = (torch.as_tensor(values) for values in batch)
    shape = (len(labels), 1, IMAGE_SIZE, IMAGE_SIZE)
    if images.dtype != torch.uint8 or images.shape != shape:
        raise ValueError(
            f"{said} gives images {images.dtype} {tuple(images.shape)}; must be torch.uint8 "
            f"{shape}, as torchvision's PILToTensor gives them"
        )
    if labels.dtype.is_floating_point or labels.ndim != 1:
        raise ValueError(
            f"{said} gives labels {labels.dtype} {tuple(labels.shape)}; must be whole numbers (n,)"
        )
    return images[:, 0].numpy(), labels.numpy()
