"""What a network makes of a drawing: the answer that the page of mnist-demo shows."""

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from mnist_lab.evaluation.answers import log_probs
from mnist_lab.evaluation.neighbours import TrainingImages, features
from mnist_lab.models.classifier import Classifier
from mnist_lab.pictures.normalisation import to_mnist

SIDE = 140  # pixels a side of a drawing as the page sends it: 5 for each of MNIST's
NUM_NEIGHBOURS = 8


@dataclass(frozen=True)
class DrawingReader:
    """Answers drawings with a network, and with what it was trained on."""

    model: Classifier
    training: TrainingImages

    def read(self, drawing: bytes) -> dict[str, Any]:
        """Answer `SIDE` x `SIDE` grey levels in rows, 0 ink to 255 paper.

        Returns:
            probs, the 28x28 that the network saw, and the nearest training images; images as base64
            of 784 grey levels, 0 paper to 255 ink.

        Raises:
            PictureError: there is nothing to read in it.
        """
        grey = np.frombuffer(drawing, np.uint8).reshape(SIDE, SIDE)
        seen = to_mnist(grey)
        images = torch.from_numpy(seen).view(1, 1, 28, 28)
        (neighbours,) = self.training.nearest(
            features(self.model, images), num_neighbours=NUM_NEIGHBOURS
        )
        return {
            "probs": np.exp(log_probs(self.model, images)[0]).tolist(),
            "image": encoded(seen),
            "neighbours": [
                {
                    "index": each.index,
                    "label": each.label,
                    "distance": each.distance,
                    "image": encoded(each.image),
                }
                for each in neighbours
            ],
        }


def encoded(image: UInt8[np.ndarray, "..."]) -> str:
    return base64.b64encode(image.tobytes()).decode()
