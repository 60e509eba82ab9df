"""Stored runs as a verb opens them: what its command line names, networks, images, class names.

Torch is imported only to build a network.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_lab.run.directory import checkpoint_path, locate, read_config, read_epochs, read_state
from mnist_lab.run.images import RunData, own_data
from mnist_lab.ui.console import printable
from mnist_lab.ui.errors import Refused
from mnist_lab.ui.startup import import_lightning

if TYPE_CHECKING:
    from mnist_lab.models.classifier import Classifier


@dataclass(frozen=True)
class StoredRun:
    """A run directory with stored weights.

    Attributes:
        config: the run's own, checked as `runs.read_config` does.
        checkpoint: `last` or `best`.
    """

    path: Path
    config: dict[str, Any]
    checkpoint: str

    @classmethod
    def find(cls, path: Path, *, checkpoint: str) -> StoredRun:
        """Look at a directory that a user named.

        Raises:
            Refused: it is no run, has no such checkpoint, or its configuration is not sound.
        """
        checkpoint_path(locate(path), checkpoint)
        return cls(path, read_config(path), checkpoint)

    @property
    def name(self) -> str:
        """The last two parts of its path: what was trained, and when."""
        return "/".join(self.path.absolute().parts[-2:])

    @property
    def class_names(self) -> list[str]:
        """What the network's answers mean."""
        return [printable(name) for name in self.config["data"]["class_names"]]

    @property
    def threads(self) -> int:
        """Those that the run was trained with, as far as this machine has them."""
        return min(self.config["threads"] or 1, os.cpu_count() or 1)

    @property
    def caveat(self) -> str | None:
        """What to know of a run that has not come to its end."""
        state = read_state(self.path)
        if state == "finished":
            return None
        return f"{self.path}: {state}, with {len(read_epochs(self.path))} epochs done."

    def data(self, overrides: Sequence[str] = ()) -> RunData:
        """The images that the run was trained on; see `own_data`."""
        return own_data(self.path, self.config, overrides)

    def load(self) -> tuple[Classifier, int]:
        """Build the network; the number is the epoch, from 1, after which it was stored."""
        from mnist_lab.run.checkpoints import read_run_checkpoint, restore_model

        stored = read_run_checkpoint(checkpoint_path(self.path, self.checkpoint))
        return restore_model(self.config, stored), stored["epoch"] + 1

    def load_for_verb(self) -> tuple[Classifier, int]:
        """Load in a process of one's own: on the run's threads, and with quicker imports.

        So it comes before those of modules that import torch.
        """
        import_lightning()
        import torch

        torch.set_num_threads(self.threads)
        return self.load()


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--checkpoint",
        choices=("last", "best"),
        default="last",
        help="the last epoch's weights (the default) or those of the best in validation",
    )


def add_runs(parser: argparse.ArgumentParser, *, what: str = "a run directory") -> None:
    """Take run directories, and beside them where their images are now; see `stored_runs`."""
    moved = "data.root=DIR, given as an argument of its own, says where its images are now"
    parser.add_argument("runs", nargs="+", metavar="RUN_DIR", help=f"{what}; {moved}")
    add_checkpoint(parser)


def stored_runs(options: argparse.Namespace, *, most: int = 1) -> tuple[list[StoredRun], list[str]]:
    """The runs, and the overrides of their data, that `add_runs` took.

    Raises:
        Refused: there are too many, or one is none to ask.
    """
    paths, overrides = paths_and_overrides(options.runs)
    if not 1 <= len(paths) <= most:
        number = "one" if most == 1 else "one, or two to compare"
        raise Refused(f"{len(paths)} run directories: must be {number}.")
    return [StoredRun.find(path, checkpoint=options.checkpoint) for path in paths], overrides


def paths_and_overrides(texts: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Tell `data.root=DIR` and the like from the files and directories of a command line."""
    overrides = [text for text in texts if text.startswith("data.") and "=" in text]
    return [Path(text) for text in texts if text not in overrides], overrides
