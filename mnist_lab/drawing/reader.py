"""What a network makes of a drawing: the answer that the page of mnist-demo shows."""

import base64
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from mnist_lab.evaluation.answers import log_probs
from mnist_lab.evaluation.neighbours import TrainingImages, features
from mnist_lab.models.classifier import Classifier
from mnist_lab.pictures.digits import to_mnist

SIDE = 140  # pixels a side of a drawing as the page sends it: 5 for each of MNIST's
NUM_NEIGHBOURS = 8


def read_drawing(model: Classifier, training: TrainingImages, drawing: bytes) -> dict[str, Any]:
    """Answer `SIDE` x `SIDE` grey levels in rows, 0 ink to 255 paper.

    Args:
        training: what the network was trained on.

    Returns:
        probs, the 28x28 that the network saw, and the nearest training images; images as base64 of
        784 grey levels, 0 paper to 255 ink.

    Raises:
        PictureError: there is nothing to read in it.
    """
    seen = to_mnist(np.frombuffer(drawing, np.uint8).reshape(SIDE, SIDE))
    images = torch.from_numpy(seen).view(1, 1, 28, 28)
    (near,) = training.nearest(features(model, images), num_neighbours=NUM_NEIGHBOURS)
    return {
        "probs": np.exp(log_probs(model, images)[0]).tolist(),
        "image": encoded(seen),
        "neighbours": [{**vars(each), "image": encoded(each.image)} for each in near],
    }


def encoded(image: UInt8[np.ndarray, "..."]) -> str:
    return base64.b64encode(image.tobytes()).decode()
