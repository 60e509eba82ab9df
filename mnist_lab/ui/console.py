"""What a person sees of a run: on the screen, and the same in train.log."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console as RichConsole
from rich.console import RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from mnist_lab.ui.files import named

if TYPE_CHECKING:
    from lightning.pytorch.utilities.model_summary.model_summary import ModelSummary

FILE_WIDTH = 1000  # columns where the output is no terminal: no path is broken there
REFRESH_S = 0.1  # seconds between two drawings of the progress bar


class Screen(RichConsole):
    """The terminal; a run goes on when it is gone, as in `mnist-train | head`, or a file is full.

    A notebook gets plain lines, although rich and ipykernel (by FORCE_COLOR) take it for a
    terminal: a bar that is drawn over needs a real one.
    """

    def __init__(self, **settings: Any) -> None:
        in_notebook = "ipykernel" in sys.modules
        settings = {"force_terminal": False if in_notebook else None, **settings}
        super().__init__(force_jupyter=False, emoji=False, **settings)
        if not self.is_terminal:
            self.width = FILE_WIDTH

    def on_broken_pipe(self) -> None:
        self.quiet = True

    def print(self, *objects: Any, **settings: Any) -> None:
        try:
            super().print(*objects, **settings)
        except OSError as error:
            self.quiet = True
            with contextlib.suppress(OSError):
                print(f"WARNING: what is printed is lost: {error.strerror}.", file=sys.stderr)


def screen() -> Screen:
    """A terminal as wide as it is, or a pipe or file that cuts nothing off; text is as it is."""
    return Screen(highlight=False, markup=False, soft_wrap=True)


class Console:
    """Prints to the screen and to a run's log; a context that also catches warnings into the log.

    Args:
        quiet: the log only, as in a sweep's worker.
    """

    def __init__(self, log: Path, *, quiet: bool = False) -> None:
        self.screen = Screen(quiet=quiet, highlight=False)
        self.path = log
        self.file = log.open("a")
        plain: Any = {"force_terminal": False, "force_jupyter": False}  # whatever FORCE_COLOR says
        plain |= {"width": FILE_WIDTH, "highlight": False, "emoji": False}
        self.log = RichConsole(file=self.file, **plain)
        self.bar: Progress | None = None
        self.drawn = 0.0
        self.caught = warnings.catch_warnings()

    def __enter__(self) -> Console:
        self.caught.__enter__()
        warnings.showwarning = self._show_warning  # type: ignore[assignment]
        # Lightning's own lines about devices and tips repeat or advertise; ours say what matters.
        for name in ("lightning.pytorch", "lightning.fabric", "lightning"):
            logging.getLogger(name).setLevel(logging.ERROR)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end_bar()
        self.caught.__exit__(kind, value, traceback)
        with contextlib.suppress(OSError):  # of a full disk, which must not hide what ended the run
            self.file.close()

    def _show_warning(
        self, message: object, category: type[Warning], filename: str, lineno: int, *_: object
    ) -> None:
        self.log.print(f"{filename}:{lineno}: {category.__name__}: {message}", markup=False)

    def print(self, renderable: RenderableType = "") -> None:
        self.screen.print(renderable)
        with named(self.path):
            self.log.print(renderable)
            self.file.flush()

    def print_plain(self, text: str) -> None:
        """Print text that another program has laid out, lines as long as they are."""
        self.screen.print(text, markup=False, soft_wrap=True)
        self.log.print(text, markup=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        self.print(f"[bold yellow]WARNING[/] {text}")

    def log_traceback(self) -> None:
        """Write the exception being handled to train.log, whole."""
        import traceback

        self.log.print(traceback.format_exc(), markup=False, soft_wrap=True)
        self.file.flush()

    def start_bar(self, label: str, total: int) -> None:
        self.end_bar()
        if self.screen.is_terminal and not self.screen.quiet:
            self.bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[means]}"),
                console=self.screen,
                transient=True,
                auto_refresh=False,
            )
            self.bar.add_task(label, total=total, means="")
            self.bar.start()

    def draw_bar(self, done: int, means: str) -> None:
        self.drawn = time.monotonic()
        if self.bar is not None:
            self.bar.update(self.bar.task_ids[0], completed=done, means=means, refresh=True)

    @property
    def bar_is_due(self) -> bool:
        """Whether to draw now: means are only fetched from the device when they are shown."""
        return self.bar is not None and time.monotonic() - self.drawn > REFRESH_S

    def end_bar(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


def show_download(name: str, num_bytes: int, total: int | None) -> None:
    """How far a download is, on a terminal: a line that whatever is said next is written over."""
    size = f" of {total / 1e6:.1f}" if total else ""
    if sys.stderr.isatty():
        text = f"downloading {name}: {num_bytes / 1e6:.1f}{size} MB "
        print(text, end="\r", file=sys.stderr, flush=True)


@contextlib.contextmanager
def progress_bar(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on the terminal, gone when its work is done; yields what to call with each step."""
    terminal = Screen(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns,
        TimeRemainingColumn(),
        console=terminal,
        transient=True,
        disable=not terminal.is_terminal,
    ) as bar:
        task = bar.add_task(label, total=total)
        yield lambda steps: bar.advance(task, steps)


