"""The figures of the HTML report, as Plotly takes them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mnist_lab.study.comparison import Study, levels
from mnist_lab.study.curves import Rows, by_epoch, means_of
from mnist_lab.study.effects import Effect
from mnist_lab.study.groups import Group, as_typed, short_name
from mnist_lab.study.metric import header, is_fraction
from mnist_lab.study.report import records
from mnist_lab.ui.plotting import COLORS as ON_WHITE
from mnist_lab.ui.plotting import GREY

BLUE = "#2A87D0"  # is seen on white and on black
COLORS = (BLUE, *ON_WHITE[1:])
SCALE = [[0, "#8A9099"], [0.5, BLUE], [1, "#E8730C"]]
MOST_NAMED = 60  # settings that have a line of their own in the dot plot
MOST_TICKS = 24  # values of a setting that its axis names
MAX_PANELS = 6  # effects
Figure = dict[str, Any]
"""What Plotly draws, with a `title`: `data` and `layout`."""


def scaled(study: Study, value: float) -> float:
    return 100 * value if is_fraction(study.metric) else value


def dot_plot(study: Study) -> Figure | None:
    """Means with their intervals, best first; those that may be the best in blue."""
    rows = [row for row in records(study) if row["rank"]]
    if len(rows) < 2:
        return None
    possible = frozenset(study.ranking.contenders)
    named = len(rows) <= MOST_NAMED
    data = []
    for name, color, wanted in (("may be the best", BLUE, True), ("is not the best", GREY, False)):
        mine = [row for row in rows if (row["label"] in possible) is wanted]
        means = [scaled(study, row["mean"]) for row in mine]
        low, high = (
            [scaled(study, row["mean"] if row[end] is None else row[end]) for row in mine]
            for end in ("low", "high")
        )
        bars = {
            "type": "data",
            "symmetric": False,
            "array": [end - mean for end, mean in zip(high, means, strict=True)],
            "arrayminus": [mean - end for end, mean in zip(low, means, strict=True)],
            "thickness": 1,
            "width": 0,
        }
        places = [row["rank"] for row in mine]
        x, y, error = (means, places, "error_x") if named else (places, means, "error_y")
        data.append(
            {
                "type": "scatter" if named else "scattergl",
                "mode": "markers",
                "name": name,
                "x": x,
                "y": y,
                "text": [f"{row['rank']}. {row['label']} (n={row['n']})" for row in mine],
                "hovertemplate": "%{text}<br>%{" + ("x" if named else "y") + ":.4f}<extra></extra>",
                "marker": {"color": color, "size": 8 if named else 5},
                error: bars,
            }
        )
    title = header(study.metric)
    if named:
        labels = [row["label"] for row in rows]
        layout = {
            "height": 120 + 22 * len(rows),
            "xaxis": {"title": {"text": title}},
            "yaxis": {
                "autorange": "reversed",
                "tickvals": [row["rank"] for row in rows],
                "ticktext": labels,
                "automargin": True,
            },
        }
    else:
        layout = {
            "height": 420,
            "xaxis": {"title": {"text": "rank"}},
            "yaxis": {"title": {"text": title}},
        }
    return {"title": "Settings with their 95 % intervals", "data": data, "layout": layout}


def parallel_coordinates(study: Study) -> Figure | None:
    """A line for each setting through its values, coloured by the metric; drag to choose."""
    groups = study.groups
    if len(groups) < 2 or not study.names:
        return None
    means = [scaled(study, mean) for g in groups if (mean := g.mean(study.metric)) is not None]
    dimensions = [dimension(name, groups) for name in study.names]
    dimensions.append({"label": header(study.metric), "values": means})
    line = {"color": means, "colorscale": SCALE, "showscale": True}
    if not study.ranking.higher_is_better:
        line["reversescale"] = True
    data = [{"type": "parcoords", "dimensions": dimensions, "line": line}]
    return {
        "title": "Parallel coordinates: drag along an axis to choose",
        "data": data,
        "layout": {"height": 420, "margin": {"l": 80, "r": 60, "t": 50, "b": 30}},
    }


def dimension(name: str, groups: Sequence[Group]) -> dict[str, Any]:
    values = [group.settings.get(name) for group in groups]
    distinct = [*dict.fromkeys(values)]
    numbers = [v for v in distinct if isinstance(v, (int, float)) and not isinstance(v, bool)]
    if len(numbers) == len(distinct) > MOST_TICKS:
        return {"label": short_name(name), "values": values}
    distinct.sort(key=lambda v: (v not in numbers, v if v in numbers else 0, as_typed(v)))
    place = {value: i for i, value in enumerate(distinct)}
    return {
        "label": short_name(name),
        "values": [place[value] for value in values],
        "tickvals": [*range(len(distinct))],
        "ticktext": [as_typed(value)[:30] for value in distinct],
        "range": [-0.1, len(distinct) - 0.9],
    }


def learning_curves(study: Study, epochs: Mapping[Path, Rows]) -> Figure | None:
    """Accuracy and loss by epoch: the best settings with all seeds' range, the others grey."""
    groups = [*study.groups, *study.unranked]
    best = study.groups[: len(COLORS)]
    rows = [row for g in groups for result in g.results for row in epochs.get(result.path, ())]
    has_val = any("val/acc" in row for row in rows)
    split = "val" if has_val else "train"
    data: list[dict[str, Any]] = []
    for axis, name in (("", f"{split}/acc"), ("2", f"{split}/loss")):
        place = {"xaxis": f"x{axis}", "yaxis": f"y{axis}"}
        factor = 100 if name.endswith("acc") else 1
        x: list[Any] = []
        y: list[Any] = []
        words: list[Any] = []
        for group in groups[len(best) :]:
            curve = means_of(group, epochs, name)
            x += [*curve, None]
            y += [*(factor * value for value in curve.values()), None]
            words += [group.label] * (len(curve) + 1)
        if x:
            data.append(
                {
                    "type": "scattergl" if len(x) > 2000 else "scatter",
                    "mode": "lines",
                    "name": f"{len(groups) - len(best)} others",
                    "legendgroup": "others",
                    "showlegend": not axis,
                    "x": x,
                    "y": y,
                    "text": words,
                    "hovertemplate": "%{text}<br>epoch %{x}: %{y:.4f}<extra></extra>",
                    "line": {"color": GREY, "width": 1},
                    **place,
                }
            )
        for rank, (group, color) in enumerate(zip(best, COLORS, strict=False), start=1):
            runs = by_epoch(group, epochs, name)
            curve = means_of(group, epochs, name)
            spread = [max(values) - curve[e] for e, values in runs.items()]
            below = [curve[e] - min(values) for e, values in runs.items()]
            data.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers",
                    "name": f"{rank}. {group.label}",
                    "legendgroup": str(rank),
                    "showlegend": not axis,
                    "x": [*curve],
                    "y": [factor * value for value in curve.values()],
                    "error_y": {
                        "type": "data",
                        "symmetric": False,
                        "array": [factor * value for value in spread],
                        "arrayminus": [factor * value for value in below],
                        "thickness": 1,
                    },
                    "hovertemplate": "epoch %{x}: %{y:.4f}",
                    "line": {"color": color},
                    **place,
                }
            )
    if not any(trace["x"] for trace in data):
        return None
    last = max((row.get("epoch", 1) for row in rows), default=1)
    whole: Figure = {"title": {"text": "epoch"}, "tick0": 1, "dtick": max(1, math.ceil(last / 10))}
    words_of = "validation" if has_val else "training"
    layout = {
        "height": 440,
        "legend": {"orientation": "h", "y": -0.2},
        "xaxis": {"domain": [0, 0.46], **whole},
        "yaxis": {"title": {"text": f"{words_of} accuracy %"}},
        "xaxis2": {"domain": [0.54, 1], "anchor": "y2", **whole},
        "yaxis2": {"type": "log", "title": {"text": f"{words_of} loss, nats"}, "anchor": "x2"},
    }
    title = "Learning curves: mean, lowest and highest seed"
    return {"title": title, "data": data, "layout": layout}


