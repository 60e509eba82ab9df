"""What the labels in a data set's files stand for. No torch."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Classes:
    """The classes of a data set.

    Attributes:
        names: 2 to 1,000 of them.
        first: the label in the files that stands for the first name, the next one for the second.
    """

    names: tuple[str, ...]
    first: int = 0

    def __len__(self) -> int:
        return len(self.names)

    def numbered(
        self, labels: np.ndarray, *, place: Callable[[int], str] = "label {}".format
    ) -> np.ndarray:
        """Class numbers from 0 for labels of a file: uint8, of more than 256 classes uint16.

        Args:
            labels: whole numbers (n,).
            place: what a message calls the label of an index.

        Raises:
            ValueError: a label is none of the classes'.
        """
        numbers = labels.astype(np.int64) - self.first
        wrong = (numbers < 0) | (numbers >= len(self))
        if wrong.any():
            index = int(wrong.argmax())
            raise ValueError(
                f"{place(index)} is {labels[index]}, not in {self.first}.."
                f"{self.first + len(self) - 1}, as data.class_names ({len(self)} names) and "
                f"data.first_label={self.first} have it; the labels are "
                f"{labels.min()} to {labels.max()}"
            )
        return numbers.astype(np.uint8 if len(self) <= 1 << 8 else np.uint16)
