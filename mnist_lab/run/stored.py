"""Stored runs as a verb opens them: what its command line names, networks, images, class names.

Torch is imported only to build a network or to split the images.
"""

from __future__ import annotations

import argparse
import difflib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_lab.data.inspection import are_among
from mnist_lab.data.source import Source
from mnist_lab.data.splits import Splits
from mnist_lab.run.config import read_config
from mnist_lab.run.directory import read_epochs, read_state, read_status
from mnist_lab.run.images import data_module, own_images, source_of
from mnist_lab.settings import own
from mnist_lab.settings.compose import checked, compose
from mnist_lab.settings.overrides import parsed_overrides, refuse_repeated
from mnist_lab.settings.table import SETTINGS, nearest
from mnist_lab.ui.console import printable, show_download
from mnist_lab.ui.errors import Refused
from mnist_lab.ui.startup import import_lightning

if TYPE_CHECKING:
    from mnist_lab.data.datamodule import MNISTDataModule
    from mnist_lab.models.classifier import Classifier

# What a command line may say about stored or other images; how they are split is the run's affair.
OPEN = ("data.root", "data.folder", "data.download")
SPLITTING = (
    *("batch_size", "val_fraction", "split_seed", "shuffle_split"),
    *("max_shift", "max_turn", "max_slant", "max_bend", "max_pen"),
)


@dataclass(frozen=True)
class RunData:
    """Images that were found, read and checked, and how the run divides them.

    Attributes:
        node: the group `data` of a configuration, to build from.
        seed: of the run: draws the same validation images again.
        own: these are the images that the run was trained on.
        note: what to know before the metrics are read, or None.
    """

    node: dict[str, Any]
    splits: Splits
    seed: int
    own: bool
    note: str | None = None

    @property
    def name(self) -> str:
        return str(self.node["name"])

    @property
    def class_names(self) -> list[str]:
        return [printable(name) for name in self.node["class_names"]]

    def load(self) -> MNISTDataModule:
        return data_module(self.node, seed=self.seed)


def read(node: dict[str, Any]) -> Splits:
    """Find and read what a `data` node names."""
    return source_of(node).find(progress=show_download).read()


