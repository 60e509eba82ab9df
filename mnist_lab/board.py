"""What an evaluation shows in TensorBoard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter
from torchvision.utils import make_grid

from mnist_lab.models.classifier import Classifier

SUFFIX = ".evaluation"  # of the event file, which the next evaluation replaces
NUM_TILES = 64


def write_board(
    folder: Path,
    *,
    model: Classifier,
    images: UInt8[Tensor, "n 1 28 28"],
    pictures: Sequence[Path],
    epoch: int,
) -> None:
    """Replace the last evaluation in a run's TensorBoard folder.

    Args:
        images: of the split, for samples.
        pictures: PNG files of the evaluation.
    """
    for old in folder.glob(f"events.out.tfevents.*{SUFFIX}"):
        old.unlink(missing_ok=True)
    with SummaryWriter(folder, filename_suffix=SUFFIX) as board:
        board.add_image("evaluation/samples", sample_grid(images), epoch)
        board.add_image("evaluation/first_layer", first_layer_grid(model), epoch)
        for path in pictures:
            with Image.open(path) as picture:
                pixels = np.asarray(picture.convert("RGB"))
            board.add_image(f"evaluation/{path.stem}", pixels, epoch, dataformats="HWC")


def sample_grid(images: UInt8[Tensor, "n 1 28 28"]) -> Float[Tensor, "3 h w"]:
    """The first images of a split, ink dark as on paper."""
    grid: Tensor = make_grid(1 - images[:NUM_TILES].float() / 255, nrow=16, pad_value=0.8)
    return grid


def first_layer_grid(model: Classifier) -> Float[Tensor, "3 h w"]:
    """Weights of the first units or feature maps: black the most negative, grey 0, white positive.

    All tiles share one scale, so that strong and weak units can be told apart.
    """
    layer = next(m for m in model.modules() if isinstance(m, (nn.Linear, nn.Conv2d)))
    tiles = layer.weight.detach()[:NUM_TILES]
    tiles = tiles.view(-1, 1, 28, 28) if isinstance(layer, nn.Linear) else tiles
    tiles = 0.5 + tiles / (2 * tiles.abs().max().clamp_min(1e-12))
    if tiles.shape[-1] < 28:  # a 3x3 kernel is drawn large enough to be seen
        tiles = nn.functional.interpolate(tiles, scale_factor=8, mode="nearest")
    grid: Tensor = make_grid(tiles, nrow=16, padding=4, pad_value=1.0)
    return grid.clamp(0, 1)
