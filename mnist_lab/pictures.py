"""A picture of one handwritten digit -> the 28x28 image that a network trained on MNIST expects.

    load_picture   file -> grey levels, upright          (h, w) float32, 0 black .. 1 white
    find_ink       grey levels -> ink in each pixel      (h, w) float32, 0 paper .. 1 ink
    to_mnist       grey levels -> MNIST's normalisation  (28, 28) uint8, 0 paper .. 255 ink

How MNIST was made, and so what `to_mnist` repeats: bilevel scans were scaled, aspect ratio kept, to
fit a box of 20x20, which anti-aliasing turned grey; then the centre of mass was moved to the centre
of a field of 28x28. Source: LeCun, Cortes & Burges, "The MNIST database of handwritten digits";
LeCun et al. 1998, "Gradient-based learning applied to document recognition", section III-A.
"""

import io
import os
import re
import stat
import struct
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
from jaxtyping import Bool, Float32, Shaped, UInt8
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile
from scipy import ndimage

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
MAX_BYTES = 20_000_000
MAX_PIXELS = 16_000_000
MAX_PARTS = 20_000  # segments, chunks, strips or tiles of a file
MAX_JPEG_SCANS = 40  # a progressive photo has about 10
MAX_RUN_LENGTH_CODED = 1_000_000  # bytes and pixels of a BMP that Pillow decodes in Python

WORKING_SIZE = 384  # pixels of the long side on which ink is sought; a digit needs a tenth of them
COARSE_SIZE = 64  # pixels of the long side on which polarity and stroke width are judged
MIN_CONTRAST = 0.1  # ink against paper, as a share of the paper's brightness
SIGNAL_TO_NOISE = 6  # normal noise exceeds that once in 10^9 pixels

MIN_SIDE = 4  # pixels
REACHES = (0.04, 0.055, 0.075, 0.1, 0.14, 0.2, 0.28, 0.4, 0.5)  # shares of the short side

BOX, FIELD = 20, 28  # pixels: MNIST's digits, MNIST's images
MIN_STROKE = 2.0  # pixels of the 28x28; 95 % of MNIST's digits have 1.9 to 3.8

TIFF = (b"II", b"MM")  # how a file begins
TIFF_TILE_SIZE = (322, 323)
STRIPS = (273, 279, 324, 325)  # TIFF tags: where strips and tiles lie, and how long they are
JPEG_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")  # neither stuffing nor a restart
EXIF_ORIENTATION = 0x0112
TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

SQUARE = np.ones((3, 3), bool)  # neighbours of a pixel: all eight

Grey = Float32[np.ndarray, "_ _"]  # any height and width
Mask = Bool[np.ndarray, "_ _"]


class PictureError(ValueError):
    """Why a file gives no digit, in a few words that fit after its name."""


# --- file -> grey levels ---


def load_picture(path: Path) -> Grey:
    """Read a PNG, JPEG, BMP, TIFF or WebP file; of several frames the first.

    Turned upright by its EXIF orientation. Transparency shows paper or, where only the ink is
    opaque, whichever of white and black is further from the ink.

    Returns:
        (h, w) grey levels, 0 black to 1 white; colours weighted as in ITU-R BT.601.

    Raises:
        PictureError: no such picture, or one that is damaged or too large. Size is judged by the
            header, so that a small file that claims millions of pixels costs nothing.
    """
    data = _file_bytes(path)
    try:
        _refuse_laborious(data)
        with warnings.catch_warnings(), _silence() if data[:2] in TIFF else nullcontext():
            warnings.simplefilter("ignore")  # about tags and sizes; the checks are stricter
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            _refuse_large(image, len(data))
            image.load()
        # A TIFF is turned by Pillow itself on loading and then says so.
        turn = TRANSPOSITIONS.get(image.getexif().get(EXIF_ORIENTATION, 1))
        return _grey_levels(image if turn is None else image.transpose(turn))
    except PictureError:
        raise
    except Image.DecompressionBombError:
        raise PictureError(f"more than {MAX_PIXELS // 10**6} megapixels") from None
    except UnidentifiedImageError:
        raise PictureError("not a PNG, JPEG, BMP, TIFF or WebP picture, or damaged") from None
    except Exception as error:  # Pillow lets through whatever its parsers stumble over
        raise PictureError(f"damaged or unusual picture ({type(error).__name__})") from error


