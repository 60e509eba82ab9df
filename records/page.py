"""Draws records/README.md and records/ladder.png from the claims and their runs."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.quiet import LIMIT
from benchmarks.tables import table
from records.claim import ALPHA, FOLDER, Claim, Verdict, claims, judge

HEAD = """\
# Records

How right and how quick a network for MNIST can be, on two CPU cores, with every figure's runs
beside it. `make record NAME=seconds_99` runs one again, seed by seed: a seed that has ended is
kept, so that a second call goes on, and at the end it says whether the mark holds.

The rules: the last epoch counts. Nothing is chosen by the test split: settings were chosen on the
last 6,000 training images, then all 60,000 train, and the test figures of all seeds are taken once
(a record that departs from this says so below the table).
A mark holds if the mean lies beyond it with p < {alpha:g} in a one-sided t test; ten seeds, five
where a run takes more than a minute. No run is longer than six minutes. Errors are counted with the
published labels; people judge 15 of the 10,000 to be wrong (Northcutt et al. 2021,
arXiv 2103.14749). One network judges each image once: no ensembles, no shifted views. Seconds are
those of training, without the start and the test; compare them within one machine, and between
machines by how long the reference takes there: `mlp_512` for one epoch on one thread.

What was tried on the way, failures included: [docs/log.md](../docs/log.md).
"""
COLUMNS = [
    "record",
    "track",
    "mark",
    "test accuracy, %",
    "seconds",
    "parameters",
    "n",
    "mark holds",
]
FIGURE = "![Two plots of the records: test accuracy against seconds, and against parameters]"


@dataclass(frozen=True, kw_only=True)
class Record:
    """A claim with the runs that were published, and what they say."""

    claim: Claim
    found: dict[str, Any]
    verdict: Verdict


def records() -> list[Record]:
    """Every record that has runs."""
    kept = []
    for claim in claims().values():
        path = FOLDER / claim.name / "runs.json"
        if path.exists():
            found = json.loads(path.read_text())
            verdict = judge(claim, found["runs"])
            kept.append(Record(claim=claim, found=found, verdict=verdict))
    return kept


def write_page() -> None:
    kept = records()
    (FOLDER / "README.md").write_text(page(kept))
    draw(kept)


def page(kept: Sequence[Record]) -> str:
    lines = [
        HEAD.format(alpha=ALPHA),
        *table(COLUMNS, map(row, kept)),
        *(f"`{one.claim.name}`: {one.claim.remark}\n" for one in kept if one.claim.remark),
        f"{FIGURE}(ladder.png)",
        "",
        *table(("record", "the same elsewhere", "settings"), map(beside, kept)),
        "Where and when:",
        "",
        *(f"- {line}" for line in places(kept)),
    ]
    return "\n".join(lines) + "\n"


def row(one: Record) -> list[str]:
    claim, verdict = one.claim, one.verdict
    acc, seconds = verdict.acc, verdict.seconds
    mark = [f"{100 * claim.acc:.4g} %"]
    mark += [] if claim.seconds is None else [f"{claim.seconds:g} s"]
    mark += [] if claim.num_params is None else [f"{claim.num_params:,} parameters"]
    p_values = [acc.p] if claim.seconds is None else [acc.p, seconds.p]
    said = "yes" if verdict.holds else "**no**"
    return [
        f"[{claim.name}]({claim.name})",
        claim.track,
        ", ".join(mark),
        f"{100 * acc.mean:.3f} +- {100 * acc.sd:.3f}",
        f"{seconds.mean:.1f} +- {seconds.sd:.1f}",
        f"{verdict.num_params:,}",
        str(acc.n),
        f"{said}, p = {' and '.join(f'{p:.1g}' for p in p_values)}",
    ]


def beside(one: Record) -> list[str]:
    settings = " ".join(one.claim.settings)
    return [one.claim.name, one.claim.elsewhere, f"`mnist-train {settings}`"]


def places(kept: Sequence[Record]) -> list[str]:
    """Machines, each with the records that were taken there."""
    names: dict[str, list[str]] = {}
    for one in kept:
        runs = one.found["runs"]
        reference = statistics.median(one.found["reference_seconds"])
        commits = sorted({run["git_commit"][:9] for run in runs if run["git_commit"]})
        days = " and ".join(sorted({run["date"] for run in runs}))
        busiest = max(run["others"] for run in runs)
        beside = f", while others used up to {busiest:.2f} cores" if busiest > LIMIT else ""
        names.setdefault(one.found["machine"], []).append(
            f"{one.claim.name}{beside} ({days}, commit {', '.join(commits)}; reference "
            f"{reference:.2f} s)"
        )
    return [f"{where}: {'; '.join(each)}." for where, each in names.items()]


def draw(kept: Sequence[Record]) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 5), sharey=True, layout="constrained")
    for axis, name in zip(axes, ("seconds of training", "parameters"), strict=True):
        across = [
            one.verdict.seconds.mean if axis is axes[0] else one.verdict.num_params for one in kept
        ]
        for one, at in zip(kept, across, strict=True):
            verdict = one.verdict
            wrong, spread = 100 * (1 - verdict.acc.mean), 100 * verdict.acc.sd
            colour = "tab:blue" if verdict.holds else "tab:red"
            axis.errorbar(at, wrong, spread, fmt="o", color=colour, capsize=3)
            lower = any(  # than one so near that the names would be written over each other
                other.verdict.acc.mean > verdict.acc.mean and 1 / 1.6 < there / at < 1.6
                for other, there in zip(kept, across, strict=True)
            )
            axis.annotate(
                one.claim.name,
                (at, wrong + spread if lower else wrong - spread),
                xytext=(12, -5) if lower else (-12, 5),
                textcoords="offset points",
                ha="center",
                va="top" if lower else "bottom",
                fontsize=8.5,
            )
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xlabel(name)
        axis.grid(visible=True, which="both", alpha=0.25)
        low, high = axis.get_xlim()
        room = (high / low) ** 0.1  # for the outermost names
        axis.set_xlim(low / room, high * room)
        axis.xaxis.set_major_formatter("{x:,.0f}")
    axes[0].margins(y=0.12)
    low, high = axes[0].get_ylim()
    ticks = [tick for tick in (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.5) if low < tick < high]
    axes[0].set_yticks(ticks, [f"{100 - tick:g}" for tick in ticks])
    axes[0].minorticks_off()
    axes[0].invert_yaxis()
    axes[0].set_ylabel("test accuracy, %; mean +- sd of a run")
    figure.savefig(FOLDER / "ladder.png", dpi=130)
    plt.close(figure)


if __name__ == "__main__":
    write_page()
