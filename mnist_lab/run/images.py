"""The images that a stored run is asked about: its own, or others it has not seen. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_lab.data.source import Source, Splits
from mnist_lab.run.directory import read_status
from mnist_lab.settings.config import build, checked, compose
from mnist_lab.settings.table import SETTINGS, nearest
from mnist_lab.ui.console import printable, show_download
from mnist_lab.ui.errors import Refused

if TYPE_CHECKING:
    from mnist_lab.data.datamodule import MNISTDataModule

# What a command line may say about stored or other images; how they are split is the run's affair.
OPEN = ("data.root", "data.folder", "data.download")
SPLITTING = ("batch_size", "val_fraction", "shuffle_split", "max_shift")


@dataclass(frozen=True)
class RunData:
    """Images that were found, read and checked, and how the run divides them.

    Attributes:
        node: the group `data` of a configuration, to build from.
        seed: of the run: draws the same validation images again.
        sha256: of the images; see `Splits`.
        num_val: images of the training split that the run keeps for validation.
        own: these are the images that the run was trained on.
        note: what to know before the metrics are read, or None.
    """

    node: dict[str, Any]
    seed: int
    sha256: str
    num_val: int
    own: bool
    note: str | None = None

    @classmethod
    def of(
        cls, node: dict[str, Any], splits: Splits, *, seed: int, own: bool, note: str | None = None
    ) -> RunData:
        num_val = round(len(splits.train_images) * node["val_fraction"])
        return cls(node, seed, splits.sha256, num_val, own, note)

    @property
    def name(self) -> str:
        return str(self.node["name"])

    @property
    def class_names(self) -> list[str]:
        return [printable(name) for name in self.node["class_names"]]

    def read(self) -> Splits:
        return read(self.node)

    def load(self) -> MNISTDataModule:
        data: MNISTDataModule = build(self.node, seed=self.seed)
        return data


def own_data(run_dir: Path, config: dict[str, Any], overrides: Sequence[str] = ()) -> RunData:
    """Find the images of a run again, `data.root=...` telling where they are now.

    Raises:
        Refused: they are not there, or others are.
    """
    node = dict(config["data"])
    for text in overrides:
        name, _, value = text.partition("=")
        if name not in OPEN:
            raise Refused(f"{text}: cannot differ from the run's; {nearest(name, OPEN)}")
        if name == "data.download" and value not in ("true", "false"):
            raise Refused(f"{text}: must be {SETTINGS[name].allowed}.")
        plain = {"true": True, "false": False} if name == "data.download" else {"null": None}
        node[name.removeprefix("data.")] = plain.get(value, value)
    splits = read(node)
    seen = data_seen(run_dir)
    if seen not in (None, splits.sha256):
        raise Refused(
            f"data.root={node['root'] or 'null'}: these are not the images that the run was "
            f"trained on (their SHA-256 differs); --data {node['name']} takes them as other images."
        )
    return RunData.of(node, splits, seed=config["seed"], own=True)


def other_data(
    run_dir: Path,
    config: dict[str, Any],
    name: str,
    overrides: Sequence[str] = (),
    *,
    split: str,
) -> RunData:
    """Take another data set, by its name in conf/data, unless the run was trained on its images.

    Raises:
        Refused: not there, or some of its images were trained on.
    """
    for text in overrides:
        leaf = text.partition("=")[0].removeprefix("data.")
        if leaf in SPLITTING:
            raise Refused(f"{text}: how images are split belongs to the run; leave it out.")
    own = config["data"]
    node = checked(compose([f"data={name}", *overrides]))["data"]
    node |= {key: own[key] for key in SPLITTING}
    splits = read(node)
    if splits.sha256 == data_seen(run_dir):
        return RunData.of(node, splits, seed=config["seed"], own=True)
    notes = []
    if node["class_names"] != own["class_names"]:
        notes.append("The network learned other classes: answer k is read as label k of these.")
    try:
        trained_on = read(own).train_images
    except Refused:
        notes.append("The run's own images are gone: it may have been trained on some of these.")
    else:
        images = splits.test_images if split == "test" else splits.train_images
        seen = {image.tobytes() for image in trained_on}
        num_seen = sum(image.tobytes() in seen for image in images)
        if num_seen:
            raise Refused(
                f"--data {name}: {num_seen:,} of its {len(images):,} images are in the training "
                "split of this run; accuracy on them would be no test."
            )
    return RunData.of(node, splits, seed=config["seed"], own=False, note=" ".join(notes) or None)


def trial_data(run_dir: Path, config: dict[str, Any], overrides: Sequence[str] = ()) -> RunData:
    """Images to try a run's network on: its own, or MNIST's where those are no longer shipped.

    Raises:
        Refused: as `own_data`.
    """
    if not Source.of(config["data"]).is_former_subset:
        return own_data(run_dir, config, overrides)
    node = checked(compose(["data=mnist", "data.download=false", *overrides]))["data"]
    return RunData.of(node, read(node), seed=config["seed"], own=False)


def read(node: dict[str, Any]) -> Splits:
    """Find and read what a `data` node names."""
    return Source.of(node).find(progress=show_download).read()


def data_seen(run_dir: Path) -> str | None:
    """The SHA-256 of the images that the run began with, where it got so far."""
    seen = read_status(run_dir).get("data_sha256")
    return None if seen is None else str(seen)
