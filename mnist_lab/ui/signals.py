"""Signals that ask to stop: obeyed now while setting up, at the next batch's end while training."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

# USR1 and USR2 are what batch systems send before a time limit, as `sbatch --signal` is told.
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
SHOW_CURSOR = b"\x1b[?25h"  # which a progress bar or a live view has hidden


class Interrupted(BaseException):
    """Asked to stop; like KeyboardInterrupt no Exception, so that nothing on the way eats it."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum

    def __reduce__(self) -> tuple[type[Interrupted], tuple[int]]:
        """For another process, whose exceptions are rebuilt from their arguments."""
        return Interrupted, (self.signum,)

    @property
    def exit_code(self) -> int:
        return 128 + self.signum


class Signals:
    """What has been asked of this process.

    Attributes:
        received: the first of STOPPING, or 0.
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


def listen(*signums: int) -> None:
    """Install the handler, for all of STOPPING or some; the first thing that an entry point does.

    Only the main thread can; from another one nothing is heard.
    """
    if threading.current_thread() is threading.main_thread():
        for signum in signums or STOPPING:
            signal.signal(signum, signals)


@contextlib.contextmanager
def handlers_kept() -> Iterator[None]:
    """Leave the handlers as they were: Lightning deafens a process to Ctrl-C when it comes.

    Elsewhere than in the main thread they cannot be changed, by it or by us.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {signum: signal.getsignal(signum) for signum in STOPPING}
    try:
        yield
    finally:
        for signum, handler in before.items():
            if handler is not None and signal.getsignal(signum) is not handler:
                signal.signal(signum, handler)
