"""A figure of single pictures: what the network saw of each, and what it says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mnist_lab.evaluation.plots import clipped, name_ticks, show_image, show_tiles
from mnist_lab.ui.plotting import BLUE, ORANGE, styled

if TYPE_CHECKING:
    from mnist_lab.evaluation.neighbours import Neighbour
    from mnist_lab.prediction.prediction import Prediction


@styled
def predictions_figure(predictions: Sequence[Prediction], class_names: Sequence[str]) -> Figure:
    """One row a picture: it, what the network saw of it, the probabilities, any neighbours."""
    near = any(each.neighbours for each in predictions)
    figure = Figure(figsize=(11.8 if near else 8.4, 2.4 * len(predictions)), layout="constrained")
    parts: Any = figure.subfigures(len(predictions), 1, squeeze=False)
    for part, each in zip(parts[:, 0], predictions, strict=True):
        left, middle, right, *rest = part.subplots(
            1, 3 + near, width_ratios=(1, 1, 2.2, 1.7)[: 3 + near]
        )
        for axes in rest:
            show_neighbours(axes, each.neighbours or [], class_names)
        show_image(left, each.picture, cmap="gray", top=1.0, frame=True)
        if each.box is not None:
            x, y, width, height = (n / each.scale for n in each.box)
            left.add_patch(Rectangle((x - 0.5, y - 0.5), width, height, fill=False, color=ORANGE))
        show_image(middle, each.image, cmap="gray_r", frame=True)
        left.set_title("picture", fontsize=8)
        middle.set_title("seen by the network", fontsize=8)
        assert each.probs is not None
        for place, k in enumerate(each.shown):
            color = ORANGE if k == each.answer else BLUE
            right.stem(place, each.probs[k], linefmt=color, basefmt=" ")
        right.set(ylim=(0, 1.08), ylabel="probability")
        name_ticks(right, [class_names[k] for k in each.shown])
        right.grid(visible=False, axis="x")
        title = f"{clipped(each.name, limit=70)}: {each.words(class_names)}"
        part.suptitle(title, x=0.01, ha="left")
    return figure


def show_neighbours(
    axes: Axes, neighbours: Sequence[Neighbour], class_names: Sequence[str]
) -> None:
    """Training images in rows, the nearest first, each with its label below it."""
    names = [clipped(class_names[each.label], limit=8) for each in neighbours]
    columns = max(4, math.ceil(math.sqrt(2 * len(names))))
    show_tiles(axes, [each.image for each in neighbours], names, columns=columns, above=False)
    axes.set_title("nearest training images", fontsize=8)
