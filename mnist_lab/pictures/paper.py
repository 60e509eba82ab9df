"""The paper in a picture: a sheet on a table, turned and in perspective, or the whole picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.spatial import ConvexHull

from mnist_lab.pictures.grey import Grey, shrunk
from mnist_lab.pictures.ink import Mask

SHEET_SIZE = 200  # pixels of the long side on which a sheet is sought
MIN_AREA = 0.1  # of the picture

Corners = Float[np.ndarray, "4 2"]


@dataclass(frozen=True)
class Ground:
    """What ink lies on.

    Attributes:
        light: the picture, 0 black to 1 white.
        corners: (x, y) of a sheet in pixels of the picture, clockwise from its upper left; they
            may lie outside. None: the ground is the whole picture.
        region: a coarse copy of the picture, where the sheet is seen: no thumb lies on it.
    """

    light: Grey
    corners: Corners | None = None
    region: Mask | None = None

    @classmethod
    def of(cls, light: Grey) -> Ground:
        return _sheet(light) or cls(light)

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
        corners = _projected(self._map, _box_corners(left, top, wide, high))
        seen = _warped(self.light, corners, size)
        region = self.region
        assert region is not None
        coarse = self.light.shape[1] / region.shape[1]
        # What covers the sheet, or lies beyond it, is given the brightness of the sheet beside it.
        whole = shrunk(self.light, max(region.shape))
        nearest = ndimage.distance_transform_edt(
            ~region, return_distances=False, return_indices=True
        )
        beside = _warped(ndimage.gaussian_filter(whole[tuple(nearest)], 1), corners / coarse, size)
        is_sheet = _warped(region.astype(np.float32), corners / coarse, size)
        return np.where(is_sheet > 0.9, seen, beside)

    @property
    def _map(self) -> Float[np.ndarray, "3 3"]:
        """From the sheet to the picture."""
        assert self.corners is not None
        height, width = self.shape
        return _homography(_box_corners(0, 0, width, height), self.corners)

    def box_in_picture(self, box: tuple[float, ...]) -> tuple[int, int, int, int]:
        """Where a part of the ground (left, top, width, height) lies in the picture."""
        corners = _box_corners(*box)
        if self.corners is not None:
            corners = _projected(self._map, corners)
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


def _warped(light: Grey, corners: Corners, size: tuple[int, int]) -> Grey:
    """What lies between four corners (pixels), as a rectangle of so many columns and rows."""
    low = np.floor(corners.min(0)).astype(int).clip(0, np.array(light.shape[::-1]) - 1)
    high = np.ceil(corners.max(0)).astype(int).clip(1) + 2
    near = light[low[1] : high[1], low[0] : high[0]]
    factor = max(size) / float(np.ptp(corners, axis=0).max())
    reduced = shrunk(near, max(1, round(max(near.shape) * factor)))
    there = (corners - low) * (np.array(reduced.shape[::-1]) / near.shape[::-1])
    coefficients = _homography(_box_corners(0, 0, *size), there).ravel()[:8].tolist()
    reduced = np.pad(reduced, 1, mode="edge")  # Pillow has black beyond the border
    coefficients = _homography(_box_corners(0, 0, *size), there + 1).ravel()[:8].tolist()
    how = Image.Transform.PERSPECTIVE
    return np.asarray(
        Image.fromarray(reduced).transform(size, how, coefficients, Image.Resampling.BILINEAR)
    )


def _sheet(light: Grey) -> Ground | None:
    """Find the largest bright region with four straight borders and something darker around it.

    Sought among the components above each of several thresholds, after the slope of the light,
    which is the median slope of the picture, was taken out (in logarithms).
    """
    if max(light.shape) < SHEET_SIZE / 2:
        return None
    coarse = shrunk(light, SHEET_SIZE)
    if min(coarse.shape) < SHEET_SIZE / 8:
        return None
    logs = ndimage.grey_closing(np.log(coarse + 0.03), (3, 3))
    down, across = (float(np.median(np.diff(logs, axis=axis))) for axis in (0, 1))
    rows, columns = np.indices(logs.shape)
    logs = (logs - down * rows - across * columns).astype(np.float32)
    best, best_score = None, 0.0
    low, high = np.percentile(logs, (3, 97)).tolist()
    for threshold in np.linspace(low, high, 18):
        labels, count = ndimage.label(ndimage.binary_opening(logs > threshold))
        areas = np.bincount(labels.ravel())[1:]
        if not count or areas.max() < MIN_AREA * logs.size:
            continue
        region = ndimage.binary_fill_holes(labels == areas.argmax() + 1)
        corners = _quadrilateral(region)
        if corners is None:
            continue
        score = _likeness(logs, region, corners)
        if score > best_score:
            best, best_score = (corners, region), score
    if best is None:
        return None
    corners, region = best
    scale = max(light.shape) / max(coarse.shape)
    inside = _filled(corners, region.shape) & region
    region = ndimage.binary_erosion(inside, iterations=2, border_value=1)
    return Ground(light, (corners + 0.5) * scale, region)


def _filled(corners: Corners, shape: tuple[int, ...]) -> Mask:
    image = Image.new("1", (shape[1], shape[0]))
    ImageDraw.Draw(image).polygon([tuple(c) for c in corners], fill=1)
    return np.asarray(image)


def _quadrilateral(region: Mask) -> Corners | None:
    """The corners, clockwise from the upper left, of a region with four straight borders.

    Sides along the border of the picture go first: there a sheet is cut off, not at its end.
    """
    edge = region & ~ndimage.binary_erosion(region)
    points = np.argwhere(edge)[:, ::-1].astype(float)
    hull = points[ConvexHull(points).vertices]  # clockwise, as y goes down
    if region.sum() < 0.9 * _area(hull):
        return None
    limit = np.array(region.shape[::-1]) - 1.0
    while len(hull) > 4:
        options = [_without_side(hull, k) for k in range(len(hull))]
        on_border = [
            _on_border(hull[k], hull[(k + 1) % len(hull)], limit) for k in range(len(hull))
        ]
        found = [
            (_area(each) * (0.5 if at_border else 1), each)
            for each, at_border in zip(options, on_border, strict=True)
            if each is not None and np.abs(each).max() < 3 * limit.max()
        ]
        if not found:
            return None
        hull = min(found, key=lambda option: option[0])[1]
    if len(hull) < 4:
        return None
    sides = np.linalg.norm(hull - np.roll(hull, -1, 0), axis=1)
    if sides.min() < 0.3 * sides.max():
        return None
    return np.asarray(np.roll(hull, -int(hull.sum(1).argmin()), 0))


def _on_border(
    a: Float[np.ndarray, 2], b: Float[np.ndarray, 2], limit: Float[np.ndarray, 2]
) -> bool:
    return bool((((a <= 1) & (b <= 1)) | ((a >= limit - 1) & (b >= limit - 1))).any())


def _area(polygon: Float[np.ndarray, "n 2"]) -> float:
    x, y = polygon.T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


def _without_side(hull: Float[np.ndarray, "n 2"], k: int) -> Float[np.ndarray, "m 2"] | None:
    """Replace corners k and k + 1 by where the sides before and after them meet beyond."""
    a, b, c, d, *rest = np.roll(hull, 1 - k, 0)
    first, second = b - a, c - d
    cross = first[0] * second[1] - first[1] * second[0]
    if abs(cross) < 1e-9:
        return None
    along = ((d - a)[0] * second[1] - (d - a)[1] * second[0]) / cross
    back = ((d - a)[0] * -first[1] + (d - a)[1] * first[0]) / -cross
    if along < 1:
        return None  # they part
    del back
    return np.array([a, a + along * first, d, *rest])


def _likeness(logs: Grey, region: Mask, corners: Corners) -> float:
    """How much brighter a sheet is than what lies around it, and how straight; 0 where it is none.

    Around it must be something as far as 5 % of the picture, or a box drawn with a pen would be a
    sheet; and along half of its border.
    """
    filled = _filled(corners, logs.shape)
    shared = float((filled & region).sum() / (filled | region).sum())
    if shared < 0.9:
        return 0.0
    outside = ndimage.distance_transform_edt(~filled)
    width = 0.05 * max(logs.shape)
    around = (outside > 2) & (outside < width)
    length = np.linalg.norm(corners - np.roll(corners, -1, 0), axis=1).sum()
    if around.sum() < 0.5 * length * (width - 2):
        return 0.0
    contrast = float(np.median(logs[region]) - np.percentile(logs[around], 80))
    return contrast * (shared - 0.85) if contrast > (0.12 if shared > 0.95 else 0.2) else 0.0
