"""Pictures of digits: a network reads them as well as MNIST's own images, and no file does harm."""

import errno
import io
import os
import struct
import subprocess
import sys
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFilter
from scipy import ndimage
from torch import nn

from mnist_lab.pictures.digits import _Page, to_mnist
from mnist_lab.pictures.grey import levels, scaled
from mnist_lab.pictures.paper import Ground
from mnist_lab.pictures.picture import MAX_BYTES, PictureError, load_picture

PICTURES = Path(__file__).with_name("pictures")
ORIENTATION = 0x0112
TURNED_BACK = {  # how a picture has to be stored so that this orientation turns it upright
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.T,
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].T,
    8: lambda a: np.rot90(a, -1),
}


def exif(orientation):
    tags = Image.Exif()
    tags[ORIENTATION] = orientation
    return tags.tobytes()


def encoded(image, form, **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def enlarged(image, factor, how=Image.Resampling.BICUBIC):
    return Image.fromarray(image).resize([factor * n for n in image.shape[::-1]], how)


# --- a network reads disturbed digits as well as clean ones ---


NUM_TRAIN = 4_000  # of mnist_5k's training images; the others are there to be read


@pytest.fixture(scope="module")
def network(mnist_5k):
    """A small CNN trained on 4,000 images of MNIST, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, 12, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(12, 24, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(24 * 49, 128),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(128, 10),
        )
        images = torch.tensor(mnist_5k.train_images[:NUM_TRAIN])[:, None] / 255
        labels = torch.tensor(mnist_5k.train_labels[:NUM_TRAIN].astype(int))
        optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
        for _ in range(12):
            for batch in torch.randperm(len(images)).split(100):
                loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    yield model.eval()
    torch.set_num_threads(threads)


def num_right(network, images, labels):
    with torch.no_grad():
        answers = network(torch.tensor(np.stack(images))[:, None] / 255).argmax(1).numpy()
    return int((answers == labels).sum())


def stored(image, folder, form, **options):
    path = folder / f"picture.{form}"
    image.save(path, form, **options)
    return load_picture(path)


def enlarged_4_to_20(image, rng, folder):
    smooth = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
    factor = rng.choice([4, 5, 6, 8, 12, 20], p=[0.85, 0.05, 0.04, 0.03, 0.02, 0.01])
    picture = enlarged(image, int(factor), smooth[rng.integers(3)])
    return stored(picture, folder, "png") if rng.random() < 0.2 else np.asarray(picture)


def turned_in_exif(image, rng, folder):
    orientation = int(rng.integers(1, 9))
    picture = Image.fromarray(TURNED_BACK[orientation](np.asarray(enlarged(image, 2))).copy())
    form = ("jpeg", "tiff", "png")[rng.integers(3)]
    return stored(picture, folder, form, exif=exif(orientation))


def inverted(image, _rng, folder):
    return stored(Image.fromarray(255 - image), folder, "bmp")


def shifted(image, rng, _folder=None):
    rows, columns = np.nonzero(image.any(1))[0], np.nonzero(image.any(0))[0]
    digit = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    field = np.zeros((44, 44), np.uint8)
    top, left = (int(rng.integers(1, 44 - side)) for side in digit.shape)
    field[top : top + digit.shape[0], left : left + digit.shape[1]] = digit
    return field


def on_paper(image, rng, _folder=None, factor=3):
    """Dark ink on textured paper, lit from one side and dimmer towards the corners."""
    ink = np.asarray(enlarged(image, factor)) / 255
    height, width = ink.shape
    grain = ndimage.gaussian_filter(rng.normal(size=ink.shape), 1.0)
    across, down = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    angle = rng.uniform(0, 2 * np.pi)
    light = 0.75 + 0.18 * (across * np.cos(angle) + down * np.sin(angle))
    light -= 0.1 * (across**2 + down**2)
    paper = 0.9 + 0.03 * grain / grain.std()
    picture = light * (paper * (1 - ink) + rng.uniform(0.1, 0.3) * ink)
    picture += rng.normal(size=ink.shape) * 0.01
    return (255 * picture.clip(0, 1)).astype(np.uint8)


def all_at_once(image, rng, folder):
    picture = on_paper(shifted(image, rng), rng, factor=int(rng.integers(2, 4)))
    if rng.random() < 0.5:
        picture = 255 - picture
    orientation = int(rng.integers(1, 9))
    turned = Image.fromarray(TURNED_BACK[orientation](picture).copy())
    return stored(turned, folder, "jpeg", quality=90, exif=exif(orientation))


@pytest.mark.slow
@pytest.mark.parametrize(
    "disturbed",
    [enlarged_4_to_20, turned_in_exif, inverted, shifted, on_paper, all_at_once],
    ids=lambda disturbed: disturbed.__name__,
)
def test_disturbed_digits_are_read_as_well_as_clean_ones(network, disturbed, mnist_5k, tmp_path):
    images, labels = mnist_5k.train_images[NUM_TRAIN:], mnist_5k.train_labels[NUM_TRAIN:]
    rng = np.random.default_rng(0)
    clean = num_right(network, images, labels)
    assert clean > 950
    seen = [to_mnist(disturbed(image, rng, tmp_path)) for image in images]
    assert num_right(network, seen, labels) >= clean - 10  # of 1,000


def eight(height, pen):
    """Two boxes, one on the other, on white paper."""
    width, margin = max(3, round(height * 12 / 21)), max(4, height // 3)
    ink = np.zeros((height, width), bool)
    middle = (height - pen) // 2
    ink[:pen] = ink[middle : middle + pen] = ink[-pen:] = True
    ink[:, :pen] = ink[:, -pen:] = True
    return np.where(np.pad(ink, margin), 0, 255).astype(np.uint8)


@pytest.mark.slow
def test_an_eight_of_any_height_and_pen_is_an_eight(network):
    files = [np.asarray(Image.open(PICTURES / f"eight_{height}.png")) for height in (20, 21)]
    heights = [*range(10, 80), *range(80, 401, 9)]
    drawn = [eight(height, pen) for height in heights for pen in (1, 1 + height // 10)]
    seen = [to_mnist(picture) for picture in files + drawn]
    assert num_right(network, seen, np.full(len(seen), 8)) == len(seen)


# --- the 28x28 ---


@pytest.mark.parametrize(("long_side", "smallest"), [(20, 4), (28, 4), (64, 4), (384, 384)])
def test_scaling_takes_of_each_pixel_its_share_of_the_area(long_side, smallest):
    """Every old pixel cut into as many as there are new ones, and these averaged."""
    rng = np.random.default_rng(2)
    for size in range(smallest, 401):
        grey = rng.random((size, rng.integers(1, 5)), np.float32)
        found = scaled(grey, long_side)
        height, width = found.shape
        assert (height, width) == (long_side, max(1, round(grey.shape[1] * long_side / size)))
        parts = grey.astype(float).repeat(height, 0).repeat(width, 1)
        expected = parts.reshape(height, size, width, -1).mean((1, 3))
        np.testing.assert_allclose(found, expected, atol=1e-6)
        assert grey.min() <= found.min() <= found.max() <= grey.max()


def test_an_image_of_mnist_stays_as_it_is(mnist_5k):
    images = mnist_5k.train_images[NUM_TRAIN:][:300]
    seen = np.stack([to_mnist(image) for image in images])
    differences = np.abs(seen.astype(int) - images).mean((1, 2))  # of 255
    assert differences.mean() < 1
    # In the others the centre of mass, between two pixels, is rounded to the other side.
    assert (differences < 2).mean() > 0.95
    np.testing.assert_array_equal(to_mnist(images[0] / np.float32(255)), seen[0])


def test_the_digit_fills_a_box_of_20_and_is_centred_by_its_mass(mnist_5k):
    rng = np.random.default_rng(1)
    for image in mnist_5k.train_images[NUM_TRAIN:][:60]:
        seen = to_mnist(on_paper(shifted(image, rng), rng))
        rows, columns = np.nonzero(seen.any(1))[0], np.nonzero(seen.any(0))[0]
        assert max(np.ptp(rows), np.ptp(columns)) + 1 in (19, 20)
        np.testing.assert_allclose(ndimage.center_of_mass(seen), 14, atol=0.51)
        assert seen.max() == 255


@pytest.mark.parametrize("width", [4, 12, 40, 90])
def test_any_pen_gives_strokes_like_those_of_mnist(width, mnist_5k):
    """From a fine pen to a marker, on a sheet of 900 x 1200 pixels."""
    sheet = Image.new("L", (900, 1200), 250)
    ImageDraw.Draw(sheet).line([(300, 250), (620, 260), (400, 800)], 40, width, joint="curve")
    seen = to_mnist(np.asarray(sheet))
    ink = seen[seen > 25]
    images = mnist_5k.train_images[NUM_TRAIN:][7::10].astype(int)  # sevens
    assert (seen >= 250).sum() >= 10  # as in MNIST, where full ink is 250 to 255
    assert 150 < ink.mean() < 250
    assert images.sum((1, 2)).min() < seen.sum() < images.sum((1, 2)).max()


@pytest.mark.parametrize(
    "grey",
    [np.zeros((0, 5)), np.full((9, 9), np.nan), np.zeros((9, 9), complex)],
)
def test_what_is_no_grey_picture_is_refused(grey):
    with pytest.raises(ValueError, match="grey levels"):
        to_mnist(grey)


# --- the ink, against the mask it was drawn with ---

SEVEN = [(0.42, 0.22), (0.62, 0.24), (0.45, 0.75)]
THREE = [(0.4, 0.25), (0.6, 0.25), (0.5, 0.45), (0.62, 0.6), (0.52, 0.75), (0.38, 0.68)]


def drawn(shape, points, width):
    """A pen's strokes, 0..1."""
    height, breadth = shape
    image = Image.new("L", (breadth, height))
    line = [(x * breadth, y * height) for x, y in points]
    ImageDraw.Draw(image).line(line, 255, width, joint="curve")
    return ndimage.gaussian_filter(np.asarray(image) / 255, 0.7)


def find_ink(picture):
    """The ink that is cut out, in the whole picture."""
    page = _Page.of(Ground(levels(picture)))
    own = np.isin(page.labels, [n for digit in page.chosen for n in digit.numbers])
    return page.ink.of_digit(own, softness=1)


def lined(rng, shape):
    height, width = shape
    tilt = rng.uniform(-0.03, 0.03) * np.arange(width)
    return 0.9 - 0.3 * ((np.arange(height)[:, None] + tilt) % 23 < 2)


def squared(rng, shape):
    return np.minimum(lined(rng, shape), lined(rng, shape[::-1]).T)


def shadowed(rng, shape):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    across = (columns - 0.5 * shape[1]) + rng.uniform(-1, 1) * (rows - 0.5 * shape[0])
    return 0.9 - 0.4 * ndimage.gaussian_filter((across > 0) * 1.0, 2)


def on_a_desk(rng, shape):
    paper = np.full(shape, 0.9)
    paper[: rng.integers(5, 20)] = paper[:, : rng.integers(5, 20)] = 0.3
    paper[-rng.integers(5, 20) :] = 0.25
    return paper


def blackboard(rng, shape):
    return 0.2 + 0.6 * ndimage.gaussian_filter(rng.normal(size=shape), 12)


@pytest.mark.parametrize("ground", [lined, squared, shadowed, on_a_desk, blackboard])
@pytest.mark.parametrize("points", [SEVEN, THREE], ids=["seven", "three"])
def test_the_ink_is_found_and_nothing_else(ground, points):
    rng = np.random.default_rng(3)
    shape = (280, 360)
    for width in (6, 11, 20):
        ink = drawn(shape, points, width)
        strokes = 0.85 if ground is blackboard else 0.15
        light = np.linspace(1, 0.7, shape[1])
        picture = light * (ground(rng, shape) * (1 - ink) + strokes * ink)
        picture += rng.normal(size=shape) * 0.015
        found = find_ink(picture.clip(0, 1).astype(np.float32))
        assert found.shape == shape
        assert 0 <= found.min() <= found.max() <= 1
        both, either = np.minimum(found, ink).sum(), np.maximum(found, ink).sum()
        assert both / either > 0.75
        assert found[ndimage.distance_transform_edt(ink < 0.5) > 8].sum() < 0.01 * ink.sum()


def blank_pictures():
    rng = np.random.default_rng(5)
    for shape in ((28, 28), (90, 120), (400, 300)):
        across = np.linspace(0, 1, shape[1]) * np.ones(shape)
        down = np.linspace(0, 1, shape[0])[:, None] * np.ones(shape)
        yield from (np.full(shape, value) for value in (0.0, 0.4, 1.0))
        yield from (0.5 + sigma * rng.normal(size=shape) for sigma in (0.005, 0.05, 0.2))
        yield from (level + 0.1 * rng.normal(size=shape) for level in (0.1, 0.9))
        yield rng.random(shape)
        yield (rng.random(shape) < 0.5) * 1.0
        for size in (1, 3):
            texture = ndimage.gaussian_filter(rng.normal(size=shape), size)
            yield 0.8 + 0.03 * texture / texture.std()
        yield from (across, 1 - across, 0.9 - 0.4 * down, 0.5 * (across + down))
        yield 0.9 - 0.5 * ((across - 0.5) ** 2 + (down - 0.5) ** 2)
        yield across > 0.5


def test_a_blank_picture_says_so():
    for picture in blank_pictures():
        with pytest.raises(PictureError, match=r"^no ink found: "):
            to_mnist((255 * np.clip(picture, 0, 1)).astype(np.uint8))
    with pytest.raises(PictureError, match="too narrow for a digit"):
        to_mnist(np.zeros((3, 28), np.uint8))


# --- files that hold a picture ---


def drawn_digit():
    """A three, dark on light, 84 x 84 uint8."""
    image = Image.new("L", (84, 84), 255)
    pen = ImageDraw.Draw(image)
    for box in ((24, 10, 60, 46), (22, 36, 62, 76)):
        pen.arc(box, start=-150, end=110, fill=0, width=10)
    return np.asarray(image.filter(ImageFilter.GaussianBlur(1)))


@pytest.fixture(scope="module")
def digit():
    return drawn_digit()


@pytest.fixture
def seen(tmp_path):
    def load(data):
        path = tmp_path / "picture"
        path.write_bytes(data)
        return load_picture(path)

    return load


def converted(digit, mode):
    image = Image.fromarray(digit)
    if mode == "I;16":
        return Image.fromarray(digit.astype(np.uint16) * 257)
    if mode == "I;12":  # twelve bits in sixteen, as cameras have it
        return Image.fromarray(digit.astype(np.uint16) * 16)
    if mode in ("I", "F"):
        return Image.fromarray(digit.astype({"I": np.int32, "F": np.float32}[mode]) * 1000 - 5000)
    if mode == "P":
        return image.convert("RGB").quantize(32)
    if mode in ("LA", "RGBA", "PA"):
        image = image.convert("LA")
        image.putalpha(255)
    return image.convert(mode)


@pytest.mark.parametrize(
    ("form", "modes"),
    [
        ("PNG", "1 L P LA RGB RGBA I;16 I;12"),
        ("JPEG", "L RGB CMYK"),
        ("BMP", "1 L P RGB"),
        ("TIFF", "1 L P LA RGB RGBA CMYK YCbCr I;16 I;12 I F"),
        ("WEBP", "RGB RGBA"),
    ],
)
def test_every_format_and_mode_gives_the_same_digit(form, modes, digit, seen):
    reference = to_mnist(digit).astype(int)
    for mode in modes.split():
        loaded = seen(encoded(converted(digit, mode), form))
        assert loaded.dtype == np.float32
        limit = 0.2 if mode == "1" else 0.02  # dithered
        assert np.abs(loaded - digit / 255).mean() < limit, mode
        assert np.abs(to_mnist(loaded) - reference).mean() < (8 if mode == "1" else 2), mode


def test_compressed_tiffs_and_lab_colours(digit, seen):
    for mode, methods in (("1", "group4"), ("L", "tiff_lzw tiff_adobe_deflate packbits jpeg")):
        for method in methods.split():
            image = Image.fromarray(np.where(digit > 128, 255, 0).astype(np.uint8)).convert(mode)
            loaded = seen(encoded(image, "TIFF", compression=method))
            np.testing.assert_allclose(loaded, digit > 128, atol=0.2)
    lab = Image.merge("LAB", [Image.fromarray(digit), *[Image.new("L", (84, 84), 128)] * 2])
    np.testing.assert_allclose(seen(encoded(lab, "TIFF")), digit / 255, atol=1e-6)


@pytest.mark.parametrize("form", ["JPEG", "TIFF", "PNG", "WEBP"])
def test_exif_turns_pictures_upright(form, digit, seen):
    upright = np.ascontiguousarray(digit[:, 10:70])  # higher than wide
    lossless = {"WEBP": {"lossless": True}}.get(form, {})
    for orientation, turned_back in TURNED_BACK.items():
        stored = Image.fromarray(turned_back(upright).copy()).convert("RGB")
        loaded = seen(encoded(stored, form, exif=exif(orientation), **lossless))
        np.testing.assert_allclose(
            loaded, upright / 255, atol=0.15 if form == "JPEG" else 0.005, err_msg=str(orientation)
        )


def test_the_first_of_several_frames(digit, seen):
    first = Image.fromarray(digit).convert("RGB")
    others = [Image.new("RGB", (84, 84), shade) for shade in ("black", "red")]
    lossless = {"WEBP": {"lossless": True}}
    for form in ("TIFF", "PNG", "WEBP", "MPO"):
        options = lossless.get(form, {})
        loaded = seen(encoded(first, form, save_all=True, append_images=others, **options))
        assert np.abs(loaded - digit / 255).mean() < 0.02, form


def test_a_film_behind_a_photo_does_not_matter(digit, seen):
    photo = encoded(Image.fromarray(digit), "JPEG")
    film = np.random.default_rng(0).bytes(6_000_000)
    assert film.count(b"\xff\xda") > 80  # as if so many scans began
    np.testing.assert_array_equal(seen(photo + film), seen(photo))


@pytest.mark.parametrize("shade", [0, 90, 160, 255])
def test_ink_alone_on_a_transparent_ground_stays_visible(shade, digit, seen):
    image = Image.new("RGBA", (84, 84), (shade,) * 3)
    image.putalpha(Image.fromarray(255 - digit))
    for form in ("PNG", "TIFF", "WEBP"):
        difference = np.abs(to_mnist(seen(encoded(image, form))).astype(int) - to_mnist(digit))
        assert difference.mean() < 4


def test_transparency_around_a_sheet_is_no_ink(digit, seen):
    for sheet in (digit, 255 - digit):
        image = Image.fromarray(np.pad(sheet, 20, mode="edge")).convert("RGBA")
        cut = Image.new("L", image.size)
        ImageDraw.Draw(cut).ellipse((2, 2, 121, 121), 255)
        image.putalpha(cut)
        difference = to_mnist(seen(encoded(image, "PNG"))).astype(int) - to_mnist(digit)
        assert np.abs(difference).mean() < 3
    palette = Image.fromarray(digit).convert("RGB").quantize(8)
    palette.info["transparency"] = palette.getpixel((0, 0))  # the paper
    assert seen(encoded(palette, "PNG"))[0, 0] == 1
    with pytest.raises(PictureError, match="wholly transparent"):
        seen(encoded(Image.new("LA", (30, 30)), "PNG"))


# --- files that do not ---


def png(width, height, *chunks):
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in parts
    )


