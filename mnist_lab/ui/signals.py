"""SIGTERM and Ctrl-C: now while setting up, at the next batch's end while training."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType

SHOW_CURSOR = b"\x1b[?25h"  # which a progress bar or a live view has hidden


class Interrupted(BaseException):
    """Asked to stop; like KeyboardInterrupt no Exception, so that nothing on the way eats it."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum

    @property
    def exit_code(self) -> int:
        return 128 + self.signum


class Signals:
    """What has been asked of this process.

    Attributes:
        received: the first SIGINT or SIGTERM, or 0.
        deferring: while true, a signal is only noted; whoever defers calls `check` in time.
    """

    def __init__(self) -> None:
        self.received = 0
        self.deferring = False

    def __call__(self, signum: int, _frame: FrameType | None) -> None:
        if self.received:
            if signum == signal.SIGINT:
                # Asked twice: leave at once. Files are written atomically: those on disk are whole.
                if os.isatty(2):
                    os.write(2, SHOW_CURSOR)
                os._exit(128 + signum)
            return  # batch systems send SIGTERM more than once; it is being obeyed
        self.received = signum
        if not self.deferring:
            raise Interrupted(signum)

    def check(self) -> None:
        if self.received:
            raise Interrupted(self.received)

    @contextlib.contextmanager
    def defer(self) -> Iterator[None]:
        self.check()
        before, self.deferring = self.deferring, True
        try:
            yield
        finally:
            self.deferring = before


signals = Signals()


def listen() -> None:
    """Install the handlers; the first thing that an entry point does."""
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signals)
