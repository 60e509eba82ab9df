"""Which answers of a network are not to be relied on: what it sees is unlike what it learned from.

The thresholds are chosen by whoever needs them first, since a sweep needs none, and are stored in
the run's directory together with what they were taken from.
"""

import contextlib
import hashlib
import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Int64, UInt8
from torch import Tensor

from mnist_lab.data.augment import shift
from mnist_lab.data.datamodule import MNISTDataModule
from mnist_lab.evaluation.answers import Progress
from mnist_lab.evaluation.neighbours import layer_inputs
from mnist_lab.models.classifier import Classifier
from mnist_lab.run.predictions import UNREADABLE
from mnist_lab.run.stored import RunData, StoredRun
from mnist_lab.ui.errors import Refused
from mnist_lab.ui.files import read_bytes, write_atomically

SHARE = 0.01  # of validation digits that are to be unsure
LEAST_PROBABLE = 0.001  # of them, those of which the answer is the least probable
NUM_KNOWN = 20_000  # training digits from which the distance is taken, at most
NEAREST = 3  # of them that is asked for its distance: one alone may be an odd one
NUM_JUDGED = 5_000  # digits by which the thresholds are chosen, at most
MAX_WIDTH = 512  # values of a layer that are kept of a digit
OUTPUT_WEIGHT = 0.5  # of the distance in what the last hidden layer makes, beside what it is given
BATCH = 500  # images whose distances are held at a time
METHOD = "1"  # of all of this: what was stored by another is made anew
MAX_BYTES = 64 << 20  # of the file, which has some 6 MB, and of each array in it


