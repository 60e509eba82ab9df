"""The six published recipes as pieces of work; every number comes from the lab's configuration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.work import Work
from mnist_lab.settings.compose import checked, compose

# Epochs, and stretches in each: 15 or more after the first, which warms up, and each long enough
# for a clock. More than one whole epoch, since its end (validation, checkpoints) is timed too.
PLANS = {
    "mlp_100": (4, 4),
    "mlp_25x2": (16, 1),
    "mlp_512": (8, 2),
    "mlp_512x2_dropout": (3, 6),
    "mlp_800_dropout_sgd": (8, 2),
    "cnn_12_20": (3, 6),
}


def composed(settings: Sequence[str]) -> dict[str, Any]:
    return checked(compose(settings))


def work_of(
    settings: Sequence[str],
    folder: Path,
    *,
    num_images: int,
    threads: int = 1,
    plan: tuple[int, int] | None = None,
    seed: int = 0,
) -> Work:
    """Take network, optimizer and batches from what `mnist-train` makes of some settings.

    Args:
        settings: such as `experiment=mlp_100`, or none for the lab's defaults.
        folder: holds MNIST/raw/.
        num_images: in the training split there, validation included.
        plan: epochs and stretches of each; the settings' own number of epochs when None.
    """
    config = composed(settings)
    epochs, parts = plan or (config["trainer"]["max_epochs"], 1)
    data = config["data"]
    num_val = round(num_images * data["val_fraction"])
    overrides = [
        *settings,
        "data=idx_folder",  # the same files as the others, of whatever number of images
        f"data.root={folder / 'MNIST' / 'raw'}",
        "data.split_seed=null",  # as in MNIST's own
        "trainer=cpu",
        f"trainer.max_epochs={epochs}",
        f"threads={threads}",
        f"seed={seed}",
    ]
    return Work(
        name=config["choices"]["experiment"] or config["choices"]["model"],
        model=config["model"],
        optimizer=config["optimizer"],
        batch_size=data["batch_size"],
        num_train=num_images - num_val,
        num_val=num_val,
        epochs=epochs,
        parts=parts,
        threads=threads,
        seed=seed,
        overrides=overrides,
        folder=str(folder),
    )
