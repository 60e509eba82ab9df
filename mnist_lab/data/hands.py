"""Training images as other hands and pens would have drawn them, a batch at a time."""

import math
from dataclasses import astuple, dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float32, UInt8
from torch import Tensor

SIDE, BOX = 28, 20  # pixels a side of an image, and of the digit in it
MIDDLE = (SIDE - 1) / 2  # where the centre of mass goes, in pixels from the first one's centre
BLUR = 0.8  # pixels, standard deviation of what strokes are widened by
POINTS = 5  # a side of the grid by which an image is bent
NUM_DRAWS = 3 + 2 * POINTS**2  # random numbers for an image


@dataclass(frozen=True, kw_only=True)
class Hands:
    """How far hands may differ; all 0: images stay as they are.

    Attributes:
        max_turn: degrees.
        max_slant: degrees by which what was upright leans.
        max_bend: pixels by which a part is moved against the others.
        max_pen: pixels by which strokes become broader, or narrower by half of them; 1.5 at most,
            as beyond that the paper would take ink.
    """

    max_turn: float
    max_slant: float
    max_bend: float
    max_pen: float

    def __bool__(self) -> bool:
        return any(astuple(self))

    def redrawn(
        self, images: UInt8[Tensor, "n 1 28 28"], draws: Float32[Tensor, "n draws"]
    ) -> UInt8[Tensor, "n 1 28 28"]:
        """Draw each image anew, and bring it into the form of MNIST's again.

        Strokes are widened, the image is turned, slanted and bent, and then, as by
        `pictures.to_mnist`, the digit's box is scaled to 20 pixels and the centre of mass put into
        the middle; all but the first is one sampling, so that it blurs once. Elastic distortions
        of training images: Simard, Steinkraus & Platt 2003, "Best practices for convolutional
        neural networks"; here by cubic B-splines on a coarse grid, as in Rueckert et al. 1999,
        "Nonrigid registration using free-form deformations".

        Args:
            draws: uniform in -1..1, `NUM_DRAWS` for each image.
        """
        turn, slant, pen = draws[:, :3].unbind(1)
        bends = self.max_bend * draws[:, 3:].view(-1, 2, POINTS, POINTS)
        turn = turn * math.radians(self.max_turn)
        lean = torch.tan(slant * math.radians(self.max_slant))
        rows = torch.stack([turn.cos(), turn.sin(), -turn.sin(), turn.cos()], 1).view(-1, 2, 2)
        slanting = torch.eye(2, device=draws.device).repeat(len(draws), 1, 1)
        slanting[:, 0, 1] = lean
        affine = rows @ slanting
        ink = images.float() / 255
        if self.max_pen:
            ink = widened(ink, self.max_pen * torch.where(pen > 0, pen, pen / 2))
        places = torch.arange(SIDE, device=draws.device) - MIDDLE
        places = places.expand(len(images), 2, SIDE)  # (n, across and down, 28), from the middle
        moved = sampled(ink, places, affine, bends)
        return (255 * sampled(ink, framed(moved), affine, bends)).round().to(torch.uint8)


def widened(
    ink: Float32[Tensor, "n 1 28 28"], width: Float32[Tensor, "n"]
) -> Float32[Tensor, "n 1 28 28"]:
    """Make strokes `width` pixels broader, or narrower where it is negative.

    Blurred, a straight edge has the level Phi(x / BLUR) at x pixels from it; another level than a
    half puts the edge there. The darkest pixel stays full ink: thin strokes do not fade.
    """
    pixels = torch.arange(SIDE, device=ink.device)
    blur = torch.exp(-0.5 * ((pixels[:, None] - pixels) / BLUR) ** 2)
    blur = blur / blur[SIDE // 2].sum()
    blurred = blur @ ink @ blur
    edge = (width / 2 / BLUR).view(-1, 1, 1, 1)
    steep = math.sqrt(2 * math.pi) * BLUR * torch.exp(edge**2 / 2)  # so that it is a pixel wide
    ink = (0.5 + (blurred - torch.special.ndtr(-edge)) * steep).clamp(0, 1)
    return ink / ink.amax((1, 2, 3), keepdim=True).clamp(min=0.1)


def framed(ink: Float32[Tensor, "n 1 28 28"]) -> Float32[Tensor, "n 2 28"]:
    """Where to look for each column and row, so that the digit has MNIST's size and centre.

    Returns:
        Pixels from the middle of the image: of its columns, and of its rows.
    """
    pixels = torch.arange(SIDE, device=ink.device) - MIDDLE
    sums = torch.stack([ink.sum(2), ink.sum(3)], 1)[:, :, 0]  # (n, 2, 28): of columns, of rows
    total = sums.sum(2).clamp(min=1e-3)
    centre = (sums * pixels).sum(2) / total  # (n, 2)
    inked = torch.stack([ink.amax(2), ink.amax(3)], 1)[:, :, 0] > 0.1
    first = torch.where(inked, pixels, SIDE).amin(2)
    last = torch.where(inked, pixels, -SIDE).amax(2)
    side = (last - first + 1).amax(1).clamp(1, SIDE)  # (n,); of no ink: 1
    zoom = (side / BOX).clamp(max=SIDE / BOX).view(-1, 1, 1)
    return centre.unsqueeze(2) + zoom * pixels


def sampled(
    ink: Float32[Tensor, "n 1 28 28"],
    places: Float32[Tensor, "n 2 28"],
    affine: Float32[Tensor, "n 2 2"],
    bends: Float32[Tensor, "n 2 points points"],
) -> Float32[Tensor, "n 1 28 28"]:
    """Look at each column and row of `places`, bent and then turned, for what is there in `ink`."""
    across, down = splines(places).unbind(1)  # (n, 28, points)
    shape = (len(ink), SIDE, SIDE)
    straight = torch.stack(
        [places[:, 0, None, :].expand(shape), places[:, 1, :, None].expand(shape)], 3
    )
    bent = straight + (down[:, None] @ bends @ across[:, None].mT).permute(0, 2, 3, 1)
    grid = bent.flatten(1, 2) @ affine.mT * (2 / SIDE)
    return F.grid_sample(ink, grid.view(*shape, 2), align_corners=False)


def splines(places: Float32[Tensor, "n 2 28"]) -> Float32[Tensor, "n 2 28 points"]:
    """Weights of the points of a grid from border to border: cubic B-splines, 1 in sum or less."""
    points = torch.arange(POINTS, device=places.device)
    at = (places / SIDE + 0.5) * (POINTS - 1)
    x = (at.unsqueeze(3) - points).abs()
    return torch.where(x < 1, 2 / 3 - x**2 + x**3 / 2, (2 - x).clamp(min=0) ** 3 / 6)
