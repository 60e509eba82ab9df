"""Digits are found in pictures as people send them, and nothing else is taken for one."""

import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw
from redrawn import KINDS, redrawn
from test_pictures import NUM_TRAIN, PICTURES, network, num_right  # noqa: F401

from mnist_lab.pictures.digits import find_digits
from mnist_lab.pictures.picture import PictureError, load_picture, read_picture

READ = {
    "boxed": 7,
    "circled": 7,
    "comb": 7,
    "on_table": 7,
    "one_near_tight": 1,
    "paint_1px": 7,
    "scribble_beside": 7,
    "underlined": 7,
    "eight_20": 8,
    "eight_21": 8,
}
NO_DIGITS = ("letter", "shape", "scribble", "blank", "touching")
NUM_EACH = 4


@pytest.mark.parametrize("name", READ)
def test_the_small_pictures_are_read(name, network):  # noqa: F811
    digits = find_digits(load_picture(PICTURES / f"{name}.png"))
    assert 1 <= len(digits) <= 1 + (name == "scribble_beside")
    assert sum(num_right(network, [each.image], np.array([READ[name]])) for each in digits) == 1


def overlap(a, b):
    """Intersection over union."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    both = max(width, 0) * max(height, 0)
    return both / (a[2] * a[3] + b[2] * b[3] - both)


SLOW = {"table_12_megapixels": [pytest.mark.slow]}


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=SLOW.get(kind, [])) for kind in KINDS if kind not in NO_DIGITS],
)
def test_digits_are_found_where_they_are(kind, mnist_5k):
    """Of four pictures a kind at most one is missed; the docs have figures of a hundred."""
    images, labels = mnist_5k.train_images[NUM_TRAIN:], mnist_5k.train_labels[NUM_TRAIN:]
    num_found = 0
    for index in range(NUM_EACH):
        picture = redrawn(kind, images, labels, index)
        try:
            boxes = [each.box for each in find_digits(picture.picture)]
        except PictureError:
            continue
        if kind in ("mnist", "enlarged"):  # the box of the field
            num_found += len(boxes) == 1
            continue
        best = [max((overlap(box, each) for each in boxes), default=0) for box in picture.boxes]
        extra = kind in ("scribble_beside", "caption")
        num_found += min(best) > 0.5 and (extra or len(boxes) == len(picture.boxes))
    assert num_found >= NUM_EACH - 1


def test_touching_digits_are_said_to_touch_and_blanks_have_none(mnist_5k):
    images, labels = mnist_5k.train_images[NUM_TRAIN:], mnist_5k.train_labels[NUM_TRAIN:]
    found = [find_digits(redrawn("touching", images, labels, k).picture) for k in range(8)]
    assert sum(len(digits) == 1 and digits[0].touching for digits in found) >= 4
    num_blank = 0
    for index in range(8):
        try:
            find_digits(redrawn("blank", images, labels, index).picture)
        except PictureError:
            num_blank += 1
    assert num_blank >= 7


def sheet(*strokes, size=(400, 400), width=12, paper=245):
    image = Image.new("L", size, paper)
    for stroke in strokes:
        ImageDraw.Draw(image).line(stroke, 20, width)
    return np.asarray(image)


SEVEN = Image.fromarray(sheet([(120, 80), (280, 80)], [(280, 80), (200, 320)], size=(400, 500)))


def disc():
    image = Image.new("L", (400, 400), 245)
    ImageDraw.Draw(image).ellipse((120, 140, 250, 280), fill=20)
    return np.asarray(image)


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        (sheet(), "no ink found: no contrast"),
        (sheet([(200, 200), (202, 203)], width=2), "too small"),
        (sheet([(100, 300), (180, 450)]), "cut off at the border"),
        (disc(), "nothing of a digit's size"),
        (np.zeros((3, 28), np.uint8), "too narrow"),
    ],
    ids=["blank", "small", "cut", "blot", "narrow"],
)
def test_a_refusal_says_which_it_is(picture, reason):
    with pytest.raises(PictureError, match=reason):
        find_digits(picture)


def test_a_soft_shadow_is_said_to_be_one():
    rows, columns = np.mgrid[:400, :500]
    across = np.hypot((rows - 200) / 140, (columns - 250) / 45)
    picture = 240 - 80 / (1 + np.exp((across - 1) * 5))
    with pytest.raises(PictureError, match=r"only shadow|nothing of a digit's size"):
        find_digits(picture.astype(np.uint8))


@pytest.mark.parametrize("index", [14, 34, 37, 41])
def test_a_shadow_that_leaves_the_picture_is_one(index):
    """Paper is added around what leaves a picture; the edge to that is no ink's."""
    shadow = redrawn("blank", np.zeros((4, 28, 28), np.uint8), [0] * 4, index, seed=31).picture
    with pytest.raises(PictureError, match="only shadow"):
        find_digits(shadow)


