"""The metrics of a split, from a network's answers: numbers and tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from mnist_lab.evaluation.answers import Answers
from mnist_lab.evaluation.proportions import calibration, mcnemar, wilson

LEVEL = 0.95  # of the interval for the accuracy
NUM_BINS = 15  # of the calibration error, as Guo et al. (2017) have it


def split_metrics(answers: Answers, *, split: str) -> dict[str, Any]:
    """Loss in nats, fractions 0..1, and tables by class; `<split>/` before every name.

    The confusion matrix counts images: a row for each label, a column for each prediction. A class
    that never occurs has no recall and one that is never predicted no precision: None.
    """
    labels, correct = answers.labels, answers.correct
    loss = -answers.log_probs[np.arange(len(labels)), labels].mean()
    low, high = wilson(int(correct.sum()), len(labels), level=LEVEL)
    reliability = calibration(answers.confidence, correct, num_bins=NUM_BINS)
    num_classes = answers.log_probs.shape[1]
    confusion = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(confusion, (labels, answers.predictions), 1)
    hits, labelled, predicted = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)

    def shares(hits: np.ndarray, counts: np.ndarray) -> list[float | None]:
        pairs = zip(hits.tolist(), counts.tolist(), strict=True)
        return [round(hit / count, 6) if count else None for hit, count in pairs]

    metrics = {
        "num_images": len(labels),
        "num_mistakes": len(answers.mistakes),
        "loss": float(loss),
        "acc": float(correct.mean()),
        "acc_low": low,
        "acc_high": high,
        "calibration_error": reliability.error,
        "precision": shares(hits, predicted),
        "recall": shares(hits, labelled),
        "f1": shares(2 * hits, labelled + predicted),
        "confusion": confusion.tolist(),
        "reliability": [asdict(each) for each in reliability.bins],
    }
    return {f"{split}/{name}": value for name, value in metrics.items()}


def mistake_words(answers: Answers, class_names: Sequence[str], *, limit: int) -> list[str]:
    """The most confident mistakes."""
    return [
        f"{index}: predicted {class_names[answers.predictions[index]]}, "
        f"is {class_names[answers.labels[index]]}, p={answers.confidence[index]:.2f}"
        for index in answers.mistakes[:limit]
    ]


def answer_columns(num_classes: int) -> list[str]:
    return ["index", "label", "prediction", *(f"p{k}" for k in range(num_classes)), "margin"]


def answer_rows(answers: Answers, indices: Iterable[int]) -> Iterable[list[object]]:
    """Rows of `answer_columns`; probabilities with six digits."""
    for i in indices:
        probs = [f"{p:.6g}" for p in answers.probs[i]]
        yield [i, answers.labels[i], answers.predictions[i], *probs, f"{answers.margin[i]:.6g}"]


@dataclass(frozen=True)
class Disagreement:
    """Two networks' answers to the same images."""

    a: Answers
    b: Answers

    COLUMNS: ClassVar = ["index", "label", "prediction_a", "prediction_b"]

    @property
    def only_a(self) -> np.ndarray:
        """Indices of the images that only a has right, those it is surest of first."""
        return surest_first(self.a.correct & ~self.b.correct, self.a.confidence)

    @property
    def only_b(self) -> np.ndarray:
        return surest_first(self.b.correct & ~self.a.correct, self.b.confidence)

    def rows(self) -> Iterable[list[object]]:
        """Rows of `COLUMNS`: every image that exactly one of them has right."""
        for i in [*self.only_a, *self.only_b]:
            yield [i, self.a.labels[i], self.a.predictions[i], self.b.predictions[i]]

    def metrics(self, *, split: str) -> dict[str, Any]:
        """Counts, both accuracies and McNemar's exact two-sided p; `<split>/` before every name."""
        only_a, only_b = len(self.only_a), len(self.only_b)
        both = int((self.a.correct & self.b.correct).sum())
        metrics = {
            "num_images": len(self.a.labels),
            "acc_a": float(self.a.correct.mean()),
            "acc_b": float(self.b.correct.mean()),
            "both": both,
            "only_a": only_a,
            "only_b": only_b,
            "neither": len(self.a.labels) - both - only_a - only_b,
            "p": mcnemar(only_a, only_b),
        }
        return {f"{split}/{name}": value for name, value in metrics.items()}


def surest_first(mask: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    chosen = np.flatnonzero(mask)
    return chosen[np.argsort(-confidence[chosen], kind="stable")]


def disagreement_words(
    pair: Disagreement, indices: Iterable[int], class_names: Sequence[str]
) -> list[str]:
    return [
        f"{i}: is {class_names[pair.a.labels[i]]}; A says {class_names[pair.a.predictions[i]]}, "
        f"B says {class_names[pair.b.predictions[i]]}"
        for i in indices
    ]


def mcnemar_words(metrics: dict[str, Any], *, split: str) -> str:
    """What McNemar's test says, in words."""
    only_a, only_b, p = (metrics[f"{split}/{name}"] for name in ("only_a", "only_b", "p"))
    shown = f"p = {p:.2g}" if p >= 0.0001 else "p < 0.0001"
    if p < 1 - LEVEL:
        better, worse = ("A", "B") if only_a > only_b else ("B", "A")
        return f"{better} is right more often than {worse} (McNemar's exact test, {shown})."
    return f"These images do not tell A and B apart (McNemar's exact test, {shown})."
