"""What happens in a worker process of the pool. Imports torch only once it is told to."""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import importlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Collection, Sequence
from pathlib import Path

from mnist_lab.settings import own
from mnist_lab.ui.signals import listen, signals
from mnist_lab.ui.startup import forgive_warnings

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
WATCH_S = 1.0  # seconds between two looks whether the parent lives


def prepare(parent: int, log: Path, folders: Sequence[Path], named: Collection[str]) -> None:
    """Make a new process a worker of `parent`; what it says outside of jobs goes to `log`.

    Args:
        folders, named: of the command line, as `own` keeps them.
    """
    own.name_folders(folders)
    own.named.update(named)
    die_with(parent)
    listen()
    forgive_warnings()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is the parent's to obey
    # It starts no process. But a codec makes a lock, and of any other kind of lock the name would
    # be missed, aloud, when the worker is killed.
    multiprocessing.set_start_method("fork", force=True)
    write_to(log)


def die_with(parent: int) -> None:
    """Let no worker outlive its parent, however that dies.

    The kernel kills at once; where it cannot, a thread looks every second.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=watch, args=(parent,), daemon=True).start()


def watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(WATCH_S)
    os._exit(1)


def write_to(log: Path) -> None:
    """Send everything that this process prints, native code included, to the end of a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)


def warm_up() -> None:
    """Import what every job needs."""
    from mnist_lab.ui.startup import import_lightning

    import_lightning()
    importlib.import_module("mnist_lab.sweep.job")
    importlib.import_module("mnist_lab.run.fit")


def work(directory: Path, threads: int, log: Path) -> None:
    """Run one job; its status says how it ended, and train.log what was printed.

    Nothing of it is left for the next one: random numbers begin anew from each job's seed, threads
    are set by each job, and a signal that it received is forgotten.
    """
    from mnist_lab.sweep.job import run_job
    from mnist_lab.ui.errors import Failed, Refused
    from mnist_lab.ui.signals import Interrupted
    from mnist_lab.ui.startup import import_lightning

    signals.received, signals.deferring = 0, False
    write_to(directory / "train.log")
    faulthandler.disable()  # or enabling it does nothing; the Trainer of the last job undid it
    faulthandler.enable(all_threads=False)
    try:
        import_lightning()
        run_job(directory, threads=threads, quiet=True)
    except (Failed, Refused, Interrupted):
        pass  # recorded
    finally:
        write_to(log)
        gc.collect()
        if (torch := sys.modules.get("torch")) and torch.cuda.is_initialized():
            torch.cuda.empty_cache()  # jobs that share the GPU need it
