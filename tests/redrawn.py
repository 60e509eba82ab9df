"""Digits as people send them: a 28x28 digit redrawn on tables, boards, forms and in windows.

`python tests/redrawn.py --sheet FILE.png` draws one picture of each kind from MNIST's last
training images.
"""

import argparse
import zlib
from dataclasses import dataclass, field

import numpy as np
from pens import SMOOTH, anywhere, ink_of, lettered, marker, pen, polyline, put, rectangle, resized
from PIL import Image, ImageDraw
from scenes import (
    canvas_for,
    cloud,
    falling_light,
    on_paper,
    photo_or_scan,
    photographed,
    sheet_on_table,
    with_pen,
    with_thumb,
)
from scipy import ndimage

WORDS = ["my digit", "Fig. 3", "Nr. 12", "how many?", "pieces", "Name: Kim", "page 4", "score"]
LETTERS = "ACEFHKLMNPRUVWXadefhkmnrtuvwx"  # none is a digit's double


@dataclass
class Redrawn:
    """A picture and the truth about it.

    Attributes:
        picture: uint8 (height, width), 0 black.
        labels: of its digits, from left to right and top to bottom; none of letters and blanks.
        boxes: of the same: left, top, width, height in pixels.
    """

    picture: np.ndarray
    labels: list[int] = field(default_factory=list)
    boxes: list[tuple[float, float, float, float]] = field(default_factory=list)


# --- kinds that were read well before: clean ones ---


def mnist(images, _rng):
    return images[0], [(0, 0, 28, 28)]


def enlarged(images, rng):
    factor = int(rng.integers(2, 15))
    return 255 - np.asarray(Image.fromarray(images[0]).resize((28 * factor,) * 2, SMOOTH)), [
        (0, 0, 28 * factor, 28 * factor)
    ]


def scan(images, rng):
    canvas = canvas_for(rng)
    box = anywhere(canvas, ink_of(images[0], min(canvas.shape) * rng.uniform(0.25, 0.75), rng), rng)
    scene = on_paper(canvas, rng, paper=(0.95, 1), black=(0.05, 0.25), strength=0.02, grain=0.004)
    return (255 * scene.clip(0, 1)).astype(np.uint8), [box]


def inverted(images, rng):
    picture, boxes = scan(images, rng)
    return 255 - picture, boxes


def phone(images, rng):
    canvas = canvas_for(rng, (500, 1400))
    box = anywhere(canvas, ink_of(images[0], min(canvas.shape) * rng.uniform(0.25, 0.7), rng), rng)
    return photographed(on_paper(canvas, rng), rng), [box]


def coloured_pen(images, rng):
    """Red, blue or green: of middle brightness."""
    canvas = canvas_for(rng)
    box = anywhere(canvas, ink_of(images[0], min(canvas.shape) * rng.uniform(0.25, 0.7), rng), rng)
    return photographed(on_paper(canvas, rng, black=(0.35, 0.55)), rng), [box]


def faint_pencil(images, rng):
    canvas = canvas_for(rng)
    box = anywhere(canvas, ink_of(images[0], min(canvas.shape) * rng.uniform(0.3, 0.7), rng), rng)
    canvas *= (0.9 + 0.2 * cloud(canvas.shape, rng, 2)).clip(0.3, 1)
    return photographed(on_paper(canvas, rng, black=(0.6, 0.78)), rng, noise=0.008), [box]


# --- a sheet on a table ---


def table(images, rng):
    return sheet_on_table(images, rng, megapixels=rng.uniform(0.4, 2), share=(0.12, 0.4))


def table_12_megapixels(images, rng):
    return sheet_on_table(images, rng, megapixels=12, share=(0.05, 0.4))


def table_small_digit(images, rng):
    return sheet_on_table(images, rng, megapixels=rng.uniform(2, 6), share=(0.05, 0.1))


