"""Which components of a picture are digits, and which go together."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from mnist_lab.pictures.components import Component, Labels, Line
from mnist_lab.pictures.grey import Grey
from mnist_lab.pictures.ink import Mask
from mnist_lab.pictures.picture import PictureError

SMALLEST = 0.012  # of the picture's long side; anything less is a speck
RELATIVE = 0.45  # of the highest candidate's height; anything less is a caption or a speck
BLOT = 0.6  # of its size: what has broader strokes is none; a disc has 0.67
LONGER = 1.6  # than all others: a straight bar of that length is no 1 beside them
SHADOW = 0.55  # as dark as shadows become
SOFT = 0.02  # of the picture's long side: how wide their edges are at least
SOFTEST = 0.05  # of a digit's size: how wide its edges are at most
EDGE = 0.07  # of a sheet's long side: straight lines within it are no digits
FEW_SPECKS = 8  # about as large as the largest may be parts of a digit, more are grain
SPECK = 8  # pixels: anything smaller has no shape
MOST_HOLES = 12  # an 8 has two
GRAIN = 0.35  # of its box is inked
MOST = 40  # more of about one size are grain


FILLED = 0.6  # of the picture: a digit of MNIST fills 20 of 28 pixels and may touch the border
TOO_SMALL = "too small: the picture shows it too small; crop it to the digit"
NOTHING = "no ink found: nothing of a digit's size"
SHADOW_ONLY = "no ink found: only shadow"
CUT_OFF = "cut off at the border; the picture must show the whole digit"


class CutOff(PictureError):
    """All that there is leaves the picture."""


def chosen_among(
    components: list[Component],
    labels: Labels,
    darkness: Grey,
    *,
    rules: Mask,
    margins: tuple[int, int],
    is_sheet: bool,
    are_light: bool,
) -> tuple[list[Component], list[Component]]:
    """Choose digits, from left to right in lines from top to bottom; and the frames around them.

    Args:
        rules: where lines through the whole picture were.
        is_sheet: the borders of the picture are those of a sheet.
        are_light: ink is; then it cannot be shadow.
        margins: rows and columns of paper that were added on each side of the picture.

    Raises:
        CutOff: all that could be digits touch the border.
        PictureError: nothing is a digit.
    """
    long_side = max(n - 2 * margin for n, margin in zip(labels.shape, margins, strict=True))
    large = [c for c in components if c.size >= max(4, SMALLEST * long_side)]
    if not large:
        most = max((c.size for c in components), default=0)
        few = (
            sum(2 * c.size >= most for c in components) <= FEW_SPECKS
            and 1 < most < 4 * SMALLEST * long_side
        )
        raise PictureError(TOO_SMALL if few and components else NOTHING)
    if not all(margins) and any(_is_grain(c, labels) for c in large if c.size > 0.95 * long_side):
        raise PictureError(NOTHING)
    frames, large = _without_frames(large, labels)
    inner = [c for c in large if not c.contact]
    whole = max((c.size for c in large if c.contact), default=0)
    if whole > FILLED * long_side and all(c.size < 0.12 * whole for c in inner):
        inner = []  # specks beside it
    if not inner:
        if not all(margins):
            raise CutOff(CUT_OFF)
        raise PictureError(NOTHING)
    inner = [c for c in inner if not _is_blot(c, labels)]
    if inner and not are_light:
        least = 0.2 * max(c.size for c in inner)
        inner = [c for c in inner if c.size < least or not _is_shade(c, labels, darkness, margins)]
        if all(c.size < least for c in inner):
            raise PictureError(SHADOW_ONLY)
    groups = _joined(_without_lines(inner, labels, rules, edge=EDGE * long_side * is_sheet))
    highest = max((c.height for c in groups), default=0)
    groups = [c for c in groups if c.height >= RELATIVE * highest]
    if not groups or len(groups) > MOST:
        raise PictureError(NOTHING)
    if all(margins) and not any(_fills(c, labels, margins) for c in groups):
        raise PictureError(CUT_OFF)
    return _in_lines(groups), frames


def _fills(component: Component, labels: Labels, margins: tuple[int, int]) -> bool:
    """Whether a picture without a margin is cut to a digit, rather than cuts it off."""
    height, width = (n - 2 * margin for n, margin in zip(labels.shape, margins, strict=True))
    return bool(max(component.height / height, component.width / width) > FILLED)


def _without_frames(
    components: list[Component], labels: Labels
) -> tuple[list[Component], list[Component]]:
    """Tell frames from the rest; where one takes up much of the picture, what is outside goes."""
    frames = []
    rest = components
    for frame in components:
        large = frame.height * frame.width > 0.4 * labels.size
        inside = [
            c
            for c in rest
            if c is not frame
            and _lies_in(c, frame)
            and c.size
            > max(0.12 * frame.size, 0 if large else 0.3 * min(frame.height, frame.width))
            and _encloses(frame, c, labels)
        ]
        if inside:
            frames.append(frame)
            rest = inside if large else [c for c in rest if c is not frame]
    return frames, rest


def _lies_in(inner: Component, outer: Component) -> bool:
    return (
        outer.top <= inner.top
        and inner.bottom <= outer.bottom
        and outer.left <= inner.left
        and inner.right <= outer.right
    )


def _encloses(frame: Component, inner: Component, labels: Labels) -> bool:
    """Whether its ink lies beyond all four sides of the other, and not within them."""
    ink = frame.mask(labels)
    top, left = inner.top - frame.top, inner.left - frame.left
    bottom, right = top + inner.height, left + inner.width
    sides = (
        ink[:top, left:right],
        ink[bottom:, left:right],
        ink[top:bottom, :left],
        ink[top:bottom, right:],
    )
    hollow = float(ink[top:bottom, left:right].mean()) < 0.03
    return all(bool(side.any()) for side in sides) and hollow


def _without_lines(
    components: list[Component], labels: Labels, rules: Mask, *, edge: float
) -> list[Component]:
    """Leave out level lines that are no part of a digit, and those between two rules."""
    lines = {id(c): Line.of(c.mask(labels)) for c in components}
    others = [c for c in components if not _is_level(lines[id(c)])]
    sizes = [c.size for c in others if not lines[id(c)].is_straight]
    kept = []
    for c in components:
        line = lines[id(c)]
        if line.is_straight and _is_along(c, labels, edge):
            continue
        longest = max((n for n in sizes if n > 0.2 * line.length), default=c.size)
        if line.is_straight and line.length > LONGER * longest:  # a pen on the paper
            continue
        if _is_level(line) and others and not any(_is_flag(c, other) for other in others):
            continue
        if line.is_straight and not 6 < line.angle < 84 and _is_between(c, rules):
            continue
        kept.append(c)
    return kept


def _is_along(bar: Component, labels: Labels, edge: float) -> bool:
    """Whether it lies along the border of a sheet, as its shadow does or a pen may."""
    height, width = labels.shape
    near = (bar.bottom, bar.right, height - bar.top, width - bar.left)
    return bool(min(near) < edge)


def _is_between(bar: Component, rules: Mask) -> bool:
    """Whether both its ends lie on rules, as those of a form's boxes do."""
    columns, rows = slice(bar.left, bar.right), slice(bar.top, bar.bottom)
    near = 4  # pixels
    if bar.height > bar.width:
        ends = (
            rules[max(0, bar.top - near) : bar.top + 1, columns],
            rules[bar.bottom - 1 : bar.bottom + near, columns],
        )
    else:
        ends = (
            rules[rows, max(0, bar.left - near) : bar.left + 1],
            rules[rows, bar.right - 1 : bar.right + near],
        )
    return all(end.any() for end in ends)


