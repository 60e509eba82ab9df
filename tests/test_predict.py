"""mnist-predict: answers against plain numpy, pictures that are none, and the figure."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TEN
from PIL import Image, ImageDraw
from tiny_run import train_run, write_data_set

from mnist_lab.data.idx import read_split
from mnist_lab.data.splits import Splits
from mnist_lab.pictures.digits import to_mnist
from mnist_lab.pictures.picture import load_picture
from mnist_lab.predict import predict_command
from mnist_lab.prediction.asking import ask, read_pictures
from mnist_lab.prediction.plots import predictions_figure
from mnist_lab.prediction.prediction import Prediction
from mnist_lab.run.stored import StoredRun
from mnist_lab.ui.errors import Failed, Refused

DIGITS = [str(k) for k in range(10)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on files in Fashion-MNIST's folder and names."""
    folder = tmp_path_factory.mktemp("runs")
    write_data_set(folder / "FashionMNIST/raw", num_train=300, num_test=100, seed=0)
    settings = ["data=fashion_mnist", "data.batch_size=32", "model.width=16"]
    train_run(folder / "run", *settings, f"data.root={folder}", "trainer.max_epochs=2")
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    return folder / "run"


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """A stroke and a ring, as files."""
    paths = [tmp_path / "stroke.png", tmp_path / "ring, of $ink.jpg"]
    for path, shape in zip(paths, ("line", "ellipse"), strict=True):
        image = Image.new("L", (200, 160), 245)
        getattr(ImageDraw.Draw(image), shape)((60, 30, 120, 130), width=12, **COLOR[shape])
        image.save(path)
    return paths


COLOR = {"line": {"fill": 20}, "ellipse": {"outline": 20}}


def numpy_probs(run: Path, image: np.ndarray) -> np.ndarray:
    """The network's probabilities with matrix products alone."""
    state = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    weights = {name: tensor.double().numpy() for name, tensor in state.items()}
    hidden = weights["layers.1.weight"] @ (image.ravel() / 255) + weights["layers.1.bias"]
    logits = weights["layers.4.weight"] @ np.maximum(hidden, 0) + weights["layers.4.bias"]
    return np.exp(logits) / np.exp(logits).sum()