def table_with_pen(images, rng):
    size, share = rng.uniform(0.5, 3), (0.1, 0.3)
    return sheet_on_table(images, rng, megapixels=size, share=share, things=[with_pen])


def table_with_thumb(images, rng):
    size, share = rng.uniform(0.5, 3), (0.1, 0.3)
    return sheet_on_table(images, rng, megapixels=size, share=share, things=[with_thumb])


# --- boards ---


def whiteboard(images, rng):
    """In an aluminium frame on a wall, with a tray, markers, glare and what was badly wiped."""
    canvas = canvas_for(rng, (600, 1600))
    height, width = canvas.shape
    edges = rng.uniform(0.05, 0.14, 4) * min(canvas.shape)
    left, top, right, bottom = edges[0], edges[1], width - edges[2], height - 1.6 * edges[3]
    ink = ink_of(images[0], (bottom - top) * rng.uniform(0.2, 0.5), rng)
    spare = (bottom - top - ink.shape[0], right - left - ink.shape[1])
    where = [a + rng.uniform(0.2, 0.75) * s for a, s in zip((top, left), spare, strict=True)]
    box = put(canvas, ink, *where)
    board = rng.uniform(0.82, 0.93) + 0.01 * cloud(canvas.shape, rng, 80)
    board -= 0.02 * cloud(canvas.shape, rng, 12, 60).clip(0)
    board = board * (1 - canvas) + rng.uniform(0.1, 0.4) * canvas
    scene = rng.uniform(0.45, 0.8) + 0.01 * cloud(canvas.shape, rng, 3)
    bar = min(edges) * rng.uniform(0.25, 0.6)
    layers = Image.fromarray(np.float32(scene))
    draw = ImageDraw.Draw(layers)
    metal = rng.uniform(0.45, 0.7)
    draw.rectangle((left - bar, top - bar, right + bar, bottom + bar), fill=metal)
    draw.rectangle((left - 2, top - 2, right + 2, bottom + 2), fill=metal * 0.5)
    draw.rectangle(
        (left + width * 0.1, bottom + bar, right - width * 0.1, bottom + 1.6 * bar),
        fill=metal * 0.8,
    )
    for _ in range(rng.integers(1, 4)):
        x = rng.uniform(left + 0.12 * width, right - 0.25 * width)
        draw.rectangle(
            (x, bottom + 0.5 * bar, x + 0.1 * width, bottom + bar), fill=rng.uniform(0.1, 0.5)
        )
    scene = np.array(layers)
    inside = np.s_[round(top) : round(bottom), round(left) : round(right)]
    scene[inside] = board[inside]
    rows, columns = np.mgrid[:height, :width]
    x, y = (
        left + rng.choice([0.1, 0.85]) * (right - left),
        top + rng.uniform(0.1, 0.5) * (bottom - top),
    )
    distance = ((rows - y) / (0.18 * height)) ** 2 + ((columns - x) / (0.07 * width)) ** 2
    scene = scene * falling_light(scene.shape, rng, 0.25)
    glare = np.exp(-distance).astype(np.float32) * rng.uniform(0.1, 0.6)
    return photographed((scene + glare).clip(0, 1), rng), [box]


def chalk_board(images, rng):
    """Wiped and dusty, at times in a wooden frame."""
    canvas = canvas_for(rng, (500, 1400))
    ink = ink_of(images[0], min(canvas.shape) * rng.uniform(0.25, 0.6), rng, thinnest=0.06)
    box = anywhere(canvas, ink, rng, margin=0.14)
    shape = canvas.shape
    dust = cloud(shape, rng, 0.2 * max(shape)).clip(-1, 2) + 0.7 * cloud(shape, rng, 6, 90)
    dust += 0.7 * cloud(shape, rng, 120, 12) * cloud(shape, rng, 0.3 * max(shape)).clip(0, 1)
    board = rng.uniform(0.16, 0.3) + rng.uniform(0.02, 0.1) * dust.clip(-1.5, 3)
    board += 0.012 * cloud(shape, rng, 2)
    chalk = canvas * (0.75 + 0.3 * cloud(shape, rng, 2.5)).clip(0.1, 1)
    scene = board * (1 - chalk) + rng.uniform(0.6, 0.92) * chalk
    if rng.random() < 0.4:
        bar = round(rng.uniform(0.03, 0.07) * min(shape))
        wood = rng.uniform(0.4, 0.6) + 0.03 * cloud(shape, rng, 3, 60)
        frame = np.ones(shape, bool)
        frame[bar:-bar, bar:-bar] = False
        scene = np.where(frame, wood, scene)
    return photographed(scene * falling_light(shape, rng, 0.3), rng), [box]


