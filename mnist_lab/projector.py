"""TensorBoard's projector: a split's features, with a tile and words for each image."""

import io
import math
from collections.abc import Iterable, Sequence
from operator import methodcaller
from pathlib import Path

import numpy as np
from google.protobuf import text_format
from jaxtyping import Float32, UInt8
from PIL import Image
from tensorboard.plugins.projector import ProjectorConfig

from mnist_lab.answers import Answers
from mnist_lab.files import write_atomically

MAX_VALUES = 20_000_000  # features in all: TensorBoard reads them as text, a browser holds them
TILE = 28  # pixels a side
MAX_TILES = (8192 // TILE) ** 2  # of TensorBoard's largest sprite, 8192 x 8192 pixels
COLUMNS = ("label", "prediction", "correct", "probability", "index")


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

    Args:
        folder: the run's TensorBoard folder.
        name: of the features, in the projector's list.
    """
    num_images: int = min(len(images), MAX_TILES, max(1, MAX_VALUES // features.shape[1]))
    words = (
        (class_names[label], class_names[answer], "yes" if label == answer else "no", f"{p:.4f}", i)
        for i, (label, answer, p) in enumerate(
            zip(answers.labels, answers.predictions, answers.confidence, strict=True)
        )
        if i < num_images
    )
    files = {
        "features.tsv": table([f"{v:.4g}" for v in row] for row in features[:num_images].tolist()),
        "words.tsv": table([COLUMNS, *words]),
        "sprite.png": sprite(images[:num_images]),
    }
    config = ProjectorConfig()
    shown = config.embeddings.add(tensor_name=name, tensor_path="projector/features.tsv")
    shown.metadata_path = "projector/words.tsv"
    shown.sprite.image_path = "projector/sprite.png"
    shown.sprite.single_image_dim.extend([TILE, TILE])
    (folder / "projector").mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        write_atomically(folder / "projector" / file, methodcaller("write", content))
    content = text_format.MessageToString(config).encode()
    write_atomically(folder / "projector_config.pbtxt", methodcaller("write", content))
    return num_images


def table(rows: Iterable[Iterable[object]]) -> bytes:
    return "".join("\t".join(map(str, row)) + "\n" for row in rows).encode()


def sprite(images: UInt8[np.ndarray, "n 28 28"]) -> bytes:
    """One PNG of all images in rows of equal length, as TensorBoard takes it apart again."""
    side = math.ceil(math.sqrt(len(images)))
    tiles = np.zeros((side * side, TILE, TILE), np.uint8)
    tiles[: len(images)] = images
    pixels = tiles.reshape(side, side, TILE, TILE).swapaxes(1, 2).reshape(side * TILE, side * TILE)
    file = io.BytesIO()
    Image.fromarray(255 - pixels).save(file, "PNG")
    return file.getvalue()
