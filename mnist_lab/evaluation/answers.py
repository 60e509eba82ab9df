"""What a network answers to images: a probability for each class, and what follows from them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64, UInt8
from torch import Tensor

from mnist_lab.data.datamodule import EVAL_BATCH_SIZE, scale
from mnist_lab.models.classifier import Classifier

Progress = Callable[[int], object]  # called with the number of images just answered


def log_probs(
    model: Classifier, images: UInt8[Tensor, "n 1 28 28"], *, progress: Progress | None = None
) -> Float64[np.ndarray, "n classes"]:
    """Natural logarithms of the probabilities; the network is on the CPU, in evaluation mode."""
    logs = [np.empty((0, model.num_classes))]
    with torch.inference_mode():
        for batch in images.split(EVAL_BATCH_SIZE):
            logs.append(model(scale(batch)).double().log_softmax(dim=1).numpy())
            if progress is not None:
                progress(len(batch))
    return np.concatenate(logs)


@dataclass(frozen=True)
class Answers:
    """A network's answers to the n labelled images of a split, in the split's order."""

    labels: Int64[np.ndarray, "n"]
    log_probs: Float64[np.ndarray, "n classes"]

    @cached_property
    def probs(self) -> Float64[np.ndarray, "n classes"]:
        probs: np.ndarray = np.exp(self.log_probs)
        return probs

    @cached_property
    def predictions(self) -> Int64[np.ndarray, "n"]:
        predictions: np.ndarray = self.log_probs.argmax(axis=1)
        return predictions

    @cached_property
    def correct(self) -> Bool[np.ndarray, "n"]:
        correct: np.ndarray = self.predictions == self.labels
        return correct

    @cached_property
    def confidence(self) -> Float64[np.ndarray, "n"]:
        """Probability of the prediction."""
        confidence: np.ndarray = self.probs.max(axis=1)
        return confidence

    @cached_property
    def margin(self) -> Float64[np.ndarray, "n"]:
        """Probability of the prediction above that of the next class, 0..1."""
        best = np.partition(self.probs, -2, axis=1)
        return best[:, -1] - best[:, -2]

    @cached_property
    def mistakes(self) -> Int64[np.ndarray, "m"]:
        """Indices of the wrong predictions, the most confident first."""
        wrong = np.flatnonzero(~self.correct)
        return wrong[np.argsort(-self.confidence[wrong], kind="stable")]
