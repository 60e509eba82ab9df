"""mnist-export: every recipe's files against plain numpy and the network, and what is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from conftest import TEN
from tiny_run import load_model, train_run, write_data_set

from mnist_lab import export as exporting
from mnist_lab.data.idx import read_split
from mnist_lab.evaluation.answers import log_probs
from mnist_lab.export import TOLERANCE, export_command
from mnist_lab.settings.groups import choices
from mnist_lab.ui.errors import Failed, Refused

PAGE = Path(__file__).parent.parent / "docs" / "export.md"
NAMES = ["T-shirt", "trouser", "pullover", "dress", "coat"]
NAMES += ["sandal", "shirt", "sneaker", "bag", "ankle boot"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set in Fashion-MNIST's folder and names, with more than 1,000 test images."""
    folder = tmp_path_factory.mktemp("runs")
    write_data_set(folder / "FashionMNIST/raw", num_train=100, num_test=1020, seed=0)
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    shared = ["data=fashion_mnist", f"data.root={folder}", "data.batch_size=10"]
    run = train_run(folder / "run", *shared, "model.width=16", "trainer.max_epochs=2")
    export(run)
    return run


def test_images(folder: Path) -> np.ndarray:
    images, _ = read_split(folder / "FashionMNIST/raw", "t10k", TEN, sha256={})
    return images


test_images.__test__ = False  # type: ignore[attr-defined]


def export(run: Path, *args: str) -> None:
    export_command([str(run), *args])


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def onnx_probs(path: Path, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images})[0]