def printable(text: str) -> str:
    """Text from a file or its name, with nothing in it that could steer the terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


def percent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{100 * fraction:.2f} %"


def plain_table(*columns: str, right: Sequence[str] = ()) -> Table:
    """Columns under bold names and without lines; numbers to the `right`, after the others."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, overflow="fold")
    for name in right:
        table.add_column(name, justify="right")
    return table


def two_columns(rows: Mapping[str, str]) -> Table:
    """Names in bold, and beside each what it is."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")  # a path is of use only as a whole
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def layer_table(summary: ModelSummary) -> Table:
    """Layers with the shapes that they give out and their parameters; from Lightning's summary."""
    table = plain_table("layer", "output", right=("parameters",))
    modules = [module for _, module in summary.named_modules]
    rows = zip(modules, summary.layer_types, summary.out_sizes, summary.param_nums, strict=True)
    for module, kind, size, num_params in rows:
        is_metric = type(module).__module__.startswith("torchmetrics")
        if not (is_metric or [*module.children()]):  # else it is no layer, or made of some
            shape = " x ".join(str(n) for n in size[1:]) if isinstance(size, list) else "-"
            table.add_row(kind, shape, f"{num_params:,}" if num_params else "-")
    return table


def epoch_line(row: Mapping[str, float], max_epochs: int) -> str:
    """One line an epoch: loss in nats, accuracy in percent."""
    width = len(str(max_epochs))
    text = (
        f"epoch {row['epoch']:{width}.0f}/{max_epochs}   "
        f"train loss {row['train/loss']:.4f} acc {percent(row['train/acc'])}"
    )
    if "val/loss" in row:
        # closer together: two digits of epochs, too, fit into 80 columns
        text += f"  val loss {row['val/loss']:.4f} acc {percent(row['val/acc'])}"
    return f"{text}  {row['seconds']:.1f} s"


def result_table(metrics: Mapping[str, Any], directory: Path) -> Table:
    return two_columns(result_rows(metrics, directory))


def result_rows(metrics: Mapping[str, Any], directory: Path) -> dict[str, str]:
    """What a finished run comes to, in words: name -> value."""
    best = "-"
    if "test/acc_best" in metrics:
        best = f"{percent(metrics['test/acc_best'])}  (epoch {metrics['best_epoch']})"
    return {
        "data set": metrics["data"],
        "test loss": f"{metrics['test/loss']:.4f}",
        "test accuracy, last epoch": percent(metrics["test/acc"]),
        "test accuracy, best validation epoch": best,
        "training accuracy, dropout off": percent(metrics["train/acc_eval"]),
        "gap, training - test": f"{100 * metrics['gap']:.2f} points",
        "epochs": f"{metrics['epochs']} of {metrics.get('max_epochs', metrics['epochs'])}",
        "parameters": f"{metrics['num_params']:,}",
        "seconds of training": f"{metrics['seconds']:.1f}",
        "run directory": str(directory),
    }
