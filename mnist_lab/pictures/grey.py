"""Grey levels: their range, and the mean over areas when they are scaled."""

import numpy as np
from jaxtyping import Float32, Shaped
from PIL import Image
from scipy.sparse import csr_array

Grey = Float32[np.ndarray, "_ _"]  # any height and width


def levels(grey: Shaped[np.ndarray, "height width"]) -> Grey:
    """Bring integers in the range of their type, or floats in 0..1 or 0..255, to 0..1."""
    if grey.ndim != 2 or grey.dtype.kind not in "buif" or not grey.size:
        raise ValueError(f"grey levels of shape (h, w) are wanted, not {grey.dtype} {grey.shape}")
    if not np.isfinite(grey).all():
        raise ValueError("grey levels hold values that are no numbers")
    if grey.dtype.kind in "iu":
        top = float(np.iinfo(grey.dtype).max)
    else:
        top = 255.0 if grey.max() > 1 else 1.0
    return (grey.astype(np.float32) / np.float32(top)).clip(0, 1)


def shrunk(grey: Grey, long_side: int) -> Grey:
    return scaled(grey, long_side) if max(grey.shape) > long_side else grey


def scaled(grey: Grey, long_side: int) -> Grey:
    """Scale, aspect ratio kept, to a long side of so many pixels: the mean over each one's area.

    Pillow's BOX is none: it takes a pixel whole or not at all, so that 20 rows of 21 lose one.
    """
    height, width = (max(1, round(side * long_side / max(grey.shape))) for side in grey.shape)
    rows = _overlaps(grey.shape[0], height) @ grey
    mean = np.ascontiguousarray((_overlaps(grey.shape[1], width) @ rows.T).T)
    return mean.clip(grey.min(), grey.max())  # a little above 1 would be read as of 255


def _overlaps(old: int, new: int) -> csr_array:
    """Cut a line into `old` equal parts, and into `new` ones: (new, old) shares of the new ones."""
    # Of a line old * new long, so that every piece begins at a whole number.
    starts = np.sort(np.concatenate([np.arange(old) * new, np.arange(new) * old]))
    shares = (np.diff(starts, append=old * new) / old).astype(np.float32)
    return csr_array((shares, (starts // old, starts // new)), shape=(new, old))


def interpolated(grey: Grey, shape: tuple[int, ...]) -> Grey:
    how = Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(grey).resize((shape[1], shape[0]), how))
