"""Plots of a comparison: learning curves, the effect of each setting, what accuracy costs."""

from __future__ import annotations

import gc
import itertools
import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator, StrMethodFormatter
from matplotlib.transforms import ScaledTranslation

from mnist_lab.settings.hyperparameters import CHOICES
from mnist_lab.study.comparison import Study, levels
from mnist_lab.study.curves import Rows, by_epoch, means_of
from mnist_lab.study.effects import Effect
from mnist_lab.study.groups import as_typed, short_name
from mnist_lab.study.metric import is_fraction
from mnist_lab.ui.plotting import BLUE, COLORS, GREY, INK, count_epochs, save, styled, write_percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS = ("o", "s", "^", "D", "v", "P")  # as many as COLORS
DOTS: list[dict[str, Any]] = [
    {"marker": marker, "linestyle": "", "markersize": 5, "zorder": 3} for marker in MARKERS
]
GAP = (math.nan, math.nan)  # interrupts a line
AT_ONCE = 50  # grey curves
MAX_PANELS = 6
MOST_NAMED = 3  # of the settings whose curves lie below the plot


def draw(study: Study, epochs: Mapping[Path, Rows], folder: Path) -> list[Path]:
    """Write those plots for which there is something to draw, as PNG.

    Args:
        epochs: of each run in the study's groups, by its directory.
    """
    paths = []
    for name, figure_of in FIGURES.items():
        if (figure := figure_of(study, epochs)) is not None:
            paths.append(save(figure, folder / f"{name}.png"))
        del figure
        gc.collect()  # a figure refers to itself in a hundred places, and takes 10 MB
    return paths


def figures(study: Study, epochs: Mapping[Path, Rows]) -> dict[str, Figure]:
    """Draw the same for whoever looks at them at once, by name."""
    drawn = {name: figure_of(study, epochs) for name, figure_of in FIGURES.items()}
    return {name: figure for name, figure in drawn.items() if figure is not None}


