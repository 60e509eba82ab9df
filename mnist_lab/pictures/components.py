"""Connected pieces of ink, and what their shapes tell: frames, lines, parts of one digit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from scipy import ndimage

from mnist_lab.pictures.grey import Grey
from mnist_lab.pictures.ink import Mask

SQUARE = np.ones((3, 3), bool)  # neighbours of a pixel: all eight
MAX_COMPONENTS = 300  # the heaviest of them are looked at

Labels = Int[np.ndarray, "_ _"]


@dataclass(frozen=True)
class Component:
    """A piece of ink.

    Attributes:
        numbers: of its parts in the picture of labels.
        top, bottom, left, right: rows and columns; bottom and right are one beyond.
        mass: the sum of its darkness.
        contact: how many of its pixels lie at the border of the picture.
    """

    numbers: tuple[int, ...]
    top: int
    bottom: int
    left: int
    right: int
    mass: float
    contact: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def size(self) -> int:
        return max(self.height, self.width)

    def gaps(self, other: Component) -> tuple[int, int]:
        """Rows, columns between them; negative where they overlap."""
        return (
            max(self.top - other.bottom, other.top - self.bottom),
            max(self.left - other.right, other.left - self.right),
        )

    def surrounds(self, other: Component) -> bool:
        return (
            self.top < other.top
            and self.bottom > other.bottom
            and self.left < other.left
            and self.right > other.right
        )

    def joined(self, other: Component) -> Component:
        return Component(
            self.numbers + other.numbers,
            min(self.top, other.top),
            max(self.bottom, other.bottom),
            min(self.left, other.left),
            max(self.right, other.right),
            self.mass + other.mass,
            self.contact + other.contact,
        )

    def mask(self, labels: Labels, *, margin: int = 0) -> Mask:
        """Where it is, in its box with so many pixels more on each side."""
        part = labels[self.top : self.bottom, self.left : self.right]
        return np.pad(np.isin(part, self.numbers), margin)


def components_of(dark: Mask, darkness: Grey) -> tuple[list[Component], Labels]:
    """Returns: the heaviest pieces first, and the picture of labels, 0 paper."""
    labels, count = ndimage.label(dark, SQUARE)
    if not count:
        return [], labels
    mass = np.bincount(labels.ravel(), darkness.ravel(), count + 1)
    border = np.concatenate([labels[0], labels[-1], labels[1:-1, 0], labels[1:-1, -1]])
    contact = np.bincount(border, minlength=count + 1)
    boxes = ndimage.find_objects(labels)
    heaviest = np.argsort(-mass[1:], kind="stable")[:MAX_COMPONENTS] + 1
    return [
        Component(
            (int(k),),
            boxes[k - 1][0].start,
            boxes[k - 1][0].stop,
            boxes[k - 1][1].start,
            boxes[k - 1][1].stop,
            float(mass[k]),
            int(contact[k]),
        )
        for k in heaviest
    ], labels


@dataclass(frozen=True)
class Line:
    """A component taken for a straight stroke.

    Attributes:
        length, breadth: of the rectangle with the same second moments, in pixels.
        angle: 0 level to 90 upright, in degrees.
        filled: the share of that rectangle that is inked.
        stroke: how broad its strokes are, in pixels, straight or not.
    """

    length: float
    breadth: float
    angle: float
    filled: float
    stroke: float

    @classmethod
    def of(cls, mask: Mask) -> Line:
        points = np.argwhere(mask).astype(np.float64)
        spread = np.cov(points.T, bias=True) + np.eye(2) / 12  # of a pixel itself
        values, vectors = np.linalg.eigh(spread)
        breadth, length = np.sqrt(12 * values)
        angle = np.degrees(np.arctan2(abs(vectors[0, 1]), abs(vectors[1, 1])))
        # The distance to the edge is a quarter of the breadth, on average over a stroke.
        inside = ndimage.distance_transform_edt(np.pad(mask, 1))
        return cls(
            float(length),
            float(breadth),
            float(angle),
            len(points) / length / breadth,
            4 * float(inside[inside > 0].mean()),
        )

    @property
    def is_straight(self) -> bool:
        return self.length > 5 * self.breadth and self.filled > 0.7