def tiff(*entries, body=b""):
    tags = {256: 28, 257: 28, 258: 8, 259: 1, 262: 1, 273: 8, 278: 28, 279: 784}
    table = {tag: (tag, 4, 1, value) for tag, value in tags.items()}
    table |= {entry[0]: entry for entry in entries}
    packed = b"".join(struct.pack("<HHII", *entry) for _, entry in sorted(table.items()))
    head = struct.pack("<2sHIH", b"II", 42, 8, len(table))
    return head + packed + bytes(4) + body


def run_length_coded(width, height, body):
    palette = b"".join(bytes([k, 255 - k, k, 0]) for k in range(256))
    head = struct.pack("<2sIHHI", b"BM", 1078 + len(body), 0, 0, 1078)
    head += struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(body), 0, 0, 256, 0)
    return head + palette + body


def bombs():
    """Small files that claim much, or consist of so many parts that Pillow takes minutes."""
    zeros = zlib.compress(bytes(1 << 20), 9)
    jpeg = encoded(Image.new("L", (4000, 4000), 99), "JPEG", progressive=True)
    scan = jpeg[jpeg.rindex(b"\xff\xda") : -2]
    small = encoded(Image.new("L", (28, 28)), "JPEG")
    canvas = struct.pack("<4sI4s4sI", b"RIFF", 44, b"WEBP", b"VP8X", 10)
    canvas += b"\2\0\0\0\xff\x3f\0\xff\x3f\0" + struct.pack("<4sI6x", b"ANIM", 6)
    yield png(40_000, 40_000), "megapixels"
    yield png(9000, 6000), "9000 x 6000, more than 50 megapixels"
    yield png(2**31 - 1, 2**31 - 1), "megapixels"
    yield png(28, 28, *[(b"zTXt", b"a\0\0" + zeros)] * 200), "damaged"
    yield png(28, 28, (b"iCCP", b"a\0\0" + zlib.compress(bytes(10**8), 9))), "damaged"
    yield png(28, 28, *[(b"abCd", b"")] * 300_000), "loaded"
    yield tiff((256, 4, 1, 40_000), (257, 4, 1, 40_000)), "megapixels"
    yield tiff((256, 4, 2**32 - 1, 8)), "damaged"
    yield tiff((259, 4, 1, 8), (322, 4, 1, 40_000), (323, 4, 1, 40_000)), "tiles larger"
    yield tiff((257, 4, 1, 10**6), (273, 4, 10**6, 110), body=bytes(4 * 10**6)), "parts"
    yield jpeg[:-2] + scan * 3000 + b"\xff\xd9", "parts"
    yield small[:2] + b"\xff\xfe\0\2" * 10**6 + small[2:], "loaded"
    yield small[:2] + b"\xff\0" * 4 * 10**6 + small[2:], "loaded"
    yield canvas, "megapixels"
    yield run_length_coded(4000, 4000, b"\1\7" * 10**6), "damaged"
    yield bytes(MAX_BYTES + 1), "more than the 100,000,000 allowed"