def _file_bytes(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # to open a device can already do something
            raise PictureError("a directory" if path.is_dir() else "not a regular file")
        # Without blocking, should a FIFO have taken the file's place since.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise PictureError("not a regular file")
            data = file.read(MAX_BYTES + 1) or b""
    except FileNotFoundError:
        raise PictureError("no such file") from None
    except PermissionError:
        raise PictureError("no permission to read it") from None
    except OSError as error:
        raise PictureError(error.strerror or "cannot be read") from None
    if len(data) > MAX_BYTES:
        raise PictureError(f"larger than {MAX_BYTES // 10**6} MB")
    return data


@contextmanager
def _silence() -> Iterator[None]:
    """Keep libtiff from writing its complaints to file descriptor 2; Pillow raises as well."""
    sys.stderr.flush()
    with Path(os.devnull).open("wb") as nowhere:
        stderr = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def _refuse_large(image: Image.Image, num_bytes: int) -> None:
    """Raise PictureError by what the header claims, before anything is decoded."""
    num_pixels = image.width * image.height
    if num_pixels > MAX_PIXELS:
        raise PictureError(
            f"{image.width} x {image.height}, more than {MAX_PIXELS // 10**6} megapixels"
        )
    if isinstance(image, TiffImageFile):
        tile_width, tile_height = (image.tag_v2.get(tag, 0) for tag in TIFF_TILE_SIZE)
        if tile_width * tile_height > MAX_PIXELS:
            raise PictureError("a TIFF of tiles larger than itself")
    coded = any(tile.codec_name == "bmp_rle" for tile in getattr(image, "tile", ()))
    if coded and max(num_pixels, num_bytes) > MAX_RUN_LENGTH_CODED:
        raise PictureError("a run-length coded BMP this large is not read")


def _refuse_laborious(data: bytes) -> None:
    """Raise PictureError for files that would keep Pillow busy for many seconds.

    They consist of thousands of parts, each of which Pillow takes up in Python, or of scans, each
    of which passes over the whole picture.
    """
    if data.startswith(b"\xff\xd8"):
        laborious = _is_laborious_jpeg(data)
    elif data.startswith(b"\x89PNG"):
        position, num_chunks = 8, 0
        while position < len(data) and num_chunks <= MAX_PARTS:
            position += 12 + int.from_bytes(data[position : position + 4], "big")
            num_chunks += 1
        laborious = num_chunks > MAX_PARTS
    else:
        laborious = data[:2] in TIFF and _num_tiff_strips(data) > MAX_PARTS
    if laborious:
        raise PictureError("made of unreasonably many parts; save it anew")


def _is_laborious_jpeg(data: bytes) -> bool:
    """Follow the markers as a decoder does (ITU-T T.81, annex B)."""
    position = num_skipped = num_scans = 0
    for _ in range(MAX_PARTS):
        found = JPEG_MARKER.search(data, position)
        if found is None or found[1] == b"\xd9":  # end of image
            return False
        if not num_scans:
            num_skipped += found.start() - position
        position = found.end()
        if found[1] not in b"\x01\xd8":  # the two without a length
            position += int.from_bytes(data[position : position + 2], "big")
        num_scans += found[1] == b"\xda"
        if num_scans > MAX_JPEG_SCANS or num_skipped > MAX_PARTS:
            return True
    return True


def _num_tiff_strips(data: bytes) -> int:
    """Return the largest count of strips or tiles in the first directory (TIFF 6.0, section 2)."""
    order = "<" if data.startswith(b"II") else ">"
    version, start = struct.unpack_from(order + "HI", data, 2)
    if version != 42:
        raise PictureError("not a TIFF, or one for files above 4 GB")
    (num_entries,) = struct.unpack_from(order + "H", data, start)
    entries = data[start + 2 : start + 2 + 12 * num_entries]
    counts = [n for tag, _, n, _ in struct.iter_unpack(order + "HHII", entries) if tag in STRIPS]
    return max(counts, default=0)


def _grey_levels(image: Image.Image) -> Grey:
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        return _deep_levels(np.asarray(image).astype(np.float32), sixteen="I;" in image.mode)
    if image.has_transparency_data:
        rgba = np.asarray(image.convert("RGBA"))
        rgb = Image.fromarray(rgba[..., :3])
        return _composed(_scaled(rgb.convert("L")), rgba[..., 3].astype(np.float32) / 255)
    if image.mode == "LAB":
        return _scaled(image.getchannel("L"))
    return _scaled((image if image.mode in ("1", "L") else image.convert("RGB")).convert("L"))


def _scaled(image: Image.Image) -> Grey:
    return np.asarray(image, dtype=np.float32) / 255


def _deep_levels(values: Grey, *, sixteen: bool) -> Grey:
    """Scale 16 bits by their range, or that of the 12 bits they hold; others by their extremes."""
    if not np.isfinite(values).all():
        raise PictureError("holds values that are no numbers")
    low, high = float(values.min()), float(values.max())
    if sixteen:
        low, high = 0.0, 65535.0 if high > 4095 else 4095.0
    return (values - low) / max(high - low, 1e-6)


def _composed(grey: Grey, alpha: Grey) -> Grey:
    """Put a transparent picture on a background that keeps the ink visible."""
    opaque = alpha > 0.5
    if not opaque.any():
        raise PictureError("wholly transparent")
    rows, columns = np.nonzero(opaque.any(1))[0], np.nonzero(opaque.any(0))[0]
    filled = opaque[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].mean()
    dark, middle, light = np.percentile(grey[opaque], (2, 50, 98))
    outline = np.median(grey[opaque & ~ndimage.binary_erosion(opaque)])
    # Cut out around ink and paper, rather than around the ink alone.
    is_sheet = filled > 0.5 and light - dark > 0.2 and abs(outline - middle) < 0.1
    background = middle if is_sheet else round(1 - middle)
    return np.asarray(grey * alpha + background * (1 - alpha), np.float32)


# --- grey levels -> ink ---


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
    light = _levels(grey)
    long_side = max(light.shape)
    if min(light.shape) < MIN_SIDE:
        raise PictureError("too narrow for a digit")
    if long_side > 2 * FIELD:  # grain of paper and sensor
        light = ndimage.gaussian_filter(light, long_side / 400)
    strokes = _Strokes.of(light)
    darkness = _darkness(1 - light if strokes.are_light else light, reach=strokes.reach)
    if long_side > 4 * FIELD:
        darkness = _without_rules(_without_rules(darkness).T).T
    clearest = _resized(strokes.clearness, darkness.shape, smooth=True) * darkness.clip(0)
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


def _levels(grey: Shaped[np.ndarray, "height width"]) -> Grey:
    if grey.ndim != 2 or grey.dtype.kind not in "buif" or not grey.size:
        raise ValueError(f"grey levels of shape (h, w) are wanted, not {grey.dtype} {grey.shape}")
    if not np.isfinite(grey).all():
        raise ValueError("grey levels hold values that are no numbers")
    if grey.dtype.kind in "iu":
        top = float(np.iinfo(grey.dtype).max)
    else:
        top = 255.0 if grey.max() > 1 else 1.0
    return (grey.astype(np.float32) / np.float32(top)).clip(0, 1)


def _resized(grey: Grey, shape: tuple[int, ...], *, smooth: bool = False) -> Grey:
    """Average over the area of each new pixel, or interpolate."""
    how = Image.Resampling.BILINEAR if smooth else Image.Resampling.BOX
    return np.asarray(Image.fromarray(grey).resize((shape[1], shape[0]), how))


def _shrunk(grey: Grey, long_side: int) -> Grey:
    scale = long_side / max(grey.shape)
    if scale >= 1:
        return grey
    return _resized(grey, tuple(max(1, round(side * scale)) for side in grey.shape))


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
        coarse = np.log(_shrunk(light, COARSE_SIZE) + 0.3)
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

    coarse = _shrunk(ratio, COARSE_SIZE // 2)
    sigma = max(coarse.shape) / 8
    smoothing = partial(ndimage.gaussian_filter, sigma=sigma, mode="nearest", truncate=2.5)
    is_paper = coarse > 0.9 * np.median(coarse)
    for _ in range(3):
        weight = is_paper.astype(np.float32)
        grain = (smoothing(coarse * weight) + 1e-3) / (smoothing(weight) + 1e-3)
        rest = 1 - coarse / grain
        spread = float(np.median(np.abs(rest - np.median(rest))))
        is_paper = rest < max(2.5 * spread, 0.02)
    return np.asarray(1 - ratio / _resized(grain, light.shape, smooth=True), np.float32)


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


# --- ink -> 28x28 ---


def to_mnist(grey: Shaped[np.ndarray, "height width"]) -> UInt8[np.ndarray, "28 28"]:
    """Bring the digit in a picture into the form of MNIST's images.

    Its box is cropped and scaled to 20x20 at most, each new pixel holding the share of its area
    that is inked; the centre of mass goes to the centre of the field, by whole pixels as in MNIST.
    An image that is MNIST's already stays as it is but for rounding. Of a larger one the ink is
    first made nearly bilevel, as the scans were, and a thin pen's strokes are widened to
    `MIN_STROKE`, or scaling would leave them faint.

    Args:
        grey: as for `find_ink`; large pictures are averaged down to `WORKING_SIZE` first.

    Raises:
        PictureError: no ink found.
    """
    ink = _cropped(find_ink(_shrunk(_levels(grey), WORKING_SIZE)), 0.02)
    if max(ink.shape) > BOX + 4:
        ink = _cropped(_bilevel(ink), 0.3)
    scale = BOX / max(ink.shape)
    digit = ink
    if scale != 1:
        digit = _resized(ink, tuple(max(1, round(side * scale)) for side in ink.shape))
    level = float(np.percentile(digit[digit > 0.1], 90))
    digit = (digit / max(level, 0.3)).clip(0, 1)
    field = np.zeros((FIELD, FIELD), np.uint8)
    top, left = (
        min(max(round(FIELD / 2 - centre), 0), FIELD - side)
        for centre, side in zip(ndimage.center_of_mass(digit), digit.shape, strict=True)
    )
    field[top : top + digit.shape[0], left : left + digit.shape[1]] = np.round(255 * digit)
    return field


def _cropped(ink: Grey, threshold: float) -> Grey:
    rows, columns = (np.nonzero((ink > threshold).any(axis))[0] for axis in (1, 0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _bilevel(ink: Grey) -> Grey:
    """Steepen the edges of a digit of more than 20 pixels, and widen strokes that are thin."""
    ink = _shrunk(ink, 8 * BOX)
    unit = max(ink.shape) / BOX  # pixels that will be one pixel
    ink = (0.5 + (np.pad(ink, int(2 * unit)) - 0.5) * min(unit, 4)).clip(0, 1)
    inked = ink > 0.5
    # The distance to the edge is a quarter of the width, on average over a stroke.
    width = 4 * float(ndimage.distance_transform_edt(inked)[inked].mean())
    if width >= MIN_STROKE * unit:
        return ink
    widening = (MIN_STROKE * unit - width) / 2
    outside = ndimage.distance_transform_edt(~inked)
    return np.asarray((1 + widening - outside).clip(0, 1), np.float32)
