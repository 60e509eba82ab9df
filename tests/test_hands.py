"""Redrawn training images, against a slow version by scipy, and what must be true of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.interpolate import BSpline

from mnist_lab.data.hands import BLUR, NUM_DRAWS, POINTS, Hands, widened
from mnist_lab.pictures.digits import to_mnist

NONE = {"max_turn": 0.0, "max_slant": 0.0, "max_bend": 0.0, "max_pen": 0.0}
ALL = Hands(max_turn=20, max_slant=15, max_bend=3, max_pen=1.5)


def strokes(num_images: int, *, seed: int) -> torch.Tensor:
    """Crooked lines of a pen of 2 to 3 pixels, in the form of MNIST's images."""
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(num_images):
        image = Image.new("L", (140, 140), 255)
        points = [tuple(point) for point in rng.uniform(20, 120, (4, 2))]
        ImageDraw.Draw(image).line(points, 0, int(rng.integers(10, 16)), "curve")
        images.append(to_mnist(np.asarray(image)))
    return torch.from_numpy(np.stack(images)).unsqueeze(1)


def draws(num_images: int, *, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.rand((num_images, NUM_DRAWS), generator=generator) - 1


def slowly(image: np.ndarray, draw: np.ndarray, hands: Hands) -> np.ndarray:
    """One image, pixel by pixel, as the docstrings say it."""
    turn, slant, pen = draw[:3].tolist()
    bends = hands.max_bend * draw[3:].reshape(2, POINTS, POINTS)
    ink = image / 255
    if hands.max_pen:
        width = hands.max_pen * (pen if pen > 0 else pen / 2)
        blurred = ndimage.gaussian_filter(ink, BLUR, mode="constant", radius=8)
        edge = width / 2 / BLUR
        level = 0.5 * (1 + math.erf(-edge / math.sqrt(2)))
        slope = math.exp(-(edge**2) / 2) / math.sqrt(2 * math.pi) / BLUR
        ink = np.clip(0.5 + (blurred - level) / slope, 0, 1)
        ink /= ink.max()
    angle = math.radians(hands.max_turn * turn)
    lean = math.tan(math.radians(hands.max_slant * slant))
    affine = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    affine = affine @ np.array([[1, lean], [0, 1]])
    basis = BSpline.basis_element(np.arange(-2, 3), extrapolate=False)

    def weights(places: np.ndarray) -> np.ndarray:
        return np.nan_to_num(basis((places[:, None] / 28 + 0.5) * (POINTS - 1) - range(POINTS)))

    def look(across: np.ndarray, down: np.ndarray) -> np.ndarray:
        seen, padded = np.zeros((28, 28)), np.pad(ink, 1)
        of_rows, of_columns = weights(down), weights(across)
        for i, y in enumerate(down):
            for j, x in enumerate(across):
                bent = np.array([x, y]) + (bends * np.outer(of_rows[i], of_columns[j])).sum((1, 2))
                column, row = affine @ bent + 13.5
                place = [[row + 1], [column + 1]]
                seen[i, j] = ndimage.map_coordinates(padded, place, order=1)[0]
        return seen

    pixels = np.arange(28) - 13.5
    moved = look(pixels, pixels)
    centre = ndimage.center_of_mass(moved)
    rows, columns = (np.nonzero((moved > 0.1).any(axis))[0] for axis in (1, 0))
    zoom = min(max(np.ptp(rows), np.ptp(columns)) + 1, 28) / 20
    return np.round(255 * look(centre[1] - 13.5 + zoom * pixels, centre[0] - 13.5 + zoom * pixels))


@pytest.mark.parametrize("part", [*NONE, "all"])
def test_every_image_is_redrawn_by_its_own_draws(part: str) -> None:
    hands = ALL if part == "all" else Hands(**{**NONE, part: getattr(ALL, part)})
    images, drawn = strokes(3, seed=1), draws(3)
    found = hands.redrawn(images, drawn)
    assert (found.shape, found.dtype) == (images.shape, torch.uint8)
    for k in range(3):
        expected = slowly(images[k, 0].numpy(), drawn[k].numpy(), hands)
        np.testing.assert_allclose(found[k, 0].numpy().astype(float), expected, atol=1.01)
        alone = hands.redrawn(images[k : k + 1], drawn[k : k + 1])[0]
        np.testing.assert_allclose(alone.numpy(), found[k].numpy().astype(float), atol=1)


def test_strokes_become_as_much_broader_as_is_said() -> None:
    bar = torch.zeros(1, 1, 28, 28)
    bar[..., 10:15] = 1  # 5 pixels broad
    for width in (-0.75, -0.3, 0.0, 0.7, 1.5):
        row = widened(bar, torch.tensor([width]))[0, 0, 14]
        assert float(row.sum()) == pytest.approx(5 + width, abs=0.12), width
        assert float(row.max()) == 1
        assert float(row[[0, -1]].max()) < 1e-3
    thin = torch.zeros(1, 1, 28, 28)
    thin[..., 14:16] = 0.8
    assert float(widened(thin, torch.tensor([-0.75])).max()) == 1  # it does not fade


def test_the_digit_has_mnists_size_and_centre_again() -> None:
    images = strokes(40, seed=2)
    found = ALL.redrawn(images, draws(40)).numpy()[:, 0] / 255
    assert np.abs(found - images.numpy()[:, 0] / 255).mean((1, 2)).min() > 0.02  # each changed
    for image in found:
        rows, columns = (np.nonzero((image > 0.1).any(axis))[0] for axis in (1, 0))
        assert max(np.ptp(rows), np.ptp(columns)) + 1 in (19, 20, 21, 22)
        assert ndimage.center_of_mass(image) == pytest.approx((13.5, 13.5), abs=0.4)


def test_a_blank_image_stays_blank_and_a_full_one_finite() -> None:
    blank = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
    assert not ALL.redrawn(blank, draws(1)).any()
    assert ALL.redrawn(255 - blank, draws(1)).float().mean() > 50


def test_hands_that_do_not_differ_change_nothing() -> None:
    assert not Hands(**NONE)
    assert all(Hands(**{**NONE, name: 1.0}) for name in NONE)