def effects_plot(study: Study) -> Figure | None:
    """A panel a setting: its means over the others, and each of the settings behind them."""
    known: list[tuple[str, Effect]] = [
        (name, effect)
        for name, effect in study.effects.items()
        if any(level.mean is not None for level in effect.levels.values())
    ][:MAX_PANELS]
    if not known:
        return None
    data: list[dict[str, Any]] = []
    layout: Figure = {
        "height": 380,
        "showlegend": False,
        "yaxis": {"title": {"text": header(study.metric)}},
        "annotations": [],
    }
    for number, (name, effect) in enumerate(known):
        axis = f"x{number + 1 if number else ''}"
        start, end = number / len(known), (number + 0.85) / len(known)
        order = levels(effect)
        layout[axis.replace("x", "xaxis")] = {
            "domain": [start, end],
            "tickvals": [*range(len(order))] if len(order) <= MOST_TICKS else None,
            "ticktext": [as_typed(level)[:20] for level in order],
            "range": [-0.6, len(order) - 0.4],
            "title": {"text": short_name(name) + (" (depends)" if effect.depends else "")},
        }
        place = {level: i for i, level in enumerate(order)}
        spots = [
            (place[g.settings[name]] - 0.15, scaled(study, mean), g.label)
            for g in study.groups
            if g.settings.get(name) in place and (mean := g.mean(study.metric)) is not None
        ]
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": [x for x, _, _ in spots],
                "y": [y for _, y, _ in spots],
                "text": [label for _, _, label in spots],
                "hovertemplate": "%{text}<br>%{y:.4f}<extra></extra>",
                "marker": {"color": GREY, "size": 5},
                "xaxis": axis,
            }
        )
        means = [(i, effect.levels[level].mean) for level, i in place.items()]
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": [x for x, _ in means],
                "y": [None if mean is None else scaled(study, mean) for _, mean in means],
                "hovertemplate": "mean over the others: %{y:.4f}<extra></extra>",
                "marker": {
                    "color": BLUE,
                    "size": 10,
                    "symbol": "circle-open" if effect.depends else "circle",
                },
                "xaxis": axis,
            }
        )
    title = "Effects: means over the others (blue; open where they depend), and each setting"
    return {"title": title, "data": data, "layout": layout}
