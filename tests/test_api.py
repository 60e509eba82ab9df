"""The package from Python: what its functions return, take and leave behind."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from processes import last_of_each, run_cold

import mnist_lab.api as lab
from mnist_lab.settings import own

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "python.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
FORM = r"must be uint8 0\.\.255 or floats 0\.\.1 \(0 paper\), of shape \(n, 28, 28\) or"


def named():
    """What the lab takes as named by the user at this moment."""
    return [*own.folders], {*own.named}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("lab")


@pytest.fixture(scope="module")
def run(folder, tiny):
    """A network with much dropout, so that training mode shows in its answers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return lab.train(last_of_each(*tiny, "model.dropout=0.5"), quiet=True)


@pytest.fixture(scope="module")
def images(data_dir):
    splits = lab.datamodule("idx_folder", root=data_dir).splits
    return splits["test"]


def test_a_run_is_its_directory(run, folder):
    assert run.path.parent == folder / "outputs" / "runs" / "mlp"
    assert run.metrics == json.loads((run.path / "metrics.json").read_text())
    assert [row["epoch"] for row in run.epochs] == [1, 2]
    assert run.epochs[-1]["val/acc"] == pytest.approx(run.metrics["val/acc"])
    assert lab.Run(run.path).metrics == run.metrics
    percent = f"{100 * run.metrics['test/acc']:.2f} %"
    assert repr(run) == f"Run({str(run.path)!r}): finished, 2 epochs, test/acc {percent}"
    assert f"| **test accuracy, last epoch** | {percent} |" in run._repr_markdown_()
    assert len(run.curves().axes) == 2


def test_quiet_prints_nothing(capfd, tmp_path, tiny, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lab.train(tiny, quiet=True)
    assert capfd.readouterr() == ("", "")


def test_a_loaded_network_answers_the_same_twice_and_as_the_run_was_tested(run, images):
    pixels, labels = images
    network = lab.load(run)
    assert not network.training
    probs = network.predict(pixels)
    assert torch.equal(network.predict(pixels), probs)
    assert float((probs.argmax(1) == labels).double().mean()) == run.metrics["test/acc"]
    network.train()
    assert torch.equal(network.predict(pixels), probs)
    assert network.training


def test_predict_takes_what_people_have(run, images):
    network, pixels = lab.load(run), images[0]
    probs = network.predict(pixels)
    assert probs.dtype == torch.float64
    assert probs.sum(1).numpy() == pytest.approx(1)
    array = pixels.numpy()
    array.flags.writeable = False
    for same in (array, array[:, 0], array[:, 0] / 255, (array / 255).astype(np.float16)):
        answer = network.predict(same)
        assert isinstance(answer, np.ndarray)
        assert answer == pytest.approx(probs.numpy(), abs=1e-3)
    assert torch.equal(network.predict(pixels[:, 0].float() / 255), probs)
    assert network.predict(array[::-1])[0] == pytest.approx(probs[-1].numpy())
    assert network.predict(array[:0]).shape == (0, 10)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda pixels: pixels.tolist(), r"a list, no numpy array or torch tensor"),
        (lambda pixels: pixels[0, 0], r"uint8 of shape \(28, 28\), one image; images\[None\]"),
        (lambda pixels: pixels[:, :, :20], r"uint8 of shape \(100, 1, 20, 28\)"),
        (lambda pixels: pixels.numpy()[:, 0, :, :, None], r"uint8 of shape \(100, 28, 28, 1\)"),
        (lambda pixels: pixels.long(), r"int64 of shape \(100, 1, 28, 28\)"),
        (lambda pixels: pixels.numpy() > 9, r"bool of shape \(100, 1, 28, 28\)"),
        (lambda pixels: pixels.float(), r"float32 of .* with values from 0 to 255"),
        (lambda pixels: pixels / 127.5 - 1, r"float32 of .* with values from -1 to 1"),
        (lambda pixels: pixels / 0.0, r"float32 of .* with values from nan to nan"),
    ],
)
def test_predict_says_what_else_it_was_given(change, found, run, images):
    with pytest.raises(lab.Refused, match=f"^images: {found}.*{FORM}"):
        lab.load(run).predict(change(images[0]))


