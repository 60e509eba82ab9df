"""What ink lies on: paper in falling light, a sheet on a table, a lens and its noise."""

import io

import numpy as np
from pens import SMOOTH, anywhere, ink_of, polyline, put, resized
from PIL import Image, ImageDraw
from scipy import ndimage


def cloud(shape, rng, rows, columns=None):
    """Smooth noise of mean 0 and deviation 1, with structures of so many pixels."""
    columns = rows if columns is None else columns
    small = [
        max(4, int(np.ceil(n / s * 3)) + 2) for n, s in zip(shape, (rows, columns), strict=True)
    ]
    small = [min(a, b) for a, b in zip(small, shape, strict=True)]
    noise = ndimage.gaussian_filter(rng.normal(size=small).astype(np.float32), 1)
    noise = resized(noise, shape)
    return (noise - noise.mean()) / max(noise.std(), 1e-6)


def falling_light(shape, rng, strength=0.3):
    rows = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None]
    columns = np.linspace(-1, 1, shape[1], dtype=np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    slope = (rows * np.sin(angle) + columns * np.cos(angle)) / 1.42
    vignette = (rows**2 + columns**2) * rng.uniform(0, 0.08)
    return (1 - strength * rng.uniform(0.2, 1) * (slope + 1) / 2 - vignette).clip(0.1, 1)


def photographed(scene, rng, *, quality=(70, 95), noise=0.012, blur=(0.4, 1.1)):
    """Through a lens, a noisy sensor and a JPEG file."""
    scene = ndimage.gaussian_filter(scene, rng.uniform(*blur))
    grain = rng.normal(size=scene.shape).astype(np.float32) * rng.uniform(0.3, 1) * noise
    if scene.size > 2_000_000:  # denoised by the camera
        grain = ndimage.gaussian_filter(grain, 0.8)
    image = Image.fromarray((255 * (scene + grain)).clip(0, 255).astype(np.uint8))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=int(rng.integers(*quality)))
    return np.asarray(Image.open(file))


def on_paper(ink, rng, *, paper=(0.82, 0.97), black=(0.08, 0.35), strength=0.3, grain=0.008):
    """Ink on paper in falling light, by reflectance."""
    sheet = rng.uniform(*paper) + grain * cloud(ink.shape, rng, 3)
    pressure = (1 + 0.06 * cloud(ink.shape, rng, 30)).clip(0.6, 1) if ink.size < 4e6 else 1
    covered = ink * pressure
    scene = sheet * (1 - covered) + rng.uniform(*black) * covered
    return (scene * falling_light(ink.shape, rng, strength)).astype(np.float32)


def photo_or_scan(ink, rng):
    if rng.random() < 0.5:
        return photographed(on_paper(ink, rng), rng)
    scene = on_paper(ink, rng, strength=0.02, grain=0.003)
    return (255 * scene.clip(0, 1)).astype(np.uint8)


def canvas_for(rng, sides=(300, 900)):
    long_side = int(rng.integers(*sides))
    shape = [long_side, int(long_side * rng.uniform(0.66, 1))]
    return np.zeros(shape if rng.random() < 0.5 else shape[::-1], np.float32)


