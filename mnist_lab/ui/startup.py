"""How a process that trains begins: what a verb or a worker does to itself, and no library call."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys
import warnings
from collections.abc import Iterator
from importlib import metadata

# What torchmetrics imports where it is installed, for metrics of images, audio and for plots.
UNUSED = ("matplotlib", "scipy", "torchvision")


def import_lightning() -> None:
    """Import torch, torchmetrics and Lightning: half of the time, and a quicker end of the process.

    A verb or worker that needs a network calls this before the modules that build on them; they
    import the same without it, but slower. Two things take the time: torchmetrics' imports for
    metrics that are not ours, and the garbage collector, which looks at a million new objects again
    and again, and once more at exit, though modules are never garbage.

    Afterwards `UNUSED` can be imported as ever, but torchmetrics believes that they are missing:
    a metric's `plot` says so. Where Lightning has been imported before, none of that is done.
    """
    if "lightning" not in sys.modules:  # else the process is somebody's own, as a notebook's is
        keep_freed_memory()
        import_quickly()
    # Lightning has set it. With it, every step of torch's Adam looks for NVIDIA's library on the
    # disk where there is no GPU: 0.3 to 0.5 ms, a third of a small network's step.
    os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)


def import_quickly() -> None:
    collecting = gc.isenabled()
    gc.disable()
    try:
        import torch  # noqa: F401

        # Another package that torchmetrics imports where it is installed may need them.
        with contextlib.suppress(ImportError), missing(UNUSED):
            import torchmetrics  # noqa: F401
        import lightning.pytorch  # noqa: F401
    finally:
        gc.freeze()
        if collecting:
            gc.enable()


def forgive_warnings() -> None:
    """Let no warning of another package end the work, as PYTHONWARNINGS=error has it."""
    if any(option.startswith("error") for option in sys.warnoptions):
        warnings.simplefilter("default")


def keep_freed_memory() -> None:
    """Have glibc keep what a step frees for the next one.

    Otherwise blocks of some megabytes go back to the kernel and come again as pages of zeros, one
    page fault for each 4 KB: a tenth to a fifth of a CNN's step. Elsewhere than on glibc: nothing.
    """
    mmap_threshold, trim_threshold = -3, -1  # their numbers in malloc.h
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(mmap_threshold, 32 << 20)  # bytes; the most that it takes
        libc.mallopt(trim_threshold, 2**31 - 1)


@contextlib.contextmanager
def missing(names: tuple[str, ...]) -> Iterator[None]:
    """Have those of the packages that are not imported yet look as if they were not installed."""
    hidden = [name for name in names if name not in sys.modules]
    find = metadata.Distribution.from_name

    def from_name(name: str) -> metadata.Distribution:
        if name in hidden:
            raise metadata.PackageNotFoundError(name)
        return find(name)

    metadata.Distribution.from_name = from_name  # type: ignore[method-assign]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        metadata.Distribution.from_name = find  # type: ignore[method-assign]
        for name in hidden:
            del sys.modules[name]
