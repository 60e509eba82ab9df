"""The lock of a run directory, also on disks that have none."""

from __future__ import annotations

import errno
import fcntl
import functools
import os
import platform
import re
import sys

LOCK = ".lock"


def is_locked(lock: int, kind: int) -> bool:
    """Try to lock an open file; whether another process has it.

    On a disk without locks the process that is named in the file has it, as long as that lives.
    """
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return True
        warn_unlocked(error.strerror)
        return names_living(os.pread(lock, 200, 0).decode(errors="replace"))
    return False


def names_living(holder: str) -> bool:
    """Whether what a lock file says names a process that lives, as far as this machine can tell."""
    found = re.fullmatch(r"process (\d+) on (.*)\n", holder)
    if found is None or int(found[1]) == os.getpid():
        return False
    if found[2] != platform.node():
        return True
    try:
        os.kill(int(found[1]), 0)
    except OSError as error:
        return error.errno == errno.EPERM
    return True


@functools.cache
def warn_unlocked(reason: str) -> None:
    print(
        f"WARNING: no locks on this disk ({reason}): nothing stops two commands that start on one "
        f"run at the same moment. {LOCK} names who has it; delete that if its machine is gone.",
        file=sys.stderr,
    )
