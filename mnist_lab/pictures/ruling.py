"""Straight lines that run through a whole picture: rules and squares of paper, cells of a table."""

import numpy as np
from jaxtyping import Bool
from scipy import ndimage

from mnist_lab.pictures.grey import Grey

SLOPES = np.linspace(-0.06, 0.06, 25)  # up to 3 degrees aslant
NUM_COLUMNS = 48  # that are looked at
BREADTH = 0.03  # of the picture's height: broader ones are no lines


def without_rules(darkness: Grey) -> Grey:
    """Clear lines from side to side and from top to bottom; strokes that cross them stay."""
    return _without(_without(darkness).T).T


def _without(darkness: Grey) -> Grey:
    """Clear lines from the left to the right.

    Columns are shifted against each other until rows differ most; a row that is dark in four
    fifths of its pixels and narrow is a line. In it a pixel keeps the darkness that it shares with
    those above and below, as where a stroke crosses: a morphological opening across the line.
    """
    height, width = darkness.shape
    columns = np.linspace(0, width - 1, min(width, NUM_COLUMNS)).astype(int)
    shifts = np.round(SLOPES[:, None, None] * (columns - width / 2)).astype(int)
    rows = (np.arange(height)[:, None] + shifts).clip(0, height - 1)
    sheared = darkness[rows, columns].clip(0)  # (slopes, height, columns)
    steps = np.diff(sheared.clip(0, 0.3).mean(2), axis=1)
    best = int(np.square(steps).sum(1).argmax())
    profile = np.quantile(sheared[best], 0.2, axis=1)
    profile -= ndimage.grey_opening(profile, max(3, round(BREADTH * height)))
    is_line = profile > max(0.02, 0.25 * float(profile.max()))
    if not is_line.any() or is_line.all():
        return darkness
    runs, count = ndimage.label(is_line)
    breadth = int(np.bincount(runs.ravel())[1:].max()) + 3
    is_line = ndimage.binary_dilation(is_line)  # and its soft edges
    shifts = np.round(SLOPES[best] * (np.arange(width) - width / 2)).astype(int)
    ruled: Bool[np.ndarray, "_ _"] = is_line[
        (np.arange(height)[:, None] - shifts).clip(0, height - 1)
    ]
    crossing = ndimage.grey_opening(darkness, (breadth, 1))
    return np.where(ruled, crossing, darkness)
