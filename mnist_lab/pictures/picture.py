"""A file that may hold a picture -> upright grey levels; whatever it is, it does no harm."""

import io
import math
import os
import struct
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile
from scipy import ndimage

from mnist_lab.pictures.grey import Grey
from mnist_lab.ui.files import read_bytes

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".heic", ".heif")
MAX_BYTES = 100_000_000
MAX_PIXELS = 50_000_000
MAX_JPEG_PIXELS = 200_000_000  # decoded at a fraction
KEPT_PIXELS = 16_000_000  # a larger picture is averaged down
MAX_STRIPS = 20_000  # or tiles of a TIFF
MAX_SCANS = 40  # a progressive JPEG of a camera has about 10

TIFF = (b"II", b"MM")  # how a file begins
HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")  # brands
TIFF_TILE_SIZE = (322, 323)
STRIPS = (273, 279, 324, 325)  # TIFF tags: where strips and tiles lie, and how long they are


class PictureError(ValueError):
    """Why a file gives no digit, in a few words that fit after its name."""


@dataclass(frozen=True)
class Picture:
    """A picture as it was read.

    Attributes:
        grey: (h, w) grey levels, 0 black to 1 white; colours weighted as in ITU-R BT.601.
        factor: pixels of the file for each of its pixels, along a side.
    """

    grey: Grey
    factor: float


def load_picture(path: Path) -> Grey:
    """Read a picture's grey levels: `read_picture`."""
    return read_picture(path).grey


def read_picture(path: Path) -> Picture:
    """Read PNG, JPEG, BMP, TIFF, WebP, GIF, with pillow-heif HEIC; of several frames the first.

    Turned upright by its EXIF orientation. Transparency shows paper or, where only the ink is
    opaque, whichever of white and black is further from the ink. Of more than `KEPT_PIXELS` so many
    are averaged that fewer are left; a JPEG is decoded at such a fraction.

    Raises:
        PictureError: no such picture, or one that is damaged or too large. Size is judged by the
            header, so that a small file that claims millions of pixels costs nothing.
    """
    data = _file_bytes(path)
    try:
        _refuse_laborious(data)
        with warnings.catch_warnings(), _silence() if data[:2] in TIFF else nullcontext():
            warnings.simplefilter("ignore")  # about tags and sizes; the checks are stricter
            image = _opened(data)
            long_side = max(image.size)
            _refuse_large(image)
            step = math.ceil(math.sqrt(image.width * image.height / KEPT_PIXELS))
            if isinstance(image, JpegImageFile):
                image.draft(image.mode, (-(-image.width // step), -(-image.height // step)))
            ImageOps.exif_transpose(image, in_place=True)
        image = _reduced(image)
        return Picture(_grey_levels(image), long_side / max(image.size))
    except PictureError:
        raise
    except Image.DecompressionBombError:
        raise PictureError(f"more than {MAX_PIXELS // 10**6} megapixels") from None
    except UnidentifiedImageError:
        raise PictureError(
            "not a PNG, JPEG, BMP, TIFF, WebP, GIF or HEIC picture, or damaged"
        ) from None
    except Exception as error:  # Pillow lets through whatever its parsers stumble over
        raise PictureError(f"damaged or unusual picture ({type(error).__name__})") from error


def _opened(data: bytes) -> Image.Image:
    if data.startswith(b"\xff\xd8"):  # Image.open refuses more than 179 megapixels
        return JpegImageFile(io.BytesIO(data))
    if data[4:8] == b"ftyp" and data[8:12] in HEIC:
        try:
            from pillow_heif.as_plugin import HeifImageFile
        except ImportError:
            raise PictureError(
                "a HEIC picture; pip install pillow-heif reads it, or save it as JPEG"
            ) from None
        heic: Image.Image = HeifImageFile(io.BytesIO(data))
        return heic
    return Image.open(io.BytesIO(data), formats=FORMATS)


def _reduced(image: Image.Image) -> Image.Image:
    step = math.ceil(math.sqrt(image.width * image.height / KEPT_PIXELS))
    if step < 2:
        return image
    if image.mode in ("1", "P"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    if image.mode in ("L", "RGB", "RGBA", "CMYK", "YCbCr", "LA", "LAB"):
        return image.reduce(step)
    return image.resize((image.width // step, image.height // step), Image.Resampling.NEAREST)


def _file_bytes(path: Path) -> bytes:
    try:
        return read_bytes(path, max_bytes=MAX_BYTES)
    except OSError as error:
        raise PictureError((error.strerror or "cannot be read").lower()) from None
    except ValueError as error:
        raise PictureError("a directory" if path.is_dir() else str(error)) from None


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


def _refuse_large(image: Image.Image) -> None:
    """Raise PictureError by what the header claims, before anything is decoded."""
    limit = MAX_JPEG_PIXELS if isinstance(image, JpegImageFile) else MAX_PIXELS
    if image.width * image.height > limit:
        raise PictureError(f"{image.width} x {image.height}, more than {limit // 10**6} megapixels")
    if isinstance(image, TiffImageFile):
        tile_width, tile_height = (image.tag_v2.get(tag, 0) for tag in TIFF_TILE_SIZE)
        if tile_width * tile_height > MAX_PIXELS:
            raise PictureError("a TIFF of tiles larger than itself")


def _refuse_laborious(data: bytes) -> None:
    """Raise PictureError for files that would keep Pillow busy for more than some seconds.

    They have a million strips, each of which Pillow takes up in Python, or thousands of scans, each
    of which passes over the whole picture. Where a scan begins is told by two bytes, which come up
    by chance, once in 65,536, in what else a file may hold, such as a film behind a photo.
    """
    if data.startswith(b"\xff\xd8"):
        laborious = data.count(b"\xff\xda") > MAX_SCANS + len(data) // 32_768
    else:
        laborious = data[:2] in TIFF and _num_tiff_strips(data) > MAX_STRIPS
    if laborious:
        raise PictureError("made of unreasonably many parts; save it anew")


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
