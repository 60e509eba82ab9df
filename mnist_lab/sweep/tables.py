"""What a person reads of a sweep: its plan before, its results and failures after."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from mnist_lab.run.directory import read_metrics, read_status
from mnist_lab.sweep.plan import Job, Plan, short_names
from mnist_lab.sweep.record import Sweep
from mnist_lab.ui.console import Screen, percent
from mnist_lab.ui.errors import Refused

FILE_WIDTH = 200  # columns where the output is no terminal


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
