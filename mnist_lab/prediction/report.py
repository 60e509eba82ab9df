"""What mnist-predict says of its pictures: a table, CSV, JSON, and a figure in a file."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from mnist_lab.prediction.asking import MAX_SHOWN
from mnist_lab.prediction.prediction import NUM_BEST, WIDEST, Prediction
from mnist_lab.ui.console import plain_table, screen
from mnist_lab.ui.errors import Failed, Refused
from mnist_lab.ui.files import csv_table

UNSURE = {True: "unsure", False: "", None: "-"}  # in a table
MARK = {"Software": "mnist-predict"}  # in a figure's PNG, which may then be replaced


def report(predictions: Sequence[Prediction], class_names: Sequence[str], *, form: str) -> None:
    console = screen()
    if form != "table":
        write = as_csv if form == "csv" else as_json
        console.out(write(predictions, class_names), end="", highlight=False)
        return
    if any(each.probs is not None for each in predictions):
        console.print(as_table(predictions, class_names))
        if class_names != [str(k) for k in range(len(class_names))] and len(class_names) <= WIDEST:
            console.print(", ".join(f"{k} {name}" for k, name in enumerate(class_names)))
    for each in predictions:
        if each.neighbours:
            near = ", ".join(f"{class_names[n.label]} ({n.index})" for n in each.neighbours)
            console.print(f"{each.name}: nearest training images {near}")
        if each.touching:
            console.print(f"{each.name}: digit {each.digit} looks like two that touch.")
        if each.error is not None:
            console.print(f"{each.name}: {each.error}")


def refuse_to_overwrite(path: Path) -> None:
    """Let a figure replace only a figure: `--show photo.png` may have meant a picture to read."""
    if path.suffix.lower() != ".png":
        raise Refused(f"--show {path}: must end in .png.")
    if not path.parent.is_dir():
        raise Refused(f"--show {path}: there is no folder {path.parent}.")
    try:
        own = not path.exists() or MARK["Software"].encode() in path.read_bytes()[:1000]
    except OSError:
        own = False
    if not own:
        raise Refused(
            f"--show {path}: is there and was not written by mnist-predict; give another name. "
            "(Pictures to read come before --show.)"
        )


def draw(predictions: Sequence[Prediction], class_names: Sequence[str], path: Path) -> None:
    shown = [each for each in predictions if each.probs is not None][:MAX_SHOWN]
    if not shown:
        return
    from mnist_lab.prediction.plots import predictions_figure
    from mnist_lab.ui.plotting import save

    try:
        save(predictions_figure(shown, class_names), path, metadata=MARK)
    except OSError as error:
        raise Failed("disk", f"{path}: {error.strerror}.") from None
    print(f"The figure is {path}.", file=sys.stderr)


def as_csv(predictions: Sequence[Prediction], class_names: Sequence[str]) -> str:
    """A box as left, top, width and height; neighbours as label:index, the nearest first."""
    rows = [each.row(class_names) for each in predictions]
    for row in rows:
        row["box"] = None if row["box"] is None else " ".join(map(str, row["box"]))
        if "neighbours" in row:
            row["neighbours"] = " ".join(f"{n['label']}:{n['index']}" for n in row["neighbours"])
    return csv_table([*rows[0]], [row.values() for row in rows])


def as_json(predictions: Sequence[Prediction], class_names: Sequence[str]) -> str:
    return json.dumps([each.row(class_names) for each in predictions], indent=2) + "\n"


def as_table(predictions: Sequence[Prediction], class_names: Sequence[str]) -> Table:
    """A row for each digit that was predicted; probabilities below 0.005 are a dot."""
    labelled = any(each.label is not None for each in predictions)
    several = any(each.digit for each in predictions)
    columns = ["picture", *["digit"] * several, "prediction", "unsure", *["actual"] * labelled]
    table = plain_table(*columns)
    few = len(class_names) <= WIDEST
    for k in range(len(class_names) if few else NUM_BEST):
        table.add_column(str(k) if few else f"{k + 1}.", justify="right", no_wrap=True)
    for each in predictions:
        if each.probs is not None and each.answer is not None:
            actual = "-" if each.label is None else class_names[each.label]
            table.add_row(
                each.name,
                *["-" if each.digit is None else str(each.digit)] * several,
                class_names[each.answer],
                UNSURE[each.unsure],
                *([actual] if labelled else []),
                *(
                    ("" if few else f"{class_names[k]} ") + (f"{p:.2f}" if p >= 0.005 else "·")
                    for k, p in zip(each.shown, each.probs[each.shown], strict=True)
                ),
            )
    return table
