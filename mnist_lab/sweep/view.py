"""The pool as it runs: a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from mnist_lab.run.directory import read_metrics, read_status
from mnist_lab.sweep.plan import Job, Plan, short_names
from mnist_lab.sweep.record import Sweep
from mnist_lab.ui.console import Screen, percent
from mnist_lab.ui.errors import Refused

DRAW_S = 0.5  # seconds between two drawings
FILE_WIDTH = 200  # columns where the output is no terminal


class View:
    """Jobs that ended as lines; below them, on a terminal, those that run and what is left.

    Args:
        jobs: those that are run now, of the sweep's.
    """

    def __init__(self, sweep: Sweep, jobs: Sequence[Job]) -> None:
        self.sweep = sweep
        self.console = screen()
        self.num_jobs = len(jobs)
        self.epochs = {job.number: job.settings["trainer"]["max_epochs"] for job in jobs}
        self.begun = {job.number: self.epochs_done(job) for job in jobs}  # before we came
        self.ended = 0
        self.failed = 0
        self.finished_epochs = 0
        self.running: Mapping[int, Job] = {}
        self.start = self.drawn = time.monotonic()
        self.live: Live | None = None
        if self.console.is_terminal:
            self.live = Live(console=self.console, auto_refresh=False, transient=True)

    def __enter__(self) -> View:
        if self.live is not None:
            self.live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.live is not None:
            self.live.stop()

    def epochs_done(self, job: Job) -> int:
        path = self.sweep.job_path(job)
        try:
            return int(read_status(path).get("epoch", 0))
        except (Refused, TypeError, ValueError):  # not begun
            return 0

    def end(self, job: Job, state: str) -> None:
        """Print the line of a job that ended."""
        self.ended += 1
        self.running = {slot: other for slot, other in self.running.items() if other is not job}
        self.finished_epochs += self.epochs[job.number] - self.begun[job.number]
        path = self.sweep.job_path(job)
        how = Text(state)
        if state == "finished":
            metrics = read_metrics(path)
            how = Text(
                f"val {percent(metrics.get('val/acc'))}  test {percent(metrics['test/acc'])}"
            )
            how.append(f"  {metrics['seconds']:.1f} s")
        elif state == "failed":
            self.failed += 1
            how = Text("failed", "bold red") + Text(f": {last_line(path)}")
        width = len(str(self.num_jobs))
        line = Text(f"[{self.ended:{width}}/{self.num_jobs}]  {job.directory}  ")
        self.console.print(line + how + Text(f"  {self.time_left()}"))

    def draw(self, running: Mapping[int, Job]) -> None:
        """Show the jobs that run, by slot; now and then, since their files must be read."""
        self.running = running
        if self.live is not None and time.monotonic() - self.drawn > DRAW_S:
            self.drawn = time.monotonic()
            self.live.update(self.render(), refresh=True)

    def render(self) -> RenderableType:
        waiting = self.num_jobs - self.ended - len(self.running)
        head = Text(
            f"{self.ended} of {self.num_jobs} done, {len(self.running)} running, "
            f"{waiting} waiting, {self.failed} failed   {self.time_left()}",
            style="bold",
        )
        table = plain_table("slot", "job", "epoch", "accuracy")
        for slot, job in sorted(self.running.items()):
            add_row(table, str(slot), job.directory, *self.progress(job))
        return Group(head, table)

    def progress(self, job: Job) -> list[str]:
        """Epochs done, and the last accuracy: of validation, else of training."""
        total = self.epochs[job.number]
        try:
            status = read_status(self.sweep.job_path(job))
        except Refused:
            return [f"-/{total}", "starting"]
        accuracy = next((status[name] for name in ("val/acc", "train/acc") if name in status), None)
        return [f"{status.get('epoch', 0)}/{total}", percent(accuracy)]

    def time_left(self) -> str:
        """From the share of the epochs that is done; epochs of other networks may take longer."""
        total = sum(self.epochs.values()) - sum(self.begun.values())
        done = self.finished_epochs + sum(
            self.epochs_done(job) - self.begun[job.number] for job in self.running.values()
        )
        if not 0 < done < total:
            return ""
        seconds = (time.monotonic() - self.start) * (total - done) / done
        minutes, seconds = divmod(round(seconds), 60)
        hours, minutes = divmod(minutes, 60)
        clock = f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
        return f"about {clock} left"


def screen() -> Screen:
    """A terminal as wide as it is, or a pipe or file that cuts nothing off; text is as it is."""
    console = Screen(highlight=False, markup=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = FILE_WIDTH
    return console


def headed(head: str, text: str) -> Text:
    return Text(head, "bold") + Text(f"  {text}")


def plain_table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, overflow="fold")
    return table


def add_row(table: Table, *cells: str) -> None:
    """Add cells as they are: rich would take some brackets for its own."""
    table.add_row(*map(Text, cells))


def plan_table(plan: Plan, num_params: Sequence[int]) -> Table:
    short = short_names(plan.varies)
    table = plain_table("job", *short.values(), "parameters", "epochs")
    for job, params in zip(plan.jobs, num_params, strict=True):
        values = [job.values.get(key, "-") for key in plan.varies]
        epochs = str(job.settings["trainer"]["max_epochs"])
        add_row(table, str(job.number), *values, f"{params:,}", epochs)
    return table


def plan_lines(plan: Plan) -> list[str]:
    """Number of jobs, what varies with its values, and what is left out."""
    lines = [f"{len(plan.jobs)} jobs in outputs/sweeps/{plan.name}/"]
    for key in plan.varies:
        values = dict.fromkeys(job.values.get(key, "-") for job in plan.jobs)
        lines.append(f"  {key:22} {', '.join(values)}")
    return lines + duplicate_lines(plan)


def duplicate_lines(plan: Plan) -> list[str]:
    return [
        f"job {number} is the same as job {same}: run once"
        for number, same in plan.duplicates.items()
    ]


def results_table(sweep: Sweep, jobs: Sequence[Job]) -> Table:
    """Finished jobs: what varies, accuracies in percent, seconds of training."""
    short = short_names(sweep.varies)
    table = plain_table("job", *short.values(), "val/acc", "test/acc", "seconds")
    for job in jobs:
        metrics = read_metrics(sweep.job_path(job))
        values = [job.values.get(key, "-") for key in sweep.varies]
        add_row(table, str(job.number), *values, *figures(metrics), f"{metrics['seconds']:.1f}")
    return table


def figures(metrics: dict[str, Any]) -> list[str]:
    return [percent(metrics.get(name)) for name in ("val/acc", "test/acc")]


def failures_table(sweep: Sweep, jobs: Sequence[Job]) -> Table:
    """Failed jobs: where the log is, and the last line of what went wrong."""
    table = plain_table("failed", "why", "last line")
    for job in jobs:
        status = read_status(sweep.job_path(job))
        add_row(
            table, job.directory, str(status.get("reason", "-")), last_line(sweep.job_path(job))
        )
    return table


def last_line(path: Path) -> str:
    try:
        message = str(read_status(path).get("message", ""))
    except Refused:
        message = ""
    return message.splitlines()[-1] if message else "-"