LOAD_ALL = """
import resource, sys, time
from pathlib import Path
from mnist_lab.pictures.picture import PictureError, load_picture
def load(path):
    began = time.process_time()
    try:
        load_picture(path)
        reason = "loaded"
    except PictureError as error:
        reason = str(error)
    return time.process_time() - began, reason
load(Path(sys.argv[1]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[2:]:
    seconds, reason = load(Path(path))
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(seconds, kilobytes, reason, sep="\t")
"""


def test_bombs_take_seconds_and_little_memory(digit, tmp_path):
    (tmp_path / "digit").write_bytes(encoded(Image.fromarray(digit), "WEBP"))
    reasons = []
    for number, (data, reason) in enumerate(bombs()):
        (tmp_path / f"{number:02}").write_bytes(data)
        reasons.append(reason)
    paths = [tmp_path / "digit", *sorted(tmp_path.glob("[0-9]*"))]
    command = [sys.executable, "-c", LOAD_ALL, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert not done.stderr
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert len(lines) == len(reasons) == 16
    for (seconds, kilobytes, found), reason in zip(lines, reasons, strict=True):
        assert reason in found
        assert float(seconds) < 5
        assert float(kilobytes) < 50_000


def seeds(digit):
    small = Image.fromarray(digit[::2, ::2].copy())
    tags = {"exif": exif(6)}
    for mode in ("1", "P", "RGBA", "I;16"):
        yield encoded(converted(digit[::2, ::2].copy(), mode), "PNG", **tags)
        yield encoded(converted(digit[::2, ::2].copy(), mode), "TIFF")
    for method in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        yield encoded(small, "TIFF", compression=method, **tags)
    yield encoded(small.convert("1"), "TIFF", compression="group4")
    for mode in ("L", "RGB", "CMYK"):
        yield encoded(small.convert(mode), "JPEG", progressive=mode == "RGB", **tags)
    for mode in ("L", "P", "RGB"):
        yield encoded(small.convert(mode), "BMP")
    yield run_length_coded(42, 42, b"\2\7" * 21 * 42 + b"\0\1")
    for lossless in (False, True):
        yield encoded(small.convert("RGBA"), "WEBP", lossless=lossless, **tags)


def mutated(data, others, rng):
    data = bytearray(data)
    reach = min(len(data), 300) if rng.random() < 0.6 else len(data)  # headers lie best
    at = int(rng.integers(len(data)))
    match rng.integers(5):
        case 0:
            for place in rng.integers(reach, size=rng.integers(1, 6)):
                data[place] ^= 1 << rng.integers(8)
        case 1:
            for place in rng.integers(reach, size=rng.integers(1, 20)):
                data[place] = rng.choice([0, 1, 127, 128, 255])
        case 2:
            return data[:at]
        case 3:
            other = others[rng.integers(len(others))]
            return data[:at] + other[rng.integers(len(other)) :]
        case 4:  # where a TIFF has its directory
            for place in rng.integers(1, min(len(data), 300), size=rng.integers(1, 4)):
                data[-place] = rng.integers(256)
    return data


def test_damaged_files_raise_nothing_but_picture_errors(digit, seen, capfd):
    rng = np.random.default_rng(11)
    files = list(seeds(digit))
    num_loaded, reasons = 0, []
    for number in range(300):
        data = mutated(files[number % len(files)], files, rng)
        began = time.process_time()
        try:
            picture = seen(bytes(data))
            num_loaded += 1
            to_mnist(picture)
        except PictureError as error:
            reasons.append(str(error))
        assert time.process_time() - began < 5
    assert all(reasons)
    assert 30 < num_loaded < 200  # both outcomes are tried
    assert capfd.readouterr() == ("", "")


def test_what_is_no_file_of_a_picture_gets_a_reason(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "empty").touch()
    (tmp_path / "text.png").write_text("seven")
    (tmp_path / "ico").write_bytes(encoded(Image.new("L", (32, 32)), "ICO"))
    (tmp_path / "loop").symlink_to("loop")
    reasons = {
        tmp_path / "fifo": "not a regular file",
        Path("/dev/zero"): "not a regular file",
        tmp_path: "a directory",
        tmp_path / "none": "no such file",
        tmp_path / "text.png": "not a PNG, JPEG, BMP, TIFF, WebP, GIF or HEIC picture",
        tmp_path / "ico": "not a PNG, JPEG, BMP, TIFF, WebP, GIF or HEIC picture",
        tmp_path / "empty": "not a PNG, JPEG, BMP, TIFF, WebP, GIF or HEIC picture",
        tmp_path / "loop": "symbolic links",
        tmp_path / ("n" * 300): "too long",
    }
    for path, reason in reasons.items():
        with pytest.raises(PictureError, match=reason):
            load_picture(path)

    def denied(_path):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", denied)
    with pytest.raises(PictureError, match="permission denied"):
        load_picture(tmp_path / "ico")


def test_a_warning_of_pillow_is_kept_from_the_user(seen):
    lying = tiff((258, 3, 2, 0x00080008), (305, 2, 10**6, 5))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(PictureError):
            seen(lying)
        with pytest.raises(PictureError):
            seen(png(12_000, 12_000))  # Pillow warns of a bomb here, and raises for larger ones
    assert not caught