@pytest.mark.parametrize("size", [(900, 900), (900, 640)], ids=["narrow", "wide"])
def test_a_broad_digit_in_thin_boxes_is_found(size):
    """Lines as clear as these tell nothing of how broad the digit's strokes are."""
    middle = size[0] // 2
    lines = [[(middle - 300, y), (middle + 300, y)] for y in (160, 480)]
    lines += [[(x, 160), (x, 480)] for x in range(middle - 300, middle + 301, 200)]
    stroke = [(middle - 50, 220), (middle + 50, 230), (middle - 10, 430)]
    image = Image.fromarray(sheet(*lines, size=size, width=3))
    ImageDraw.Draw(image).line(stroke, 20, 36, joint="curve")
    (digit,) = find_digits(np.asarray(image))
    assert overlap(digit.box, (middle - 52, 202, 108, 236)) > 0.8


def test_large_pictures_are_reduced_and_keep_their_boxes(tmp_path):
    image = Image.new("L", (9000, 6000), 245)
    ImageDraw.Draw(image).line([(4000, 2000), (3800, 3500)], 20, 120)
    image.save(tmp_path / "large.jpg")
    read = read_picture(tmp_path / "large.jpg")
    assert read.grey.size <= 16_000_000
    (digit,) = find_digits(read.grey)
    box = digit.scaled(read.factor).box
    assert box == pytest.approx((3740, 1990, 320, 1520), abs=60)
    image.save(tmp_path / "large.png")
    with pytest.raises(PictureError, match="9000 x 6000, more than 50 megapixels"):
        read_picture(tmp_path / "large.png")


def test_of_a_film_the_first_picture_is_read(tmp_path):
    other = Image.new("L", SEVEN.size, 0)
    SEVEN.save(tmp_path / "film.gif", save_all=True, append_images=[other])
    loaded = load_picture(tmp_path / "film.gif")
    np.testing.assert_allclose(loaded, np.asarray(SEVEN) / 255, atol=0.02)


def test_heic_is_read_turned_upright(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    path = tmp_path / "photo.heic"
    tags = Image.Exif()
    tags[0x0112] = 6  # orientation: a quarter turn to the right
    turned = pillow_heif.from_pillow(SEVEN.convert("RGB").rotate(90, expand=True))
    turned.save(path, quality=90, exif=tags.tobytes())
    (digit,) = find_digits(load_picture(path))
    (expected,) = find_digits(np.asarray(SEVEN))
    assert np.abs(digit.image.astype(int) - expected.image).mean() < 3
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(PictureError, match="damaged"):
        load_picture(path)


def test_without_its_reader_heic_is_refused_with_what_to_do(tmp_path, monkeypatch):
    for name in ("pillow_heif", "pillow_heif.as_plugin"):
        monkeypatch.setitem(sys.modules, name, None)
    (tmp_path / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    with pytest.raises(PictureError, match="a HEIC picture; pip install pillow-heif reads it"):
        load_picture(tmp_path / "photo.heic")