def _is_level(line: Line) -> bool:
    return line.is_straight and line.angle < 25


def _is_flag(line: Component, other: Component) -> bool:
    """The bar of a 5 or 7 that does not quite reach the rest: at its top, not longer."""
    rows, columns = line.gaps(other)
    at_top = line.bottom < other.top + 0.4 * other.height
    return at_top and max(rows, columns) < 0.15 * other.size and line.width < 1.2 * other.height


def _joined(components: list[Component]) -> list[Component]:
    """Put together what is one digit: pieces of which a small one is near a large one."""
    groups: list[Component] = []
    for c in sorted(components, key=lambda c: -c.mass):
        for k, group in enumerate(groups):
            if _belongs(c, group):
                groups[k] = group.joined(c)
                break
        else:
            groups.append(c)
    return groups if len(groups) == len(components) else _joined(groups)


def _belongs(part: Component, group: Component) -> bool:
    rows, columns = part.gaps(group)
    size = group.size
    is_low = part.height < 0.5 * group.height
    if rows < 0 and columns < 0:
        return is_low or rows * columns > 0.5 * part.height * part.width
    if columns < -0.5 * min(part.width, group.width):  # one above the other
        return rows < (0.2 if part.mass < 0.35 * group.mass else 0.1) * size
    return max(rows, columns) < (0.12 if is_low and part.mass < 0.5 * group.mass else 0.03) * size


