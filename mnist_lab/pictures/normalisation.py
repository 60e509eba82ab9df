"""The ink of one handwritten digit -> the 28x28 image that MNIST would hold.

How MNIST was made, and so what `as_mnist` repeats: bilevel scans were scaled, aspect ratio kept, to
fit a box of 20x20, which anti-aliasing turned grey; then the centre of mass was moved to the centre
of a field of 28x28. Source: LeCun, Cortes & Burges, "The MNIST database of handwritten digits";
LeCun et al. 1998, "Gradient-based learning applied to document recognition", section III-A.
"""

import math

import numpy as np
from jaxtyping import Shaped, UInt8
from scipy import ndimage

from mnist_lab.pictures.grey import Grey, levels, scaled, shrunk
from mnist_lab.pictures.picture import PictureError

FIELD = 28  # pixels a side of MNIST's images
BOX = 20  # pixels a side of MNIST's digits
FAINTEST = 0.1  # ink of a drawing, of 1
MIN_STROKE = 2.0  # pixels of the 28x28; 95 % of MNIST's digits have 1.9 to 3.8


def as_mnist(ink: Grey) -> UInt8[np.ndarray, "28 28"]:
    """Bring ink (0 paper, 1 ink) into the form of MNIST's images.

    Its box is cropped and scaled to 20x20 at most, each new pixel holding the share of its area
    that is inked; the centre of mass goes to the centre of the field, by whole pixels as in MNIST.
    An image that is MNIST's already stays as it is but for rounding. Of a larger one the ink is
    first made nearly bilevel, as the scans were, and a thin pen's strokes are widened to
    `MIN_STROKE`, or scaling would leave them faint.
    """
    ink = _cropped(ink, 0.02)
    if max(ink.shape) <= BOX + 4 and _is_pencils(ink):
        ink = ink.repeat(4, 0).repeat(4, 1)
    if max(ink.shape) > BOX + 4:
        ink = _cropped(_bilevel(ink), 0.3)
    digit = scaled(ink, BOX)
    level = float(np.percentile(digit[digit > 0.1], 90))
    digit = (digit / max(level, 0.3)).clip(0, 1)
    field = np.zeros((FIELD, FIELD), np.uint8)
    top, left = (
        min(max(round(FIELD / 2 - centre), 0), FIELD - side)
        for centre, side in zip(ndimage.center_of_mass(digit), digit.shape, strict=True)
    )
    field[top : top + digit.shape[0], left : left + digit.shape[1]] = np.round(255 * digit)
    return field


def drawing_as_mnist(drawing: Shaped[np.ndarray, "height width"]) -> UInt8[np.ndarray, "28 28"]:
    """Bring a clean drawing of one digit into that form: all its ink, of one colour on even paper.

    Nothing is looked for, so that a dot is one; picture.js of the page does the same.

    Args:
        drawing: as `grey.levels` takes them, ink dark on light paper.

    Raises:
        PictureError: there is no ink.
    """
    ink = 1 - levels(drawing)
    if (most := float(ink.max())) < FAINTEST:
        raise PictureError("no ink found: no contrast")
    return as_mnist(ink / np.float32(most))


def _cropped(ink: Grey, threshold: float) -> Grey:
    rows, columns = (np.nonzero((ink > threshold).any(axis))[0] for axis in (1, 0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _bilevel(ink: Grey) -> Grey:
    """Steepen the edges of a digit of more than 20 pixels, and widen strokes that are thin."""
    factor = max(ink.shape) / (8 * BOX)
    if factor > 1 and _breadth(ink) < 3 * factor:  # or thin lines would fade
        ink = ndimage.grey_dilation(ink, (1 + math.ceil(factor),) * 2)
    ink = shrunk(ink, 8 * BOX)
    unit = max(ink.shape) / BOX  # pixels that will be one pixel
    ink = (0.5 + (np.pad(ink, int(2 * unit)) - 0.5) * min(unit, 4)).clip(0, 1)
    inked = ink > 0.5
    width = _breadth(ink)
    if width >= MIN_STROKE * unit:
        return ink
    widening = (MIN_STROKE * unit - width) / 2
    outside = ndimage.distance_transform_edt(~inked)
    return np.asarray((1 + widening - outside).clip(0, 1), np.float32)


def _breadth(ink: Grey) -> float:
    """Of its strokes, in pixels.

    The distance from a pixel's middle to the edge is a quarter of it on average, and half a pixel.
    """
    inked = (ink > 0.5).repeat(2, 0).repeat(2, 1)
    return (
        2 * float(ndimage.distance_transform_edt(inked)[inked].mean()) - 1 if inked.any() else 0.0
    )


def _is_pencils(ink: Grey) -> bool:
    """Whether it has lines of one pixel, without the grey edges of MNIST's thin strokes."""
    inked = ink > 0.1
    grey = inked & (ink < 0.9)
    broad = ndimage.binary_erosion(inked, np.ones((2, 2), bool))
    return bool(grey.sum() < 0.1 * inked.sum() and broad.sum() < 0.15 * inked.sum())
