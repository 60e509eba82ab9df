"""Drawn boxes that a digit's ink runs into: one component, whose straight sides are taken away."""

import numpy as np
from scipy import ndimage

from mnist_lab.pictures.components import SQUARE, Component, Labels
from mnist_lab.pictures.ink import Mask

STRIP = 0.08  # of a component's size: where each of its sides lies
COVERED = 0.9  # of a side's length is inked
LEFT = 0.35  # of a box's height: a digit that is left in it is at least as high


def without_boxes(dark: Mask, components: list[Component], labels: Labels) -> Mask:
    """Free digits from boxes that they touch; where nothing as high is left, there was no box."""
    freed = dark.copy()
    for component in components:
        if component.size < 24 or component.contact:
            continue
        ink = component.mask(labels)
        sides = [_side(np.rot90(ink, k)) for k in range(4)]
        if any(side is None for side in sides):
            continue
        box = np.zeros(ink.shape, bool)
        for k, side in enumerate(sides):
            if side is not None:
                box |= np.rot90(side, -k)
        rest = ndimage.binary_opening(ink & ~box, SQUARE)
        pieces, _ = ndimage.label(rest, SQUARE)
        for k, (rows, columns) in enumerate(ndimage.find_objects(pieces)):
            height = rows.stop - rows.start
            if height > 0.85 * component.height and columns.stop - columns.start < 0.2 * height:
                box |= pieces == k + 1  # between two boxes of a form
                rest &= pieces != k + 1
        rows = np.nonzero(rest.any(1))[0]
        if len(rows) and np.ptp(rows) > LEFT * component.height:
            window = np.s_[component.top : component.bottom, component.left : component.right]
            freed[window] &= ~(box & ink)
    return freed


def _side(ink: Mask) -> Mask | None:
    """The straight line along the upper edge of a component, or None; at most 5 degrees aslant."""
    depth = max(3, round(STRIP * max(ink.shape)))
    strip = ink[:depth]
    there = strip.any(0)
    if there.mean() < COVERED:
        return None
    start = strip.argmax(0)
    rows = np.arange(ink.shape[0])[:, None]
    ends = np.where(~ink & (rows > start), rows, ink.shape[0]).min(0)
    breadth = int(np.median((ends - start)[there]))
    if breadth > depth:
        return None
    # Along the line, where it is hidden too: ink that crosses is cut at the line's lower edge.
    start = ndimage.median_filter(np.where(there, start, depth), max(3, ink.shape[1] // 8))
    return np.asarray((rows <= start + breadth) & (rows >= start - 2))
