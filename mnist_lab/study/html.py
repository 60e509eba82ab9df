"""A comparison as one HTML file that opens from disk and asks no network: figures that answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mnist_lab.study.comparison import Study
from mnist_lab.study.curves import Rows
from mnist_lab.study.effect_lines import effect_rows, shares_line
from mnist_lab.study.figures import dot_plot, effects_plot, learning_curves, parallel_coordinates
from mnist_lab.study.report import extra_columns, finite, records, starred, table_rows
from mnist_lab.ui.files import write_bytes

EXTRA = "pip install 'mnist_lab[report]'"


def plotly_script() -> str | None:
    """Plotly's own JavaScript, 5 MB; None where the extra is not installed."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        return None
    return str(get_plotlyjs())


def write_html(
    study: Study, epochs: Mapping[Path, Rows], path: Path, *, script: str, remarks: Sequence[str]
) -> None:
    """Write the report: verdict, table, figures and effects.

    What comes from runs goes into the page as JSON and becomes text there, never markup.
    """
    template = Path(__file__).with_name("report.html").read_text()
    document = {
        "title": f"{len(study.groups) + len(study.unranked)} settings by {study.metric}",
        "notes": [*study.notes, *remarks],
        "verdict": study.verdict,
        "table": table_rows(study),
        "sort": sort_keys(study),
        "starred": bool(starred(study)),
        "effects": [*effect_rows(study), *([["", line]] if (line := shares_line(study)) else [])],
        "figures": [
            figure
            for figure in (
                dot_plot(study),
                parallel_coordinates(study),
                learning_curves(study, epochs),
                effects_plot(study),
            )
            if figure is not None
        ],
    }
    data = json.dumps(finite(document), ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    start, _, rest = template.partition("/* plotly */")
    middle, _, end = rest.partition("/* data */")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, "".join((start, script, middle, data, end)).encode())


def sort_keys(study: Study) -> list[list[Any]]:
    """What the table's rows are sorted by, a column each, as `table_rows` has them."""
    extra = extra_columns(study)
    return [
        [
            row["rank"] or len(study.groups) + 1,
            *(row["settings"].get(name) for name in study.names),
            *(row[name] for name in ("n", "mean", "sd", "low", *extra)),
        ]
        for row in records(study)
    ]
