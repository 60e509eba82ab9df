"""A study as text: a table for people, Markdown, CSV or JSON for programs."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mnist_lab.study.comparison import LEVEL, Study, levels
from mnist_lab.study.effect_lines import effect_rows, shares_line
from mnist_lab.study.groups import Group, as_typed, short_name
from mnist_lab.study.metric import header, kind_of, number
from mnist_lab.study.results import Result
from mnist_lab.study.statistics import Summary, summary
from mnist_lab.ui.files import csv_table

FORMATS = ("table", "csv", "json", "markdown")
TEST = "test/acc"  # shown beside whatever ranks
PERCENT = f"{100 * LEVEL:g} %"


def record(group: Group, study: Study, *, rank: int | None) -> dict[str, Any]:
    """The values of a row, as fractions, nats and seconds; None where there is none."""
    runs = group.runs(study.metric)
    num_params = group.mean("num_params")
    row: dict[str, Any] = {"n": 0, **dict.fromkeys(("mean", "sd", "low", "high"))}
    if runs:
        row = dataclasses.asdict(summary_of(study, runs))
    return {
        "rank": rank,
        "label": group.label,
        "settings": dict(group.settings),
        **row,
        TEST: group.mean(TEST),
        "num_params": int(num_params) if num_params and num_params.is_integer() else num_params,
        "epochs": group.mean("epochs"),
        "seconds": group.mean("seconds"),
        "values": {str(seed): value for seed, value in sorted(runs.items())},
    }


def summary_of(study: Study, runs: Mapping[int, float]) -> Summary:
    """Of a row; an accuracy's interval ends at 0 and 1."""
    found = summary(runs.values(), level=LEVEL, num_images=study.ranking.num_images)
    if kind_of(study.metric) != "accuracy" or found.low is None or found.high is None:
        return found
    return dataclasses.replace(found, low=max(0.0, found.low), high=min(1.0, found.high))


def records(study: Study) -> list[dict[str, Any]]:
    return [
        *(record(group, study, rank=rank) for rank, group in enumerate(study.groups, start=1)),
        *(record(group, study, rank=None) for group in study.unranked),
    ]


def extra_columns(study: Study) -> list[str]:
    """What is shown beside the metric: test accuracy and costs, as far as any run has them.

    The epochs only where patience may have ended a run before its last one.
    """
    groups = (*study.groups, *study.unranked)
    stopped = any(r.settings.get("trainer.patience") for group in groups for r in group.results)
    return [
        name
        for name in (TEST, "num_params", *(["epochs"] if stopped else []), "seconds")
        if name != study.metric and any(group.mean(name) is not None for group in groups)
    ]


def csv_text(study: Study) -> str:
    """A header and a row for each setting, under the names by which it is set."""
    extra = extra_columns(study)
    interval = [f"ci{100 * LEVEL:g}_{end}" for end in ("low", "high")]
    header = ["rank", *study.names, "n", study.metric, "sd", *interval, *extra]
    rows = []
    for row in records(study):
        settings = [row["settings"].get(name) for name in study.names]
        values = [row[name] for name in ("n", "mean", "sd", "low", "high", *extra)]
        rows.append([row["rank"], *settings, *values])
    return csv_table(header, rows)