def csv_rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_answers_to_files(
    run: Path, photos: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    names = [str(path) for path in photos]
    predict_command([str(run), "--format", "csv", *names])  # options may stand anywhere
    text = capsys.readouterr().out
    columns = ["file", "digit", "prediction", *(f"p{k}" for k in range(10))]
    columns += ["unsure", "name", "label", "box", "touching", "error"]
    assert text.splitlines()[0] == ",".join(columns)
    rows = csv_rows(text)
    assert [row["file"] for row in rows] == names
    for row, path in zip(rows, photos, strict=True):
        probs = numpy_probs(run, to_mnist(load_picture(path)))
        assert [float(row[f"p{k}"]) for k in range(10)] == pytest.approx(probs, rel=1e-4)
        assert int(row["prediction"]) == probs.argmax()
        assert (row["label"], row["error"]) == ("", "")

    predict_command([str(run), *names, "--format", "json"])
    same = json.loads(capsys.readouterr().out)
    boxes = [row.pop("box") for row in same]
    assert [" ".join(map(str, box)) for box in boxes] == [row.pop("box") for row in rows]
    assert [{k: "" if v is None else str(v) for k, v in row.items()} for row in same] == rows


def test_test_items_and_their_class_names(
    folder: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, labels = read_split(folder / "FashionMNIST/raw", "t10k", TEN, sha256={})
    predict_command([str(run), "--index", "5", "0", "--format", "csv"])
    rows = csv_rows(capsys.readouterr().out)
    assert [row["file"] for row in rows] == ["test/5", "test/0"]
    for row, index in zip(rows, (5, 0), strict=True):
        assert int(row["label"]) == labels[index]
        probs = numpy_probs(run, images[index])
        assert [float(row[f"p{k}"]) for k in range(10)] == pytest.approx(probs, rel=1e-4)

    drawn = []
    for seed in ("3", "3", "4"):
        predict_command([str(run), "--random", "100", "--seed", seed, "--format", "csv"])
        drawn.append([row["file"] for row in csv_rows(capsys.readouterr().out)])
    assert drawn[0] == drawn[1] != drawn[2]
    assert sorted(drawn[0]) == sorted(f"test/{index}" for index in range(100))

    predict_command([str(run), "--index", "5"])
    text = capsys.readouterr().out
    answer = int(numpy_probs(run, images[5]).argmax())
    names = StoredRun.find(run, checkpoint="last").config["data"]["class_names"]
    assert text.splitlines()[1].split()[:2] == ["test/5", names[answer].split()[0]]
    assert "9 ankle boot" in text


def test_pictures_that_are_none_get_a_line_each(
    run: Path, photos: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = photos[0]
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "cut.png").write_bytes(good.read_bytes()[:150])
    Image.new("L", (90, 90), 250).save(tmp_path / "blank.png")
    (tmp_path / "esc\x1b[31m\n.png").write_text("no picture")
    unnamed = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png")
    bad = ["missing.png", "empty.png", "text.png", "cut.png", "blank.png", "esc\x1b[31m\n.png"]
    paths = [str(tmp_path / name) for name in bad] + [unnamed]
    with pytest.raises(Failed, match="7 of 9 could not be predicted"):
        predict_command([str(run), str(good), *paths, str(photos[1]), "--format", "csv"])
    rows = csv_rows(capsys.readouterr().out)
    assert len(rows) == 9
    assert [row["error"] == "" for row in rows] == [True, *[False] * 7, True]
    assert [row["prediction"] == "" for row in rows] == [False, *[True] * 7, False]
    assert rows[6]["file"].endswith("esc?[31m?.png")
    assert "no ink" in rows[5]["error"]
    with pytest.raises(Failed):
        predict_command([str(run), *paths, str(good)])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 + 7  # a header, the one answer, what the numbers mean
    assert all(": " in line for line in lines[3:])


def test_each_digit_gets_a_row_and_a_folder_its_pictures(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    sheet = Image.new("L", (500, 200), 250)
    pen = ImageDraw.Draw(sheet)
    pen.ellipse((60, 50, 120, 150), outline=20, width=10)
    pen.line((300, 50, 290, 150), 20, 10)
    sheet.save(folder / "10.png")
    sheet.crop((0, 0, 200, 200)).save(folder / "9.png")
    (folder / "notes.txt").write_text("no picture")
    predict_command([str(run), str(folder), "--format", "csv"])
    rows = csv_rows(capsys.readouterr().out)
    assert [(Path(row["file"]).name, row["digit"]) for row in rows] == [
        ("9.png", "0"),
        ("10.png", "0"),
        ("10.png", "1"),
    ]
    for row, box in zip(rows, [(60, 50, 61, 101)] * 2 + [(286, 48, 20, 105)], strict=True):
        assert [int(n) for n in row["box"].split()] == pytest.approx(box, abs=4)
    assert [row["touching"] for row in rows] == ["False"] * 3
    with pytest.raises(Failed, match="1 of 2 could not"):
        predict_command([str(run), str(folder), "--one"])
    assert "10.png: 2 digits, and --one wants one" in capsys.readouterr().out.replace("\n", " ")
    (tmp_path / "none").mkdir()
    with pytest.raises(Refused, match="no picture in this folder"):
        predict_command([str(run), str(tmp_path / "none")])


def test_the_figure_shows_picture_image_and_probabilities(
    run: Path, photos: list[Path], tmp_path: Path
) -> None:
    predictions = read_pictures(photos)
    ask(StoredRun.find(run, checkpoint="last"), predictions)
    figure = predictions_figure(predictions, DIGITS)
    assert len(figure.axes) == 6
    for row, each in enumerate(predictions):
        left, middle, right = figure.axes[3 * row : 3 * row + 3]
        np.testing.assert_array_equal(left.images[0].get_array(), load_picture(photos[row]))
        np.testing.assert_array_equal(middle.images[0].get_array(), to_mnist(each.picture))
        stems = [stem.markerline.get_data() for stem in right.containers]
        assert [(int(x[0]), y[0]) for x, y in stems] == list(enumerate(each.probs))
        assert [label.get_text() for label in right.get_xticklabels()] == DIGITS
    for part, each in zip(figure.subfigs, predictions, strict=True):
        words = f": {each.probs.argmax()}, p={each.probs.max():.2f}"
        assert part.get_suptitle().endswith(words + ", unsure" * bool(each.unsure))
        assert part.get_suptitle().startswith(each.name[:60])
    figure.savefig(tmp_path / "figure.png")


def test_a_figure_replaces_only_a_figure(
    run: Path, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = photos[0]
    before = photo.read_bytes()
    with pytest.raises(Refused, match="was not written by mnist-predict"):
        predict_command([str(run), "--index", "0", "--show", str(photo)])
    assert photo.read_bytes() == before
    for name, message in (("x.jpg", "must end in .png"), ("no/x.png", "there is no folder")):
        with pytest.raises(Refused, match=message):
            predict_command([str(run), "--index", "0", "--show", str(tmp_path / name)])
    monkeypatch.chdir(tmp_path)
    predict_command([str(run), "--index", "0", "--show"])
    first = Path("predictions.png").read_bytes()
    predict_command([str(run), "--index", "1", "--show"])
    assert Path("predictions.png").read_bytes() != first
    with Image.open("predictions.png") as image:
        image.verify()


def test_what_cannot_be_asked_is_refused(run: Path) -> None:
    for message, args in {
        "nothing to predict": [],
        "the images 0 to 99": ["--index", "100"],
        "must be a whole number from 1 to 100": ["--random", "101"],
        "--seed: -1: must be a whole number from 0": ["--random", "1", "--seed", "-1"],
        "--seed 3: draws the images of --random": ["--index", "0", "--seed", "3"],
        "did you mean data.root": ["x.png", "data.rot=1"],
        "no such directory": [],
    }.items():
        path = run if message != "no such directory" else run / "x"
        with pytest.raises(Refused, match=message):
            predict_command([str(path), *args])


def test_a_test_item_is_shown_as_on_paper(folder: Path) -> None:
    images, labels = read_split(folder / "FashionMNIST/raw", "t10k", TEN, sha256={})
    item = Prediction.of_test_item(Splits(images, labels, images, labels, ""), 3)
    np.testing.assert_array_equal(item.image, images[3])
    np.testing.assert_allclose(item.picture, 1 - images[3] / 255)


def test_as_processes(run: Path, photos: list[Path]) -> None:
    command = [sys.executable, "-m", "mnist_lab.predict", run, photos[0], "gone.png"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "failed (pictures): 1 of 2 could not be predicted.\n"
    lines = done.stdout.splitlines()
    assert lines[1].startswith(f"{photos[0]} ")
    assert lines[-1].startswith("gone.png: ")
    command = [sys.executable, "-m", "mnist_lab.predict", "gone", photos[0]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "gone: no such directory; runs lie in outputs/runs/.\n"
