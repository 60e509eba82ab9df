"""Drawn boxes: those that hold ink, and those that a digit's ink runs into."""

import numpy as np
from scipy import ndimage

from mnist_lab.pictures.components import SQUARE, Component, Labels
from mnist_lab.pictures.grey import Grey
from mnist_lab.pictures.ink import Mask

STRIP = 0.08  # of a component's size: where each of its sides lies
COVERED = 0.9  # of a side's length is inked
LEFT = 0.35  # of a box's height: a digit that is left in it is at least as high

HELD = 0.3  # of a hole's narrower side: ink in it is at least as long


def holding_ink(
    components: list[Component], labels: Labels, light: Grey, *, least: float
) -> list[Component]:
    """Those with a hole in which there is ink, seen by the light alone.

    Where a frame's thin lines are the clearest strokes, the digit's are too broad to be found.

    Args:
        light: ink is dark.
        least: darkness of ink, 0..1.
    """
    return [c for c in components if _holds_ink(c, labels, light, least)]


def _holds_ink(component: Component, labels: Labels, light: Grey, least: float) -> bool:
    if component.size < 24:
        return False
    window = np.s_[component.top : component.bottom, component.left : component.right]
    holes, _ = ndimage.label(~component.mask(labels, margin=1))
    holes = holes[1:-1, 1:-1] * (holes[1:-1, 1:-1] != holes[0, 0])
    for number, place in enumerate(ndimage.find_objects(holes), 1):
        if place is None or min(side.stop - side.start for side in place) < 12:
            continue
        hole = ndimage.binary_erosion(np.pad(holes[place] == number, 1), iterations=3)[1:-1, 1:-1]
        if not hole.any():
            continue
        inside = light[window][place]
        dark = hole & (inside < (1 - least) * np.percentile(inside[hole], 90))
        pieces, _ = ndimage.label(dark, SQUARE)
        at_rim = {*pieces[hole & ~ndimage.binary_erosion(hole)].tolist()}
        shortest = HELD * min(hole.shape)
        for piece, sides in enumerate(ndimage.find_objects(pieces), 1):
            if piece not in at_rim and max(side.stop - side.start for side in sides) > shortest:
                return True
    return False


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
