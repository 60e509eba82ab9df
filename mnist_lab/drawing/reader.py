"""What a network makes of a drawing: the answers that the page of mnist-demo shows."""

import base64
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import UInt8

from mnist_lab.drawing.network import UntoldError, description
from mnist_lab.evaluation.answers import log_probs
from mnist_lab.evaluation.neighbours import TrainingImages, features
from mnist_lab.evaluation.unsure import Unsure
from mnist_lab.models.classifier import Classifier
from mnist_lab.pictures.normalisation import drawing_as_mnist

SIDE = 140  # pixels a side of a drawing as the page sends it: 5 for each of MNIST's
NUM_PIXELS = 784
NUM_NEIGHBOURS = 8
MOST_STEPS = 60  # towards another class
STEP = 0.5  # Euclidean length of a step, in units of full ink


@dataclass
class Reader:
    """A network with what it was trained on; `drawing.server.Answering`.

    Attributes:
        facts: what the page says of it, as `facts_of`.
        training: what the network was trained on.
        unsure: tells where the network is unsure; None where that cannot be told.
    """

    model: Classifier
    training: TrainingImages
    facts: dict[str, Any]
    unsure: Unsure | None

    def __post_init__(self) -> None:
        try:
            self.inside = description(self.model)
        except UntoldError as error:
            self.inside = json.dumps({"reason": str(error)})

    def read(self, drawing: bytes) -> dict[str, Any]:
        """Answer `SIDE` x `SIDE` grey levels in rows, 0 ink to 255 paper.

        Returns:
            probs, the 28x28 that the network saw, whether it is unsure of it (null: cannot be
            told), and the nearest training images; images as base64 of 784 grey levels, 0 paper to
            255 ink.

        Raises:
            PictureError: there is nothing to read in it.
        """
        seen = drawing_as_mnist(np.frombuffer(drawing, np.uint8).reshape(SIDE, SIDE))
        images = torch.from_numpy(seen).view(1, 1, 28, 28)
        (near,) = self.training.nearest(features(self.model, images), num_neighbours=NUM_NEIGHBOURS)
        return {
            "probs": np.exp(log_probs(self.model, images)[0]).tolist(),
            "image": encoded(seen),
            "unsure": self.unsure and bool(self.unsure(images)[0]),
            "neighbours": [{**vars(each), "image": encoded(each.image)} for each in near],
        }

    def towards(self, image: bytes, label: int) -> dict[str, Any]:
        """Move an image along the gradient until the network reads it as another class.

        Steps of one length, down the cross-entropy of that class, with pixels kept in 0..1; at most
        MOST_STEPS of them.

        Args:
            image: 784 grey levels in rows, 0 paper to 255 ink.

        Returns:
            image, as base64 of grey levels; prob, of the class then; steps taken.
        """
        pixels = torch.frombuffer(bytearray(image), dtype=torch.uint8).view(1, 1, 28, 28) / 255
        target = torch.tensor([label])
        steps = 0
        with torch.enable_grad():
            while steps < MOST_STEPS:
                pixels.requires_grad_()
                logits = self.model(pixels)
                if int(logits.argmax()) == label and steps:
                    break
                (slope,) = torch.autograd.grad(F.cross_entropy(logits, target), pixels)
                pixels = (pixels - STEP * F.normalize(slope.flatten(1)).view_as(slope)).detach()
                pixels = pixels.clamp(0, 1)
                steps += 1
        levels = (255 * pixels.detach()).round().to(torch.uint8)
        prob = float(np.exp(log_probs(self.model, levels)[0, label]))
        return {"image": encoded(levels.numpy()), "prob": prob, "steps": steps}


def encoded(image: UInt8[np.ndarray, "..."]) -> str:
    return base64.b64encode(image.tobytes()).decode()
