"""Label-preserving changes of a whole batch."""

import torch
import torch.nn.functional as F
from jaxtyping import Int64, UInt8
from torch import Tensor


def shift(
    images: UInt8[Tensor, "n 1 28 28"], moves: Int64[Tensor, "n 2"], *, most: int
) -> UInt8[Tensor, "n 1 28 28"]:
    """Move each image by its pixels in `moves`, down and right; paper (0) comes in.

    Args:
        moves: -most..most; negative ones go up and left.
    """
    side = 28 + 2 * most
    padded = F.pad(images, (most,) * 4).flatten(1)  # (n, side * side)
    starts = ((most - moves) * torch.tensor([side, 1], device=moves.device)).sum(1)
    pixels = torch.arange(28, device=moves.device)
    window = (pixels[:, None] * side + pixels).flatten()
    return padded.gather(1, starts[:, None] + window).view_as(images)
