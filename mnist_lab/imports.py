"""Importing Lightning without what a run does not use of it."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator
from importlib import metadata

# What torchmetrics imports where it is installed, for metrics of images, audio and for plots.
UNUSED = ("matplotlib", "scipy", "torchvision")


def import_lightning() -> None:
    """Import torch, torchmetrics and Lightning: half of the time, and a quicker end of the process.

    A verb that needs a network calls this before the modules that build on them; they import the
    same without it, but slower. Two things take the time: torchmetrics' imports for metrics that
    are not ours, and the garbage collector, which looks at a million new objects again and again,
    and once more at exit, though modules are never garbage.

    Afterwards `UNUSED` can be imported as ever, but torchmetrics believes that they are missing:
    a metric's `plot` says so.
    """
    if "lightning" in sys.modules:
        return
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
