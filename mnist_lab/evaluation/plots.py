"""Plots of one network: its curves, its mistakes, how far its probabilities can be trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mnist_lab.evaluation.answers import Answers
from mnist_lab.evaluation.metrics import Disagreement
from mnist_lab.ui.plotting import BLUE, GREY, INK, ORANGE, count_epochs, styled, write_percent

NUM_MISTAKES = 24  # in the grid of the most confident ones
NUM_DISAGREEMENTS = 12  # for each of two networks
WIDTH = 8.4  # inches of a figure of tiles
COLUMNS = 6
MAX_CLASSES = 60  # in a table of confusion
LINE, DIGIT, GAP = 14.0, 5.1, 5.0  # points: of a class's name, a digit, between two numbers
TILE_WIDTH, TILE_HEIGHT, CAPTION, MARGIN = 36, 44, 15, 4  # in pixels of an image


@styled
def curves_figure(epochs: Sequence[Mapping[str, float]]) -> Figure:
    """Loss and accuracy after each epoch, in training and, where there is one, validation."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    for axes, name, label in zip(
        figure.subplots(1, 2), ("loss", "acc"), ("loss (nats)", "accuracy"), strict=True
    ):
        for split, color, style, meaning in (
            ("train", BLUE, "o-", "training, mean over the epoch"),
            ("val", ORANGE, "s--", "validation, after it"),
        ):
            key = f"{split}/{name}"
            rows = [row for row in epochs if key in row]  # not every epoch need be validated
            if rows:
                numbers, values = [row["epoch"] for row in rows], [row[key] for row in rows]
                axes.plot(numbers, values, style, color=color, markersize=4, label=meaning)
        axes.set_ylabel(label)
        count_epochs(axes)
    left, right = figure.axes
    left.set_ylim(bottom=0)
    left.legend()
    write_percent(right)
    return figure


@styled
def confusion_figure(confusion: Sequence[Sequence[int]], class_names: Sequence[str]) -> Figure:
    """Counts, a row for each label; shaded by the mistakes, which the diagonal would drown."""
    counts = np.asarray(confusion)
    mistakes = np.where(np.eye(len(counts), dtype=bool), 0, counts)
    title = f"{int(mistakes.sum()):,} mistakes in {int(counts.sum()):,} images"
    if len(counts) > MAX_CLASSES:
        by_mistakes = (mistakes.sum(axis=0) + mistakes.sum(axis=1)).argsort(kind="stable")
        rows = np.sort(by_mistakes[-MAX_CLASSES:])
        title += f"; the {MAX_CLASSES} of {len(counts):,} classes that are mixed up most"
        counts, mistakes = (each[np.ix_(rows, rows)] for each in (counts, mistakes))
        class_names = [class_names[row] for row in rows]
    most = max(1, int(mistakes.max()))
    cell = max(LINE, DIGIT * len(str(counts.max())) + GAP) / 72  # inches
    side = max(5.0, cell * len(counts))
    figure = Figure(figsize=(side + 1.2, side + 0.8), layout="constrained")
    axes = figure.subplots()
    axes.imshow(mistakes, cmap="Oranges", vmin=0, vmax=most)
    for (row, column), count in np.ndenumerate(counts):
        if row == column:
            axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, color="#dddddd"))
        if count or row == column:
            dark = row != column and count > 0.6 * most
            color = "white" if dark else "black"
            axes.text(column, row, f"{count}", fontsize=8, color=color, ha="center", va="center")
    name_ticks(axes, class_names)
    axes.set_yticks(range(len(class_names)), [clipped(name) for name in class_names])
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set(xlabel="predicted", ylabel="actual")
    axes.set_title(title)
    return figure


@styled
def mistakes_figure(
    answers: Answers, images: UInt8[np.ndarray, "n 28 28"], class_names: Sequence[str]
) -> Figure:
    """The most confident mistakes: index, predicted, actual, probability of the prediction."""
    chosen = answers.mistakes[:NUM_MISTAKES]
    captions = [
        f"{i}: p={answers.confidence[i]:.2f}\n"
        f"predicted {clipped(class_names[answers.predictions[i]])}\n"
        f"is {clipped(class_names[answers.labels[i]])}"
        for i in chosen
    ]
    total = len(answers.mistakes)
    title = f"The {len(chosen)} most confident of {total:,} mistakes" if total else "No mistakes"
    figure = Figure(figsize=(WIDTH, height_of(len(chosen))), layout="constrained")
    draw_tiles(figure, images[chosen], captions, title=title)
    return figure


