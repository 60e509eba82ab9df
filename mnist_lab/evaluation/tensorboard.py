"""What an evaluation shows in TensorBoard: pictures, and a split's features in its projector."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from google.protobuf import text_format
from jaxtyping import Float, Float32, UInt8
from PIL import Image
from tensorboard.plugins.projector import ProjectorConfig
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter
from torchvision.utils import make_grid

from mnist_lab.evaluation.answers import Answers
from mnist_lab.models.classifier import Classifier
from mnist_lab.ui.files import write_bytes

SUFFIX = ".evaluation"  # of the event file, which the next evaluation replaces
NUM_TILES = 64
MAX_VALUES = 20_000_000  # features in all: TensorBoard reads them as text, a browser holds them
MAX_SPRITE = (8192 // 28) ** 2  # images: TensorBoard's largest sprite has 8192 x 8192 pixels
COLUMNS = ("label", "prediction", "correct", "probability", "index")


def write_pictures(
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
    with SummaryWriter(folder, filename_suffix=SUFFIX) as writer:
        writer.add_image("evaluation/samples", sample_grid(images), epoch)
        writer.add_image("evaluation/first_layer", first_layer_grid(model), epoch)
        for path in pictures:
            with Image.open(path) as picture:
                pixels = np.asarray(picture.convert("RGB"))
            writer.add_image(f"evaluation/{path.stem}", pixels, epoch, dataformats="HWC")


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


def write_projector(
    folder: Path,
    *,
    features: Float32[np.ndarray, "n width"],
    images: UInt8[np.ndarray, "n 28 28"],
    answers: Answers,
    class_names: Sequence[str],
    name: str,
) -> int:
    """Replace what the projector shows of a run, and return of how many images it is.

    torch's `add_embedding` would write the same as far larger text, and hold the sprite in floats.

    Args:
        folder: the run's TensorBoard folder.
        name: of the features, in the projector's list.
    """
    num_images: int = min(len(images), MAX_SPRITE, max(1, MAX_VALUES // features.shape[1]))
    words = [
        (class_names[label], class_names[answer], "yes" if label == answer else "no", f"{p:.4f}", i)
        for i, (label, answer, p) in enumerate(
            zip(answers.labels, answers.predictions, answers.confidence, strict=True)
        )
    ]
    config = ProjectorConfig()
    shown = config.embeddings.add(tensor_name=name, tensor_path="projector/features.tsv")
    shown.metadata_path = "projector/words.tsv"
    shown.sprite.image_path = "projector/sprite.png"
    shown.sprite.single_image_dim.extend([28, 28])
    (folder / "projector").mkdir(parents=True, exist_ok=True)
    numbers = ([f"{value:.4g}" for value in row] for row in features[:num_images].tolist())
    write_bytes(folder / shown.tensor_path, tsv(numbers))
    write_bytes(folder / shown.metadata_path, tsv([COLUMNS, *words[:num_images]]))
    write_bytes(folder / shown.sprite.image_path, sprite(images[:num_images]))
    write_bytes(folder / "projector_config.pbtxt", text_format.MessageToString(config).encode())
    return num_images


def tsv(rows: Iterable[Iterable[object]]) -> bytes:
    return "".join("\t".join(map(str, row)) + "\n" for row in rows).encode()


def sprite(images: UInt8[np.ndarray, "n 28 28"]) -> bytes:
    """One PNG of all images in rows of equal length, as TensorBoard takes it apart again."""
    side = math.ceil(math.sqrt(len(images)))
    tiles = np.zeros((side * side, 28, 28), np.uint8)
    tiles[: len(images)] = images
    pixels = tiles.reshape(side, side, 28, 28).swapaxes(1, 2).reshape(side * 28, side * 28)
    file = io.BytesIO()
    Image.fromarray(255 - pixels).save(file, "PNG")
    return file.getvalue()
