"""Whether a piece of ink is two digits that run into each other."""

import numpy as np

from mnist_lab.pictures.ink import Mask

SLANTS = (-0.3, 0.0, 0.3, 0.6)  # columns a row, to the right as it goes up
NARROWEST = 0.95  # of its height: less is one digit
EDGE = 0.2  # of its width on each side, where no seam is sought
HIGH = 0.85  # of its height: both halves are at least as high
NECK = 0.4  # of its height, at most, is where they touch


def are_joined(ink: Mask) -> bool:
    """Seek a straight cut through one neck of the ink that leaves two halves of its height."""
    height, width = ink.shape
    if width < NARROWEST * height:
        return False
    for slant in SLANTS:
        offsets = np.round(slant * np.arange(height)).astype(int)
        upright = np.zeros((height, width + int(np.ptp(offsets))), bool)
        for row, offset in enumerate(offsets - offsets.min()):
            upright[row, offset : offset + width] = ink[row]
        columns = np.nonzero(upright.any(0))[0]
        upright = upright[:, columns[0] : columns[-1] + 1]
        if _has_seam(upright):
            return True
    return False


def _has_seam(ink: Mask) -> bool:
    height, width = ink.shape
    rows = np.arange(height)[:, None]
    top = np.where(ink, rows, height).min(0)
    bottom = np.where(ink, rows, -1).max(0)
    left = np.maximum.accumulate(bottom) - np.minimum.accumulate(top) + 1
    right = (np.maximum.accumulate(bottom[::-1]) - np.minimum.accumulate(top[::-1]) + 1)[::-1]
    runs = (np.diff(ink, axis=0, prepend=False) & ink).sum(0)
    amount = ink.sum(0)
    middle = (np.arange(width) > EDGE * width) & (np.arange(width) < (1 - EDGE) * width)
    seam = middle & (runs <= 1) & (amount < NECK * height)
    seam &= (left > HIGH * height) & (right > HIGH * height)
    return bool(seam.any())
