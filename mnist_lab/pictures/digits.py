"""The digits in a picture: where they are, and the 28x28 images that MNIST would hold of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Shaped, UInt8
from scipy import ndimage

from mnist_lab.pictures.boxes import holding_ink, without_boxes
from mnist_lab.pictures.choice import CutOff, chosen_among
from mnist_lab.pictures.components import Component, Labels, components_of
from mnist_lab.pictures.grey import Grey, interpolated, levels
from mnist_lab.pictures.ink import SIGNAL_TO_NOISE, Ink, Mask, Strokes, darkness_of
from mnist_lab.pictures.normalisation import as_mnist
from mnist_lab.pictures.paper import Ground
from mnist_lab.pictures.picture import PictureError
from mnist_lab.pictures.ruling import without_rules
from mnist_lab.pictures.touching import are_joined

FIND_SIZE = 1024  # pixels of the long side on which digits are looked for
CUT_SIZE = 192  # and of a digit that is cut out
RULED_SIZE = 112  # pixels of the long side; in smaller pictures a stroke may be as long as a line
MIN_SIDE = 4  # pixels of a picture
MIN_DIGIT = 8  # pixels of a digit's long side in the picture


@dataclass(frozen=True)
class Digit:
    """One digit of a picture.

    Attributes:
        image: 0 paper to 255 ink, as MNIST's.
        box: left, top, width, height in pixels of the picture.
        touching: so wide that it is two or more which run into each other.
    """

    image: UInt8[np.ndarray, "28 28"]
    box: tuple[int, int, int, int]
    touching: bool = False

    def scaled(self, factor: float) -> Digit:
        """The same in a picture that is larger by a factor."""
        left, top, width, height = (round(factor * n) for n in self.box)
        return replace(self, box=(left, top, width, height))


def find_digits(picture: Shaped[np.ndarray, "height width"]) -> list[Digit]:
    """Find the digits in a picture, from left to right in lines from top to bottom.

    Paper on a table is found and laid flat first. Sought is ink on it, in a copy of `FIND_SIZE`;
    what surrounds or underlines ink, runs through the picture, is much smaller than the largest
    candidate or leaves the picture is no digit. Each digit is then cut from the picture itself.

    Args:
        picture: integers in the range of their type, or floats in 0..1 or 0..255; any polarity.

    Raises:
        PictureError: why there is none.
    """
    light = levels(picture)
    if min(light.shape) < MIN_SIDE:
        raise PictureError("too narrow for a digit")
    ground = Ground.of(light)
    page = _Page.of(ground)
    return [page.digit(each) for each in page.chosen]


def to_mnist(picture: Shaped[np.ndarray, "height width"]) -> UInt8[np.ndarray, "28 28"]:
    """The largest of a picture's digits, as MNIST's images were made: `find_digits`."""
    return max(find_digits(picture), key=lambda digit: max(digit.box[2:])).image


@dataclass(frozen=True)
class _Page:
    """A ground looked at in `FIND_SIZE`.

    Attributes:
        ruled: lines were taken out of its darkness.
        margins: rows and columns of paper that were added on each side.
    """

    ground: Ground
    strokes: Strokes
    ink: Ink
    labels: Labels
    chosen: list[Component]
    ruled: bool
    margins: tuple[int, int]

    @classmethod
    def of(cls, ground: Ground) -> _Page:
        light = ground.look(FIND_SIZE)
        if max(light.shape) > 56:  # grain of paper and sensor
            light = ndimage.gaussian_filter(light, max(light.shape) / 2000)
        short = (max(light.shape) // 3 - min(light.shape)) // 2
        height, width = light.shape
        narrow = (max(0, short * (height < width)), max(0, short * (width < height)))
        try:
            return cls._of(ground, _with_margins(light, narrow), narrow)
        except CutOff:
            wide = (max(4, max(light.shape) // 4),) * 2
            value = float(np.percentile(light, 10 if Strokes.of(light).are_light else 90))
            return cls._of(ground, _with_margins(light, wide, value), wide)

    @classmethod
    def _of(
        cls, ground: Ground, light: Grey, margins: tuple[int, int], *, framed: Mask | None = None
    ) -> _Page:
        strokes = Strokes.of(light)
        ink = Ink.of(light, strokes)
        rules = np.zeros(light.shape, bool)
        if max(light.shape) > RULED_SIZE and not all(margins):
            positive = 1 - light if strokes.are_light else light
            reach = max(strokes.reach, 0.2 * min(light.shape))  # of digits on them, too
            cleared, rules = without_rules(positive, darkness_of(positive, reach=reach))
            if rules.any():
                light = 1 - cleared if strokes.are_light else cleared
                strokes = Strokes.of(light)
                ink = Ink.of(light, strokes)
        if ink.level < SIGNAL_TO_NOISE * ink.grain * (2 if all(margins) else 1):
            raise PictureError("no ink found: no contrast")
        dark = _dark(ink)
        components, labels = components_of(dark, ink.darkness)
        if framed is None:
            positive = 1 - light if strokes.are_light else light
            frames = holding_ink(
                components, labels, positive, least=max(4 * ink.grain, 0.6 * ink.level)
            )
            within = cls._within(ground, light, margins, frames, labels)
            if within is not None:
                return within
        freed = without_boxes(dark, components, labels)
        boxed = bool((freed != dark).any())
        if boxed:
            darkness = np.where(freed == dark, ink.darkness, 0).astype(np.float32)
            ink = Ink(darkness, ink.level, ink.noise)
            components, labels = components_of(freed, darkness)
        chosen, frames = chosen_among(
            components,
            labels,
            ink.darkness,
            rules=rules if framed is None else rules | framed,
            margins=margins,
            is_sheet=ground.corners is not None,
            are_light=strokes.are_light,
        )
        if framed is None:  # by their breadth that of the digit's strokes was misjudged
            within = cls._within(ground, light, margins, frames, labels)
            if within is not None:
                return within
        return cls(ground, strokes, ink, labels, chosen, boxed or bool(rules.any()), margins)

    @classmethod
    def _within(
        cls,
        ground: Ground,
        light: Grey,
        margins: tuple[int, int],
        frames: list[Component],
        labels: Labels,
    ) -> _Page | None:
        """Look once more, with the frames painted over; None where there is nothing else."""
        if not frames:
            return None
        numbers = [number for frame in frames for number in frame.numbers]
        framed = ndimage.binary_dilation(
            np.isin(labels, numbers), iterations=max(2, max(labels.shape) // 200)
        )
        nearest = ndimage.distance_transform_edt(
            framed, return_distances=False, return_indices=True
        )
        try:
            return cls._of(ground, light[tuple(nearest)], margins, framed=framed)
        except CutOff:
            raise
        except PictureError:
            return None

    def digit(self, component: Component) -> Digit:
        rows, columns = self.margins
        scale = max(self.ground.shape) / max(
            self.labels.shape[0] - 2 * rows, self.labels.shape[1] - 2 * columns
        )
        box = tuple(
            scale * n
            for n in (
                component.left - columns,
                component.top - rows,
                component.width,
                component.height,
            )
        )
        if scale * component.size < MIN_DIGIT:
            raise PictureError(
                f"too small: {scale * component.size:.0f} pixels; take it from closer"
            )
        image = as_mnist(self._ink_of(component, scale))
        touching = are_joined(component.mask(self.labels))
        return Digit(image, self.ground.box_in_picture(box), touching)

    def _ink_of(self, component: Component, scale: float) -> Grey:
        """The digit's ink and a rim around it."""
        finer = min(scale, CUT_SIZE / component.size)
        reach = 2 + round(self.strokes.reach) + component.size // 2
        if finer < 1.3 or self.ruled or any(self.margins):
            softness = 1 + component.size // 100
            own = np.isin(self.labels, component.numbers)
            rows = slice(max(0, component.top - 9), component.bottom + 9)
            columns = slice(max(0, component.left - 9), component.right + 9)
            near = Ink(self.ink.darkness[rows, columns], self.ink.level, self.ink.noise)
            return near.of_digit(own[rows, columns], softness=softness)
        top, left = max(0, component.top - reach), max(0, component.left - reach)
        bottom = min(self.labels.shape[0], component.bottom + reach)
        right = min(self.labels.shape[1], component.right + reach)
        size = round(finer * max(bottom - top, right - left))
        light = self.ground.look(
            size, box=(scale * left, scale * top, scale * (right - left), scale * (bottom - top))
        )
        clear = interpolated(self.strokes.clearness, self.labels.shape)[top:bottom, left:right]
        strokes = Strokes(self.strokes.are_light, finer * self.strokes.reach, clear)
        ink = Ink.of(light, strokes)
        labels = self.labels[top:bottom, left:right]
        own = np.isin(labels, component.numbers)
        nearer = ndimage.distance_transform_edt(~own)
        others = (labels > 0) & ~own
        if others.any():
            nearer = nearer - ndimage.distance_transform_edt(~others)
        mine = interpolated((-nearer).astype(np.float32), light.shape) > 0 if others.any() else True
        grown = ndimage.binary_dilation(own, iterations=2).astype(np.float32)
        dark = _dark(ink) & (interpolated(grown, light.shape) > 0.3) & mine
        if not dark.any():
            raise PictureError("no ink found: no contrast")
        return ink.of_digit(dark, softness=1 + round(component.size * finer) // 100)


def _with_margins(light: Grey, margins: tuple[int, int], value: float | None = None) -> Grey:
    """Rows and columns more on each side: of a value, or as those at the border."""
    sides = [(margin, margin) for margin in margins]
    if value is None:
        return np.pad(light, sides, mode="edge")
    return np.pad(light, sides, constant_values=value)


def _dark(ink: Ink) -> Mask:
    """Where there is ink: darker than 0.45 of its own piece's level."""
    dark = ink.darkness > max(4 * ink.grain, 0.35 * ink.level)
    labels, count = ndimage.label(dark, np.ones((3, 3), bool))
    mass = np.bincount(labels.ravel(), ink.darkness.ravel(), count + 1)
    squares = np.bincount(labels.ravel(), np.square(ink.darkness).ravel(), count + 1)
    own = squares / np.maximum(mass, 1e-9)
    return np.asarray(dark & (ink.darkness > 0.45 * own[labels]))
