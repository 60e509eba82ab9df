"""What surrounds the work of every verb: its arguments, its signals, its exit code. No torch."""

from __future__ import annotations

import argparse
import contextlib
import errno
import math
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from mnist_lab.ui.errors import Failed, Refused
from mnist_lab.ui.signals import Interrupted, listen, signals
from mnist_lab.ui.startup import forgive_warnings

OUTPUT = "what the command prints"


class Parser(argparse.ArgumentParser):
    """Arguments in any order; help that ends with examples; a mistake is refused in one line."""

    def __init__(
        self, prog: str, description: str, *, examples: str, usage: str | None = None
    ) -> None:
        super().__init__(
            prog=prog,
            usage=usage,
            description=description,
            epilog=examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def parsed(self, args: Sequence[str]) -> argparse.Namespace:
        return self.parse_intermixed_args(list(args))

    def error(self, message: str) -> NoReturn:
        raise Refused(f"{message} ({self.prog} --help explains)")


def whole(low: int, high: float = math.inf) -> Callable[[str], int]:
    """The type of an argument that is a whole number in a range."""

    def read(text: str) -> int:
        with contextlib.suppress(ValueError):
            if low <= (number := int(text)) <= high:
                return number
        end = "" if high == math.inf else f" to {high}"
        raise argparse.ArgumentTypeError(f"{text}: must be a whole number from {low}{end}")

    return read


def verb(command: Callable[[Sequence[str]], object]) -> NoReturn:
    """Be the process of a verb: give its command line to `command`, and exit with its code."""
    listen()
    forgive_warnings()
    os.environ["MPLBACKEND"] = "agg"  # figures are files; whatever else it names need not be there
    sys.exit(exit_code(lambda: command(sys.argv[1:])))


def exit_code(command: Callable[[], object]) -> int:
    """Run a verb; say in a line or two what ended it. 0 well, 1 failed, 2 refused, 128 + signal."""
    try:
        obeying(command)
        sys.stdout.flush()
    except BrokenPipeError:  # as in `mnist-train | head`: whoever reads has seen enough
        silence(sys.stdout.fileno())
    except Refused as error:
        print(error, file=sys.stderr)
        return 2
    except Failed as error:
        print(f"failed ({error.reason}): {error}", file=sys.stderr)
        return 1
    except Interrupted as error:
        print(f"interrupted by {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        if error.errno is None:  # no answer of the system's
            raise
        where, is_long = str(error.filename or OUTPUT), error.errno == errno.ENAMETOOLONG
        said = f"{where[:80]}..." if is_long else f"failed (disk): {where}"
        print(f"{said}: {error.strerror}.", file=sys.stderr)
        return 2 if is_long else 1
    return 0


def obeying(command: Callable[[], object]) -> None:
    """Call it; what a library makes of a signal in its midst is told as the signal."""
    try:
        command()
    except Exception as error:
        if not signals.received or isinstance(error, Failed):
            raise
        raise Interrupted(signals.received) from error


def silence(file: int) -> None:
    """Have an open file lead nowhere, or Python would write to it again when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), file)
