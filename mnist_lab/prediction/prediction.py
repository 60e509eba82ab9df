"""Single pictures and what a network says to each. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mnist_lab.data.splits import Splits
from mnist_lab.pictures.digits import find_digits
from mnist_lab.pictures.picture import PictureError, read_picture
from mnist_lab.ui.console import printable

if TYPE_CHECKING:
    from mnist_lab.evaluation.neighbours import Neighbour

WIDEST = 12  # classes whose probabilities fit beside each other; of more the best are shown
NUM_BEST = 5
FIGURE_PIXELS = 400  # of a picture's long side that are kept for the figure


@dataclass(kw_only=True)
class Prediction:
    """One digit on its way to a probability for each class, or why a picture has none.

    Attributes:
        name: of the file, or `test/149` for an item of the test split.
        picture: float (h, w), 0 black, 1 white: what a person sees, for the figure.
        digit: its number in the picture, from 0, in the order of reading.
        box: left, top, width, height in pixels of the file; touching: as `Digit` has them.
        scale: pixels of the file for one of `picture`.
        image: uint8 (28, 28), 0 paper, 255 ink: what the network sees.
        label: where it is known.
        probs: float64 (classes,), once a network was asked.
        unsure: the network had better say so; None where that cannot be told.
        neighbours: the nearest training images, where they were asked for.
    """

    name: str
    picture: np.ndarray | None = None
    image: np.ndarray | None = None
    digit: int | None = None
    box: tuple[int, int, int, int] | None = None
    touching: bool = False
    scale: float = 1.0
    label: int | None = None
    error: str | None = None
    probs: np.ndarray | None = None
    unsure: bool | None = None
    neighbours: list[Neighbour] | None = None

    @classmethod
    def of_file(cls, path: Path, *, one: bool = False) -> list[Prediction]:
        """One for each digit of a picture, or one that says why there is none.

        Args:
            one: refuse a picture that has more.
        """
        name = printable(str(path))
        try:
            read = read_picture(path)
            digits = find_digits(read.grey)
            if one and len(digits) > 1:
                raise PictureError(f"{len(digits)} digits, and --one wants one; crop the picture")
        except PictureError as error:
            return [cls(name=name, error=printable(str(error)))]
        step = -(-max(read.grey.shape) // FIGURE_PIXELS)
        picture = read.grey[::step, ::step].copy()
        return [
            cls(
                name=name,
                picture=picture,
                image=each.image,
                digit=number,
                box=each.scaled(read.factor).box,
                touching=each.touching,
                scale=step * read.factor,
            )
            for number, each in enumerate(digits)
        ]

    @classmethod
    def of_test_item(cls, splits: Splits, index: int) -> Prediction:
        image, label = splits.test_images[index], int(splits.test_labels[index])
        return cls(name=f"test/{index}", picture=1 - image / 255, image=image, label=label)

    @property
    def answer(self) -> int | None:
        return None if self.probs is None else int(self.probs.argmax())

    @property
    def shown(self) -> list[int]:
        """The classes whose probabilities a person is shown: all, or the best, the best first."""
        assert self.probs is not None
        if len(self.probs) <= WIDEST:
            return [*range(len(self.probs))]
        best: list[int] = np.argsort(-self.probs, kind="stable")[:NUM_BEST].tolist()
        return best

    def row(self, class_names: Sequence[str]) -> dict[str, Any]:
        """The columns of a table, None where there is no value; neighbours where asked for."""
        probs = [None] * len(class_names) if self.probs is None else self.probs.tolist()
        row: dict[str, Any] = {
            "file": self.name,
            "digit": self.digit,
            "prediction": self.answer,
            **{f"p{k}": p for k, p in enumerate(probs)},
            "unsure": self.unsure,
            "name": None if self.answer is None else class_names[self.answer],
            "label": self.label,
            "box": None if self.box is None else [*self.box],
            "touching": None if self.box is None else self.touching,
            "error": self.error,
        }
        if self.neighbours is not None:
            row["neighbours"] = [
                {"label": each.label, "index": each.index, "distance": each.distance}
                for each in self.neighbours
            ]
        return row

    def words(self, class_names: Sequence[str]) -> str:
        """Such as `3, p=0.87, unsure, is 2`."""
        assert self.probs is not None
        assert self.answer is not None
        text = (
            f"{class_names[self.answer]}, p={self.probs.max():.2f}{', unsure' * bool(self.unsure)}"
        )
        return text if self.label is None else f"{text}, is {class_names[self.label]}"
