"""The notebooks run, what they say of their numbers holds, and they keep what they show."""

import base64
import copy
import importlib.util
import io
import json
import math
import re
import tempfile
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))

# Values of an executed notebook that its claims are held against.
PROBES = {
    "1_data_and_first_network": """{
        "num_params": run.metrics["num_params"],
        "guessing": float(the_short_way),
        "one_hot": float(the_long_way),
        "accuracy": run.metrics["test/acc"],
        "first_label": int(test_labels[0]),
        "first_answer": int(probabilities[0].argmax()),
        "hardest_margin": float(margin[hardest]),
        "train_longer": longer.metrics["train/acc_eval"],
        "test_longer": longer.metrics["test/acc"],
        "losses": [row["train/loss"] for row in longer.epochs],
        "val_losses": [row["val/loss"] for row in longer.epochs],
        "log": (run.path / "train.log").read_text(),
    }""",
    "2_dropout_and_mistakes": """{
        "accuracy": [run.metrics["test/acc"] for run in runs.values()],
        "train": {name: [row["train/acc"] for row in run.epochs] for name, run in runs.items()},
        "val": [row["val/acc"] for row in runs["with"].epochs],
    }""",
    "3_mlp_to_cnn": """{
        "accuracy": {name: run.metrics["test/acc"] for name, run in runs.items()},
        "shares": {name: max(size for _, size in pieces) / sum(size for _, size in pieces)
                   for name, pieces in layers.items()},
        "widest": {name: max(size for _, size in pieces) for name, pieces in layers.items()},
        "moved": moved_accuracy,
    }""",
    "4_tuning_as_an_experiment": """{
        "states": [lab.Run(path.parent).state for path in Path("sweep").glob("*/status.json")],
        "seeds": [sorted(row["values"]) for row in found.rows],
        "one_seed": of_one_seed.verdict,
        "accuracy": best["test/acc"],
        "gains": [[gain.low, gain.high] for n in (2, 5) for seeds in combinations(range(5), n)
                  for gain in [difference({k: runs[0.003, 0][k] for k in seeds},
                                          {k: runs[0.001, 0][k] for k in seeds}, level=0.95)]],
    }""",
}

# A path of some machine: Unix with two parts at least, or Windows.
ABSOLUTE = re.compile(r"(?<![\w.:/<*-])/(?:[\w.-]+/)+[\w.-]+|\b[A-Za-z]:\\\w")