# --- paper that is not plain ---


def crumpled(images, rng):
    """Facets, creases and a hard shadow."""
    canvas = canvas_for(rng, (500, 1300))
    box = anywhere(
        canvas, ink_of(images[0], min(canvas.shape) * rng.uniform(0.3, 0.6), rng), rng, 0.1
    )
    shape = canvas.shape
    small = [max(8, n // 3) for n in shape]
    rows, columns = np.mgrid[: small[0], : small[1]].astype(np.float32)
    count = int(rng.integers(12, 40))
    seeds = rng.uniform(0, 1, (count, 2)) * small
    distances = np.stack([np.hypot(rows - y, columns - x) for y, x in seeds])
    nearest = distances.argmin(0)
    slopes = rng.normal(0, rng.uniform(0.04, 0.12), (count, 2)) / (max(small) / 5)
    dy, dx = rows - seeds[nearest][..., 0], columns - seeds[nearest][..., 1]
    facets = (
        rng.uniform(rng.uniform(0.65, 0.85), 1, count)[nearest]
        + slopes[nearest][..., 0] * dy
        + slopes[nearest][..., 1] * dx
    )
    two = np.partition(distances, 1, axis=0)
    crease = np.exp(-(((two[1] - two[0]) / 2) ** 2)) * rng.uniform(-0.2, 0.12, count)[nearest]
    light = resized(ndimage.gaussian_filter(facets + crease, 0.7), shape)
    across, down = np.meshgrid(np.linspace(-1, 1, shape[1]), np.linspace(-1, 1, shape[0]))
    angle = rng.uniform(0, 2 * np.pi)
    edge = across * np.cos(angle) + down * np.sin(angle) + 0.1 * np.sin(
        3 * (across - down)
    ) > rng.uniform(-0.4, 0.6)
    shadow = 1 - rng.uniform(0.3, 0.6) * ndimage.gaussian_filter(
        edge.astype(np.float32), rng.uniform(1, 4)
    )
    scene = on_paper(canvas, rng, strength=0.15) * light.clip(0.5, 1.1) * shadow
    return photographed(scene, rng), [box]


def ruling(canvas, rng, pitch, width, *, squares):
    """Add rules or squares to a canvas of ink, slightly aslant."""
    height, breadth = canvas.shape
    tilt = rng.uniform(-0.025, 0.025)
    lines = np.zeros(canvas.shape, np.float32)
    for y in np.arange(rng.uniform(0, pitch) - 0.03 * breadth, height * 1.03, pitch):
        polyline(lines, [(0, y), (breadth, y + tilt * breadth)], width)
    for x in (
        np.arange(rng.uniform(0, pitch) - 0.03 * height, breadth * 1.03, pitch) if squares else ()
    ):
        polyline(lines, [(x, 0), (x - tilt * height, height)], width)
    return ndimage.gaussian_filter(lines, 0.6)


def over_lines(canvas, lines, rng):
    """Ink and lines about as dark as it, photographed."""
    both = np.maximum(canvas, lines * rng.uniform(0.7, 1))
    return photographed(on_paper(both, rng, black=(0.2, 0.5)), rng)


def squared_dark(images, rng):
    """Squares as dark as the pencil."""
    canvas = canvas_for(rng, (400, 1200))
    tall = min(canvas.shape) * rng.uniform(0.3, 0.6)
    ink = (
        marker(images[0], tall)
        if rng.random() < 0.4
        else pen(images[0], tall, tall * rng.uniform(0.05, 0.1))
    )
    box = anywhere(canvas, ink, rng)
    width = max(1, tall * rng.uniform(0.008, 0.03))
    lines = ruling(canvas, rng, tall * rng.uniform(0.12, 0.6), width, squares=True)
    return over_lines(canvas, lines, rng), [box]


def ruled_dark(images, rng):
    canvas = canvas_for(rng, (400, 1200))
    tall = min(canvas.shape) * rng.uniform(0.25, 0.5)
    box = anywhere(canvas, ink_of(images[0], tall, rng, thinnest=0.05), rng)
    width = max(1, tall * rng.uniform(0.008, 0.02))
    lines = ruling(canvas, rng, tall * rng.uniform(0.3, 1.2), width, squares=False)
    return over_lines(canvas, lines, rng), [box]


def punched(images, rng):
    """A page of a ring binder up to its edge: holes on the left, the desk beyond."""
    canvas = canvas_for(rng, (500, 1300))
    height, width = canvas.shape
    tall = height * rng.uniform(0.15, 0.35)
    ink = ink_of(images[0], min(tall, 0.4 * width), rng)
    box = put(canvas, ink, rng.uniform(0.1, 0.8) * (height - tall), width * rng.uniform(0.35, 0.55))
    scene = on_paper(canvas, rng)
    desk = rng.uniform(0.15, 0.4)
    edge = rng.uniform(0.02, 0.08) * width
    mask = Image.new("L", (width, height))
    draw = ImageDraw.Draw(mask)
    draw.polygon([(0, 0), (edge, 0), (edge * rng.uniform(0.6, 1.4), height), (0, height)], fill=255)
    radius = width * rng.uniform(0.012, 0.02)
    for y in np.linspace(0.2, 0.8, rng.choice([2, 4])) * height:
        draw.ellipse((edge * 2.2 - radius, y - radius, edge * 2.2 + radius, y + radius), 255)
    mask = np.asarray(mask, np.float32) / 255
    return photographed(scene * (1 - mask) + desk * mask, rng), [box]


# --- what surrounds or accompanies it ---


def surrounded(images, rng, add, share=(0.25, 0.45)):
    """`add(canvas, box, width of the pen, rng)` draws more ink."""
    canvas = canvas_for(rng)
    tall = min(canvas.shape) * rng.uniform(*share)
    broad = tall * rng.uniform(0.04, 0.1)
    ink = marker(images[0], tall) if rng.random() < 0.5 else pen(images[0], tall, max(1.5, broad))
    top, left = (
        (n - m) * rng.uniform(0.4, 0.6) for n, m in zip(canvas.shape, ink.shape, strict=True)
    )
    box = put(canvas, ink, top, left)
    add(canvas, box, max(1.5, broad), rng)
    return photo_or_scan(canvas, rng), [box]


def draw_circle(canvas, box, width, rng):
    """By hand: not quite round, the ends do not meet."""
    left, top, wide, tall = box
    angles = rng.uniform(0, 6) + np.linspace(0, 2 * np.pi * rng.uniform(0.99, 1.06), 60)
    radius = np.hypot(tall, wide) / 2 * rng.uniform(1.15, 1.5)
    radius *= 1 + 0.04 * np.sin(2 * angles + rng.uniform(0, 6)) + 0.01 * np.linspace(-1, 1, 60)
    middle = np.array([left + wide / 2, top + tall / 2])
    polyline(
        canvas, middle + np.stack([np.cos(angles), np.sin(angles)], 1) * radius[:, None], width
    )


def draw_box(canvas, box, width, rng):
    """Ruled, or as dark and broad as the digit."""
    left, top, wide, tall = box
    pad = tall * rng.uniform(0.12, 0.4, 4)
    wide_pad = max(0, tall * 0.7 - wide) / 2
    corners = [
        (left - wide_pad - pad[0], top - pad[1]),
        (left + wide + wide_pad + pad[2], top - pad[1]),
        (left + wide + wide_pad + pad[2], top + tall + pad[3]),
        (left - wide_pad - pad[0], top + tall + pad[3]),
    ]
    corners = np.array(corners) + rng.uniform(-0.03, 0.03, (4, 2)) * tall * rng.integers(2)
    polyline(canvas, [*corners, corners[0], corners[1]], width * rng.uniform(0.4, 1.2))


def draw_comb(canvas, box, width, rng):
    """Three boxes of a form in a row; the digit is in the middle one."""
    left, top, wide, tall = box
    cell = (max(wide, 0.6 * tall) * rng.uniform(1.15, 1.5), tall * rng.uniform(1.15, 1.5))
    x, y = left + wide / 2 - cell[0] / 2, top + tall / 2 - cell[1] / 2
    thin = max(1, width * rng.uniform(0.2, 0.7))
    for k in (-1, 0, 1):
        rectangle(canvas, x + k * cell[0], y, x + (k + 1) * cell[0], y + cell[1], thin)


def draw_cells(canvas, box, width, rng):
    """A table all over the page, the digit in one of its cells."""
    left, top, wide, tall = box
    cell = (max(wide, tall) * rng.uniform(1.2, 2), tall * rng.uniform(1.2, 1.6))
    x, y = left + wide / 2 - cell[0] / 2, top + tall / 2 - cell[1] / 2
    thin = max(1, width * rng.uniform(0.2, 0.5))
    for k in range(-4, 6):
        polyline(canvas, [(x + k * cell[0], 0), (x + k * cell[0], canvas.shape[0])], thin)
        polyline(canvas, [(0, y + k * cell[1]), (canvas.shape[1], y + k * cell[1])], thin)


def draw_underline(canvas, box, width, rng):
    left, top, wide, tall = box
    y = top + tall * (1 + rng.uniform(0.06, 0.2))
    longer = tall * rng.uniform(0.1, 0.4)
    for _ in range(rng.integers(1, 3)):
        ends = [(left - longer, y), (left + wide + longer, y + rng.uniform(-0.06, 0.06) * tall)]
        polyline(canvas, ends, width * rng.uniform(0.6, 1.1))
        y += tall * 0.1 + width


def draw_scribble(canvas, box, width, rng):
    """Something scribbled out beside it."""
    left, top, wide, tall = box
    height, breadth = tall * rng.uniform(0.3, 0.8), tall * rng.uniform(0.4, 0.9)
    side = rng.choice([-1, 1])
    x = (
        left - breadth - tall * rng.uniform(0.25, 0.6)
        if side < 0
        else left + wide + tall * rng.uniform(0.25, 0.6)
    )
    x = min(max(x, 4), canvas.shape[1] - breadth - 4)
    if abs(x + breadth / 2 - left - wide / 2) < (breadth + wide) / 2 + 0.1 * tall:
        x = 4 if left > canvas.shape[1] / 2 else canvas.shape[1] - breadth - 4
    y = top + rng.uniform(0, 1) * (tall - height)
    turns = int(rng.integers(8, 18))
    points = np.stack([np.linspace(0, breadth, turns), np.arange(turns) % 2 * height], 1)
    points += rng.normal(0, 0.06, points.shape) * height
    polyline(canvas, points + np.array([x, y]), width)


def draw_caption(canvas, box, _width, rng):
    left, top, wide, tall = box
    text = lettered(WORDS[rng.integers(len(WORDS))], tall * rng.uniform(0.15, 0.35), rng)
    y = (
        top + tall + tall * rng.uniform(0.2, 0.5)
        if rng.random() < 0.5
        else top - tall * rng.uniform(0.2, 0.5) - text.shape[0]
    )
    put(canvas, text, y, max(2, left + wide / 2 - text.shape[1] * rng.uniform(0.3, 0.7)))


def accompanied(add, **options):
    def kind(images, rng):
        return surrounded(images, rng, add, **options)

    return kind


def touching_box(images, rng):
    """A box as narrow as the digit is wide: the ink touches it."""

    def add(canvas, box, width, rng):
        left, top, wide, tall = box
        pad = tall * rng.uniform(0.2, 0.35)
        side = rng.integers(4)
        pads = [0.0 if k == side else pad for k in range(4)]
        rectangle(
            canvas,
            left - pads[0],
            top - pads[1],
            left + wide + pads[2],
            top + tall + pads[3],
            width * 0.4,
        )

    return surrounded(images, rng, add)


# --- sizes ---


def a4_300dpi(images, rng):
    """8 mm on a scanned page."""
    canvas = np.zeros((3508, 2480), np.float32)
    ink = ink_of(images[0], 94 * rng.uniform(0.9, 1.15), rng, thinnest=0.05)
    box = anywhere(canvas, ink, rng, margin=0.08)
    scene = rng.uniform(0.93, 0.99) * (1 - canvas) + rng.uniform(0.1, 0.35) * canvas
    for _ in range(rng.integers(0, 12)):  # dust
        y, x = (int(rng.integers(0, n - 3)) for n in canvas.shape)
        scene[y : y + 2, x : x + 2] *= 0.6
    return photographed(scene, rng, noise=0.01, blur=(0.3, 0.8)), [box]


def pencil_on_28(images, _rng):
    field = np.zeros((28, 28), np.float32)
    ink = pen(images[0], 20, 1, smooth=False)[:26, :26]
    box = put(field, ink, *((28 - n) // 2 for n in ink.shape))
    return np.uint8(255 * (1 - field)), [box]


def pencil_on_canvas(images, rng):
    """Paint's pencil on its canvas of 1152x648."""
    canvas = np.zeros((648, 1152), np.float32)
    box = anywhere(canvas, pen(images[0], rng.uniform(80, 500), 1, smooth=False), rng)
    return np.uint8(255 * (1 - canvas)), [box]


def fine_pen_on_canvas(images, rng):
    canvas = np.zeros((rng.integers(600, 1600), rng.integers(600, 1600)), np.float32)
    ink = pen(images[0], rng.uniform(0.2, 0.7) * min(canvas.shape), rng.uniform(2, 4))
    box = anywhere(canvas, ink, rng)
    return np.uint8(255 * (1 - canvas * rng.uniform(0.5, 1))), [box]


def tight(images, rng):
    """Cut at the ink, or a few pixels from it."""
    picture, (box,) = scan(images, rng)
    left, top, wide, tall = (round(x) for x in box)
    pad = int(rng.integers(0, 5))
    a, b = max(top - pad, 0), max(left - pad, 0)
    return picture[a : top + tall + pad, b : left + wide + pad], [(left - b, top - a, wide, tall)]


# --- several ---


def several(images, rng, rows, gap):
    """Digits in rows of so many each, by one hand; `gap`: between them, in heights."""
    tall = rng.uniform(60, 200)
    own, broad = rng.random() < 0.5, tall * rng.uniform(0.04, 0.1)
    lines, taken = [], 0
    for count in rows:
        heights = tall * rng.uniform(0.85, 1.15, count)
        given = zip(images[taken : taken + count], heights, strict=True)
        inks = [marker(each, h) if own else pen(each, h, broad) for each, h in given]
        lines.append((inks, [tall * rng.uniform(*gap) for _ in inks]))
        taken += count
    widths = [sum(ink.shape[1] for ink in inks) + sum(spaces) for inks, spaces in lines]
    pitch = tall * rng.uniform(1.6, 2.2)
    size = (pitch * (len(rows) + rng.uniform(0.1, 0.6)), max(widths) + tall * rng.uniform(0.6, 2))
    canvas = np.zeros([int(n) for n in size], np.float32)
    start = (canvas.shape[1] - max(widths)) * rng.uniform(0.35, 0.65)
    boxes = []
    for number, (inks, spaces) in enumerate(lines):
        x = start
        for ink, space in zip(inks, spaces, strict=True):
            y = (canvas.shape[0] - pitch * (len(rows) - 1 - 2 * number)) / 2 - ink.shape[0] / 2
            boxes.append(put(canvas, ink, y + rng.uniform(-0.08, 0.08) * tall, x))
            x += ink.shape[1] + space
    return photo_or_scan(canvas, rng), boxes


def two_near(images, rng):
    return several(images, rng, [2], (0.12, 0.3))


def two_apart(images, rng):
    return several(images, rng, [2], (0.6, 2))


def three(images, rng):
    return several(images, rng, [3], (0.15, 0.8))


def four(images, rng):
    return several(images, rng, [4], (0.15, 0.8))


def two_rows(images, rng):
    return several(images, rng, [2, 2], (0.3, 0.8))


def touching(images, rng):
    """Two that run into each other."""
    tall = rng.uniform(60, 200)
    left, right = (ink_of(image, tall * rng.uniform(0.9, 1.1), rng) for image in images[:2])
    canvas = np.zeros([int(n) for n in (tall * 2, tall * 4)], np.float32)
    box = put(canvas, left, tall * 0.5, tall)
    x = tall + left.shape[1]
    while True:  # until their ink meets
        other = np.zeros_like(canvas)
        second = put(other, right, tall * rng.uniform(0.45, 0.55), x)
        if (other * canvas).sum() > 3 + tall / 40:
            break
        x -= 1
    return photo_or_scan(np.maximum(canvas, other), rng), [box, second]


# --- no digits ---


def letter(_images, rng):
    canvas = canvas_for(rng)
    anywhere(
        canvas,
        lettered(
            LETTERS[rng.integers(len(LETTERS))], min(canvas.shape) * rng.uniform(0.4, 0.8), rng
        ),
        rng,
    )
    return photographed(on_paper(canvas, rng), rng), []


def shape(_images, rng):
    canvas = canvas_for(rng)
    size, width = (
        min(canvas.shape) * rng.uniform(0.25, 0.4),
        min(canvas.shape) * rng.uniform(0.015, 0.04),
    )
    middle = np.array(canvas.shape[::-1]) / 2
    t = np.linspace(0, 2 * np.pi, 80)
    heart = np.stack(
        [
            np.sin(t) ** 3,
            -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)) / 16,
        ],
        1,
    )
    star = np.stack([np.sin(np.arange(6) * 0.8 * np.pi), -np.cos(np.arange(6) * 0.8 * np.pi)], 1)
    spiral = np.stack([np.cos(3 * t) * t / 6.3, np.sin(3 * t) * t / 6.3], 1)
    triangle = np.array([[0, -1], [0.9, 0.7], [-0.9, 0.7], [0, -1], [0.9, 0.7]])
    square = np.array(
        [[-0.8, -0.8], [0.8, -0.8], [0.8, 0.8], [-0.8, 0.8], [-0.8, -0.8], [0.8, -0.8]]
    )
    wave = np.stack([np.linspace(-1, 1, 80), 0.4 * np.sin(2 * t)], 1)
    arrow = np.array([[-1, 0], [1, 0], [0.5, -0.5], [1, 0], [0.5, 0.5]])
    cross = np.array([[-0.8, -0.8], [0.8, 0.8], [0, 0], [0.8, -0.8], [-0.8, 0.8]])
    shapes = [heart, star, spiral, triangle, square, wave, arrow, cross]
    polyline(canvas, middle + size * shapes[rng.integers(len(shapes))], width)
    return photographed(on_paper(canvas, rng), rng), []


def scribble(_images, rng):
    canvas = canvas_for(rng)
    side = min(canvas.shape)
    draw_scribble(
        canvas, (-2 * side, 0.2 * side, side, 0.6 * side), side * rng.uniform(0.01, 0.03), rng
    )
    canvas = np.roll(canvas, int(side * 0.2), 1)
    return photographed(on_paper(canvas, rng), rng), []


def blank(_images, rng):
    """Empty paper in falling light, at times in a soft shadow; or an empty sheet on a table."""
    if rng.random() < 0.3:
        return sheet_on_table([], rng, megapixels=1, share=(0.1, 0.2))[0], []
    canvas = canvas_for(rng)
    scene = on_paper(canvas, rng)
    if rng.random() < 0.5:
        scene *= 1 - 0.3 * (cloud(canvas.shape, rng, 0.5 * max(canvas.shape)) > 0.5)
        scene = ndimage.gaussian_filter(scene, 8)
    return photographed(scene, rng), []


CLEAN = [mnist, enlarged, scan, inverted, phone, coloured_pen, faint_pencil]
TABLES = [table, table_12_megapixels, table_small_digit, table_with_pen, table_with_thumb]
GROUNDS = [whiteboard, chalk_board, crumpled, squared_dark, ruled_dark, punched]
SIZES = [a4_300dpi, pencil_on_28, pencil_on_canvas, fine_pen_on_canvas, tight]
SEVERAL = [two_near, two_apart, three, four, two_rows, touching]
NO_DIGITS = [letter, shape, scribble, blank]
AROUND = {
    "circled": accompanied(draw_circle),
    "boxed": accompanied(draw_box),
    "comb": accompanied(draw_comb, share=(0.15, 0.35)),
    "cells": accompanied(draw_cells),
    "underlined": accompanied(draw_underline),
    "scribble_beside": accompanied(draw_scribble),
    "caption": accompanied(draw_caption),
    "touching_box": touching_box,
}
DRAWN = {
    **{kind.__name__: kind for kind in CLEAN + TABLES + GROUNDS},
    **AROUND,
    **{kind.__name__: kind for kind in SIZES + SEVERAL + NO_DIGITS},
}
KINDS = [*DRAWN]


def redrawn(kind, images, labels, index, *, seed=0):
    """Draw image `index` in one of KINDS; several digits go on with the images that follow.

    A pure function of its arguments.

    Args:
        images: uint8 (n, 28, 28), 0 paper to 255 ink, as MNIST's; labels: (n,).
    """
    rng = np.random.default_rng([zlib.crc32(kind.encode()), index, seed])
    rows = [(index + k) % len(images) for k in range(4)]
    picture, boxes = DRAWN[kind](np.asarray(images)[rows], rng)
    return Redrawn(picture, [int(labels[row]) for row in rows[: len(boxes)]], boxes)


def training_digits(count):
    """The last training images of MNIST, which the lab's recipes validate on."""
    from mnist_lab.data.source import Source
    from mnist_lab.settings.compose import checked, compose

    splits = Source.of(checked(compose(["data=mnist"]))["data"]).find().read()
    return splits.train_images[-count:], splits.train_labels[-count:]


def contact_sheet(images, labels, *, seed, side=230, kinds=KINDS, columns=8):
    rows = -(-len(kinds) // columns)
    sheet = Image.new("L", (columns * (side + 10), rows * (side + 24)), 128)
    draw = ImageDraw.Draw(sheet)
    for number, kind in enumerate(kinds):
        each = redrawn(kind, images, labels, number, seed=seed)
        image = Image.fromarray(each.picture)
        factor = side / max(image.size)
        size = [max(1, round(n * factor)) for n in image.size]
        image = image.resize(size, Image.Resampling.BOX if factor > 1 else Image.Resampling.LANCZOS)
        x, y = number % columns * (side + 10), number // columns * (side + 24)
        sheet.paste(image, (x, y + 16))
        draw.text((x + 2, y + 2), f"{kind} {each.labels}", 255)
    return sheet


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sheet", required=True, metavar="FILE.png")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    contact_sheet(*training_digits(1000), seed=options.seed).save(options.sheet)
