"""The paper in a picture: a sheet on a table, turned and in perspective, or the whole picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.spatial import ConvexHull

from mnist_lab.pictures.grey import Grey, scaled, shrunk
from mnist_lab.pictures.ink import Mask

SHEET_SIZE = 200  # pixels of the long side on which a sheet is sought
INSET = 0.02  # of the sheet's long side that is left out at its edges
MIN_AREA = 0.1  # of the picture

Corners = Float[np.ndarray, "4 2"]


@dataclass(frozen=True)
class Ground:
    """What ink lies on.

    Attributes:
        light: the picture, 0 black to 1 white.
        corners: (x, y) of a sheet in pixels of the picture, clockwise from its upper left; None:
            the ground is the whole picture.
    """

    light: Grey
    corners: Corners | None = None

    @classmethod
    def of(cls, light: Grey) -> Ground:
        return cls(light, _sheet(light))

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels that are as large as those of the picture."""
        if self.corners is None:
            return self.light.shape[0], self.light.shape[1]
        sides = np.linalg.norm(self.corners - np.roll(self.corners, -1, 0), axis=1)
        return max(1, round((sides[1] + sides[3]) / 2)), max(1, round((sides[0] + sides[2]) / 2))

    def look(self, long_side: int, *, box: tuple[float, float, float, float] | None = None) -> Grey:
        """See it from above.

        Args:
            long_side: pixels at most; never more than there are.
            box: left, top, width, height of a part.
        """
        height, width = self.shape
        left, top, wide, high = box or (0, 0, width, height)
        if self.corners is None:
            rows = slice(max(0, round(top)), round(top + high))
            columns = slice(max(0, round(left)), round(left + wide))
            return shrunk(self.light[rows, columns], long_side)
        factor = min(1.0, long_side / max(wide, high))
        size = (max(1, round(wide * factor)), max(1, round(high * factor)))
        flat = np.array([[0, 0], [width, 0], [width, height], [0, height]], float)
        there = _projected(_homography(flat, self.corners), _box_corners(left, top, wide, high))
        low = np.floor(there.min(0)).astype(int).clip(0) - 1
        near = self.light[
            max(0, low[1]) : int(there[:, 1].max()) + 2, max(0, low[0]) : int(there[:, 0].max()) + 2
        ]
        there = there - low.clip(0)
        reduced = shrunk(near, max(1, round(max(near.shape) * factor)))
        there = there * (reduced.shape[1] / near.shape[1], reduced.shape[0] / near.shape[0])
        here = _box_corners(0, 0, *size)
        coefficients = (_homography(here, there) / _homography(here, there)[2, 2]).ravel()[:8]
        image = Image.fromarray(reduced).transform(
            size, Image.Transform.PERSPECTIVE, coefficients.tolist(), Image.Resampling.BILINEAR
        )
        return np.asarray(image)

    def box_in_picture(self, box: tuple[float, ...]) -> tuple[int, int, int, int]:
        """Where a part of the ground (left, top, width, height) lies in the picture."""
        height, width = self.shape
        corners = _box_corners(*box)
        if self.corners is not None:
            corners = _projected(
                _homography(_box_corners(0, 0, width, height), self.corners), corners
            )
        low, high = np.round(corners.min(0)).astype(int), np.round(corners.max(0)).astype(int)
        low = np.minimum(low.clip(0), np.array(self.light.shape[::-1]) - 1)
        high = np.minimum(np.maximum(high, low + 1), self.light.shape[::-1])
        return int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1])


def _box_corners(left: float, top: float, width: float, height: float) -> Corners:
    right, bottom = left + width, top + height
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], float)