@styled
def disagreement_figure(
    pair: Disagreement,
    images: UInt8[np.ndarray, "n 28 28"],
    class_names: Sequence[str],
) -> Figure:
    """Images that only one of two networks gets right, those that it is surest of first."""
    sides = (pair.only_a, pair.only_b)
    heights = [height_of(min(len(side), NUM_DISAGREEMENTS)) for side in sides]
    figure = Figure(figsize=(WIDTH, sum(heights)), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=heights)
    for part, side, letter in zip(parts, sides, "AB", strict=True):
        chosen = side[:NUM_DISAGREEMENTS]
        captions = [
            f"{i}: is {clipped(class_names[pair.a.labels[i]])}\n"
            f"A: {clipped(class_names[pair.a.predictions[i]])}\n"
            f"B: {clipped(class_names[pair.b.predictions[i]])}"
            for i in chosen
        ]
        shown = "" if len(chosen) == len(side) else f", the {len(chosen)} surest"
        title = f"Only {letter} is right: {len(side):,} images{shown}"
        draw_tiles(part, images[chosen], captions, title=title)
    return figure


@styled
def reliability_figure(bins: Sequence[Mapping[str, Any]], *, error: float) -> Figure:
    """How often predictions of a confidence are right, and how many images have it."""
    figure = Figure(figsize=(5.2, 5.6), layout="constrained")
    above, below = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    filled = [each for each in bins if each["count"]]
    middles = [(each["low"] + each["high"]) / 2 for each in filled]
    width = 0.92 / len(bins)
    above.bar(
        middles, [each["accuracy"] for each in filled], width, color=BLUE, label="this network"
    )
    above.plot([0, 1], [0, 1], "--", color=INK, label="perfectly calibrated", zorder=3)
    above.set(ylabel="share of right predictions", xlim=(0, 1), ylim=(0, 1.02))
    above.set_title(f"expected calibration error {100 * error:.2f} points")
    above.legend()
    below.bar(middles, [each["count"] for each in filled], width, color=GREY)
    below.set(yscale="log", ylim=(0.7, None))
    below.set(xlabel="probability of the prediction", ylabel="images")
    return figure


def name_ticks(axes: Axes, class_names: Sequence[str]) -> None:
    """Class names along the horizontal axis, slanted where they would run into each other."""
    names = [clipped(name) for name in class_names]
    axes.set_xticks(range(len(names)), names)
    if any(len(name) > 2 for name in names):
        for label in axes.get_xticklabels():
            label.set(rotation=45, ha="right", rotation_mode="anchor")


def draw_tiles(
    figure: Any, images: UInt8[np.ndarray, "n 28 28"], captions: Sequence[str], *, title: str
) -> None:
    figure.suptitle(title)
    if captions:
        show_tiles(figure.subplots(), [*images], captions, columns=COLUMNS, above=True)


def show_tiles(
    axes: Axes,
    images: Sequence[np.ndarray],
    captions: Sequence[str],
    *,
    columns: int,
    above: bool,
) -> None:
    """Show images in rows as one large image, which draws ten times faster than n axes.

    Args:
        above: whether a caption stands above its image, or below.
    """
    rows = max(1, -(-len(captions) // columns))
    canvas = np.zeros((rows * TILE_HEIGHT, columns * TILE_WIDTH), np.uint8)
    for k, (image, caption) in enumerate(zip(images, captions, strict=True)):
        top, left = k // columns * TILE_HEIGHT + above * CAPTION, k % columns * TILE_WIDTH + MARGIN
        canvas[top : top + 28, left : left + 28] = image
        y, side = (top - 1.5, "bottom") if above else (top + 29, "top")
        axes.text(left + 14, y, caption, fontsize=8, ha="center", va=side)
    show_image(axes, canvas, cmap="gray_r")


def height_of(num_tiles: int) -> float:
    """Inches for a title and the rows of tiles below it."""
    rows = -(-num_tiles // COLUMNS)
    return 0.4 + rows * WIDTH * TILE_HEIGHT / (COLUMNS * TILE_WIDTH)


def show_image(
    axes: Axes, image: np.ndarray | None, *, cmap: str, top: float = 255.0, frame: bool = False
) -> None:
    """Draw an image of values 0..top."""
    assert image is not None
    axes.imshow(image, cmap=cmap, vmin=0, vmax=top)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(visible=frame, color="#cccccc")


def clipped(name: str, *, limit: int = 12) -> str:
    """A name that fits into its place."""
    return name if len(name) <= limit else f"{name[: limit - 5]}…{name[-4:]}"  # often a number
