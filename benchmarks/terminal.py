"""A pseudo-terminal that is read and thrown away, so that progress bars are really drawn."""

from __future__ import annotations

import collections
import contextlib
import fcntl
import os
import pty
import struct
import termios
import threading

ROWS, COLUMNS = 40, 100


class Terminal:
    """`slave` is for a child's output; close it here once the child has it."""

    def __init__(self) -> None:
        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.pieces: collections.deque[bytes] = collections.deque(maxlen=40)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # EIO: the last writer has gone
            while piece := os.read(self.master, 65_536):
                self.pieces.append(piece)

    def close_slave(self) -> None:
        os.close(self.slave)

    def end(self) -> str:
        """Wait for the last writer to go; return what the child said last."""
        self.reader.join(timeout=10)
        os.close(self.master)
        return b"".join(self.pieces).decode(errors="replace")[-4_000:]
