"""Competitors in turn: each in a process of its own, stretch by stretch, the order rotated."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.channel import Channel
from benchmarks.process import environment
from benchmarks.terminal import Terminal
from benchmarks.work import Work

REST_S = 0.03  # between two stretches, so that one's idle threads have stopped spinning

Report = dict[str, float]


class Worker:
    """A competitor's process, waiting to train its next stretch.

    Args:
        command: what to start; the number of a file descriptor is added to it.
    """

    def __init__(self, name: str, command: Sequence[str], work: Work, *, cwd: Path) -> None:
        self.name = name
        self.terminal = Terminal()
        ours, theirs = socket.socketpair()
        self.channel = Channel(ours)
        with theirs:
            self.process = subprocess.Popen(
                [*command, str(theirs.fileno())],
                cwd=cwd,
                env=environment(),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self.terminal.slave,
                stderr=self.terminal.slave,
            )
        self.terminal.close_slave()
        self.channel.send(work.plain())

    def answer(self) -> Report:
        try:
            return self.channel.receive()
        except (EOFError, ConnectionError):
            self.process.wait()
            said = self.terminal.end()
            raise RuntimeError(
                f"{self.name} ended with {self.process.returncode}:\n{said}"
            ) from None

    def stretch(self) -> Report:
        self.channel.send({})
        return self.answer()

    def finish(self) -> float:
        """Let it test what it has trained; return the test accuracy."""
        accuracy = self.stretch()["test_acc"]
        self.channel.close()
        self.process.wait()
        self.terminal.end()
        return accuracy

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def interleave(
    commands: Mapping[str, Sequence[str]],
    work: Work,
    *,
    cwd: Path,
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, dict[str, Any]]:
    """Train a piece of work by all competitors at once, one stretch at a time.

    Returns:
        For each name `num_params`, `reports` (one a stretch) and `test_acc`.

    Raises:
        RuntimeError: a competitor failed, or they did not do equal work.
    """
    workers: dict[str, Worker] = {}
    try:
        for name, command in commands.items():
            workers[name] = Worker(name, command, work, cwd=cwd)
        results: dict[str, dict[str, Any]] = {
            name: {**worker.answer(), "reports": []} for name, worker in workers.items()
        }
        names = list(workers)
        for round_ in range(work.epochs * work.parts):
            progress(f"{work.name}: round {round_ + 1} of {work.epochs * work.parts}")
            shift = round_ % len(names)
            for name in names[shift:] + names[:shift]:
                time.sleep(REST_S)
                results[name]["reports"].append(workers[name].stretch())
        for name, worker in workers.items():
            results[name]["test_acc"] = worker.finish()
    finally:
        for worker in workers.values():
            worker.kill()
    refuse_unequal(results, work)
    return results


def refuse_unequal(results: Mapping[str, Mapping[str, Any]], work: Work) -> None:
    """Check that all had the same number of parameters and took the same number of steps."""
    for what, found in {
        "parameters": {name: result["num_params"] for name, result in results.items()},
        "steps": {
            name: sum(report["steps"] for report in result["reports"])
            for name, result in results.items()
        },
    }.items():
        if len(set(found.values())) != 1:
            raise RuntimeError(f"{work.name}: unequal work, {what}: {found}")
