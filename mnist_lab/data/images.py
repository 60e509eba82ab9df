"""Images that a user has in an array -> what the networks take."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from mnist_lab.ui.errors import Refused

FORM = "uint8 0..255 or floats 0..1 (0 paper), of shape (n, 28, 28) or (n, 1, 28, 28)"
ROUNDING = 1e-4  # by which a float may miss 0..1


def as_pixels(images: Any) -> Float32[Tensor, "n 1 28 28"]:
    """Scale and shape images as the networks take them: 0 paper to 1 ink.

    Raises:
        Refused: they are anything but FORM, in a numpy array or a torch tensor; says what.
    """
    if not isinstance(images, (np.ndarray, Tensor)):
        raise refused(f"a {type(images).__name__}, no numpy array or torch tensor")
    kind = f"{str(images.dtype).removeprefix('torch.')} of shape {tuple(images.shape)}"
    if tuple(images.shape) == (28, 28):
        raise refused(f"{kind}, one image; images[None] makes a batch of it")
    if tuple(images.shape[1:]) not in ((28, 28), (1, 28, 28)):
        raise refused(kind)
    is_uint8 = images.dtype in (np.uint8, torch.uint8)
    if isinstance(images, np.ndarray):
        if not is_uint8 and images.dtype.kind != "f":
            raise refused(kind)
        images = torch.from_numpy(images.astype(np.float32))  # a copy: it may be read-only
    elif not is_uint8 and not images.is_floating_point():
        raise refused(kind)
    pixels: Tensor = images.detach().float().reshape(-1, 1, 28, 28)
    if is_uint8:
        return pixels / 255.0
    low, high = (float(edge) for edge in pixels.aminmax()) if len(pixels) else (0.0, 1.0)
    if not -ROUNDING <= low <= high <= 1 + ROUNDING:  # false for NaN, too
        raise refused(f"{kind} with values from {low:g} to {high:g}")
    return pixels


def refused(found: str) -> Refused:
    return Refused(f"images: {found}; must be {FORM}.")
