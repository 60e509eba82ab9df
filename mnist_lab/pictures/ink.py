"""Grey levels of a picture of one handwritten digit -> how much ink is in each pixel."""

from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np
from jaxtyping import Bool, Shaped
from PIL import Image
from scipy import ndimage
from scipy.sparse import csr_array

from mnist_lab.pictures.picture import Grey, PictureError

COARSE_SIZE = 64  # pixels of the long side on which polarity and stroke width are judged
MIN_CONTRAST = 0.1  # ink against paper, as a share of the paper's brightness
SIGNAL_TO_NOISE = 6  # normal noise exceeds that once in 10^9 pixels

MIN_SIDE = 4  # pixels
REACHES = (0.04, 0.055, 0.075, 0.1, 0.14, 0.2, 0.28, 0.4, 0.5)  # shares of the short side

FIELD = 28  # pixels a side of MNIST's images
SQUARE = np.ones((3, 3), bool)  # neighbours of a pixel: all eight

Mask = Bool[np.ndarray, "_ _"]


def find_ink(grey: Shaped[np.ndarray, "height width"]) -> Grey:
    """Tell the digit from paper, light, shadow, ruled lines, specks and whatever else is there.

    Meant for pictures of some 500 pixels a side; larger ones only take longer.

    1. Polarity and the width of strokes: `_Strokes`. Light strokes are inverted.
    2. Darkness = 1 - brightness / brightness of the paper there: `_darkness`.
    3. Ruled lines are taken out: `_without_rules`.
    4. The level of ink is the mean darkness where strokes are clearest. What is darker than 0.4 of
       it falls into components, among which `_digit` chooses.

    Args:
        grey: integers in the range of their type, or floats in 0..1 or 0..255; any polarity.

    Returns:
        0 paper to 1 ink, soft at the edges of strokes and 0 away from them.

    Raises:
        PictureError: no ink stands out from the paper.
    """
    light = levels(grey)
    long_side = max(light.shape)
    if min(light.shape) < MIN_SIDE:
        raise PictureError("too narrow for a digit")
    if long_side > 2 * FIELD:  # grain of paper and sensor
        light = ndimage.gaussian_filter(light, long_side / 400)
    strokes = _Strokes.of(light)
    darkness = _darkness(1 - light if strokes.are_light else light, reach=strokes.reach)
    if long_side > 4 * FIELD:
        darkness = _without_rules(_without_rules(darkness).T).T
    clearest = _interpolated(strokes.clearness, darkness.shape) * darkness.clip(0)
    level = float((clearest * darkness).sum() / max(clearest.sum(), 1e-12))
    paper = darkness[darkness <= 0.5 * level]
    offset = float(np.median(paper))
    darkness, level = darkness - offset, level - offset
    noise = float(np.percentile(np.abs(paper - offset), 25)) / 0.3186  # sigma, were it normal
    grain = noise + 1 / 255  # no picture is finer than its steps
    if level < max(SIGNAL_TO_NOISE * grain, MIN_CONTRAST):
        raise PictureError("no ink found")
    digit = _digit(darkness > max(4 * grain, 0.4 * level), darkness)
    level = float(np.percentile(darkness[digit], 75))
    rim = ndimage.binary_dilation(digit, SQUARE, iterations=1 + long_side // 400)
    ink = ((darkness - 3 * noise) / (level - 3 * noise)).clip(0, 1)
    return np.where(rim, ink, 0).astype(np.float32)


def levels(grey: Shaped[np.ndarray, "height width"]) -> Grey:
    if grey.ndim != 2 or grey.dtype.kind not in "buif" or not grey.size:
        raise ValueError(f"grey levels of shape (h, w) are wanted, not {grey.dtype} {grey.shape}")
    if not np.isfinite(grey).all():
        raise ValueError("grey levels hold values that are no numbers")
    if grey.dtype.kind in "iu":
        top = float(np.iinfo(grey.dtype).max)
    else:
        top = 255.0 if grey.max() > 1 else 1.0
    return (grey.astype(np.float32) / np.float32(top)).clip(0, 1)


def shrunk(grey: Grey, long_side: int) -> Grey:
    return scaled(grey, long_side) if max(grey.shape) > long_side else grey


def scaled(grey: Grey, long_side: int) -> Grey:
    """Scale, aspect ratio kept, to a long side of so many pixels: the mean over each one's area.

    Pillow's BOX is none: it takes a pixel whole or not at all, so that 20 rows of 21 lose one.
    """
    height, width = (max(1, round(side * long_side / max(grey.shape))) for side in grey.shape)
    rows = _overlaps(grey.shape[0], height) @ grey
    mean = np.ascontiguousarray((_overlaps(grey.shape[1], width) @ rows.T).T)
    return mean.clip(grey.min(), grey.max())  # a little above 1 would be read as of 255


def _overlaps(old: int, new: int) -> csr_array:
    """Cut a line into `old` equal parts, and into `new` ones: (new, old) shares of the new ones."""
    # Of a line old * new long, so that every piece begins at a whole number.
    starts = np.sort(np.concatenate([np.arange(old) * new, np.arange(new) * old]))
    shares = (np.diff(starts, append=old * new) / old).astype(np.float32)
    return csr_array((shares, (starts // old, starts // new)), shape=(new, old))


def _interpolated(grey: Grey, shape: tuple[int, ...]) -> Grey:
    how = Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(grey).resize((shape[1], shape[0]), how))


@dataclass(frozen=True)
class _Strokes:
    """What a coarse look tells.

    Attributes:
        are_light: strokes are brighter than the paper.
        reach: side of a square that lies in no stroke, as a share of the picture's short side.
        clearness: (h, w) of the coarse picture, large where a stroke stands out.
    """

    are_light: bool
    reach: float
    clearness: Grey

    @classmethod
    def of(cls, light: Grey) -> Self:
        """Judge by what stands out twice, in log brightness, so that shadow takes nothing away.

        From its surroundings: a difference of Gaussians, cubed, so that contrast counts more than
        area. And as something narrow: a top-hat, which vanishes at the edges of shadows and sheets,
        where a difference of Gaussians does not.
        """
        coarse = np.log(shrunk(light, COARSE_SIZE) + 0.3)
        short_side = min(coarse.shape)
        excess = ndimage.gaussian_filter(coarse, 1.0, mode="nearest")
        excess -= ndimage.gaussian_filter(coarse, 3.0, mode="nearest")
        square = (max(3, round(0.3 * short_side)),) * 2
        light_votes = excess.clip(0) ** 3 * ndimage.white_tophat(coarse, square)
        dark_votes = (-excess).clip(0) ** 3 * ndimage.black_tophat(coarse, square)
        are_light = bool(light_votes.sum() > dark_votes.sum())
        if are_light:
            coarse, excess = -coarse, -excess
        clearness = (-excess).clip(0) ** 3
        # The narrowest square that fits into no clear stroke: wider ones find little more.
        sides = sorted({max(3, round(share * short_side)) for share in REACHES})
        hats = [ndimage.black_tophat(coarse, (side, side)) for side in sides]
        found = [float((clearness * hat).sum()) for hat in hats]
        side = next(n for n, sum_ in zip(sides, found, strict=True) if sum_ >= 0.8 * max(found))
        return cls(are_light=are_light, reach=1.3 * side / short_side, clearness=clearness)


def _darkness(light: Grey, *, reach: float) -> Grey:
    """1 - brightness / brightness of the paper: about 0 on paper, in light and in shadow.

    The paper's brightness is a morphological closing, which follows hard shadows, times a smooth
    correction, since a closing follows the brightest grain.
    """
    short_side = min(light.shape)
    side = min(max(3, int(reach * short_side)), short_side - 1)
    margin = side // 2 + 1
    # Mirrored oddly, a slope of light goes on down beyond the border: no dark corner is filled.
    beyond = np.pad(light, margin, mode="reflect", reflect_type="odd")
    wider = np.minimum(beyond, np.pad(light, margin, mode="edge")).clip(0, 1)
    paper = ndimage.grey_closing(wider, size=(side, side))[margin:-margin, margin:-margin]
    ratio = (light + 0.02) / (paper + 0.02)  # so that black against black is nothing

    coarse = shrunk(ratio, COARSE_SIZE // 2)
    sigma = max(coarse.shape) / 8
    smoothing = partial(ndimage.gaussian_filter, sigma=sigma, mode="nearest", truncate=2.5)
    is_paper = coarse > 0.9 * np.median(coarse)
    for _ in range(3):
        weight = is_paper.astype(np.float32)
        grain = (smoothing(coarse * weight) + 1e-3) / (smoothing(weight) + 1e-3)
        rest = 1 - coarse / grain
        spread = float(np.median(np.abs(rest - np.median(rest))))
        is_paper = rest < max(2.5 * spread, 0.02)
    return np.asarray(1 - ratio / _interpolated(grain, light.shape), np.float32)


def _without_rules(darkness: Grey) -> Grey:
    """Clear straight dark lines that run from the left to the right, up to 3 degrees aslant.

    Columns are shifted against each other until rows differ most; a row that is dark in four
    fifths of its pixels and narrower than 3 % of the height is a line. What is much darker than
    its line is ink that crosses it.
    """
    height, width = darkness.shape
    columns = np.linspace(0, width - 1, min(width, 48)).astype(int)
    slopes = np.linspace(-0.06, 0.06, 25)
    shifts = np.round(slopes[:, None, None] * (columns - width / 2)).astype(int)
    rows = (np.arange(height)[:, None] + shifts).clip(0, height - 1)
    sheared = darkness[rows, columns].clip(0)  # (25 slopes, height, 48 columns)
    steps = np.diff(sheared.clip(0, 0.3).mean(2), axis=1)
    best = int(np.square(steps).sum(1).argmax())
    slope = slopes[best]
    profile = np.quantile(sheared[best], 0.2, axis=1)
    profile -= ndimage.grey_opening(profile, max(3, round(0.03 * height)))
    shifts = np.round(slope * (np.arange(width) - width / 2)).astype(int)
    rules = profile[(np.arange(height)[:, None] - shifts).clip(0, height - 1)]
    ruled = (rules > 0.02) & (darkness < 1.6 * rules)
    if not ruled.any() or ruled.all():
        return darkness
    return np.where(ruled, np.median(darkness[~ruled]), darkness)


def _digit(dark: Mask, darkness: Grey) -> Mask:
    """Choose among the components of `dark`: the heaviest, and what is near it and no speck.

    What touches the border is more likely a shadow, a desk or a line than the digit: ten times for
    touching it, and ten times more for each 15 % of the border that it covers.

    Raises:
        PictureError: nothing is large enough.
    """
    labels, count = ndimage.label(dark, SQUARE)
    if not count:
        raise PictureError("no ink found")
    mass = ndimage.sum_labels(darkness, labels, np.arange(1, count + 1))
    border = np.concatenate([labels[0], labels[-1], labels[1:-1, 0], labels[1:-1, -1]])
    contact = np.bincount(border, minlength=count + 1)[1:] / len(border)
    touching = contact > 0
    main = int(np.argmax(mass * np.where(touching, 0.1 ** (1 + contact / 0.15), 1)))
    if mass[main] < 0.25 * mass[touching <= touching[main]].sum():  # grain: any number of equals
        raise PictureError("no ink found")
    boxes = ndimage.find_objects(labels)
    size = max(part.stop - part.start for part in boxes[main])
    around = tuple(
        slice(max(0, side.start - size // 4 - 4), side.stop + size // 4 + 4) for side in boxes[main]
    )
    part = labels[around] == main + 1
    shade = _is_shade(part, darkness[around], size=size, leaves=bool(touching[main]))
    if shade or size < max(4, 0.03 * max(dark.shape)):
        raise PictureError("no ink found")
    chosen = np.zeros(count + 1, bool)
    for index, box in enumerate(boxes):
        gap = max(
            max(part.start - other.stop, other.start - part.stop)
            for part, other in zip(box, boxes[main], strict=True)
        )
        near = gap < 0.35 * size and mass[index] > 0.04 * mass[main]
        chosen[index + 1] = index == main or (near and (touching[main] or contact[index] < 0.04))
    return np.asarray(chosen[labels])


def _is_shade(part: Mask, darkness: Grey, *, size: int, leaves: bool) -> bool:
    """Tell shadows and vignettes from digits: they fade away slowly, or are wide and go on outside.

    A digit may be blurred, unless it `leaves` the picture as shadows do.
    """
    distance = ndimage.distance_transform_edt(~part) - max(2, size / (15 if leaves else 8))
    ring = (distance >= 0) & (distance < 1.5)
    if ring.any() and np.percentile(darkness[ring], 75) > 0.15 * np.median(darkness[part]):
        return True
    if not leaves:
        return False
    inside = ndimage.distance_transform_edt(np.pad(part, size, mode="edge"))
    return bool(4 * inside[inside > 0].mean() > size)