def _homography(source: Corners, target: Corners) -> Float[np.ndarray, "3 3"]:
    """The projective map that takes four points to four others."""
    rows = []
    for (x, y), (u, v) in zip(source, target, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    return np.append(np.linalg.solve(np.array(rows), target.ravel()), 1).reshape(3, 3)


def _projected(map_: Float[np.ndarray, "3 3"], points: Corners) -> Corners:
    moved = np.column_stack([points, np.ones(len(points))]) @ map_.T
    return np.asarray(moved[:, :2] / moved[:, 2:])


def _sheet(light: Grey) -> Corners | None:
    """Find the largest bright region with four straight borders and something darker around it.

    Sought among the components above each of several thresholds, after the slope of the light,
    which is the median slope of the picture, was taken out (in logarithms).
    """
    if max(light.shape) < SHEET_SIZE / 2:
        return None
    coarse = shrunk(light, SHEET_SIZE)
    logs = np.log(coarse + 0.03)
    logs = ndimage.grey_closing(logs, (3, 3))
    down, across = (float(np.median(np.diff(logs, axis=axis))) for axis in (0, 1))
    rows, columns = np.indices(logs.shape)
    logs = logs - down * rows - across * columns
    best, best_score = None, 0.0
    for threshold in np.linspace(*np.percentile(logs, (3, 97)), 18):
        labels, count = ndimage.label(ndimage.binary_opening(logs > threshold))
        if not count:
            continue
        areas = np.bincount(labels.ravel())[1:]
        k = int(areas.argmax()) + 1
        if areas[k - 1] < MIN_AREA * logs.size:
            continue
        region = ndimage.binary_fill_holes(labels == k)
        corners = _quadrilateral(region)
        if corners is None:
            continue
        score = _contrast(logs, region, corners)
        if score > best_score:
            best, best_score = corners, score
    if best is None:
        return None
    scale = max(light.shape) / max(coarse.shape)
    middle = best.mean(0)
    best = middle + (best - middle) * (1 - 2 * INSET)
    return np.asarray((best + 0.5) * scale)


def _quadrilateral(region: Mask) -> Corners | None:
    """The corners, clockwise from the upper left, of a region with four straight borders."""
    hull = _hull(region)
    area = _area(hull)
    if region.sum() < 0.9 * area:
        return None
    # Take away the side whose neighbours, prolonged until they meet, add the least.
    while len(hull) > 4:
        options = [_without_side(hull, k) for k in range(len(hull))]
        found = [each for each in options if each is not None]
        if not found:
            return None
        hull = min(found, key=_area)
    if len(hull) < 4 or _area(hull) > 1.12 * region.sum():
        return None
    sides = np.linalg.norm(hull - np.roll(hull, -1, 0), axis=1)
    if sides.min() < 0.3 * sides.max():
        return None
    first = int((hull.sum(1)).argmin())
    return np.roll(hull, -first, 0)


def _hull(region: Mask) -> Float[np.ndarray, "n 2"]:
    """Corners (x, y) of the convex hull, clockwise as a picture is seen."""
    edge = region & ~ndimage.binary_erosion(region)
    points = np.argwhere(edge)[:, ::-1].astype(float)
    return points[ConvexHull(points).vertices]  # counter-clockwise where y goes up: clockwise here


def _area(polygon: Float[np.ndarray, "n 2"]) -> float:
    x, y = polygon.T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


def _without_side(hull: Float[np.ndarray, "n 2"], k: int) -> Float[np.ndarray, "m 2"] | None:
    """Replace corners k and k + 1 by where the sides before and after them meet."""
    n = len(hull)
    a, b, c, d = (hull[(k + j) % n] for j in (-1, 0, 1, 2))
    first, second = b - a, c - d
    cross = first[0] * second[1] - first[1] * second[0]
    if abs(cross) < 1e-9:
        return None
    along = ((d - a)[0] * second[1] - (d - a)[1] * second[0]) / cross
    back = ((d - a)[0] * first[1] - (d - a)[1] * first[0]) / cross
    if along < 1 or back < 1:
        return None  # they part
    rest = [hull[j] for j in range(n) if j not in (k, (k + 1) % n)]
    at = k if k + 1 < n else 0
    return (
        np.array([*rest[:at], a + along * first, *rest[at:]])
        if k + 1 < n
        else np.array([*rest, a + along * first])
    )


def _contrast(logs: Grey, region: Mask, corners: Corners) -> float:
    """How much brighter a sheet is than what lies around it; 0 where it is none.

    Around it must be something as far as 5 % of the picture, or a box drawn with a pen would be a
    sheet; and along most of its border.
    """
    image = Image.new("1", logs.shape[::-1])
    ImageDraw.Draw(image).polygon([tuple(c) for c in corners], fill=1)
    outside = ndimage.distance_transform_edt(~np.asarray(image))
    inside = float(np.median(logs[region]))
    around = (outside > 2) & (outside < 0.05 * max(logs.shape))
    length = np.linalg.norm(corners - np.roll(corners, -1, 0), axis=1).sum()
    width = 0.05 * max(logs.shape) - 2
    if around.sum() < 0.5 * length * width:
        return 0.0
    contrast = inside - np.percentile(logs[around], 80)
    return float(contrast) if contrast > 0.2 else 0.0