@pytest.mark.parametrize("experiment", choices("experiment"))
def test_each_recipe_exports(
    experiment: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both files agree with what evaluation takes from the network, for any number of images."""
    shared = ["data=fashion_mnist", f"data.root={folder}", "trainer.max_epochs=1"]
    if experiment.startswith(
        ("fast", "hand", "best", "small")
    ):  # their learning rate is made for 60,000 images
        shared += ["trainer.max_epochs=10", "data.batch_size=10", "optimizer.lr=0.002"]
    if experiment.startswith(("hand", "best", "small")):
        none = ("val_fraction", "max_shift", "max_turn", "max_slant", "max_bend", "max_pen")
        shared += [f"data.{each}=0" for each in none]
    run = train_run(folder / experiment, f"experiment={experiment}", *shared)
    export(run)
    text, noise = capsys.readouterr()
    assert noise == ""
    assert "on 1,000 images of fashion_mnist's test split" in text
    model = load_model(run)
    images = test_images(folder)
    program = torch.export.load(run / "export/model.pt2").module()
    for n in (0, 1, 1020):
        pixels = torch.from_numpy(images[:n])
        expected = np.exp(log_probs(model, pixels.unsqueeze(1)))
        with torch.inference_mode():
            answers = [program(pixels).numpy(), onnx_probs(run / "export/model.onnx", images[:n])]
        for probs in answers:
            assert (probs.shape, probs.dtype) == ((n, 10), np.float32)
            np.testing.assert_allclose(probs, expected, atol=TOLERANCE, rtol=0)
    assert expected.std() > 0.02  # ten equal probabilities would agree whatever was exported
    stored = json.loads((run / "export/model.json").read_text())
    assert stored["experiment"] == experiment
    for name, digest in stored["sha256"].items():
        assert hashlib.sha256((run / "export" / name).read_bytes()).hexdigest() == digest
        assert f"{stored['checked']['largest_difference'][name]:.1e}" in text


def test_the_files_say_what_they_are(run: Path) -> None:
    assert sorted(path.name for path in (run / "export").iterdir()) == [
        "model.json",
        "model.onnx",
        "model.pt2",
    ]
    stored = json.loads((run / "export/model.json").read_text())
    assert stored["class_names"] == NAMES
    assert (stored["epoch"], stored["data"], stored["num_params"]) == (2, "fashion_mnist", 12730)
    metrics = json.loads((run / "metrics.json").read_text())
    assert stored["test/acc"] == metrics["test/acc"]
    assert stored["trained_with"]["torch_version"] == metrics["torch_version"]
    session = onnxruntime.InferenceSession(run / "export/model.onnx")
    inside = session.get_modelmeta().custom_metadata_map
    assert json.loads(inside["class_names"]) == NAMES
    assert inside["data_sha256"] == metrics["data_sha256"]
    (taken,), (given,) = session.get_inputs(), session.get_outputs()
    assert (taken.name, taken.type, taken.shape) == ("images", "tensor(uint8)", ["n", 28, 28])
    assert (given.name, given.type, given.shape) == ("probs", "tensor(float)", ["n", 10])
    extra = {exporting.METADATA: ""}
    torch.export.load(run / "export/model.pt2", extra_files=extra)
    assert json.loads(extra[exporting.METADATA])["class_names"] == NAMES
    source = str(Path(exporting.__file__).parent).encode()
    for name in ("model.onnx", "model.pt2"):
        assert source not in (run / "export" / name).read_bytes()  # no paths of this machine
    onnx.checker.check_model(run / "export/model.onnx", full_check=True)


def test_the_onnx_file_works_without_torch(run: Path, folder: Path, tmp_path: Path) -> None:
    """The script of docs/export.md, with torch and this package out of reach."""
    text = PAGE.read_text().partition("<!-- read_digits.py -->\n```python\n")[2]
    code = text.partition("```\n")[0]
    assert len([line for line in code.splitlines() if line]) == 10
    (tmp_path / "read_digits.py").write_text(code)
    images = folder / "FashionMNIST/raw/t10k-images-idx3-ubyte"
    blocked = "import sys; sys.modules.update(torch=None, mnist_lab=None); sys.argv.pop(0)"
    script = f"{blocked}; import runpy; runpy.run_path(sys.argv[0])"
    command = [sys.executable, "-c", script, tmp_path / "read_digits.py"]
    command += [run / "export/model.onnx", images]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    state = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    weights = {name: tensor.double().numpy() for name, tensor in state.items()}
    pixels = test_images(folder)[:10].reshape(10, 784) / 255
    hidden = np.maximum(pixels @ weights["layers.1.weight"].T + weights["layers.1.bias"], 0)
    probs = softmax(hidden @ weights["layers.4.weight"].T + weights["layers.4.bias"])
    expected = [f"{NAMES[each.argmax()]} p={each.max():.2f}" for each in probs]
    assert done.stdout.splitlines() == expected


def test_the_best_checkpoint_has_a_folder_of_its_own(run: Path, folder: Path) -> None:
    export(run, "--checkpoint", "best")
    stored = json.loads((run / "export/best/model.json").read_text())
    assert stored["checkpoint"] == "best"
    model = load_model(run, checkpoint="best")
    images = test_images(folder)[:50]
    expected = np.exp(log_probs(model, torch.from_numpy(images).unsqueeze(1)))
    np.testing.assert_allclose(
        onnx_probs(run / "export/best/model.onnx", images), expected, atol=TOLERANCE, rtol=0
    )


def test_a_file_that_differs_is_not_written(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("export"))
    right, file = exporting.torch_file_probs, (run / "export/model.onnx").read_bytes()
    monkeypatch.setattr(exporting, "onnx_file", lambda *_: file)
    for error, shown in ((2 * TOLERANCE, "2.0e-05"), (np.nan, "nan")):

        def wrong(file: bytes, images: np.ndarray, error: float = error) -> np.ndarray:
            probs = right(file, images)
            probs[-1, 3] += error
            return probs

        monkeypatch.setattr(exporting, "torch_file_probs", wrong)
        with pytest.raises(Failed, match=f"model.pt2: a probability differs by {shown}"):
            export(copy)
        assert not (copy / "export").exists()


def test_what_cannot_be_exported_is_refused(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(message: str, *args: str) -> None:
        with pytest.raises(Refused, match=message):
            export(run, *args)

    refused("no fashion_mnist files", f"data.root={tmp_path}", "data.download=false")
    refused("cannot differ from the run's", "data.batch_size=7")
    monkeypatch.setattr(exporting, "MAX_BYTES", 50_000)
    refused("its weights take 0.0 GB; an ONNX file holds at most 0")


def test_as_a_process() -> None:
    command = [sys.executable, "-m", "mnist_lab.export", "gone"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "gone: no such directory; runs lie in outputs/runs/.\n"