def _is_shade(
    component: Component, labels: Labels, darkness: Grey, margins: tuple[int, int]
) -> bool:
    """Tell shadows from digits, even blurred ones: they fade away slowly.

    Not so at the border of the picture, beyond which there is added paper.
    """
    size = component.size
    around = size // 4 + 6
    top, left = max(0, component.top - around), max(0, component.left - around)
    window = np.s_[top : component.bottom + around, left : component.right + around]
    part: Mask = np.isin(labels[window], component.numbers)
    seen = np.zeros(labels.shape, bool)
    rows, columns = (margin + 3 if margin else 0 for margin in margins)
    seen[rows : labels.shape[0] - rows, columns : labels.shape[1] - columns] = True
    distance = ndimage.distance_transform_edt(~part)
    paper = (labels[window] == 0) & seen[window]
    near, far = (
        float(np.percentile(darkness[window][ring], 75)) if ring.any() else 0.0
        for start in (max(2, size / 8), max(4, size / 4))
        for ring in [paper & (distance >= start) & (distance < start + 1.5)]
    )
    level = float(np.median(darkness[window][part]))
    if near - max(far, 0) > 0.15 * level:
        return True
    rim = part & ~ndimage.binary_erosion(part) & seen[window]
    if not rim.any():
        return False
    slope = ndimage.gaussian_gradient_magnitude(darkness[window], 1)[rim]
    softness = level / max(float(np.median(slope)), 1e-6)  # pixels from paper to ink
    long_side = max(n - 2 * margin for n, margin in zip(labels.shape, margins, strict=True))
    return level < SHADOW and softness > max(SOFT * long_side, SOFTEST * size, 8)


def _is_grain(component: Component, labels: Labels) -> bool:
    """Tell what is all over the picture from grids and scribbles: dense, with many holes."""
    ink = component.mask(labels, margin=1)
    _, num_grounds = ndimage.label(~ink)
    return bool(num_grounds > 1 + MOST_HOLES and ink.mean() > GRAIN)


def _is_blot(component: Component, labels: Labels) -> bool:
    """Tell spots and fingers from digits: they are no strokes."""
    if component.size < SPECK:
        return False
    ink = component.mask(labels, margin=1)
    inside = ndimage.distance_transform_edt(ink)
    return bool(4 * inside[inside > 0].mean() > BLOT * component.size)


def _in_lines(digits: list[Component]) -> list[Component]:
    lines: list[list[Component]] = []
    for digit in sorted(digits, key=lambda c: c.top + c.bottom):
        middle = (digit.top + digit.bottom) / 2
        for line in lines:
            if any(c.top < middle < c.bottom for c in line):
                line.append(digit)
                break
        else:
            lines.append([digit])
    return [c for line in lines for c in sorted(line, key=lambda c: c.left)]
