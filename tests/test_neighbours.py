"""Features against the logits that follow from them, neighbours against scipy's distances."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial.distance import cdist
from tensorboard.plugins.projector.projector_plugin import ProjectorPlugin
from tiny_run import load_model, train_run, write_data_set
from werkzeug.test import Client

from mnist_lab.data.datamodule import MNISTDataModule, scale
from mnist_lab.evaluate import evaluate_command
from mnist_lab.evaluation import neighbours
from mnist_lab.evaluation import tensorboard as evaluation_tensorboard
from mnist_lab.evaluation.answers import Answers, log_probs
from mnist_lab.evaluation.neighbours import TrainingImages, features
from mnist_lab.predict import predict_command
from mnist_lab.prediction.plots import predictions_figure
from mnist_lab.prediction.prediction import Prediction
from mnist_lab.settings.build import build
from mnist_lab.settings.compose import compose, plain
from mnist_lab.settings.groups import choices
from mnist_lab.ui.errors import Failed, Refused


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    write_data_set(folder / "data", num_train=400, num_test=50, seed=0)
    data = ["data=idx_folder", f"data.root={folder / 'data'}", "data.shuffle_split=true"]
    train_run(folder / "run", *data, "model.width=24", "model.dropout=0.5", "trainer.max_epochs=2")
    return folder


@pytest.fixture(scope="module")
def data(folder: Path) -> MNISTDataModule:
    """The splits of that run."""
    shuffled = ["data=idx_folder", f"data.root={folder / 'data'}", "data.shuffle_split=true"]
    node = plain(compose(shuffled))["data"]
    return build(node, seed=0)


@pytest.mark.parametrize("name", choices("model"))
def test_the_logits_follow_from_the_features(name: str) -> None:
    """With the weights of the last layer alone; so nothing lies between, and dropout is off."""
    torch.manual_seed(1)
    model = build(plain(compose([f"model={name}"]))["model"]).eval()
    images = torch.randint(0, 256, (3, 1, 28, 28), dtype=torch.uint8)
    found = features(model, images)
    *_, weight, bias = model.parameters()
    with torch.inference_mode():
        expected = model(scale(images))
    torch.testing.assert_close(found @ weight.T + bias, expected)
    num_hooks = sum(len(layer._forward_pre_hooks) for layer in model.modules())
    assert num_hooks == 0


def test_the_nearest_are_scipys(folder: Path, data: MNISTDataModule) -> None:
    model = load_model(folder / "run")
    training = TrainingImages.of(model, data.splits["train"])
    assert len(training.images) == data.num_train
    images = torch.cat([data.splits["test"][0], data.splits["train"][0][:40]])  # two chunks
    wanted = features(model, images)
    found = training.nearest(wanted, num_neighbours=5)
    distances = cdist(wanted.double(), training.features.double())
    expected = distances.argsort(axis=1)[:, :5]
    assert [[each.index for each in row] for row in found] == expected.tolist()
    labels = data.splits["train"][1].numpy()
    assert [[each.label for each in row] for row in found] == labels[expected].tolist()
    np.testing.assert_allclose(
        [[each.distance for each in row] for row in found],
        np.take_along_axis(distances, expected, axis=1),
        rtol=1e-4,
        atol=1e-5,
    )
    assert [row[0].index for row in found[50:]] == list(range(40))  # each its own nearest
    assert len(training.nearest(wanted[:1], num_neighbours=10**6)[0]) == data.num_train


def test_only_as_many_training_images_as_memory_allows(
    folder: Path, data: MNISTDataModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "MAX_VALUES", 24 * 30 + 5)
    training = TrainingImages.of(load_model(folder / "run"), data.splits["train"])
    assert training.features.shape == (30, 24)
    torch.testing.assert_close(training.images, data.splits["train"][0][:30])


def test_predict_names_and_draws_them(
    folder: Path, data: MNISTDataModule, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, args = folder / "run", ["--index", "3", "5", "--neighbours", "6"]
    model = load_model(run)
    training = TrainingImages.of(model, data.splits["train"])
    wanted = features(model, data.splits["test"][0][[3, 5]])
    expected = training.nearest(wanted, num_neighbours=6)

    predict_command([str(run), *args, "--format", "json"])
    rows = json.loads(capsys.readouterr().out)
    for row, near in zip(rows, expected, strict=True):
        assert row["neighbours"] == [
            {"label": each.label, "index": each.index, "distance": pytest.approx(each.distance)}
            for each in near
        ]
    blank = tmp_path / "blank.png"
    Image.new("L", (40, 40), 255).save(blank)
    with pytest.raises(Failed):
        predict_command([str(run), str(blank), *args, "--format", "csv"])
    cells = [row["neighbours"] for row in csv.DictReader(io.StringIO(capsys.readouterr().out))]
    assert cells == ["", *(" ".join(f"{n.label}:{n.index}" for n in near) for near in expected)]

    predict_command([str(run), *args, "--show", str(tmp_path / "shown.png")])
    near = ", ".join(f"{each.label} ({each.index})" for each in expected[1])
    assert f"test/5: nearest training images {near}\n" in capsys.readouterr().out
    assert (tmp_path / "shown.png").exists()
    with pytest.raises(Refused, match="--neighbours: 51: must be a whole number from 0 to 50"):
        predict_command([str(run), "--index", "0", "--neighbours", "51"])


def test_the_figure_holds_them(folder: Path, data: MNISTDataModule) -> None:
    prediction = Prediction(
        name="x",
        picture=np.zeros((9, 9)),
        image=np.zeros((28, 28), np.uint8),
        probs=np.full(10, 0.1),
    )
    training = TrainingImages.of(load_model(folder / "run"), data.splits["train"])
    (prediction.neighbours,) = training.nearest(training.features[:1], num_neighbours=6)
    axes = predictions_figure([prediction], [str(k) for k in range(10)]).axes[3]
    assert [text.get_text() for text in axes.texts] == [str(n.label) for n in prediction.neighbours]
    tiles = axes.images[0].get_array()
    for text, each in zip(axes.texts, prediction.neighbours, strict=True):
        x, y = (round(part) for part in text.get_position())
        np.testing.assert_array_equal(tiles[y - 29 : y - 1, x - 14 : x + 14], each.image)


class OneRun:
    """What the projector asks TensorBoard for: the names of the runs."""

    def list_runs(self, *_: object, **__: object) -> list[SimpleNamespace]:
        return [SimpleNamespace(run_name=".")]


def test_tensorboards_projector_reads_the_features(
    folder: Path, data: MNISTDataModule, capsys: pytest.CaptureFixture[str]
) -> None:
    """Asked of the plugin itself: features, a tile and words for each test image."""
    run = folder / "run"
    evaluate_command([str(run), "--projector"])
    assert "50 images are in TensorBoard's projector" in capsys.readouterr().out
    context = SimpleNamespace(logdir=str(run), data_provider=OneRun())
    routes = ProjectorPlugin(context).get_plugin_apps()

    def ask(route: str, **query: str) -> Any:
        answer = Client(routes[route]).get("/", query_string={"run": ".", **query})
        assert answer.status_code == 200, answer.text
        return answer

    (shown,) = ask("/info").json["embeddings"]
    name = shown["tensorName"]
    assert (name, shown["tensorShape"]) == ("idx_folder, test", [50, 24])
    model = load_model(run)
    images, labels = (each.numpy() for each in data.splits["test"])
    wanted = features(model, data.splits["test"][0]).numpy()
    found = np.frombuffer(ask("/tensor", name=name).data, np.float32).reshape(50, 24)
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-6)

    rows = list(csv.DictReader(io.StringIO(ask("/metadata", name=name).text), delimiter="\t"))
    answers = np.exp(log_probs(model, data.splits["test"][0]))
    assert [int(row["label"]) for row in rows] == labels.tolist()
    assert [int(row["prediction"]) for row in rows] == answers.argmax(1).tolist()
    assert [row["correct"] == "yes" for row in rows] == (answers.argmax(1) == labels).tolist()
    assert [float(row["probability"]) for row in rows] == pytest.approx(answers.max(1), abs=1e-4)
    assert [int(row["index"]) for row in rows] == list(range(50))

    with Image.open(io.BytesIO(ask("/sprite_image", name=name).data)) as sprite:
        tiles = np.asarray(sprite).reshape(8, 28, 8, 28).swapaxes(1, 2).reshape(64, 28, 28)
    np.testing.assert_array_equal(255 - tiles[:50], images[:, 0])
    with pytest.raises(Refused, match="--projector: is for one run"):
        evaluate_command([str(run), str(run), "--projector"])


def test_the_projector_gets_no_more_than_a_browser_can_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation_tensorboard, "MAX_VALUES", 7 * 3)
    logs = np.log(np.full((9, 10), 0.1))
    answers = Answers(np.zeros(9, np.int64), logs)
    num_images = evaluation_tensorboard.write_projector(
        tmp_path,
        features=np.ones((9, 3), np.float32),
        images=np.zeros((9, 28, 28), np.uint8),
        answers=answers,
        class_names=[str(k) for k in range(10)],
        name="nine",
    )
    assert num_images == 7
    assert len((tmp_path / "projector/features.tsv").read_text().splitlines()) == 7
    assert len((tmp_path / "projector/words.tsv").read_text().splitlines()) == 1 + 7
