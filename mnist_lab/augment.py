"""Label-preserving changes of a whole batch."""

import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from torch import Tensor


def shift(images: UInt8[Tensor, "n 1 28 28"], *, most: int) -> UInt8[Tensor, "n 1 28 28"]:
    """Move each image by up to `most` pixels, vertically and horizontally; paper (0) comes in.

    Every move is equally likely. They are drawn from torch's CPU generator, which a run seeds at
    each epoch, so that every device sees the same.
    """
    side = 28 + 2 * most
    padded = F.pad(images, (most,) * 4).flatten(1)  # (n, side * side)
    starts = (torch.randint(2 * most + 1, (len(images), 2)) * torch.tensor([side, 1])).sum(1)
    pixels = (torch.arange(28)[:, None] * side + torch.arange(28)).flatten()
    where = (starts[:, None] + pixels).to(images.device)
    return padded.gather(1, where).view_as(images)
