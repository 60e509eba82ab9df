"""mnist-compare: which setting is better, by how much, and whether that is more than noise."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

from mnist_lab.study.comparison import Study
from mnist_lab.study.curves import read_curves
from mnist_lab.study.listing import lines, listing
from mnist_lab.study.looks import look
from mnist_lab.study.report import FORMATS, csv_text, json_text, text, unfinished_line
from mnist_lab.study.results import read_results
from mnist_lab.ui.console import screen
from mnist_lab.ui.errors import Refused
from mnist_lab.ui.verb import Parser, verb

EXAMPLES = """\
examples:
  mnist-compare outputs/sweeps/mlp/2026-01-31_18-00-00
  mnist-compare SWEEP_DIR --baseline optimizer=sgd,width=512,dropout=0
  mnist-compare SWEEP_DIR --filter optimizer=adam,rmsprop --filter max_epochs=20
  mnist-compare SWEEP_DIR --by optimizer          one row for each optimizer, over all else
  mnist-compare outputs --metric val/loss --format csv > runs.csv
  mnist-compare SWEEP_DIR --html report.html      one file to look at and to send
  mnist-compare outputs --list                    all runs and sweeps: state, size, date
  rm -r RUN_DIR/checkpoints                       drops a network, and keeps its results

Runs that differ only in their seed make one row. Settings go by their full name (model.width) or
the short one (width). Rows are ranked by val/acc unless --metric says otherwise; test metrics are
shown but do not rank unless asked for. Losses, the gap, seconds and parameters: lower is better;
of a metric of your own say it: --metric val/f1:max, or :min.

The plots learning_curves.png, effects.png and cost.png go to --out; without it to DIR/comparison/
if there is one DIR and it is no run, and for the formats csv and json nowhere.
"""

Epochs = Mapping[Path, Sequence[Mapping[str, float]]]
"""The rows of metrics.csv of each run."""


def main() -> None:
    verb(compare_command)


def compare_command(args: Sequence[str]) -> None:
    parser = Parser(
        "mnist-compare",
        "Compare runs, finished or still running: of one sweep, of many, or any.",
        examples=EXAMPLES,
    )
    parser.add_argument(
        "folders", nargs="+", type=Path, metavar="DIR", help="a run, a sweep or a folder of them"
    )
    parser.add_argument(
        "--metric",
        metavar="NAME[:max|:min]",
        help="what ranks: any of metrics.json, such as val/loss (val/acc)",
    )
    parser.add_argument(
        "--baseline",
        metavar="KEY=VALUE,...",
        help="the setting to beat; say what it takes to single out one row (the first run's)",
    )
    parser.add_argument(
        "--filter",
        action="append",
        default=[],
        metavar="KEY=VALUE,...",
        help="only these runs; several values of a key are alternatives, several keys all hold",
    )
    parser.add_argument(
        "--by", metavar="KEY,...", help="a row for each value of these, averaged over the others"
    )
    parser.add_argument("--format", choices=FORMATS, default="table", help="(table)")
    parser.add_argument(
        "--html",
        type=Path,
        metavar="FILE",
        help="a report that opens in a browser, without a network (needs the extra report)",
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where the plots go")
    parser.add_argument(
        "--list", action="store_true", help="instead: all runs and sweeps, state, size and date"
    )
    options = parser.parsed(args)

    if options.list:
        print_list(options)
        return
    results, remarks = read_results(options.folders)
    found = look(
        results,
        metric=options.metric,
        by=[key.strip() for key in options.by.split(",")] if options.by else (),
        where=options.filter,
        baseline=options.baseline,
    )
    if options.format == "csv":
        output = csv_text(found)
    elif options.format == "json":
        output = json_text(found, remarks)
    else:
        output = text(found, remarks, markdown=options.format == "markdown")
    screen().out(output, end="", highlight=False)
    if options.format == "csv":
        for line in (*found.notes, *map(unfinished_line, found.unfinished), *remarks):
            print(line, file=sys.stderr)
    folder = options.out or default_folder(options.folders, options.format)
    if found.verdict and (folder is not None or options.html is not None):
        epochs = read_curves(found)
        if options.html is not None:
            write_report(found, epochs, options.html, remarks=remarks)
        if folder is not None:
            draw_plots(found, epochs, folder, asked=options.out is not None)


def print_list(options: Namespace) -> None:
    named = (options.metric, options.baseline, options.filter, options.by, options.out)
    if any(named) or options.html or options.format != "table":
        raise Refused("--list: compares nothing; no other option goes with it.")
    for line in lines(listing(options.folders)):
        screen().print(line)


def default_folder(folders: Sequence[Path], style: str) -> Path | None:
    """Where plots go unless the user says so: beside the runs of one folder, for people only."""
    if len(folders) > 1 or style in ("csv", "json") or (folders[0] / "status.json").exists():
        return None
    return folders[0] / "comparison"


def write_report(found: Study, epochs: Epochs, path: Path, *, remarks: Sequence[str]) -> None:
    """Write the HTML file, or say what it takes.

    Raises:
        Refused: the file cannot be written.
    """
    from mnist_lab.study.html import EXTRA, plotly_script, write_html

    script = plotly_script()
    if script is None:
        print(f"No report: it needs plotly; {EXTRA}", file=sys.stderr)
        return
    try:
        write_html(found, epochs, path, script=script, remarks=remarks)
    except OSError as error:
        raise Refused(f"--html {path}: cannot be written ({error.strerror}).") from None
    print(f"report: {path}", file=sys.stderr)


def draw_plots(found: Study, epochs: Epochs, folder: Path, *, asked: bool) -> None:
    """Draw, and name the files.

    Raises:
        Refused: the folder that the user asked for cannot be written.
    """
    from mnist_lab.study.plots import draw

    if folder.is_symlink() and not asked:  # a stranger's sweep must not lead out of itself
        print(f"No plots: {folder}: a symbolic link; --out FOLDER names another", file=sys.stderr)
        return
    try:
        paths = draw(found, epochs, folder)
    except OSError as error:
        message = f"{folder}: cannot be written ({error.strerror}); --out FOLDER names another"
        if asked:
            raise Refused(message) from None
        print(f"No plots: {message}", file=sys.stderr)
        return
    for path in paths:
        print(f"plot: {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
