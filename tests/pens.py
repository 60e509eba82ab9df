"""Ink of hands and pens: a digit of 28x28 pixels drawn at any size, as levels 0..1."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SMOOTH = Image.Resampling.BICUBIC


def thinned(ink):
    """Reduce a boolean image to lines of one pixel: Zhang & Suen 1984, CACM 27(3)."""
    ink = np.pad(ink, 1)
    while True:
        before = ink.sum()
        for first in (True, False):
            n = [
                np.roll(ink, shift, (0, 1))
                for shift in ((1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1))
            ]
            count = sum(x.astype(int) for x in n)
            turns = sum((~a & b).astype(int) for a, b in zip(n, n[1:] + n[:1], strict=True))
            up, right, down, left = n[0], n[2], n[4], n[6]
            keep = (up & right & down) | (right & down & left)
            if not first:
                keep = (up & right & left) | (up & down & left)
            ink = ink & ~((count >= 2) & (count <= 6) & (turns == 1) & ~keep)
        if ink.sum() == before:
            return ink[1:-1, 1:-1]


def cropped(image):
    rows, columns = (np.nonzero(image.any(axis))[0] for axis in (1, 0))
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def resized(grey, shape, how=SMOOTH):
    image = Image.fromarray(np.asarray(grey, np.float32))
    return np.asarray(image.resize((max(1, round(shape[1])), max(1, round(shape[0]))), how))


def marker(image, height):
    """The digit's own strokes, enlarged, as ink 0..1."""
    image = np.pad(cropped(image) / 255, 1)
    large = resized(image, [height * side / (image.shape[0] - 2) for side in image.shape])
    softness = max(1.0, height / 28)
    return cropped(((large - 0.5) * softness + 0.5).clip(0, 1) * (large > 0.2))


def pen(image, height, width, *, smooth=True):
    """The digit's middle lines drawn anew, `width` pixels wide; `smooth=False` as in Paint."""
    image = np.pad(cropped(image) / 255, 2)
    factor = 5
    large = resized(image, [factor * side for side in image.shape])
    points = np.argwhere(thinned(large > 0.5)).astype(float)
    pairs = np.argwhere(np.abs(points[:, None] - points[None]).max(2) == 1)
    degree = np.bincount(pairs[:, 0], minlength=len(points))[:, None]
    for _ in range(4):  # a hand makes no stairs
        mean = np.zeros_like(points)
        np.add.at(mean, pairs[:, 0], points[pairs[:, 1]])
        inner = degree == 2
        points = np.where(inner, 0.5 * points + 0.5 * mean / np.maximum(degree, 1), points)
    points -= points.min(0)
    scale = (height - width) / max(np.ptp(points[:, 0]), 0.4 * np.ptp(points[:, 1]), 1)
    oversampling = 4 if smooth else 1
    points = (points * scale + width / 2) * oversampling
    size = [int(side) + 1 for side in points.max(0) + width / 2 * oversampling]
    canvas = Image.new("L", size[::-1])
    draw = ImageDraw.Draw(canvas)
    radius = width * oversampling / 2
    for a, b in pairs[pairs[:, 0] <= pairs[:, 1]]:
        line = [*points[a][::-1], *points[b][::-1]]
        draw.line(line if smooth else [round(x) for x in line], 255, max(1, round(2 * radius)))
    if radius > 2:
        for row, column in points:
            draw.ellipse((column - radius, row - radius, column + radius, row + radius), 255)
    if len(points) == 1:
        draw.point((0, 0), 255)
    if smooth:
        canvas = canvas.reduce(oversampling)
    return np.asarray(canvas, np.float32) / 255


def ink_of(image, height, rng, thinnest=0.035):
    """By chance the digit's own broad strokes or a pen of 3.5 to 10 % of its height."""
    if rng.random() < 0.5:
        return marker(image, height)
    return pen(image, height, max(1.2, height * rng.uniform(thinnest, 0.1)))


def put(canvas, ink, top, left):
    """Add ink to a canvas of ink and return its box; what lies outside is cut off."""
    top, left = round(top), round(left)
    a, b = max(top, 0), max(left, 0)
    part = ink[a - top :, b - left :]
    target = canvas[a : a + part.shape[0], b : b + part.shape[1]]
    np.maximum(target, part[: target.shape[0], : target.shape[1]], out=target)
    return (left, top, ink.shape[1], ink.shape[0])


def anywhere(canvas, ink, rng, margin=0.06):
    """Put ink somewhere in the canvas, `margin` of its short side from the border."""
    edge = margin * min(canvas.shape)
    spare = [max(n - m - 2 * edge, 0) for n, m in zip(canvas.shape, ink.shape, strict=True)]
    return put(canvas, ink, edge + rng.uniform(0, 1) * spare[0], edge + rng.uniform() * spare[1])


def polyline(canvas, points, width):
    """Draw onto a canvas of ink; points as (column, row)."""
    image = Image.new("L", canvas.shape[::-1])
    ImageDraw.Draw(image).line([tuple(p) for p in points], 255, max(1, round(width)), "curve")
    np.maximum(canvas, np.asarray(image, np.float32) / 255, out=canvas)


def rectangle(canvas, left, top, right, bottom, width):
    corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    polyline(canvas, [*corners, corners[1]], width)


def lettered(text, height, rng):
    from matplotlib import get_data_path

    names = ("DejaVuSans", "DejaVuSerif", "DejaVuSans-Oblique", "DejaVuSansMono")
    path = f"{get_data_path()}/fonts/ttf/{names[rng.integers(4)]}.ttf"
    font = ImageFont.truetype(path, max(6, round(height)))
    box = font.getbbox(text)
    image = Image.new("L", (int(box[2]) + 4, int(box[3]) + 4))
    ImageDraw.Draw(image).text((2, 2), text, 255, font)
    return cropped(np.asarray(image, np.float32) / 255)
