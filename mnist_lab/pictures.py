"""A file that may hold a picture -> upright grey levels; whatever it is, it does no harm."""

import io
import os
import re
import stat
import struct
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile
from scipy import ndimage

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
MAX_BYTES = 20_000_000
MAX_PIXELS = 16_000_000
MAX_PARTS = 20_000  # segments, chunks, strips or tiles of a file
MAX_JPEG_SCANS = 40  # a progressive photo has about 10
MAX_RUN_LENGTH_CODED = 1_000_000  # bytes and pixels of a BMP that Pillow decodes in Python

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

Grey = Float32[np.ndarray, "_ _"]  # any height and width


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
