"""Is anything else busy? Timings beside another process are not worth having. Linux only."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Mapping
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
LIMIT = 0.10  # cores that all other processes together may use
LOOK_S = 2.0


class Busy(Exception):
    """Another process is using the CPU."""


def busy_seconds(stat: str) -> float:
    """CPU seconds that were not idle since boot, from the text of /proc/stat.

    Fields of the first line: user nice system idle iowait irq softirq steal; guest time is in user
    already. Source: proc(5). Time stolen by other virtual machines counts as busy.
    """
    fields = [int(text) for text in stat.splitlines()[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / TICKS


def process_seconds(stat: str) -> tuple[str, float]:
    """Name and CPU seconds of a process, from the text of its /proc/PID/stat."""
    name, _, rest = stat.partition("(")[2].rpartition(")")
    fields = rest.split()
    return name, (int(fields[11]) + int(fields[12])) / TICKS


def own_seconds() -> float:
    """CPU seconds of this process and of the children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


class Watch:
    """Measures how many cores others use, from its making until `others` is asked.

    All children that ran in between must have ended, or they count as others.
    """

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.busy = busy_seconds(Path("/proc/stat").read_text())
        self.own = own_seconds()

    def others(self) -> float:
        elapsed = time.monotonic() - self.started
        busy = busy_seconds(Path("/proc/stat").read_text()) - self.busy
        return max(0.0, (busy - (own_seconds() - self.own)) / elapsed)


def process_table() -> dict[int, tuple[str, float]]:
    table = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            table[int(path.parent.name)] = process_seconds(path.read_text())
        except (OSError, ValueError, IndexError):
            continue  # it has ended meanwhile
    return table


def busiest(
    before: Mapping[int, tuple[str, float]], after: Mapping[int, tuple[str, float]], seconds: float
) -> str:
    """Name the process other than ours that used most CPU between two tables."""
    shares = {
        pid: (total - before.get(pid, (name, 0.0))[1]) / seconds
        for pid, (name, total) in after.items()
        if pid != os.getpid()
    }
    if not shares or max(shares.values()) <= 0:
        return "none that can be seen from here"
    pid = max(shares, key=lambda pid: shares[pid])
    return f"{after[pid][0]} (process {pid}) with {shares[pid]:.2f} of a core"


def refuse_if_busy(*, seconds: float = LOOK_S) -> None:
    """Look at the machine for a moment; this process must have no running children.

    Raises:
        Busy: others use more than LIMIT cores; the message names the busiest.
    """
    watch, before = Watch(), process_table()
    time.sleep(seconds)
    others, after = watch.others(), process_table()
    if others > LIMIT:
        raise Busy(
            f"other processes use {others:.2f} cores (allowed: {LIMIT:g}), most of all "
            f"{busiest(before, after, seconds)}. Wait for them, or measure --even-if-busy."
        )
