"""Grey levels of paper or a board -> how dark each pixel is against the ground around it."""

from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np
from jaxtyping import Bool
from scipy import ndimage

from mnist_lab.pictures.grey import Grey, interpolated, shrunk

COARSE_SIZE = 64  # pixels of the long side on which the first of several looks is taken
FINE_SIZE = 512  # and the last one
REACHES = (0.01, 0.02, 0.03, 0.04, 0.055, 0.075, 0.1, 0.14, 0.2, 0.28, 0.4, 0.5, 0.7)
SLOWLY = 0.4  # what squares find beyond strokes grows with less than this power of their sides
BROAD = 31  # pixels; strokes are at most two thirds of their reach
SIGNAL_TO_NOISE = 4

Mask = Bool[np.ndarray, "_ _"]


@dataclass(frozen=True)
class Strokes:
    """What a look at several scales tells.

    Attributes:
        are_light: strokes are brighter than the ground.
        reach: side of a square that lies in no stroke, in pixels.
        clearness: large where a stroke stands out; of any size.
    """

    are_light: bool
    reach: float
    clearness: Grey

    @classmethod
    def of(cls, light: Grey) -> Self:
        """Judge by what stands out twice, in log brightness, so that shadow takes nothing away.

        From its surroundings: a difference of Gaussians, cubed, so that contrast counts more than
        area. And as something narrow: a top-hat, which vanishes at the edges of shadows and sheets,
        where a difference of Gaussians does not. A thin stroke is clear in a fine look, a broad one
        in a coarse one; the clearest look tells the width.
        """
        sides = [COARSE_SIZE]
        while sides[-1] < min(max(light.shape), FINE_SIZE):
            sides.append(2 * sides[-1])
        looks = [_Look.of(shrunk(light, side)) for side in sides]
        are_light = sum(look.light for look in looks) > sum(look.dark for look in looks)
        best = max(looks, key=lambda look: look.light if are_light else look.dark)
        side, clearness = best.width(are_light)
        scale = min(light.shape) / min(clearness.shape)
        return cls(are_light=are_light, reach=1.6 * side * scale, clearness=clearness)


@dataclass(frozen=True)
class _Look:
    """Log brightness, its difference of Gaussians, how clear light and dark strokes are."""

    logs: Grey
    excess: Grey
    light: float
    dark: float

    @classmethod
    def of(cls, light: Grey) -> Self:
        logs = np.log(light + 0.3)
        excess = ndimage.gaussian_filter(logs, 1.0, mode="nearest")
        excess -= ndimage.gaussian_filter(logs, 3.0, mode="nearest")
        square = (max(3, round(0.3 * min(logs.shape))),) * 2
        for_light = excess.clip(0) ** 3 * ndimage.white_tophat(logs, square)
        for_dark = (-excess).clip(0) ** 3 * ndimage.black_tophat(logs, square)
        return cls(logs, excess, float(for_light.mean()), float(for_dark.mean()))

    def width(self, are_light: bool) -> tuple[int, Grey]:
        """The narrowest square that fits into no clear stroke: wider ones find little more.

        They go on finding more where light falls, a shadow ends or paper is creased, but more
        slowly than they grow.
        """
        logs, excess = (-self.logs, -self.excess) if are_light else (self.logs, self.excess)
        clearness = (-excess).clip(0) ** 3
        short_side = min(logs.shape)
        sides = sorted({max(3, round(share * short_side)) for share in REACHES})
        found = [float((clearness * ndimage.black_tophat(logs, (n, n))).sum()) for n in sides]
        _, enough = max((sum_ / n**SLOWLY, sum_) for n, sum_ in zip(sides, found, strict=True))
        side = next(n for n, sum_ in zip(sides, found, strict=True) if sum_ >= 0.8 * enough)
        return side, clearness


@dataclass(frozen=True)
class Ink:
    """How dark a ground is.

    Attributes:
        darkness: 0 on paper, in light and in shadow, to 1 black.
        level: that of the clearest strokes.
        noise: the standard deviation of paper's darkness.
    """

    darkness: Grey
    level: float
    noise: float

    @classmethod
    def of(cls, light: Grey, strokes: Strokes) -> Self:
        light = 1 - light if strokes.are_light else light
        if strokes.reach > BROAD:  # what is much finer than strokes is grain, dust or chalk
            light = ndimage.gaussian_filter(light, strokes.reach / BROAD)
        darkness = darkness_of(light, reach=strokes.reach)
        clearest = interpolated(strokes.clearness, darkness.shape) * darkness.clip(0)
        level = float((clearest * darkness).sum() / max(clearest.sum(), 1e-12))
        paper = darkness[darkness <= 0.5 * level]
        if not paper.size:
            return cls(darkness, 0.0, 1.0)  # nothing stands out
        offset = float(np.median(paper))
        noise = float(np.percentile(np.abs(paper - offset), 25)) / 0.3186  # sigma, were it normal
        return cls(darkness - offset, level - offset, noise)

    @property
    def grain(self) -> float:
        return self.noise + 1 / 255  # no picture is finer than its steps

    def of_digit(self, own: Mask, *, softness: int) -> Grey:
        """0 paper to 1 ink, soft at the edges of strokes and 0 away from them.

        Args:
            own: where the digit is dark.
            softness: the width of the edges in pixels.
        """
        level = float(np.percentile(self.darkness[own], 75))
        rim = ndimage.binary_dilation(own, np.ones((3, 3), bool), iterations=softness)
        ink = (self.darkness - 3 * self.noise) / max(level - 3 * self.noise, 1e-3)
        return np.where(rim, ink.clip(0, 1), 0).astype(np.float32)


def darkness_of(light: Grey, *, reach: float) -> Grey:
    """1 - brightness / brightness of the paper: about 0 on paper, in light and in shadow.

    The paper's brightness is a morphological closing, which follows hard shadows, times a smooth
    correction, since a closing follows the brightest grain.

    Args:
        reach: side of the closing's square in pixels, wider than any stroke.
    """
    side = max(3, min(round(reach), 2 * max(light.shape)))
    margin = min(side // 2 + 1, min(light.shape) - 1)
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
    return np.asarray(1 - ratio / interpolated(grain, light.shape), np.float32)
