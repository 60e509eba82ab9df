"""What the verbs that ask a stored run have in common on their command lines. No torch."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from mnist_lab.errors import Refused
from mnist_lab.trained import CHECKPOINTS


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--checkpoint",
        choices=CHECKPOINTS,
        default="last",
        help="the last epoch's weights (the default) or those of the best in validation",
    )


def add_one_run(parser: argparse.ArgumentParser) -> None:
    """Take a run directory, and beside it where its images are now; `one_run` tells them apart."""
    parser.add_argument(
        "run",
        nargs="+",
        metavar="RUN_DIR",
        help="a run directory; data.root=DIR, given as an argument of its own, says where the "
        "run's images are now",
    )


def one_run(texts: Sequence[str]) -> tuple[Path, list[str]]:
    paths, overrides = paths_and_overrides(texts)
    if len(paths) != 1:
        raise Refused(f"{len(paths)} run directories: allowed is one.")
    return paths[0], overrides


def paths_and_overrides(texts: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Tell `data.root=DIR` and the like from the files and directories of a command line."""
    overrides = [text for text in texts if text.startswith("data.") and "=" in text]
    return [Path(text) for text in texts if text not in overrides], overrides
