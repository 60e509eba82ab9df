"""What a sweep shows: its plan, its jobs as the pool runs them, its results and failures."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from mnist_lab.run.directory import read_metrics, read_status
from mnist_lab.sweep.plan import Job, Plan, short_names
from mnist_lab.sweep.record import Sweep
from mnist_lab.ui.console import percent, plain_table, screen
from mnist_lab.ui.errors import Refused

DRAW_S = 0.5  # seconds between two drawings
BAR_WIDTH = 16  # columns
OTHERS_WIDTH = 44  # columns that bar, epochs, time and accuracy may take, and some to spare


class View:
    """Jobs that ended as lines; below them, on a terminal, bars of epochs: of all, of each slot.

    Args:
        jobs: those that are run now, of the sweep's.
        to_come: how many a search is still to ask for.
    """

    def __init__(
        self, sweep: Sweep, jobs: Sequence[Job], *, num_slots: int, to_come: int = 0
    ) -> None:
        self.sweep = sweep
        self.console = screen()
        self.ended = self.failed = 0
        self.running: dict[int, Job] = {}  # by slot
        self.drawn = 0.0
        self.time_left = TimeRemainingColumn(compact=True)
        # Names give way to the other columns, and no line comes up to the terminal's edge: the ^C
        # that it echoes would wrap there, and the bars, drawn over, would leave a line behind.
        names = Column(no_wrap=True, max_width=max(12, self.console.width - OTHERS_WIDTH))
        self.bars = Progress(
            TextColumn("{task.description}", markup=False, table_column=names),
            BarColumn(bar_width=BAR_WIDTH),
            MofNCompleteColumn(),
            self.time_left,
            TextColumn("{task.fields[accuracy]}"),
            console=self.console,
            transient=True,
            auto_refresh=False,
            disable=not self.console.is_terminal,
            speed_estimate_period=math.inf,  # seconds; an epoch may take minutes
        )
        self.epochs: dict[int, int] = {}  # that jobs have done, by number
        self.known_epochs = 0
        self.whole = self.bars.add_task("", total=0, accuracy="")
        self.take_in(jobs, to_come=to_come)
        self.bars.update(self.whole, completed=sum(self.epochs.values()))
        self.slots = [self.bars.add_task("", visible=False) for _ in range(num_slots)]
        self.bars.advance(self.whole, 0)  # the clock starts now, not with the first epoch's end

    def begin(self, job: Job, slot: int) -> None:
        self.running[slot] = job
        self.bars.reset(
            self.slots[slot],
            total=max_epochs(job),
            completed=self.epochs[job.number],
            description=job.directory,
            visible=True,
            accuracy="starting",
        )
        self.bars.advance(self.slots[slot], 0)

    def end(self, job: Job, slot: int, state: str) -> None:
        """Print the line of a job that ended."""
        self.ended += 1
        del self.running[slot]
        self.bars.update(self.slots[slot], visible=False)
        width = len(str(self.num_jobs))
        line = Text(f"[{self.ended:{width}}/{self.num_jobs}]  {job.directory}  ")
        if state == "finished":
            metrics = read_metrics(self.sweep.job_path(job))
            val, test = accuracies(metrics)
            line.append(f"val {val}  test {test}  {metrics['seconds']:.1f} s")
        elif state == "failed":
            self.failed += 1
            line.append("failed", "bold red").append(f": {last_line(self.status(job))}")
        else:
            line.append(state)
        if state in ("finished", "failed"):
            self.epochs[job.number] = max_epochs(job)
            self.read_progress()
            whole = self.bars.tasks[0]
            if whole.time_remaining and not self.console.is_terminal:
                line.append("  ").append(self.time_left.render(whole)).append(" left")
        self.console.print(line)

    def leave_out(self, jobs: Sequence[Job]) -> None:
        """Expect no more of the jobs, of all that were to run, that a race has spared."""
        kept = [job for job in jobs if self.sweep.state(job) != "spared"]
        self.num_jobs = len(kept)
        self.bars.update(self.whole, total=sum(map(max_epochs, kept)))

    def take_in(self, jobs: Sequence[Job], *, to_come: int) -> None:
        """Expect these jobs, too, and so many after them, which are as long in the mean."""
        self.epochs |= {job.number: epochs_done(self.status(job)) for job in jobs}
        self.known_epochs += sum(map(max_epochs, jobs))
        num_known = len(self.epochs)
        self.num_jobs = num_known + to_come
        total = round(self.known_epochs * self.num_jobs / num_known) if num_known else 0
        self.bars.update(self.whole, total=total)

    def draw(self) -> None:
        """Show the jobs that run; now and then, since their files must be read."""
        if self.console.is_terminal and time.monotonic() - self.drawn > DRAW_S:
            self.drawn = time.monotonic()
            self.read_progress()
            self.bars.refresh()

    def read_progress(self) -> None:
        """Read how far the jobs are, and the last accuracy: of validation, else of training."""
        for slot, job in self.running.items():
            if status := self.status(job):
                self.epochs[job.number] = epochs_done(status)
                accuracy = percent(status.get("val/acc", status.get("train/acc")))
                self.bars.update(
                    self.slots[slot], completed=self.epochs[job.number], accuracy=accuracy
                )
        waiting = self.num_jobs - self.ended - len(self.running)
        counts = f"{self.ended} of {self.num_jobs} done, {waiting} waiting, {self.failed} failed"
        self.bars.update(self.whole, completed=sum(self.epochs.values()), description=counts)

    def status(self, job: Job) -> dict[str, Any]:
        """What a job says of itself; nothing before it begins."""
        try:
            return read_status(self.sweep.job_path(job))
        except Refused:
            return {}


def max_epochs(job: Job) -> int:
    return int(job.settings["trainer"]["max_epochs"])


def epochs_done(status: dict[str, Any]) -> int:
    epochs = status.get("epoch")
    return epochs if isinstance(epochs, int) else 0


def headed(head: str, text: str) -> Text:
    return Text(head, "bold") + Text(f"  {text}")


def plan_table(plan: Plan, num_params: Sequence[int]) -> Table:
    short = short_names(plan.varies)
    table = plain_table("job", *short.values(), "parameters", "epochs")
    for job, params in zip(plan.jobs, num_params, strict=True):
        values = [job.values.get(key, "-") for key in plan.varies]
        table.add_row(str(job.number), *values, f"{params:,}", str(max_epochs(job)))
    return table


def plan_lines(plan: Plan) -> list[str]:
    """Number of jobs, what varies with its values, and what is left out."""
    lines = [f"{plan.num_jobs} jobs in outputs/sweeps/{plan.name}/"]
    for key in plan.varies:
        values = dict.fromkeys(job.values.get(key, "-") for job in plan.jobs)
        lines.append(f"  {key:22} {', '.join(values)}")
    return [*lines, *(f"  {line}" for line in plan.remarks), *duplicate_lines(plan)]


def duplicate_lines(plan: Plan) -> list[str]:
    return [
        f"job {number} is the same as job {same}: run once"
        for number, same in plan.duplicates.items()
    ]


def results_table(sweep: Sweep, jobs: Sequence[Job]) -> Table:
    """Finished jobs: what varies, accuracies in percent, seconds of training."""
    short = short_names(sweep.varies)
    stopped = any(job.settings["trainer"]["patience"] for job in jobs)
    columns = ("epochs", "seconds") if stopped else ("seconds",)
    table = plain_table("job", *short.values(), "val/acc", "test/acc", *columns)
    for job in jobs:
        metrics = read_metrics(sweep.job_path(job))
        values = [job.values.get(key, "-") for key in sweep.varies]
        costs = {"epochs": str(metrics["epochs"]), "seconds": f"{metrics['seconds']:.1f}"}
        row = [*values, *accuracies(metrics), *(costs[name] for name in columns)]
        table.add_row(str(job.number), *row)
    return table


def accuracies(metrics: dict[str, Any]) -> list[str]:
    return [percent(metrics.get(name)) for name in ("val/acc", "test/acc")]


def failures_table(sweep: Sweep, jobs: Sequence[Job]) -> Table:
    """Failed jobs, and the last line of what went wrong."""
    table = plain_table("failed", "why", "last line")
    for job in jobs:
        status = read_status(sweep.job_path(job))
        table.add_row(job.directory, str(status.get("reason", "-")), last_line(status))
    return table


def last_line(status: dict[str, Any]) -> str:
    return (str(status.get("message", "")).splitlines() or ["-"])[-1]