def perspective(source, target):
    """Coefficients for Pillow: from points of the result to those of the source."""
    rows = []
    for (x, y), (u, v) in zip(target, source, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    return np.linalg.solve(np.array(rows, float), np.ravel(source))


def moved(box, source, target):
    """A box of the sheet -> the box around its place in the picture."""
    a, b, c, d, e, f, g, h = perspective(target, source)
    left, top, width, height = box
    x, y = (
        np.array([left, left + width, left, left + width]),
        np.array([top] * 2 + [top + height] * 2),
    )
    u, v = ((a * x + b * y + c), (d * x + e * y + f)) / (g * x + h * y + 1)
    return (u.min(), v.min(), np.ptp(u), np.ptp(v))


def table_top(shape, rng):
    if rng.random() < 0.6:  # wood
        long = 0.4 * max(shape)
        rings = cloud(shape, rng, shape[0] * rng.uniform(0.02, 0.08), long)
        fine = cloud(shape, rng, max(2, shape[0] * 0.004), long / 2)
        tone = 0.5 + 0.3 * np.sin(4 * rings) + 0.3 * fine
        top = rng.uniform(0.18, 0.6) * (1 + rng.uniform(0.05, 0.25) * tone)
        return top if rng.random() < 0.5 else np.ascontiguousarray(top[::-1])
    top = rng.uniform(0.1, 0.5) + rng.uniform(0, 0.03) * cloud(shape, rng, 4)
    return top + 0.03 * cloud(shape, rng, 0.2 * max(shape))


def outline(shape, rng, cover):
    """Corners of a sheet in a picture: turned, in perspective."""
    height, width = shape
    ratio = rng.uniform(0.68, 1) if rng.random() < 0.7 else 1 / rng.uniform(0.68, 1)
    size = min(height, width / ratio) * cover
    corners = np.array([[-ratio, -1], [ratio, -1], [ratio, 1], [-ratio, 1]]) * size / 2
    angle = np.deg2rad(rng.uniform(-20, 20) if rng.random() < 0.7 else rng.uniform(-4, 4))
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    corners = corners @ turn + rng.uniform(-0.06, 0.06, (4, 2)) * size
    shift = rng.uniform(-0.5, 0.5, 2) * (np.array([width, height]) - size * np.array([ratio, 1]))
    return corners + np.array([width, height]) / 2 + shift * 0.7, size, ratio


def sheet_on_table(images, rng, *, megapixels, share, things=()):
    """`share`: the digit's height in that of the picture."""
    height = int(np.sqrt(megapixels * 1e6 / 1.333))
    shape = (
        (height, round(height * 1.333)) if rng.random() < 0.7 else (round(height * 1.333), height)
    )
    corners, size, ratio = outline(shape, rng, rng.uniform(0.6, 0.95))
    tall = min(rng.uniform(*share) * shape[0], 0.7 * size, 0.7 * size * ratio)
    sheet = np.zeros((round(size), round(size * ratio)), np.float32)
    ink = ink_of(images[0], tall, rng, thinnest=0.03) if len(images) else np.zeros((1, 1))
    if rng.random() < 0.5:
        box = put(sheet, ink, *((n - m) / 2 for n, m in zip(sheet.shape, ink.shape, strict=True)))
    else:
        box = anywhere(sheet, ink, rng, margin=0.1)
    top, left = (round(n) for n in (box[1], box[0]))
    paper = rng.uniform(0.78, 0.95) + 0.006 * cloud(sheet.shape, rng, 3)
    scene = paper * (1 - sheet) + rng.uniform(0.08, 0.35) * sheet
    source = [(0, 0), (scene.shape[1], 0), scene.shape[::-1], (0, scene.shape[0])]
    how = (shape[::-1], Image.Transform.PERSPECTIVE, perspective(source, corners), SMOOTH)
    warped = np.asarray(Image.fromarray(np.float32(scene)).transform(*how))
    mask = Image.new("L", shape[::-1])
    ImageDraw.Draw(mask).polygon([tuple(c) for c in corners], fill=255)
    mask = ndimage.gaussian_filter(np.asarray(mask, np.float32) / 255, 0.7)
    table = table_top(shape, rng)
    cast = np.roll(mask, rng.integers(-height // 90, height // 90 + 1, 2), (0, 1))
    small = resized(cast, [n / 8 for n in shape])
    table = table * (1 - 0.4 * resized(ndimage.gaussian_filter(small, 1 + height / 900), shape))
    picture = table * (1 - mask) + warped * mask
    found = moved((left, top, *box[2:]), source, corners)
    for thing in things:
        picture = thing(picture, corners, found, rng)
    return photographed(picture * falling_light(shape, rng, 0.45), rng, noise=0.015), [found]


def far_corner(corners, box):
    middle = np.array([box[0] + box[2] / 2, box[1] + box[3] / 2])
    return int(np.argmax(np.linalg.norm(corners - middle, axis=1)))


def with_pen(picture, corners, box, rng):
    """A pen lies on the sheet and over its border, far from the digit."""
    k = far_corner(corners, box)
    toward = corners[(k + rng.choice([1, 3])) % 4]
    size = np.linalg.norm(corners[0] - corners[2])
    start = 0.85 * corners[k] + 0.15 * corners.mean(0) + (corners[k] - corners.mean(0)) * 0.1
    direction = (toward - corners[k]) / np.linalg.norm(toward - corners[k])
    end = start + direction * size * rng.uniform(0.3, 0.55)
    width = size * rng.uniform(0.015, 0.025)
    normal = np.array([-direction[1], direction[0]])
    tone = rng.uniform(0.05, 0.5)
    for points, breadth, shade in (
        ([start, end], width, tone),
        ([start + normal * width / 5, end + normal * width / 5], width / 5, tone + 0.3),
        ([end, end + direction * width * 1.5], width / 2, 0.6),
    ):
        stroke = np.zeros(picture.shape, np.float32)
        polyline(stroke, points, breadth)
        picture = picture * (1 - stroke) + shade * stroke
    return picture


def with_thumb(picture, corners, box, rng):
    """A thumb comes in from beyond the sheet and holds a corner of it."""
    k = far_corner(corners, box)
    size = np.linalg.norm(corners[0] - corners[2])
    outward = (corners[k] - corners.mean(0)) / np.linalg.norm(corners[k] - corners.mean(0))
    tip = corners[k] - outward * size * rng.uniform(0.05, 0.09)
    width = size * rng.uniform(0.07, 0.11)
    tone = rng.uniform(0.35, 0.7)
    thumb = Image.new("L", picture.shape[::-1])
    draw = ImageDraw.Draw(thumb)
    for step in np.linspace(0, 0.5, 40):
        x, y = tip + outward * (width / 2 + step * size)
        radius = width / 2 * (1 + 0.4 * step)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), 255)
    covered = ndimage.gaussian_filter(np.asarray(thumb, np.float32) / 255, 1 + width / 60)
    shading = ndimage.gaussian_filter(covered, width / 8)
    picture = picture * (1 - covered) + covered * tone * (0.55 + 0.45 * shading)
    nail = Image.new("L", picture.shape[::-1])
    x, y = tip + outward * width * 0.35
    ImageDraw.Draw(nail).ellipse((x - width / 4, y - width / 4, x + width / 4, y + width / 4), 255)
    nail = ndimage.gaussian_filter(np.asarray(nail, np.float32) / 255, 1 + width / 80)
    return picture * (1 - nail) + nail * min(tone + 0.15, 0.85)