@styled
def curves_figure(study: Study, epochs: Mapping[Path, Rows]) -> Figure | None:
    """Accuracy and loss by epoch: a line for the mean over seeds, a band from lowest to highest.

    The best settings have colours, the others are grey. The accuracy axis shows the range of the
    best ones, and says what lies below it; the loss has a logarithmic axis.
    """
    groups = [*study.groups, *study.unranked]
    rows = [row for group in groups for r in group.results for row in epochs.get(r.path, ())]
    if not rows:
        return None
    has_val = any("val/acc" in row for row in rows)
    split, words = ("val", "validation") if has_val else ("train", "training")
    best = study.groups[: len(COLORS)]
    columns = 1 if any(len(group.label) > 60 for group in best) else 2
    height = 3.2 + 0.2 * (len(best) + 1) / columns  # inches: the panels, then the legend
    figure = Figure(figsize=(10, height), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.set_title(f"{words} accuracy")
    right.set(title=f"{words} loss (nats)", yscale="log")
    for axes, name in ((left, f"{split}/acc"), (right, f"{split}/loss")):
        others = [means_of(group, epochs, name) for group in groups[len(best) :]]
        grey_curves(axes, [curve for curve in others if curve])
        for group, color in reversed([*zip(best, COLORS, strict=False)]):
            coloured_curve(axes, by_epoch(group, epochs, name), color)
    lines = [
        Line2D([], [], color=color, label=f"{rank}. {group.label}")
        for rank, (group, color) in enumerate(zip(best, COLORS, strict=False), start=1)
    ]
    if len(groups) > len(best):
        lines.append(Line2D([], [], color=GREY, label=f"{len(groups) - len(best)} others"))
    curves = {group.label: means_of(group, epochs, f"{split}/acc") for group in groups}
    show_best(left, curves, best=[group.label for group in best])
    write_percent(left)
    plain_numbers(right, "y")
    for axes in (left, right):
        count_epochs(axes)
    figure.legend(
        handles=lines,
        title=f"settings by {study.metric}; line: mean of the seeds, band: lowest to highest",
        loc="outside lower left",
        ncols=columns,
        alignment="left",
    )
    return figure


def grey_curves(axes: Axes, curves: Sequence[Mapping[int, float]]) -> None:
    """Many in one line that is interrupted: a thousand lines would take seconds, and one line that
    goes everywhere 40 MB.
    """
    for first in range(0, len(curves), AT_ONCE):
        some = curves[first : first + AT_ONCE]
        x = [x for curve in some for x in (*curve, math.nan)]
        y = [y for curve in some for y in (*curve.values(), math.nan)]
        marker = "o" if max(map(len, some)) == 1 else ""
        axes.plot(x, y, marker=marker, linewidth=0.8, color=GREY, zorder=1)


def coloured_curve(axes: Axes, curve: Mapping[int, Sequence[float]], color: str) -> None:
    if not curve:
        return
    means = [math.fsum(values) / len(values) for values in curve.values()]
    marker = "o" if len(means) == 1 else ""
    axes.plot([*curve], means, marker=marker, linewidth=1.8, color=color, zorder=3)
    low, high = map(min, curve.values()), map(max, curve.values())
    band: Any = {"alpha": 0.15, "linewidth": 0, "color": color, "zorder": 3}
    axes.fill_between([*curve], [*low], [*high], **band)


def show_best(
    axes: Axes, curves: Mapping[str, Mapping[int, float]], *, best: Sequence[str]
) -> None:
    """Give an axis the range of the best curves, and name those that lie below all of it."""
    values = [value for label in best for value in curves[label].values()]
    lowest, highest = min(values, default=0.0), max(values, default=0.0)
    if highest <= lowest:
        return
    margin = 0.08 * (highest - lowest)
    axes.set_ylim(lowest - margin, min(1 + margin / 2, highest + margin))
    below = [
        label for label, curve in curves.items() if curve and max(curve.values()) < lowest - margin
    ]
    if below:
        names = [textwrap.shorten(label, 44, placeholder=" ...") for label in below[:MOST_NAMED]]
        if len(below) > MOST_NAMED:
            names.append(f"{len(below) - MOST_NAMED} more")
        text = "\n".join(["lower than this:", *names])
        place: Any = {"transform": axes.transAxes, "ha": "right", "va": "bottom", "fontsize": 7}
        axes.text(0.99, 0.02, text, color="#666666", **place)


@styled
def effects_figure(study: Study) -> Figure | None:
    """A panel for each setting: the mean at each level over the others, and the settings behind."""
    effects = {
        name: effect
        for name, effect in study.effects.items()
        if any(level.mean is not None for level in effect.levels.values())
    }
    shown_effects = list(effects.items())[:MAX_PANELS]
    if not shown_effects:
        return None
    widths = [max(2.0, len(effect.levels)) for _, effect in shown_effects]
    figure = Figure(figsize=(min(14, 1.6 + 1.1 * sum(widths)), 3.6), layout="constrained")
    panels = figure.subplots(1, len(widths), sharey=True, squeeze=False, width_ratios=widths)[0]
    for axes, (name, effect) in zip(panels, shown_effects, strict=True):
        effect_panel(axes, name, effect, study)
    panels[0].set_ylabel(study.metric)
    if is_fraction(study.metric):
        write_percent(panels[0])
    title = f"{study.metric}: mean over the other settings (blue), and each setting (grey)"
    if any(effect.depends for _, effect in shown_effects):
        title += "\nhollow: a mean of what differs from place to place, so look at the grey ones"
    figure.suptitle(
        title,
        x=0.01,
        ha="left",
        fontsize=10,
    )
    return figure


def effect_panel(axes: Axes, name: str, effect: Effect, study: Study) -> None:
    numeric = all(isinstance(level, (int, float)) for level in effect.levels)
    for x, level in enumerate(levels(effect)):
        means = [g.mean(study.metric) for g in study.groups if g.settings.get(name) == level]
        spots = [mean for mean in means if mean is not None]
        # Beside the mean, and spread a little, so that equal values are seen.
        places = [x - 0.2 + 0.03 * (i % 5 - 2) for i in range(len(spots))]
        axes.plot(places, spots, "o", color=GREY, markersize=3.5, zorder=2)
    points = [(x, effect.levels[level].mean) for x, level in enumerate(levels(effect))]
    known = [(x, mean) for x, mean in points if mean is not None]
    style: Any = {"linestyle": "-" if numeric and not effect.depends else "", "color": BLUE}
    if effect.depends:
        style["markerfacecolor"] = "white"
    axes.plot(*zip(*known, strict=True), marker="o", zorder=3, **style)
    for (x, mean), (_, following) in zip(known, [*known[1:], known[-1]], strict=True):
        text = f"{100 * mean:.2f}" if is_fraction(study.metric) else f"{mean:.3g}"
        beside = (6, -12 if numeric and following > mean else 5)  # off the line to the next
        axes.annotate(text, (x, mean), beside, textcoords="offset points", color=BLUE)
    on = ", ".join(map(short_name, effect.depends.on)) if effect.depends else ""
    axes.set_title(f"{short_name(name)}, depends on\n{on}" if on else short_name(name))
    names = [as_typed(level) for level in levels(effect)]
    slanted: Any = {"rotation": 30, "ha": "right"} if max(map(len, names)) > 12 else {}
    axes.set_xticks(range(len(points)), names, **slanted)
    axes.set_xlim(-0.5, len(points) - 0.35)
    axes.grid(visible=False, axis="x")
    axes.margins(y=0.12)


@styled
def cost_figure(study: Study) -> Figure | None:
    """The metric against the number of parameters and against the seconds of training."""
    if len(study.groups) < 2:
        return None
    kinds, kind_name = kinds_of(study)
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, cost, title in (
        (left, "num_params", "parameters"),
        (right, "seconds", "seconds of training"),
    ):
        cost_panel(axes, study, kinds, cost)
        axes.set_xlabel(title)
    left.set_ylabel(study.metric)
    if is_fraction(study.metric):
        write_percent(left)
    dots: Any = {"linestyle": ""}
    handles = [
        Line2D([], [], color=color, marker=marker, label=f"{kind_name}{kind}", **dots)
        for kind, color, marker in zip(dict.fromkeys(kinds), COLORS, MARKERS, strict=False)
    ]
    dots |= {"marker": "o", "markerfacecolor": "none", "markersize": 11}
    handles += [
        Line2D([], [], color=INK, label=f"best: {study.groups[0].label}", **dots),
        Line2D([], [], color=GREY, linestyle="--", label="best at this cost or less"),
        Line2D([], [], color=INK, linewidth=0.9, label="lowest to highest seed"),
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=3)
    return figure


def kinds_of(study: Study) -> tuple[list[str], str]:
    """What colours the points: a choice that varies, else the setting of the largest effect."""
    names = sorted(study.effects, key=lambda name: name not in CHOICES)
    for name in names:
        kinds = [as_typed(group.settings.get(name)) for group in study.groups]
        if name in study.names and 2 <= len(set(kinds)) <= len(COLORS):
            return kinds, f"{short_name(name)}="
    return ["setting"] * len(study.groups), ""


def cost_panel(axes: Axes, study: Study, kinds: Sequence[str], cost: str) -> None:
    order = list(dict.fromkeys(kinds))
    costs_of = [group.mean(cost) for group in study.groups]
    # Kinds stand beside each other, a few points apart, where all of them cost the same.
    pairs = {*zip(costs_of, kinds, strict=True)}
    apart = 5 / 72 if len({x for x, _ in pairs}) < len(pairs) else 0
    seeds = [[*study.ranking.runs[group.label].values()] for group in study.groups]
    rows = [
        (x, math.fsum(values) / len(values), min(values), max(values), kind)
        for x, values, kind in zip(costs_of, seeds, kinds, strict=True)
        if x is not None
    ]
    found = [(x, y) for x, y, *_ in rows]
    for number, kind in enumerate(order):
        aside = apart * (number - (len(order) - 1) / 2)
        place = axes.transData + ScaledTranslation(aside, 0, axes.figure.dpi_scale_trans)
        style: Any = {"color": COLORS[number], "transform": place}
        mine = [row for row in rows if row[-1] == kind]
        if not mine:
            continue
        axes.plot(*zip(*((x, y) for x, y, *_ in mine), strict=True), **style, **DOTS[number])
        bars = [
            (value, at) for x, _, low, high, _ in mine for value, at in ((x, low), (x, high), GAP)
        ]
        axes.plot(*zip(*bars, strict=True), linewidth=0.9, alpha=0.6, **style)
        if mine[0] is rows[0]:
            style["color"] = INK
            axes.plot(*found[0], "o", markerfacecolor="none", markersize=11, zorder=4, **style)
    better = max if study.ranking.higher_is_better else min
    frontier = [*itertools.accumulate((y for _, y in sorted(found)), better)]
    axes.step([x for x, _ in sorted(found)], frontier, "--", where="post", color=GREY, zorder=1)
    costs = [x for x, _ in found]
    if costs and min(costs) > 0 and max(costs) > 10 * min(costs):
        axes.set_xscale("log")
        plain_numbers(axes, "x")
    elif cost == "num_params":
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    # What stands aside has coordinates of its own, which the axes would not make room for.
    values = [value for of_group in seeds for value in of_group]
    axes.margins(x=0.07)
    axes.update_datalim([(x, y) for x in costs for y in (min(values), max(values))])
    axes.autoscale_view()


def plain_numbers(axes: Axes, which: str) -> None:
    """Write 0.2 and 10,000 on a logarithmic axis, not powers of ten."""
    axis = axes.yaxis if which == "y" else axes.xaxis
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_locator(NullLocator())


FIGURES: dict[str, Callable[[Study, Mapping[Path, Rows]], Figure | None]] = {
    "learning_curves": curves_figure,
    "effects": lambda study, _: effects_figure(study),
    "cost": lambda study, _: cost_figure(study),
}
