"""Straight lines that run through a whole picture: rules and squares of paper, cells of a table."""

import numpy as np
from scipy import ndimage

from mnist_lab.pictures.grey import Grey
from mnist_lab.pictures.ink import Mask

STEEPEST = 0.06  # 3 degrees aslant
NUM_COLUMNS = 48  # that are looked at
BREADTH = 0.03  # of the picture's height: broader ones are no lines


def without_rules(light: Grey, darkness: Grey) -> tuple[Grey, Mask]:
    """Clear dark lines from side to side and from top to bottom; strokes that cross them stay.

    Args:
        darkness: of `light` against the paper around.

    Returns:
        light without them, and where they were.
    """
    level = _lines(darkness)
    upright = _lines(darkness.T).T
    for lines, across in ((level, (1, 0)), (upright, (0, 1))):
        if lines.any():
            breadth = [1 + n * (_breadth(lines, axis) + 2) for axis, n in enumerate(across)]
            light = np.where(lines, ndimage.grey_closing(light, breadth), light)
    return light, level | upright


def _breadth(lines: Mask, axis: int) -> int:
    """The largest number of pixels of a line, across it."""
    runs = lines if axis == 0 else lines.T
    middle = runs[:, runs.shape[1] // 2]
    labels, _ = ndimage.label(middle)
    return int(np.bincount(labels)[1:].max(initial=0))


def _lines(darkness: Grey) -> Mask:
    """Find lines from the left to the right.

    Columns are shifted against each other until rows differ most; a row that is dark in seven
    eighths of its pixels and narrow is a line.
    """
    height, width = darkness.shape
    columns = np.linspace(0, width - 1, min(width, NUM_COLUMNS)).astype(int)
    slope, step = 0.0, STEEPEST / 12
    for _ in range(2):
        slopes = slope + step * np.arange(-12, 13)
        shifts = np.round(slopes[:, None, None] * (columns - width / 2)).astype(int)
        rows = (np.arange(height)[:, None] + shifts).clip(0, height - 1)
        sheared = darkness[rows, columns].clip(0)  # (slopes, height, columns)
        steps = np.diff(sheared.clip(0, 0.3).mean(2), axis=1)
        best = int(np.square(steps).sum(1).argmax())
        slope, step = slopes[best], step / 12
    profile = np.quantile(sheared[best], 0.12, axis=1)
    profile -= ndimage.grey_opening(profile, max(3, round(BREADTH * height)))
    is_line = profile > max(0.02, 0.25 * float(profile.max()))
    is_line = ndimage.binary_dilation(is_line)  # and its soft edges
    shifts = np.round(slope * (np.arange(width) - width / 2)).astype(int)
    found: Mask = is_line[(np.arange(height)[:, None] - shifts).clip(0, height - 1)]
    return found
