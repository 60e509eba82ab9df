"""Messages between the driver and a competitor's process: one JSON object a line."""

from __future__ import annotations

import json
import socket
import sys
from typing import Any


class Channel:
    def __init__(self, end: socket.socket) -> None:
        self.lines = end.makefile("r", encoding="utf-8")
        self.end = end

    @classmethod
    def inherited(cls) -> Channel:
        """The worker's end: the file descriptor that the driver names as the last argument."""
        return cls(socket.socket(fileno=int(sys.argv[-1])))

    def send(self, message: dict[str, Any]) -> None:
        self.end.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> dict[str, Any]:
        """Wait for the next message.

        Raises:
            EOFError: the other side has ended.
        """
        line = self.lines.readline()
        if not line:
            raise EOFError
        message: dict[str, Any] = json.loads(line)
        return message

    def close(self) -> None:
        self.lines.close()
        self.end.close()