def script():
    """notebooks/execute.py, which lies in no package."""
    spec = importlib.util.spec_from_file_location("execute", FOLDER / "execute.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCRIPT = script()


def read(name):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def shown(cell):
    """What kinds of thing a cell shows, in order."""
    kinds = []
    for output in cell.outputs:
        picture = "image/png" in output.get("data", {})
        kinds.append("picture" if picture else output.get("name", output.output_type))
    return kinds


def texts(notebook):
    """Everything in a notebook that a person reads, but for the pixels."""
    for cell in notebook.cells:
        yield cell.source
        for output in cell.get("outputs", []):
            yield output.get("text", "")
            for kind, value in output.get("data", {}).items():
                if kind.startswith("text/"):
                    yield value


def pictures(notebook):
    for cell in code_cells(notebook):
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                raw = base64.b64decode(output["data"]["image/png"])
                yield np.asarray(Image.open(io.BytesIO(raw)).convert("L"))


def refuse_paths(notebook):
    for text in texts(notebook):
        found = ABSOLUTE.search(text)
        assert not found, found
        for path in (ROOT, Path.home(), Path(tempfile.gettempdir())):
            assert str(path) == "/" or f"{path}/" not in text


def check_first_network(probe):
    assert probe["num_params"] == 784 * 512 + 512 + 512 * 10 + 10
    assert abs(probe["guessing"] - math.log(10)) < 0.1
    assert probe["one_hot"] == pytest.approx(probe["guessing"], rel=1e-5)
    assert probe["accuracy"] > 0.85
    assert probe["first_answer"] == probe["first_label"]
    assert probe["hardest_margin"] < 0.1
    # Overfitting: known by heart, and far ahead of what was not learned from.
    assert probe["train_longer"] > 0.99
    assert probe["train_longer"] - probe["test_longer"] > 0.03
    assert probe["losses"][-1] < 0.1 * min(probe["val_losses"])
    # The run's own log is in its file, not in the notebook, and holds no colours.
    assert "epoch 5/5" in probe["log"]
    assert "\x1b" not in probe["log"]


def check_dropout(probe):
    assert min(probe["accuracy"]) > 0.88
    # Dropout makes it harder to learn by heart, while validation has the whole network.
    pairs = zip(probe["train"]["with"], probe["train"]["without"], strict=True)
    assert all(with_dropout < without for with_dropout, without in pairs)
    assert probe["val"][0] > probe["train"]["with"][0]


def check_cnn(probe):
    accuracy, moved = probe["accuracy"], probe["moved"]
    assert min(accuracy.values()) > 0.85
    assert accuracy["pooled_cnn"] > accuracy["mlp"] + 0.01
    # One layer holds nearly everything; pooling makes it smaller.
    assert min(probe["shares"].values()) > 0.9
    assert probe["widest"]["pooled_cnn"] < probe["widest"]["cnn"]
    for name, accuracies in moved.items():
        assert accuracies[0] == pytest.approx(accuracy[name], abs=0.003)  # a rounding may differ
        assert accuracies[4] < accuracies[0] - 0.2
    assert moved["pooled_cnn"][3] > moved["mlp"][3] + 0.05


def check_tuning(probe):
    assert probe["states"] == ["finished"] * 20
    assert probe["seeds"] == [[0, 1, 2, 3, 4]] * 4
    assert any("one run cannot tell" in line for line in probe["one_seed"])
    assert probe["accuracy"] > 0.82
    *of_two, (low, high) = probe["gains"]
    assert max(b - a for a, b in of_two) > 3 * (high - low)  # two seeds say almost nothing
    assert low > 0  # a large effect shows with five seeds


CHECKS = (check_first_network, check_dropout, check_cnn, check_tuning)


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] if n[0] in "23" else []) for n in NAMES],
)
@pytest.mark.usefixtures("mnist_5k")
def test_runs_and_keeps_its_word(name, tmp_path):
    notebook = read(name)
    stored = copy.deepcopy(notebook)
    # Two of them start beside their files, two somewhere else: nothing is left in either place.
    cwd = FOLDER if NAMES.index(name) % 2 else tmp_path
    before = sorted(cwd.rglob("*"))
    probe = f"import json\nprint(json.dumps({PROBES[name]}))"
    notebook.cells.append(new_code_cell(probe))
    SCRIPT.execute(notebook, cwd=cwd)
    found = json.loads(notebook.cells.pop().outputs[0].text)
    assert sorted(cwd.rglob("*")) == before

    assert "stderr" not in [kind for cell in code_cells(notebook) for kind in shown(cell)]
    for cell, kept in zip(code_cells(notebook), code_cells(stored), strict=True):
        assert shown(kept) == shown(cell), kept.source
    refuse_paths(notebook)
    CHECKS[NAMES.index(name)](found)


@pytest.mark.parametrize("name", NAMES)
def test_stored_as_executed_and_without_traces(name):
    notebook = read(name)
    nbformat.validate(notebook)
    assert notebook.metadata == SCRIPT.METADATA
    assert all(cell.metadata == {} for cell in notebook.cells)
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))
    assert sum(bool(cell.outputs) for cell in code_cells(notebook)) > len(counts) / 2
    for picture in pictures(notebook):
        assert picture.std() > 5  # something is drawn
    assert all("\x1b" not in text for text in texts(notebook))
    refuse_paths(notebook)


def test_all_four_are_there():
    assert list(PROBES) == NAMES