def test_parts_have_the_defaults_of_conf(data_dir):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    network = lab.model("mlp", width=24)
    assert torch.equal(torch.rand(3), expected)  # nothing is drawn from the user's generator
    assert sum(weight.numel() for weight in network.parameters()) == 784 * 24 + 24 + 250
    assert network.hparams["dropout"] == 0.2
    optimizer = network.optimizer(network.parameters())
    assert (optimizer.defaults["lr"], type(optimizer).__name__) == (0.001, "Adam")
    other = lab.model("mlp", width=24, seed=1)
    first, again, others = (
        next(each.parameters()) for each in (network, lab.model(width=24), other)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, others)
    assert lab.model("cnn", channels=[3, 4]).hparams["channels"] == [3, 4]
    data = lab.datamodule("idx_folder", root=data_dir, batch_size=64)
    assert (data.batch_size, data.seed, data.num_val) == (64, 0, 67)
    assert lab.datamodule("idx_folder", root=data_dir, val_fraction=0, seed=2).seed == 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lab.train("seed=3"), r"overrides: 'seed=3'; must be a list"),
        (lambda: lab.train([{"seed": 3}]), r"overrides: .* must be a list of texts"),
        (lambda: lab.train(["model.widht=3"]), r"model\.widht=3: .* did you mean model\.width\?"),
        (lambda: lab.train(["seed=1,2"]), r"several values are a sweep; .*lab\.sweep"),
        (lambda: lab.train(["-m", "seed=1,2"]), r"-m: cannot be read"),
        (lambda: lab.sweep(["seed=1,2"], launcher="poool"), r"did you mean pool\?"),
        (lambda: lab.sweep(["model.width=1,0"]), r"model\.width=0"),
        (lambda: lab.compare("nowhere"), r"nowhere: no such directory"),
        (lambda: lab.load("nowhere"), r"nowhere: no such directory"),
        (lambda: lab.load("nowhere", checkpoint="first"), r"must be 'last' or 'best'"),
        (lambda: lab.model("nlp"), r"model=nlp: no such model; did you mean mlp\?"),
        (lambda: lab.model("mlp", widht=3), r"did you mean model\.width\?"),
        (lambda: lab.model("mlp", init="x'y"), r"model\.init=x'y: must be"),
        (lambda: lab.datamodule(batch_size=0), r"data\.batch_size=0: must be"),
        (lambda: lab.train([], config_dir="nowhere"), r"nowhere: no such folder"),
    ],
)
def test_refused_before_anything_is_written(call, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = named()
    with pytest.raises(lab.Refused, match=message):
        call()
    assert not [*tmp_path.iterdir()]
    assert named() == before


NET = """
from torch import nn
from mnist_lab.models.classifier import Classifier

class Plain(Classifier):
    def __init__(self, *, width: int = 3, **kwargs):
        super().__init__(**kwargs)
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(784, width), nn.Linear(width, 10))

    def forward(self, images):
        return self.layers(images)
"""


def test_classes_of_ones_own_are_named_each_time(tiny, tmp_path, monkeypatch, images):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(".")  # what is appended is taken away again
    conf = tmp_path / "my_conf"
    (conf / "model").mkdir(parents=True)
    (conf / "api_nets.py").write_text(NET)
    (conf / "model" / "plain.yaml").write_text("_target_: api_nets.Plain\nwidth: 4\n")
    mine = [text for text in tiny if not text.startswith("model")]
    before = named()
    run = lab.train([*mine, "model=plain", "model.width=5"], config_dir="my_conf", quiet=True)
    assert named() == before
    with pytest.raises(lab.Refused, match="--config-dir"):
        lab.load(run.path)
    monkeypatch.chdir("/")
    assert run.load().predict(images[0]).shape == (100, 10)
    network = lab.model("plain", width=6, config_dir=conf)
    assert network.layers[1].out_features == 6
    assert named() == before


SWEEPS = """
import json, os, sys
import mnist_lab.api as lab

tiny = sys.argv[1:]
studies = [lab.sweep([*tiny, "seed=0,1", "model.width=2,8"], launcher="pool")]
before = len(os.listdir("/proc/self/fd"))
studies.append(lab.sweep([*tiny, "seed=0,1", "model.width=2,8"], launcher="pool"))
assert len(os.listdir("/proc/self/fd")) == before
print(json.dumps([[study.rows, study.verdict, [*map(str, study.paths)]] for study in studies]))
"""


def test_a_sweep_in_the_pool_is_called_again_by_a_plain_script(tiny, tmp_path):
    """Without `if __name__ == "__main__"`: its workers do not run the script."""
    (tmp_path / "script.py").write_text(SWEEPS)
    given = [text for text in tiny if not text.startswith("model.width")]
    ended = run_cold("-W", "ignore", "script.py", *given, cwd=tmp_path)
    assert ended.code == 0, ended.stderr
    (rows, verdict, paths), again = json.loads(ended.stdout.splitlines()[-1])
    assert paths != again[2]
    assert [(row["model.width"], row["n"]) for row in rows] == [(8, 2), (2, 2)]
    assert [row["values"] for row in rows] == [row["values"] for row in again[0]]
    study = lab.compare(paths, metric="val/acc")
    assert study.verdict == tuple(verdict)
    assert "\n1*  8" in str(study)
    assert "\n| 1\\* | 8 |" in study._repr_markdown_()
    assert list(study.plots) == ["learning_curves", "effects", "cost"]
    assert len(lab.compare(tmp_path / "outputs", where="model.width=2").rows) == 1


def test_to_pandas(run):
    pandas = pytest.importorskip("pandas")
    frame = lab.compare(run).to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert frame["test/acc"].tolist() == [run.metrics["test/acc"]]


@pytest.mark.usefixtures("mnist_5k")
def test_every_snippet_of_the_page_runs(tmp_path):
    """In its order, in one process, as a reader would."""
    five, *_, twenty = BLOCKS
    assert [len([*filter(None, each.splitlines())]) for each in (five, twenty)] == [5, 25]
    ended = run_cold("-W", "ignore", "-c", "\n".join(BLOCKS), cwd=tmp_path)
    assert ended.code == 0, ended.stderr
    assert "model.widht=64: no such setting; did you mean model.width?" in ended.stdout
    assert "with values from 0 to 255; must be uint8" in ended.stdout
    assert (tmp_path / "curves.png").exists()


@pytest.mark.usefixtures("run")
def test_the_checkpoint_of_the_page_answers_the_same_twice(run, images):
    (snippet,) = re.findall(r"```python\n([^`]*load_from_checkpoint[^`]*)```", EXPORT)
    names = {}
    exec(snippet.replace("outputs/runs/...", str(run.path)), names)
    pixels = images[0].float() / 255
    with torch.no_grad():
        assert torch.equal(names["model"](pixels), names["model"](pixels))


EXPORT = (ROOT / "docs" / "export.md").read_text()