@dataclass(frozen=True)
class Unsure:
    """Tells of images whether a network had better say that it is unsure.

    The distance of an image is that to the third nearest training digit in the last hidden layer:
    in what the layer is given plus, by half, in what it makes of that, each as the chord between
    directions (0 the same, 1.41 nothing in common). A network is unsure where that is large, or
    where its best class has hardly more probability than others.

    Nearest neighbours by direction: Sun et al. 2022, "Out-of-distribution detection with deep
    nearest neighbors". That what a layer is given tells as much as what it makes was found by
    validation digits and letters: docs/log.md.

    Attributes:
        known: for each layer looked into, directions of training digits (m, width).
        most: distance above which a network is unsure.
        least: probability of the best class below which it is.
        num_judged: digits by which both were chosen: `SHARE` of them are unsure.
        by_moved: those were training digits moved by a pixel, as the run has no validation digits.
    """

    model: Classifier
    known: tuple[Float32[Tensor, "m _"], ...]
    most: float
    least: float
    num_judged: int
    by_moved: bool

    def __call__(self, images: UInt8[Tensor, "n 1 28 28"]) -> Bool[np.ndarray, "n"]:
        if not len(images):
            return np.zeros(0, bool)
        distances, best = looked_at(self.model, self.known, images)
        unsure: np.ndarray = (distances > self.most) | (best < self.least)
        return unsure

    @property
    def words(self) -> str:
        """By what the thresholds were chosen."""
        whose = "training digits moved by a pixel" if self.by_moved else "validation digits"
        return f"{100 * SHARE:.0f} % of {self.num_judged:,} {whose}"

    @classmethod
    def chosen(
        cls, model: Classifier, data: MNISTDataModule, *, progress: Progress | None = None
    ) -> Self:
        """Choose the thresholds by validation digits, so that `SHARE` of them are unsure.

        Where there are none, a sixth of the training digits, moved by a pixel, stand in for them,
        and the distance is taken from the others.
        """
        (train, _), (judged, _) = data.splits["train"], data.splits["val"]
        if by_moved := not len(judged):
            rows = some(len(train), min(NUM_JUDGED, max(1, len(train) // 6)))
            judged = moved(train[rows])
            others = torch.ones(len(train), dtype=torch.bool).index_fill_(0, rows, False)
            train = train[others] if others.any() else train
        judged = judged[some(len(judged), NUM_JUDGED)]
        train = train[some(len(train), NUM_KNOWN)]
        known = tuple(rounded(each) for each in directions(model, train, progress=progress)[0])
        distances, best = looked_at(model, known, judged, progress=progress)
        least = float(np.quantile(best, LEAST_PROBABLE, method="lower"))
        sure = distances[best >= least]
        allowed = int(SHARE * len(judged)) - (len(judged) - len(sure))
        most = float(np.sort(sure)[max(0, len(sure) - 1 - max(0, allowed))])
        return cls(model, known, most, least, len(judged), by_moved)


def load_unsure(
    run: StoredRun,
    model: Classifier,
    *,
    data: RunData | None = None,
    keep: bool = True,
    progress: Progress | None = None,
) -> Unsure:
    """Read what is stored of a run or, where nothing holds for these weights, choose and store it.

    A directory that cannot be written costs a few seconds each time, and nothing else.

    Args:
        data: the run's own images, where they were found already.
        keep: store what is chosen, in the run's directory.

    Raises:
        Refused: nothing is stored, and the run's images are not to be had; none is downloaded.
    """
    path = run.path / f"unsure-{run.checkpoint}.npz"
    identity = f"{METHOD} {weights_sha256(model)}"
    unsure = read_unsure(path, model, identity=identity)
    if unsure is None:
        found = data or run.data(["data.download=false"])
        unsure = Unsure.chosen(model, found.load(), progress=progress)
        if keep:
            with contextlib.suppress(OSError):
                write_unsure(path, unsure, identity=identity)
    return unsure


def unsure_or_why(
    run: StoredRun,
    model: Classifier,
    say: Callable[[str], object],
    *,
    data: RunData | None,
    keep: bool = True,
) -> Unsure | None:
    """`load_unsure` for a verb that has an answer without it, too: then a line says why.

    Args:
        data: of the verb; other images than the run's own do not choose thresholds.
    """
    try:
        return load_unsure(run, model, data=data if data and data.own else None, keep=keep)
    except Refused as error:
        say(f"Whether the network is unsure cannot be told: {error}")
        return None


def looked_at(
    model: Classifier,
    known: tuple[Float32[Tensor, "m _"], ...],
    images: UInt8[Tensor, "n 1 28 28"],
    *,
    progress: Progress | None = None,
) -> tuple[Float64[np.ndarray, "n"], Float64[np.ndarray, "n"]]:
    """The distance of each of at least one image, and the probability of its best class."""
    seen, best = directions(model, images, progress=progress)
    distances = np.zeros(len(images))
    for place, (each, others) in enumerate(zip(seen, known, strict=True)):
        weight = 1.0 if place == 0 else OUTPUT_WEIGHT
        k = min(NEAREST, len(others))
        cosines = [(rows @ others.T).topk(k, dim=1).values[:, -1] for rows in each.split(BATCH)]
        chords = (2 - 2 * torch.cat(cosines)).clamp(min=0).sqrt()
        distances += weight * chords.double().numpy()
    return distances, best


def directions(
    model: Classifier, images: UInt8[Tensor, "n 1 28 28"], *, progress: Progress | None = None
) -> tuple[list[Float32[Tensor, "n _"]], Float64[np.ndarray, "n"]]:
    """Of each image in each layer, of length 1; and the probability of its best class.

    More than `MAX_WIDTH` values are projected at random to as many, which nearly keeps angles:
    Johnson & Lindenstrauss 1984, "Extensions of Lipschitz mappings into a Hilbert space".
    """
    layers: list[list[Tensor]] = []
    best = []
    for batch in images.split(BATCH):
        given, logs = layer_inputs(model, batch, last=2, progress=progress)
        layers.append([unit(narrowed(each)) for each in given])
        best.append(np.exp(logs.max(axis=1)))
    return [torch.cat(parts) for parts in zip(*layers, strict=True)], np.concatenate(best)


def unit(values: Float32[Tensor, "n width"]) -> Float32[Tensor, "n width"]:
    return torch.nn.functional.normalize(values)


def narrowed(values: Float32[Tensor, "n _"]) -> Float32[Tensor, "n _"]:
    width = values.shape[1]
    if width <= MAX_WIDTH:
        return values
    return torch.mm(values, projection(width))


def projection(width: int) -> Float32[Tensor, "width narrow"]:
    """To `MAX_WIDTH` values; a part of its columns projects to fewer."""
    return torch.randn((width, MAX_WIDTH), generator=torch.Generator().manual_seed(width))


def rounded(values: Float32[Tensor, "n _"]) -> Float32[Tensor, "n _"]:
    """To multiples of a 127th of the largest, as they are stored."""
    step = values.abs().max().clamp(min=1e-9) / 127
    return torch.mul((values / step).round(), step)


def some(total: int, number: int) -> Int64[Tensor, "n"]:
    """So many rows, or all, at random: a split may be sorted by class, or alternate by writer."""
    return torch.randperm(total, generator=torch.Generator().manual_seed(total))[:number]


def moved(images: UInt8[Tensor, "n 1 28 28"]) -> UInt8[Tensor, "n 1 28 28"]:
    """Each moved by a pixel, in one of the eight directions."""
    ways = torch.tensor([(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if y or x])
    return shift(images, ways.repeat(-(-len(images) // 8), 1)[: len(images)], most=1)


def weights_sha256(model: Classifier) -> str:
    found = hashlib.sha256()
    for name, weights in sorted(model.state_dict().items()):
        found.update(f"{name} {weights.dtype} {tuple(weights.shape)};".encode())
        found.update(weights.contiguous().numpy().tobytes())
    return found.hexdigest()


def write_unsure(path: Path, unsure: Unsure, *, identity: str) -> None:
    steps = [float(each.abs().max()) / 127 or 1.0 for each in unsure.known]
    arrays = {
        f"known{place}": (each / step).round().to(torch.int8).numpy()
        for place, (each, step) in enumerate(zip(unsure.known, steps, strict=True))
    }
    content = io.BytesIO()
    np.savez_compressed(
        content,
        **arrays,  # type: ignore[arg-type]  # its next one is a flag
        steps=np.array(steps),
        thresholds=np.array([unsure.most, unsure.least]),
        num_judged=np.array(unsure.num_judged),
        by_moved=np.array(unsure.by_moved),
        identity=np.array(identity),
    )
    write_atomically(path, lambda file: file.write(content.getvalue()))


def read_unsure(path: Path, model: Classifier, *, identity: str) -> Unsure | None:
    """None where there is nothing, where it is damaged, or where it is of other weights."""
    try:
        content = read_bytes(path, max_bytes=MAX_BYTES)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if any(part.file_size > MAX_BYTES for part in archive.infolist()):
                return None
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            if str(arrays["identity"]) != identity:
                return None
            known = tuple(
                torch.from_numpy(arrays[f"known{place}"]).float() * float(step)
                for place, step in enumerate(arrays["steps"])
            )
            most, least = arrays["thresholds"].tolist()
            num_judged, by_moved = int(arrays["num_judged"]), bool(arrays["by_moved"])
    except (*UNREADABLE, TypeError):
        return None
    return Unsure(model, known, most, least, num_judged, by_moved)
