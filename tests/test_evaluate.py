"""mnist-evaluate: metrics against scipy, plain counting and numpy, and what it refuses."""

from __future__ import annotations

import csv
import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from conftest import TEN
from PIL import Image
from scipy import stats
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_run import load_model, train_run, write_data_set

from mnist_lab.data.idx import read_split
from mnist_lab.evaluate import evaluate_command
from mnist_lab.evaluation import plots
from mnist_lab.evaluation.answers import Answers
from mnist_lab.evaluation.judge import claim_folder
from mnist_lab.evaluation.metrics import NUM_BINS, Disagreement, split_metrics
from mnist_lab.predict import predict_command
from mnist_lab.run.directory import Run, read_epochs, read_metrics, read_status
from mnist_lab.run.stored import StoredRun, locate
from mnist_lab.settings.groups import choices
from mnist_lab.ui.errors import Refused
from mnist_lab.ui.files import write_json

NAMES = ["T-shirt", "trouser", "pullover", "dress", "coat"]
NAMES += ["sandal", "shirt", "sneaker", "bag", "ankle boot"]
DIGITS = [str(k) for k in range(10)]
SHARED = ["data=fashion_mnist", "data.batch_size=32", "trainer.max_epochs=3"]
SPLIT = ["data.val_fraction=0.25", "data.shuffle_split=true"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files in Fashion-MNIST's folder and names, and two runs on them: `mlp` and `linear`."""
    folder = tmp_path_factory.mktemp("runs")
    write_data_set(folder / "FashionMNIST/raw", num_train=800, num_test=300, seed=0)
    shared = [*SHARED, *SPLIT, f"data.root={folder}"]
    train_run(folder / "mlp", "model.width=16", *shared)
    train_run(folder / "linear", "model=linear", *shared)
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set that even a CNN goes through in a second."""
    folder = tmp_path_factory.mktemp("data") / "small"
    write_data_set(folder, num_train=120, num_test=60, seed=5)
    return folder


@pytest.fixture
def run(folder: Path, tmp_path: Path) -> Path:
    """A copy of `mlp` that a test may spoil."""
    return Path(shutil.copytree(folder / "mlp", tmp_path / "mlp"))


def random_answers(n: int, *, seed: int, skip: tuple[int, ...] = ()) -> Answers:
    """Answers that are right in about two thirds; classes in `skip` are never predicted."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 9, n)  # label 9 never occurs
    logits = rng.normal(0, 1, (n, 10))
    logits[np.arange(n), labels] += 2
    logits[:, list(skip)] -= 20
    return Answers(labels, logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def numpy_probs(run: Path, images: np.ndarray, checkpoint: str) -> np.ndarray:
    """The network's probabilities with matrix products alone."""
    state = torch.load(run / f"checkpoints/{checkpoint}.ckpt", weights_only=True)["state_dict"]
    weights = {name: tensor.double().numpy() for name, tensor in state.items()}
    hidden = images.reshape(-1, 784) / 255 @ weights["layers.1.weight"].T + weights["layers.1.bias"]
    logits = np.maximum(hidden, 0) @ weights["layers.4.weight"].T + weights["layers.4.bias"]
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def test_metrics_of_a_split_against_counting_and_scipy() -> None:
    answers = random_answers(400, seed=1, skip=(3,))
    found = {
        name.removeprefix("val/"): value
        for name, value in split_metrics(answers, split="val").items()
    }
    labels, predictions = answers.labels, answers.predictions
    pairs = [*zip(labels.tolist(), predictions.tolist(), strict=True)]
    assert 3 not in predictions
    assert found["confusion"] == [[pairs.count((i, j)) for j in range(10)] for i in range(10)]
    for k in range(10):
        hits = pairs.count((k, k))
        predicted = sum(prediction == k for _, prediction in pairs)
        actual = sum(label == k for label, _ in pairs)
        assert found["precision"][k] == (pytest.approx(hits / predicted) if predicted else None)
        assert found["recall"][k] == (pytest.approx(hits / actual) if actual else None)
        f1 = pytest.approx(2 * hits / (predicted + actual)) if predicted + actual else None
        assert found["f1"][k] == f1
    assert found["precision"][3] is None
    assert found["recall"][9] is None
    loss = -sum(np.log(answers.probs[i, label]) for i, (label, _) in enumerate(pairs)) / 400
    assert found["loss"] == pytest.approx(loss)
    right = int((labels == predictions).sum())
    assert (found["num_images"], found["num_mistakes"]) == (400, 400 - right)
    assert found["acc"] == right / 400
    interval = stats.binomtest(right, 400).proportion_ci(0.95, method="wilson")
    assert (found["acc_low"], found["acc_high"]) == pytest.approx((interval.low, interval.high))
    error = 0.0
    for m in range(NUM_BINS):
        inside = [
            i for i in range(400) if m / NUM_BINS < answers.probs[i].max() <= (m + 1) / NUM_BINS
        ]
        hits = sum(labels[i] == predictions[i] for i in inside)
        error += abs(hits - sum(answers.probs[i].max() for i in inside)) / 400
    assert found["calibration_error"] == pytest.approx(error)
    assert sum(each["count"] for each in found["reliability"]) == 400


def test_mistakes_and_margin_against_a_slow_version() -> None:
    answers = random_answers(200, seed=2)
    ranked = sorted(
        (i for i in range(200) if answers.probs[i].argmax() != answers.labels[i]),
        key=lambda i: -answers.probs[i].max(),
    )
    assert answers.mistakes.tolist() == ranked
    first_two = [sorted(row)[-1:-3:-1] for row in answers.probs.tolist()]
    assert answers.margin.tolist() == pytest.approx([first - next_ for first, next_ in first_two])


def test_confusion_figure_shows_the_counts() -> None:
    confusion = split_metrics(random_answers(300, seed=3), split="test")["test/confusion"]
    figure = plots.confusion_figure(confusion, NAMES)
    (axes,) = figure.axes
    shown = {text.get_position()[::-1]: text.get_text() for text in axes.texts}
    for row, column in np.ndindex(10, 10):
        count = confusion[row][column]
        assert shown.get((row, column), "0") == str(count)
    shades = np.asarray(axes.images[0].get_array())
    np.testing.assert_array_equal(shades, np.array(confusion) * (1 - np.eye(10, dtype=int)))
    assert [label.get_text() for label in axes.get_yticklabels()] == NAMES
    assert f"{300 - np.trace(confusion)} mistakes in 300" in axes.get_title("left")


def test_mistakes_figure_shows_each_image_under_its_words() -> None:
    answers = random_answers(300, seed=4)
    images = np.random.default_rng(0).integers(0, 256, (300, 28, 28), dtype=np.uint8)
    names = ["$\\frac{", *NAMES[1:]]  # no formula
    figure = plots.mistakes_figure(answers, images, names)
    (axes,) = figure.axes
    canvas = np.asarray(axes.images[0].get_array())
    chosen = answers.mistakes[: plots.NUM_MISTAKES]
    assert len(axes.texts) == len(chosen) == 24
    for text, index in zip(axes.texts, chosen, strict=True):
        x, y = text.get_position()
        top, left = round(y + 1.5), round(x - 14)
        np.testing.assert_array_equal(canvas[top : top + 28, left : left + 28], images[index])
        first, second, third = text.get_text().split("\n")
        assert first == f"{index}: p={answers.probs[index].max():.2f}"
        for words, verb, label in (
            (second, "predicted", answers.predictions[index]),
            (third, "is", answers.labels[index]),
        ):
            assert words == f"{verb} {names[label]}"
    figure.draw_without_rendering()
    perfect = Answers(answers.predictions, answers.log_probs)
    assert "No mistakes" in plots.mistakes_figure(perfect, images, NAMES).get_suptitle()


def test_reliability_figure_shows_the_bins() -> None:
    found = split_metrics(random_answers(500, seed=5), split="test")
    bins = [each for each in found["test/reliability"] if each["count"]]
    figure = plots.reliability_figure(found["test/reliability"], error=0.1234)
    above, below = figure.axes
    assert [bar.get_height() for bar in above.patches] == [each["accuracy"] for each in bins]
    assert [bar.get_height() for bar in below.patches] == [each["count"] for each in bins]
    for bar, each in zip(above.patches, bins, strict=True):
        assert each["low"] < bar.get_x() < bar.get_x() + bar.get_width() < each["high"]
    assert "12.34 points" in above.get_title("left")
    words = [text.get_text() for text in above.get_legend().get_texts()]
    assert words == ["perfectly calibrated", "this network"]


def test_curves_figure_shows_the_epochs(folder: Path) -> None:
    epochs = read_epochs(folder / "mlp")
    for axes, name in zip(plots.curves_figure(epochs).axes, ("loss", "acc"), strict=True):
        train, val = axes.lines
        assert list(train.get_xdata()) == [1, 2, 3]
        assert list(train.get_ydata()) == [row[f"train/{name}"] for row in epochs]
        assert list(val.get_ydata()) == [row[f"val/{name}"] for row in epochs]
    without = [{k: v for k, v in row.items() if not k.startswith("val/")} for row in epochs]
    assert [len(axes.lines) for axes in plots.curves_figure(without).axes] == [1, 1]
    late = [*without[:1], *epochs[1:]]  # validated from the second epoch on
    curve = plots.curves_figure(late).axes[1].lines[1]
    assert list(curve.get_xdata()) == [row["epoch"] for row in epochs[1:]]


def test_two_runs_against_scipy() -> None:
    a, b = random_answers(300, seed=6), random_answers(300, seed=7)
    b = Answers(a.labels, b.log_probs)
    pair = Disagreement(a, b)
    only_a = [i for i in range(300) if a.predictions[i] == a.labels[i] != b.predictions[i]]
    only_b = [i for i in range(300) if b.predictions[i] == a.labels[i] != a.predictions[i]]
    assert sorted(pair.only_a) == only_a
    assert sorted(pair.only_b) == only_b
    found = pair.metrics(split="test")
    p = stats.binomtest(len(only_a), len(only_a) + len(only_b)).pvalue
    assert found["test/p"] == pytest.approx(p)
    assert sum(found[f"test/{name}"] for name in ("both", "only_a", "only_b", "neither")) == 300
    images = np.random.default_rng(0).integers(0, 256, (300, 28, 28), dtype=np.uint8)
    figure = plots.disagreement_figure(pair, images, DIGITS)
    assert len(figure.axes) == 2
    for axes, side in zip(figure.axes, (pair.only_a, pair.only_b), strict=True):
        canvas = np.asarray(axes.images[0].get_array())
        for text, index in zip(axes.texts, side, strict=False):
            label, says_a, says_b = a.labels[index], a.predictions[index], b.predictions[index]
            assert text.get_text() == f"{index}: is {label}\nA: {says_a}\nB: {says_b}"
            x, y = text.get_position()
            top, left = round(y + 1.5), round(x - 14)
            np.testing.assert_array_equal(canvas[top : top + 28, left : left + 28], images[index])


def test_evaluation_of_a_run(folder: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):  # the second time replaces the first
        evaluate_command([str(run), "--mistakes", "3"])
    found = json.loads((run / "evaluation/metrics.json").read_text())
    recorded = read_metrics(run)
    for name in ("test/loss", "test/acc", "train/acc_eval", "gap"):
        assert found[name] == pytest.approx(recorded[name], abs=2e-6)
    assert (found["epoch"], found["checkpoint"]) == (3, "last")
    images, labels = read_split(folder / "FashionMNIST/raw", "t10k", TEN, sha256={})
    probs = numpy_probs(run, images, "last")
    rows = read_csv(run / "evaluation/predictions.csv")
    assert list(rows[0]) == [
        "index",
        "label",
        "prediction",
        *(f"p{k}" for k in range(10)),
        "margin",
    ]
    assert [int(row["index"]) for row in rows] == list(range(300))
    assert [int(row["label"]) for row in rows] == labels.tolist()
    assert [int(row["prediction"]) for row in rows] == probs.argmax(axis=1).tolist()
    stored = np.array([[float(row[f"p{k}"]) for k in range(10)] for row in rows])
    np.testing.assert_allclose(stored, probs, rtol=2e-5, atol=1e-9)
    mistakes = read_csv(run / "evaluation/mistakes.csv")
    wrong = [row for row in rows if row["label"] != row["prediction"]]
    assert sorted(mistakes, key=lambda row: int(row["index"])) == wrong
    sure = [float(row[f"p{row['prediction']}"]) for row in mistakes]
    assert len(sure) > 20
    assert sure == sorted(sure, reverse=True)

    text = capsys.readouterr().out
    for row in mistakes[:3]:
        predicted, actual = NAMES[int(row["prediction"])], NAMES[int(row["label"])]
        p = float(row[f"p{row['prediction']}"])
        assert f"  {row['index']}: predicted {predicted}, is {actual}, p={p:.2f}\n" in text
    assert f"and {len(mistakes) - 3} more in" in text
    assert f"{100 * found['test/acc']:.2f} %" in text
    for path in [run / "curves.png", *(run / "evaluation").glob("*.png")]:
        with Image.open(path) as image:
            image.verify()
    assert len(list((run / "evaluation").iterdir())) == 6

    board = EventAccumulator(str(run), size_guidance={"images": 0})
    board.Reload()
    names = ("samples", "first_layer", "confusion", "mistakes", "reliability")
    assert set(board.Tags()["images"]) == {f"evaluation/{name}" for name in names}
    assert [len(board.Images(f"evaluation/{name}")) for name in names] == [1] * 5
    assert "1. val/acc" in board.Tags()["scalars"]


def test_the_validation_images_are_those_of_the_run(run: Path) -> None:
    evaluate_command([str(run), "--split", "val", "--checkpoint", "best"])
    found = json.loads((run / "evaluation/val-best/metrics.json").read_text())
    recorded = read_metrics(run)
    assert found["val/acc"] == pytest.approx(recorded["val/acc_best"])
    assert found["epoch"] == recorded["best_epoch"]
    evaluate_command([str(run), "--split", "train"])
    found = json.loads((run / "evaluation/train/metrics.json").read_text())
    assert found["train/acc"] == pytest.approx(recorded["train/acc_eval"], abs=1e-6)
    assert found["train/num_images"] == 600


def test_two_runs_on_the_same_images(
    folder: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = folder / "linear"
    evaluate_command([str(run), str(other)])
    text = capsys.readouterr().out
    target = run / f"evaluation/against_{folder.name}_linear"
    found = json.loads((target / "comparison.json").read_text())
    assert found["test/acc_a"] == pytest.approx(read_metrics(run)["test/acc"])
    assert found["test/acc_b"] == pytest.approx(read_metrics(other)["test/acc"])
    rows = read_csv(target / "disagreements.csv")
    right_a = [row for row in rows if row["prediction_a"] == row["label"]]
    right_b = [row for row in rows if row["prediction_b"] == row["label"]]
    assert (len(right_a), len(right_b)) == (found["test/only_a"], found["test/only_b"])
    assert len(rows) == len(right_a) + len(right_b)
    row = right_b[0]
    label, answer = NAMES[int(row["label"])], NAMES[int(row["prediction_a"])]
    assert f"  {row['index']}: is {label}; A says {answer}, B says {label}\n" in text
    assert "B is right more often than A" in text
    assert (target / "comparison.png").exists()


def test_other_images_are_refused_when_the_run_was_trained_on_them(
    folder: Path, small: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate_command([str(run), "--data", "idx_folder", f"data.root={small}"])
    found = json.loads((run / "evaluation/idx_folder/metrics.json").read_text())
    assert found["test/num_images"] == 60
    assert "gap" not in found
    text = capsys.readouterr().out
    assert "learned other classes" in text
    assert "predicted 3" in text or "predicted 7" in text

    config = yaml.safe_load((run / "config.yaml").read_text())
    config["data"] |= {"root": str(tmp_path / "gone"), "download": False}
    asked = StoredRun(run, config, "last")
    data = asked.other_data("idx_folder", [f"data.root={small}"], split="test")
    assert "it may have been trained on some" in str(data.note)
    assert claim_folder([asked], data, split="test") == run / "evaluation/idx_folder"
    namesake = replace(data, splits=replace(data.splits, sha256="0123456789"))
    assert claim_folder([asked], namesake, split="test") == run / "evaluation/idx_folder-01234567"

    leak = tmp_path / "leak"
    leak.mkdir()
    for name in ("images-idx3-ubyte", "labels-idx1-ubyte"):
        source = folder / "FashionMNIST/raw" / f"train-{name}"
        shutil.copy(source, leak / f"t10k-{name}")
        shutil.copy(small / f"train-{name}", leak / f"train-{name}")
    with pytest.raises(Refused, match="800 of its 800 images are in the training split"):
        evaluate_command([str(run), "--data", "idx_folder", f"data.root={leak}"])


def test_a_run_whose_images_are_gone_says_what_brings_them_back(run: Path, folder: Path) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["data"] |= {"name": "mnist", "folder": "MNIST/raw", "root": str(folder / "gone")}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(Refused, match=r"no mnist files[^\n]*\n.*data\.root=null") as refused:
        evaluate_command([str(run)])
    assert len(str(refused.value).splitlines()) == 2
    # null: the installed copy, which is held to the sums of the run's data; these are another's.
    with pytest.raises(Refused, match=r"are not MNIST's|no installed copy"):
        evaluate_command([str(run), "data.root=null"])


def test_what_cannot_be_asked_is_refused_in_a_line(folder: Path, run: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(run, tmp_path / "other"))
    config = yaml.safe_load((other / "config.yaml").read_text())
    (other / "config.yaml").write_text(yaml.safe_dump({**config, "seed": 9}))
    drawn = Path(shutil.copytree(run, tmp_path / "drawn"))
    data = {**config["data"], "shuffle_split": False, "split_seed": 3}
    (drawn / "config.yaml").write_text(yaml.safe_dump({**config, "data": data}))
    redrawn = Path(shutil.copytree(drawn, tmp_path / "redrawn"))
    text = (redrawn / "config.yaml").read_text().replace("split_seed: 3", "split_seed: 4")
    (redrawn / "config.yaml").write_text(text)
    cases: dict[str, list[str]] = {
        "nothere: no such directory": [str(tmp_path / "nothere")],
        f"did you mean {run}": [str(run.with_name("mpl"))],
        "4 lie below it": [str(tmp_path)],
        "split their images differently": [str(run), str(other), "--split", "val"],
        "--split val: the runs split": [str(drawn), str(redrawn), "--split", "val"],
        "cannot be compared with itself": [str(run), str(run)],
        "3 run directories: must be one, or two": [str(run)] * 3,
        "did you mean fashion_mnist": [str(run), "--data", "fashion_mnst"],
        "cannot differ from the run's": [str(run), "data.val_fraction=0"],
        "belongs to the run": [
            str(run),
            "--data",
            "mnist",
            "data.val_fraction=0",
        ],
        "must be true or false": [str(run), "data.download=yes"],
        "data.root: given 2 times": [str(run), "data.root=here", "data.root=there"],
        "--mistakes: -1: must be a whole number from 0": [str(run), "--mistakes", "-1"],
    }
    for message, args in cases.items():
        with pytest.raises(Refused, match=message) as refused:
            evaluate_command(args)
        assert str(refused.value).count("\n") == 0
    status = read_status(run)
    write_json(run / "status.json", {**status, "data_sha256": "0" * 64})
    with pytest.raises(Refused, match="not the images that the run was trained on"):
        evaluate_command([str(run)])
    with pytest.raises(Refused, match="trained on other images"):
        evaluate_command([str(folder / "mlp"), str(run)])
    (run / "checkpoints/best.ckpt").unlink()
    with pytest.raises(Refused, match="was deleted"):
        evaluate_command([str(run), "--checkpoint", "best"])
    rows = run / "metrics.csv"
    rows.write_text(rows.read_text().replace("val/", "other/"))
    with pytest.raises(Refused, match="no validation"):
        evaluate_command([str(run), "--checkpoint", "best"])
    (run / "checkpoints/last.ckpt").unlink()
    with pytest.raises(Refused, match="was deleted"):
        evaluate_command([str(run)])
    rows.unlink()
    with pytest.raises(Refused, match="not finished an epoch"):
        evaluate_command([str(run)])
    assert not (run / "evaluation").exists()


class Code:
    """Unpickling this would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.path,)


def change_weights(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def spoil(run: Path) -> None:
        path = run / "checkpoints/last.ckpt"
        checkpoint = torch.load(path, weights_only=True)
        change(checkpoint["state_dict"])
        torch.save(checkpoint, path)

    return spoil


def change_config(**model: Any) -> Callable[[Path], None]:
    def spoil(run: Path) -> None:
        config = yaml.safe_load((run / "config.yaml").read_text())
        config["model"] = {k: v for k, v in {**config["model"], **model}.items() if v is not None}
        (run / "config.yaml").write_text(yaml.safe_dump(config))

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (change_weights(lambda w: w.pop("layers.1.bias")), "lacks layers.1.bias"),
        (change_weights(lambda w: w.update(extra=torch.zeros(1))), "has extra"),
        (change_weights(lambda w: w["layers.1.bias"].fill_(torch.nan)), "not finite"),
        (
            change_weights(lambda w: w.update({"layers.1.bias": torch.zeros(16).double()})),
            r"float64 \(16,\) in the checkpoint, float32 \(16,\)",
        ),
        (change_config(width=65_536, depth=100), r"\(16, 784\) in the checkpoint"),
        (change_config(width=None), r"cannot be built \(.*missing .*'width'"),
        (change_config(_target_="os.system"), "not a name that this lab builds"),
        (
            lambda run: (run / "checkpoints/last.ckpt").write_bytes(
                pickle.dumps({"state_dict": Code(run / "touched")})
            ),
            "not a checkpoint",
        ),
        (
            lambda run: (run / "checkpoints/last.ckpt").write_bytes(b"PK\x03\x04"),
            "not a checkpoint",
        ),
    ],
)
def test_what_was_stored_with_a_run_is_not_trusted(
    run: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(run)
    with pytest.raises(Refused, match=message):
        load_model(run)
    assert not (run / "touched").exists()


def test_a_run_that_is_still_training(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    held = Run.hold(run)
    held.write_status("running", epoch=3)
    events = sorted(run.glob("*tfevents*"))
    evaluate_command([str(run)])
    text = capsys.readouterr().out
    assert "running, with 3 epochs done" in text
    assert "TensorBoard gets the pictures" in text
    assert sorted(run.glob("*tfevents*")) == events
    held.release()
    caveat = StoredRun.find(run, checkpoint="last").caveat
    assert caveat == f"{run}: crashed, with 3 epochs done."


@pytest.mark.parametrize("experiment", choices("experiment"))
def test_every_recipe_can_be_asked(
    experiment: str, small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = [f"experiment={experiment}", "trainer.max_epochs=1"]
    run = train_run(tmp_path / "run", *recipe, "data=idx_folder", f"data.root={small}")
    evaluate_command([str(run)])
    found = json.loads((run / "evaluation/metrics.json").read_text())
    assert found["test/acc"] == pytest.approx(read_metrics(run)["test/acc"], abs=1e-6)
    answer = read_csv(run / "evaluation/predictions.csv")[7]["prediction"]
    capsys.readouterr()
    predict_command([str(run), "--index", "7", "--format", "json"])
    assert str(json.loads(capsys.readouterr().out)[0]["prediction"]) == answer


def test_as_processes(folder: Path, run: Path) -> None:
    command = [sys.executable, "-m", "mnist_lab.evaluate", run]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "ankle boot" in done.stdout
    # Refusals come before torch, which takes seconds to import.
    code = (
        "import sys\nfrom mnist_lab.evaluate import main\nsys.argv[1:] = ['nothere']\n"
        "try: main()\nfinally: print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=folder
    )
    assert (done.returncode, done.stdout) == (2, "False\n")
    assert done.stderr == "nothere: no such directory; runs lie in outputs/runs/.\n"


def test_a_run_directory_is_found_by_its_name(folder: Path, tmp_path: Path) -> None:
    assert locate(folder / "mlp") == folder / "mlp"
    with pytest.raises(Refused, match=r"it has no config.yaml"):
        locate(tmp_path)