def json_text(study: Study, remarks: Sequence[str]) -> str:
    """Everything; null stands for what is unknown and for what is not finite."""
    whole = {
        "metric": study.metric,
        "higher_is_better": study.ranking.higher_is_better,
        "level": LEVEL,
        "settings": records(study),
        "baseline": study.ranking.baseline,
        "may_be_best": study.ranking.contenders,
        "comparisons": [
            {
                **dataclasses.asdict(comparison.gain),
                "best": comparison.best,
                "other": comparison.other,
                "p_holm": comparison.p,
                "num_comparisons": comparison.num_comparisons,
                "place": comparison.place,
                "separated": comparison.separated,
                "new_images": new_images_entry(study, comparison.other),
            }
            for comparison in study.ranking.comparisons
        ],
        "verdict": study.verdict,
        "effects": {
            name: {
                "levels": [
                    {"level": level, **dataclasses.asdict(effect.levels[level])}
                    for level in levels(effect)
                ],
                "balanced": effect.balanced,
                "num_left_out": effect.num_left_out,
                "depends": effect.depends and dataclasses.asdict(effect.depends),
            }
            for name, effect in study.effects.items()
        },
        "shares": dict(study.shares),
        "unfinished": [
            {
                "path": str(result.path),
                **{name: getattr(result, name) for name in ("state", "epoch", "reason", "message")},
            }
            for result in study.unfinished
        ],
        "remarks": list(remarks),
        "notes": study.notes,
    }
    return json.dumps(finite(whole), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def new_images_entry(study: Study, other: str) -> dict[str, Any] | None:
    if other not in study.new_images:
        return None
    gain, num_images = study.new_images[other]
    return {**dataclasses.asdict(gain), "num_images": num_images}


def finite(value: Any) -> Any:
    """JSON knows no NaN: null in its place."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def starred(study: Study) -> frozenset[str]:
    """Labels of the rows that may be the best, where these are several."""
    possible = study.ranking.contenders
    return frozenset(possible if len(possible) > 1 else ())


def table_rows(study: Study) -> list[list[str]]:
    """The table for people, its header first. A star marks what may be the best."""
    metric, extra = study.metric, extra_columns(study)
    settings = [short_name(name) for name in study.names]
    rows = [["#", *settings, "n", header(metric), "sd", f"{PERCENT} interval", *map(header, extra)]]
    stars = starred(study)
    for row in records(study):
        star = "*" if row["label"] in stars else ""
        low, high = number(metric, row["low"]), number(metric, row["high"])
        rows.append(
            [
                f"{row['rank'] or '-'}{star}",
                *(as_typed(row["settings"].get(name)) for name in study.names),
                str(row["n"]),
                number(metric, row["mean"]),
                number(metric, row["sd"]),
                "-" if row["low"] is None else f"{low} to {high}",
                *(number(name, row[name]) for name in extra),
            ]
        )
    return rows


def unfinished_line(result: Result) -> str:
    of = result.settings.get("trainer.max_epochs")
    epochs = f"after epoch {result.epoch}" + (f" of {of}" if of else "")
    why = ": ".join(part for part in (result.reason, result.message) if part)
    return f"{result.state} {epochs}: {result.path}" + (f" ({why})" if why else "")


def aligned(rows: Sequence[Sequence[str]], *, num_left: int) -> str:
    """Columns of equal width: the first ones to the left, the others, numbers, to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = enumerate(zip(row, widths, strict=True))
        text = (cell.ljust(w) if i < num_left else cell.rjust(w) for i, (cell, w) in cells)
        lines.append("  ".join(text).rstrip())
    return "\n".join(lines)


def piped(rows: Sequence[Sequence[str]], *, num_left: int) -> str:
    """A Markdown table; the first row is its header."""
    rule = [":--" if i < num_left else "--:" for i in range(len(rows[0]))]
    escaped = [[cell.replace("|", "\\|").replace("*", "\\*") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in (escaped[0], rule, *escaped[1:]))


def text(study: Study, remarks: Sequence[str], *, markdown: bool = False) -> str:
    """Warnings, the table, what did not finish, the answer and the effects."""
    table = piped if markdown else aligned

    def listed(lines: Iterable[str]) -> str:
        return "\n".join(f"- {line}" if markdown else line for line in lines)

    nothing = f"No run {'that can be read ' if remarks else ''}has finished yet."
    parts = [listed(study.notes)]
    if study.groups or study.unranked:
        parts.append(table(table_rows(study), num_left=1 + len(study.names)))
    if starred(study):
        parts.append("\\* may be the best" if markdown else "* may be the best")
    parts.append(listed([*map(unfinished_line, study.unfinished), *remarks]))
    parts.append(listed(study.verdict) or nothing)
    if study.effects:
        title = ["effect of", f"mean {study.metric} over the other settings"]
        if any(each.gain for effect in study.effects.values() for each in effect.levels.values()):
            title[1] += " (against the first run's, paired by seed)"
        parts.append(table([title, *effect_rows(study)], num_left=2))
        parts.append(shares_line(study))
    runs = [result for group in (*study.groups, *study.unranked) for result in group.results]
    if runs and "data" not in study.names:
        names = sorted({as_typed(result.settings.get("data")) for result in runs})
        parts.append(listed([f"data set: {', '.join(names)}"]))
    return "\n\n".join(part for part in parts if part) + "\n"
