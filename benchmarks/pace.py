"""A competitor's stopwatch: it trains a stretch when told to, reports it and waits."""

from __future__ import annotations

import time

from benchmarks.channel import Channel
from benchmarks.work import Work


class Pace:
    """Splits training into stretches. Called in this order, the middle three in each epoch:

    `begin` - `steps_begin` - `stepped` after each step or few - `epoch_ends`

    A stretch's `seconds` run from its first step to its last. What an epoch costs before its first
    and after its last step (shuffling, validation, checkpoints) is `around`, reported with the
    stretch that ends the epoch.
    """

    def __init__(self, channel: Channel, work: Work) -> None:
        self.channel = channel
        self.num_steps = work.num_steps
        self.marks = [round(work.num_steps * n / work.parts) for n in range(1, work.parts + 1)]
        self.part = 0
        self.next_mark = self.marks[0]
        self.done = 0  # steps of this epoch that are reported or measured
        self.steps = 0
        self.seconds = self.cpu_seconds = self.around = 0.0
        self.lap()

    def lap(self) -> tuple[float, float]:
        """Seconds by the clock and of this process's CPU time since the last call."""
        before = getattr(self, "then", (0.0, 0.0))
        self.then = time.perf_counter(), time.process_time()
        return self.then[0] - before[0], self.then[1] - before[1]

    def begin(self, num_params: int) -> None:
        self.wait({"num_params": num_params})

    def wait(self, message: dict[str, float]) -> None:
        self.channel.send(message)
        self.channel.receive()
        self.lap()

    def steps_begin(self) -> None:
        self.around += self.lap()[0]

    def stepped(self, done: int) -> None:
        """Say how many steps of this epoch are done."""
        if done < self.next_mark:
            return
        if self.part + 1 < len(self.marks) and done >= self.marks[self.part + 1]:
            raise RuntimeError("a stretch is shorter than what is done between two calls.")
        self.seconds, self.cpu_seconds = self.lap()
        self.steps, self.done = done - self.done, done
        self.part += 1
        if done < self.num_steps:
            self.next_mark = self.marks[self.part]
            self.wait(self.report())

    def report(self) -> dict[str, float]:
        return {"steps": self.steps, "seconds": self.seconds, "cpu_seconds": self.cpu_seconds}

    def epoch_ends(self) -> None:
        if self.done != self.num_steps:
            raise RuntimeError(f"an epoch of {self.done} steps instead of {self.num_steps}.")
        around = self.around + self.lap()[0]
        self.part, self.next_mark, self.done, self.around = 0, self.marks[0], 0, 0.0
        self.wait({**self.report(), "around": around})
