"""Where a network is unsure, told so that a page computes it without the training digits.

`evaluation.unsure` keeps up to 20,000 of them, some 6 MB. A page has fewer, and fewer values of
each, and so a threshold of its own: it makes as many of the stored digits unsure as theirs does,
each compared with the others alone.
"""

import base64
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float32, Int64
from torch import Tensor, nn

from mnist_lab.evaluation.unsure import MAX_WIDTH, NEAREST, OUTPUT_WEIGHT, Unsure, projection, some

NUM_KNOWN = 4_000  # digits that a page has
WIDTH = 64  # values of each in a layer, at most
MAX_MATRIX = 200_000  # numbers that narrow what a layer is given; half as many values above it
NUM_JUDGED = 3_000  # digits by which the page's threshold is chosen


def doubt(unsure: Unsure) -> dict[str, Any]:
    """What alone.js needs.

    Returns:
        most, least: as of `Unsure`; nearest: which of the known digits is asked for its distance;
        layers: of each the weight of its distance, a matrix (width, values given) that narrows what
        the layer is given, or null, and known directions (n, width) with the size of their steps.
        Both are signed bytes in base64; the matrix's steps do not matter.
    """
    total = len(unsure.known[0])
    kept, judged = some(total, NUM_KNOWN), some(total, NUM_JUDGED)
    linear = [each for each in unsure.model.modules() if isinstance(each, nn.Linear)][-2:]
    widths = [each.in_features for each in linear] or [28 * 28]
    stored, paged = torch.zeros(len(judged)), torch.zeros(len(judged))
    layers = []
    for place, (known, width) in enumerate(zip(unsure.known, widths, strict=True)):
        weight = 1.0 if place == 0 else OUTPUT_WEIGHT
        columns = WIDTH if width * WIDTH <= MAX_MATRIX else WIDTH // 2
        narrow, matrix = known, None
        if width > columns:
            matrix = projection(width)[:, :columns]
            narrow = known[:, :columns] if width > MAX_WIDTH else known @ matrix
        narrow = F.normalize(narrow)
        stored += weight * from_others(known, torch.arange(total), judged)
        paged += weight * from_others(narrow, kept, judged)
        layers.append(
            {
                "weight": weight,
                "matrix": None if matrix is None else encoded(matrix.T),
                "known": encoded(narrow[kept]),
                "step": step_of(narrow[kept]),
            }
        )
    num_unsure = int((stored > unsure.most).sum())
    most = float(paged.sort().values[-1 - num_unsure])
    return {"most": most, "least": unsure.least, "nearest": NEAREST, "layers": layers}


def from_others(
    known: Float32[Tensor, "m width"], kept: Int64[Tensor, "k"], judged: Int64[Tensor, "n"]
) -> Float32[Tensor, "n"]:
    """The chord from each of the judged rows to the third nearest of those kept but itself."""
    k = min(NEAREST, len(kept))
    nearest = []
    for rows in judged.split(500):
        cosines = known[rows] @ known[kept].T
        cosines[rows.unsqueeze(1) == kept] = -1
        nearest.append(cosines.topk(k, dim=1).values[:, -1])
    return (2 - 2 * torch.cat(nearest)).clamp(min=0).sqrt()


def step_of(values: Tensor) -> float:
    return float(values.abs().max().clamp(min=1e-9)) / 127


def encoded(values: Tensor) -> str:
    """In steps, as signed bytes, row by row."""
    whole = (values / step_of(values)).round().to(torch.int8)
    return base64.b64encode(whole.contiguous().numpy().tobytes()).decode()