@dataclass(frozen=True)
class StoredRun:
    """A run directory with stored weights.

    Attributes:
        config: the run's own, checked as `read_config` does.
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

    @property
    def data_sha256(self) -> str | None:
        """Of the images that the run began with, where it got so far."""
        seen = read_status(self.path).get("data_sha256")
        return None if seen is None else str(seen)

    def data(self, overrides: Sequence[str] = ()) -> RunData:
        """Find the images of the run again, `data.root=...` telling where they are now.

        Raises:
            Refused: they are not there, or others are.
        """
        node = dict(self.config["data"])
        for text in overrides:
            name = text.partition("=")[0]
            if name not in OPEN:
                raise Refused(f"{text}: cannot differ from the run's; {nearest(name, OPEN)}")
            (override,) = parsed_overrides([text])
            if not SETTINGS[name].accepts(value := override.value()):
                raise Refused(f"{text}: must be {SETTINGS[name].allowed}.")
            node[name.removeprefix("data.")] = value
        node = own_images(
            node,
            self.path,
            sha256=self.data_sha256,
            given=any(not text.startswith("data.download=") for text in overrides),
            otherwise=f"--data {node['name']} takes these as other images",
        )
        return RunData(node, read(node), seed=self.config["seed"], own=True)

    def other_data(self, name: str, overrides: Sequence[str] = (), *, split: str) -> RunData:
        """Take another data set, by its name in conf/data, unless the run was trained on it.

        Raises:
            Refused: not there, or some of its images were trained on.
        """
        for text in overrides:
            leaf = text.partition("=")[0].removeprefix("data.")
            if leaf in SPLITTING:
                raise Refused(f"{text}: how images are split belongs to the run; leave it out.")
        own, seed = self.config["data"], self.config["seed"]
        node = checked(compose([f"data={name}", *overrides]))["data"]
        node |= {key: own[key] for key in SPLITTING}
        splits = read(node)
        if splits.sha256 == self.data_sha256:
            return RunData(node, splits, seed=seed, own=True)
        notes = []
        if node["class_names"] != own["class_names"]:
            notes.append("The network learned other classes: answer k is read as label k of these.")
        try:
            found = own_images(own, self.path, sha256=self.data_sha256)
            trained_on = read(found).train_images
        except Refused:
            notes.append(
                "The run's own images are gone: it may have been trained on some of these."
            )
        else:
            images = splits.test_images if split == "test" else splits.train_images
            num_seen = int(are_among(images, trained_on).sum())
            if num_seen:
                raise Refused(
                    f"--data {name}: {num_seen:,} of its {len(images):,} images are in the "
                    "training split of this run; accuracy on them would be no test."
                )
        return RunData(node, splits, seed=seed, own=False, note=" ".join(notes) or None)

    def trial_data(self, overrides: Sequence[str] = ()) -> RunData:
        """Images to try the network on: its own, or MNIST's where those are no longer shipped.

        Raises:
            Refused: as `data`.
        """
        if not Source.of(self.config["data"]).is_former_subset:
            return self.data(overrides)
        typed = any(text.startswith("data.download=") for text in overrides)
        download = [] if typed else ["data.download=false"]
        node = checked(compose(["data=mnist", *download, *overrides]))["data"]
        return RunData(node, read(node), seed=self.config["seed"], own=False)

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


def checkpoint_path(run_dir: Path, checkpoint: str) -> Path:
    """The file of a run's `last` or `best` checkpoint.

    Raises:
        Refused: it is not there, and why.
    """
    path = run_dir / "checkpoints" / f"{checkpoint}.ckpt"
    rows = read_epochs(run_dir)
    if rows and (checkpoint == "last" or "val/acc" in rows[-1]) and not path.exists():
        raise Refused(f"{path}: was deleted; the run's results stay, its network does not.")
    if not path.with_name("last.ckpt").exists():
        raise Refused(f"{path}: not there; the run has not finished an epoch.")
    if not path.exists():
        raise Refused(f"{path}: not there, as the run has no validation; use --checkpoint last.")
    return path


def locate(path: Path) -> Path:
    """Return the run directory that a user named.

    Raises:
        Refused: it is none; says what may have been meant.
    """
    if (path / "config.yaml").is_file():
        return path
    if not path.is_dir():
        beside = [folder.name for folder in path.parent.glob("*/") if folder.is_dir()]
        close = difflib.get_close_matches(path.name, beside, n=1)
        hint = f"did you mean {path.parent / close[0]}?" if close else "runs lie in outputs/runs/."
        raise Refused(f"{path}: no such directory; {hint}")
    below = [
        file
        for pattern in ("*/config.yaml", "*/*/config.yaml")
        for file in path.glob(pattern)
        if file.parent.name != ".hydra"
    ]
    if below:
        newest = max(below, key=lambda file: file.stat().st_mtime).parent
        number = "one lies" if len(below) == 1 else f"{len(below)} lie"
        raise Refused(f"{path}: no run directory, but {number} below it; the newest is {newest}")
    raise Refused(f"{path}: no run directory (it has no config.yaml).")


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    own.add_config_dir(parser)
    parser.add_argument(
        "--checkpoint",
        choices=("last", "best"),
        default="last",
        help="the last epoch's weights (the default) or those of the best in validation",
    )


def add_out(parser: argparse.ArgumentParser, *, what: str) -> None:
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help=f"of a run that cannot be written: {what}"
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
    own.name_folders(options.config_dir)
    paths, overrides = paths_and_overrides(options.runs)
    if not 1 <= len(paths) <= most:
        number = "one" if most == 1 else "one, or two to compare"
        raise Refused(f"{len(paths)} run directories: must be {number}.")
    return [StoredRun.find(path, checkpoint=options.checkpoint) for path in paths], overrides


def paths_and_overrides(texts: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Tell `data.root=DIR` and the like from the files and directories of a command line."""
    overrides = [text for text in texts if text.startswith("data.") and "=" in text]
    refuse_repeated(overrides)
    return [Path(text) for text in texts if text not in overrides], overrides
