"""Where a network is unsure: distances against scipy's, shares, what is stored, what verbs say."""

from __future__ import annotations

import csv
import errno
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from scipy.spatial.distance import cdist
from tiny_run import train_run, write_data_set

from mnist_lab.data.augment import shift
from mnist_lab.data.datamodule import MNISTDataModule, scale
from mnist_lab.evaluate import evaluate_command
from mnist_lab.evaluation import unsure as unsure_module
from mnist_lab.evaluation.neighbours import layer_inputs
from mnist_lab.evaluation.unsure import MAX_WIDTH, Unsure, load_unsure, looked_at, moved
from mnist_lab.models.classifier import Classifier
from mnist_lab.predict import predict_command
from mnist_lab.run.stored import StoredRun
from mnist_lab.ui.errors import Refused

NAME = "unsure-last.npz"
FRACTION = 0.5


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with 500 validation images, one without any, and their data set."""
    home = tmp_path_factory.mktemp("unsure")
    write_data_set(home / "data", num_train=1000, num_test=200, seed=0)
    data = ["data=idx_folder", f"data.root={home / 'data'}", "trainer.max_epochs=2"]
    train_run(home / "run", *data, "model.width=24", f"data.val_fraction={FRACTION}")
    train_run(home / "whole", *data, "model.width=24", "data.val_fraction=0")
    return home


@pytest.fixture
def folder(home: Path, tmp_path: Path) -> Path:
    """A copy, to be written in, with images of its own."""
    folder = shutil.copytree(home, tmp_path / "home")
    for file in folder.glob("*/config.yaml"):
        file.write_text(file.read_text().replace(str(home), str(folder)))
    return folder


def opened(path: Path) -> tuple[StoredRun, Classifier, MNISTDataModule]:
    run = StoredRun.find(path, checkpoint="last")
    return run, run.load()[0], run.data().load()


def photo(path: Path) -> Path:
    image = Image.new("L", (100, 140), 240)
    ImageDraw.Draw(image).line([(50, 30), (50, 110)], fill=30, width=8)
    image.save(path)
    return path


def unit(values: np.ndarray) -> np.ndarray:
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def test_distances_are_scipys(home: Path) -> None:
    """In what the hidden layer is given, and by half in what it makes; to the third nearest."""
    _, model, data = opened(home / "run")
    unsure = Unsure.chosen(model, data)
    images = data.splits["test"][0]
    state = {name: values.double().numpy() for name, values in model.state_dict().items()}
    random = torch.randn((784, MAX_WIDTH), generator=torch.Generator().manual_seed(784))

    def layers(images: torch.Tensor) -> list[np.ndarray]:
        pixels = images.numpy().reshape(-1, 784) / 255.0
        hidden = pixels @ state["layers.1.weight"].T + state["layers.1.bias"]
        return [unit(pixels @ random.double().numpy()), unit(hidden.clip(0))]

    seen, known = layers(images), layers(data.splits["train"][0])
    expected = sum(
        weight * np.sort(cdist(a, b), axis=1)[:, 2]
        for weight, a, b in zip((1, 0.5), seen, known, strict=True)
    )
    distances, best = looked_at(model, unsure.known, images)
    np.testing.assert_allclose(distances, expected, atol=0.02)  # stored in steps of a 127th
    np.testing.assert_allclose(best, model.predict(images).amax(1).numpy(), rtol=1e-5)
    np.testing.assert_array_equal(unsure(images), (distances > unsure.most) | (best < unsure.least))


def test_one_in_a_hundred_validation_images_is_unsure(home: Path) -> None:
    _, model, data = opened(home / "run")
    unsure = Unsure.chosen(model, data)
    assert unsure(data.splits["val"][0]).sum() == 5
    assert unsure.words == "1 % of 500 validation digits"
    assert 0 < unsure(data.splits["test"][0]).mean() < 0.05


def test_without_validation_training_images_stand_in_moved_by_a_pixel(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, model, data = opened(home / "whole")
    judged: list[torch.Tensor] = []

    def kept(images: torch.Tensor) -> torch.Tensor:
        judged.append(images)
        return moved(images)

    monkeypatch.setattr(unsure_module, "moved", kept)
    unsure = Unsure.chosen(model, data)
    assert unsure.words == "1 % of 166 training digits moved by a pixel"
    (images,) = judged
    assert len(images) == 166
    assert {len(each) for each in unsure.known} == {1000 - 166}  # none is its own neighbour
    assert unsure(moved(images)).sum() == 1
    ways = []
    for image, other in zip(images[:40], moved(images)[:40], strict=True):
        found = [
            (y, x)
            for y in (-1, 0, 1)
            for x in (-1, 0, 1)
            if torch.equal(shift(image[None], torch.tensor([[y, x]]), most=1)[0], other)
        ]
        ways += found
    assert len(ways) == 40
    assert len({*ways}) == 8
    assert (0, 0) not in ways


@pytest.mark.parametrize("name", ["run", "whole"])
def test_what_is_unlike_all_training_images_is_unsure(name: str, home: Path) -> None:
    _, model, data = opened(home / name)
    unsure = Unsure.chosen(model, data)
    strange = torch.zeros(2, 1, 28, 28, dtype=torch.uint8)
    strange[0, 0, 4:24, 12:16] = 255  # a stroke
    strange[1, 0, ::2] = 255
    assert unsure(strange).tolist() == [True, True]
    assert unsure(strange[:0]).tolist() == []


def test_it_is_stored_once_for_these_weights(folder: Path) -> None:
    run, model, data = opened(folder / "run")
    assert not (run.path / NAME).exists()  # nobody has needed it
    chosen = load_unsure(run, model)
    images = data.splits["test"][0]
    before = (run.path / NAME).read_bytes()
    shutil.rmtree(folder / "data")
    again = load_unsure(run, model)  # needs no images any more
    assert (again.most, again.least, again.words) == (chosen.most, chosen.least, chosen.words)
    np.testing.assert_array_equal(again(images), chosen(images))
    for one, other in zip(again.known, chosen.known, strict=True):
        torch.testing.assert_close(one, other)
    assert (run.path / NAME).read_bytes() == before
    with torch.no_grad():
        next(model.parameters())[0, 0] += 1  # other weights, as after training on
    with pytest.raises(Refused, match=r"^data.root="):
        load_unsure(run, model)


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "method"])
def test_what_is_damaged_or_of_another_method_is_chosen_anew(damage: str, folder: Path) -> None:
    run, model, _ = opened(folder / "run")
    chosen = load_unsure(run, model)
    path = run.path / NAME
    whole = path.read_bytes()
    if damage == "method":
        with np.load(path) as arrays:
            identity = str(arrays["identity"])
            stored = {**arrays, "identity": np.array("0" + identity[1:])}
        np.savez_compressed(path, **{**stored, "thresholds": np.array([9.0, 0.0])})
    else:
        path.write_bytes({"cut": whole[: len(whole) // 2], "text": b"hello", "empty": b""}[damage])
    again = load_unsure(run, model)
    assert (again.most, again.least) == (chosen.most, chosen.least)
    assert path.read_bytes() == whole


def test_a_directory_that_cannot_be_written_is_no_hindrance(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(unsure_module, "write_atomically", write)
    run, model, data = opened(folder / "run")
    assert load_unsure(run, model)(data.splits["val"][0]).sum() == 5
    assert not (run.path / NAME).exists()


def test_predict_says_it_in_every_form(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = [str(folder / "run"), str(photo(folder / "stroke.png")), "--index", "0", "1"]
    predict_command([*asked, "--format", "json"])
    ended = capsys.readouterr()
    assert ended.err == ""
    rows = json.loads(ended.out)
    assert [row["unsure"] for row in rows] == [True, False, False]
    assert (folder / "run" / NAME).exists()
    predict_command([*asked, "--format", "csv"])
    read = [*csv.DictReader(io.StringIO(capsys.readouterr().out))]
    assert [row["unsure"] for row in read] == ["True", "False", "False"]
    predict_command([*asked, "--show", str(folder / "shown.png")])
    head, first, second, *_ = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["picture", "prediction", "unsure"]
    assert "unsure" in first
    assert "unsure" not in second
    assert (folder / "shown.png").stat().st_size > 10_000


def test_predict_answers_where_it_cannot_be_told(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(folder / "data")
    predict_command([str(folder / "run"), str(photo(folder / "stroke.png")), "--format", "json"])
    ended = capsys.readouterr()
    (row,) = json.loads(ended.out)
    assert row["prediction"] is not None
    assert row["unsure"] is None
    assert ended.err.startswith("Whether the network is unsure cannot be told: data.root=")
    assert "data.root=DIR" in ended.err


@pytest.mark.parametrize("name", ["run", "whole"])
def test_evaluate_tells_the_share(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, model, data = opened(folder / name)
    evaluate_command([str(run.path)])
    metrics = json.loads((run.path / "evaluation/metrics.json").read_text())
    images, labels = data.splits["test"]
    unsure = load_unsure(run, model)
    found = unsure(images)
    wrong = model.predict(images).argmax(1).numpy() != labels.numpy()
    assert metrics["test/unsure"] == pytest.approx(found.mean())
    assert metrics["test/unsure_mistakes"] == (found & wrong).sum()
    assert metrics["unsure_by"] == unsure.words
    said = capsys.readouterr().out
    assert f"{100 * found.mean():.2f} %, with {(found & wrong).sum()} of the mistakes" in said
    assert ("moved by a pixel" in said) == (name == "whole")


class Pooled(Classifier):
    """A network of a user's own: its one linear layer is asked twice for an image."""

    def __init__(self, *, linear: bool) -> None:
        super().__init__()
        self.pool = torch.nn.AvgPool2d(7)
        self.last = torch.nn.Linear(4, 5) if linear else torch.nn.Flatten()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        rows = self.pool(images).flatten(1)
        if isinstance(self.last, torch.nn.Linear):
            return torch.cat([self.last(rows[:, :4]), self.last(rows[:, 4:8])], dim=1)
        return self.last(rows)[:, :10]


@pytest.mark.parametrize("linear", [True, False])
def test_of_a_network_without_a_last_linear_layer_pixels_are_compared(
    linear: bool, home: Path
) -> None:
    _, _, data = opened(home / "run")
    images = data.splits["val"][0]
    model = Pooled(linear=linear).eval()
    (pixels,), _ = layer_inputs(model, images, last=2)
    assert torch.equal(pixels, scale(images).flatten(1))
    assert 1 <= Unsure.chosen(model, data)(images).sum() <= 5


def test_training_and_sweeping_leave_it_to_others(
    train_run: Callable[..., Path], tmp_path: Path
) -> None:
    path = train_run(tmp_path)
    assert not [*path.rglob("unsure*")]
