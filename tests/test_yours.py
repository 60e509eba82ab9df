"""Classes of a user's own, from the files that docs/yours.md prints, in real processes."""

import csv
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
import yaml
from processes import last_of_each
from sweeps import only_sweep
from test_resume import result

PAGE = (Path(__file__).parents[1] / "docs" / "yours.md").read_text()
FILES = dict(re.findall(r"`(my_conf/[\w./]+)`:\n\n```\w+\n(.*?)```", PAGE, re.DOTALL))
OTHERS = re.sub(r"^## A data set$.*?(?=^## )", "", PAGE, flags=re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^(mnist-train [^\n]*?)(?: {2,}[^\n]*)?$", OTHERS, re.MULTILINE)
TRAIN = "mnist_lab.train"
OWN = ["--config-dir", "my_conf"]


@pytest.fixture
def folder(tmp_path):
    """Where a user works: with my_conf/ as the page has it."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def only_run(folder):
    (path,) = folder.glob("outputs/runs/*/*/")
    return path


@pytest.fixture
def train(folder, verbs, tiny):
    """`train(*overrides)` trains on a tiny data set; the run's directory."""

    def train(*overrides):
        shutil.rmtree(folder / "outputs", ignore_errors=True)
        given = last_of_each(*(text for text in tiny if not text.startswith("model.")), *overrides)
        ended = verbs.run(TRAIN, *OWN, *given, cwd=folder)
        assert ended.code == 0, ended
        return only_run(folder)

    return train


def test_the_page_has_every_file_that_its_files_name():
    assert len(FILES) >= 14
    for name, text in FILES.items():
        for target in re.findall(r"_target_: (my_\w+)\.(\w+)", text):
            module, thing = target
            code = FILES[f"my_conf/{module}.py"]
            assert re.search(rf"^(class|def) {thing}\b", code, re.MULTILINE), (name, target)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_page_is_accepted(command, folder, verbs, tiny):
    """As far as the settings: on a tiny data set, one epoch of it."""
    args = shlex.split(command)[1:]
    if "--help" in args:
        ended = verbs.run(TRAIN, *args, cwd=folder)
        assert re.search(r"model\.kernel +a whole number from 1 to 11 \(5\)", ended.stdout)
        return
    data = [text for text in tiny if text.startswith(("data", "trainer", "threads"))]
    typed = {text.partition("=")[0] for text in args}
    extra = [text for text in data if text.partition("=")[0] not in typed | {"trainer.max_epochs"}]
    ended = verbs.run(TRAIN, *args, *extra, "trainer.max_epochs=1", cwd=folder)
    assert ended.code == 0, ended


def test_a_network_does_all_that_the_labs_own_do(train, folder, verbs):
    path = train("model=lenet5", "model.kernel=3")
    assert yaml.safe_load((path / "config.yaml").read_text())["model"]["kernel"] == 3
    (file,) = json.loads((path / "code.json").read_text())["own_files"]
    assert file == str(folder / "my_conf" / "my_nets.py")
    before = sorted(path.rglob("*"))
    for verb, extra in (
        ("resume", ["trainer.max_epochs=3"]),
        ("evaluate", []),
        ("predict", ["--index", "0"]),
        ("export", []),
        ("demo", ["--port", "0"]),
    ):
        ended = verbs.run(
            f"mnist_lab.{verb}", str(path), *extra, cwd=folder, MNIST_LAB_CONF="my_conf"
        )
        assert ended.code == 2, ended
        assert "model._target_=my_nets.LeNet5: not a name that this lab builds" in ended.stderr
        assert "--config-dir FOLDER" in ended.stderr
        assert len(ended.stderr.splitlines()) <= 2
    assert sorted(path.rglob("*")) == before
    for verb, extra in (
        ("resume", ["trainer.max_epochs=3"]),
        ("evaluate", []),
        ("predict", ["--index", "0"]),
        ("export", []),
    ):
        ended = verbs.run(f"mnist_lab.{verb}", *OWN, str(path), *extra, cwd=folder)
        assert ended.code == 0, ended
    ended = verbs.run("mnist_lab.compare", str(path), cwd=folder)
    assert "100" not in ended.stderr
    assert ended.code == 0


def test_it_sweeps_in_the_pool_and_goes_on_after_a_kill(folder, verbs, tiny):
    grid = last_of_each(
        *(text for text in tiny if not text.startswith("model.")),
        *("model=lenet5", "model.kernel=3,5", "metrics=sureness", "hydra/launcher=pool"),
        *("trainer.max_epochs=2", "hydra.launcher.slots=1"),
    )
    ended = verbs.run(TRAIN, *OWN, "-m", *grid, cwd=folder)
    assert ended.code == 0, ended
    sweep = only_sweep(folder)
    first = sweep / "000_kernel=3"
    whole = result(first)
    lost = sweep / "001_kernel=5"
    (lost / "metrics.json").unlink()
    status = json.loads((lost / "status.json").read_text())
    (lost / "status.json").write_text(json.dumps({**status, "state": "running"}))  # as kill -9 does
    refused = verbs.run("mnist_lab.resume", str(sweep), cwd=folder)
    assert refused.code == 2
    assert "--config-dir FOLDER" in refused.stderr
    ended = verbs.run("mnist_lab.resume", *OWN, str(sweep), cwd=folder)
    assert ended.code == 0, ended
    assert (lost / "metrics.json").exists()
    assert result(first) == whole
    ended = verbs.run(
        "mnist_lab.compare", str(sweep), "--metric", "val/sureness", "--format", "csv", cwd=folder
    )
    assert ended.code == 0, ended
    rows = list(csv.DictReader(ended.stdout.splitlines()))
    assert {row["model.kernel"] for row in rows} == {"3", "5"}


def test_an_optimizer_with_groups_of_its_own_resumes_exactly(train, folder, verbs):
    whole = result(train("model=lenet5", "optimizer=muon", "trainer.max_epochs=3"))
    path = train("model=lenet5", "optimizer=muon", "trainer.max_epochs=2")
    ended = verbs.run("mnist_lab.resume", *OWN, str(path), "trainer.max_epochs=3", cwd=folder)
    assert ended.code == 0, ended
    parts = result(path)
    assert parts["checkpoints"] == whole["checkpoints"]
    assert parts["rows"] == whole["rows"]


def test_metrics_are_kept_each_epoch_and_at_the_end(train):
    path = train("metrics=sureness")
    rows = list(csv.DictReader((path / "metrics.csv").read_text().splitlines()))
    metrics = json.loads((path / "metrics.json").read_text())
    assert all(0 < float(row["val/sureness"]) < 1 for row in rows)
    assert float(rows[-1]["val/sureness"]) == pytest.approx(metrics["val/sureness"], abs=1e-6)
    assert {"test/sureness", "test/balanced_acc", "train/sureness_eval"} <= set(metrics)
    assert metrics["higher_is_better"] == {"balanced_acc": True, "sureness": True}


def test_loggers_get_settings_epochs_and_the_final_metrics(train):
    path = train("logger=csv", "metrics=sureness", "trainer.max_epochs=2")
    (folder,) = (path / "lightning_logs").iterdir()
    assert "model.width: 512" in (folder / "hparams.yaml").read_text()
    rows = list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))
    stored = json.loads((path / "metrics.json").read_text())
    assert [float(row["val/sureness"]) for row in rows if row["val/sureness"]][:2]
    final = rows[-1]
    assert float(final["test/acc"]) == pytest.approx(stored["test/acc"], abs=1e-6)
    assert float(final["train/acc_eval"]) == pytest.approx(stored["train/acc_eval"], abs=1e-6)
    assert [row["test/acc"] for row in rows if row["test/acc"]] == [final["test/acc"]]


def test_callbacks_act_and_ema_resumes_exactly(train, folder, verbs):
    path = train("callbacks=notes", "callbacks.notes.file=w.txt", "trainer.max_epochs=2")
    assert len((path / "w.txt").read_text().splitlines()) == 2
    whole = result(train("callbacks=ema", "trainer.max_epochs=3"))
    path = train("callbacks=ema", "trainer.max_epochs=2")
    ended = verbs.run("mnist_lab.resume", str(path), "trainer.max_epochs=3", cwd=folder)
    assert ended.code == 0, ended
    assert result(path)["rows"] == whole["rows"]


def test_a_torch_scheduler_steps_once_an_epoch(train):
    path = train("schedule=steps", "optimizer.lr=0.01", "trainer.max_epochs=5")
    rows = list(csv.DictReader((path / "metrics.csv").read_text().splitlines()))
    assert [float(row["lr"]) for row in rows] == [0.01, 0.01, 0.005, 0.005, 0.0025]


SLIPS = {
    "kernel out of its range": (["model=lenet5", "model.kernel=99"], "from 1 to 11"),
    "kernel of another type": (["model=lenet5", "model.kernel=big"], "a whole number"),
    "a mistyped setting": (["model=lenet5", "model.kernl=3"], "kernel"),
    "a mistyped choice": (["model=lenet"], "did you mean lenet5?"),
    "an optimizer's other setting": (
        ["optimizer._target_=torch.optim.Adagrad"],
        "optimizer.betas",
    ),
    "no such class": (["optimizer._target_=torch.optim.Adm"], "Adm"),
    "lr_monitor without a logger": (["callbacks=lr_monitor"], "logger=csv"),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_slips_are_refused_in_a_line_or_two(slip, folder, verbs, tiny):
    overrides, expected = SLIPS[slip]
    data = [text for text in tiny if not text.startswith("model.")]
    ended = verbs.run(TRAIN, *OWN, *last_of_each(*data, *overrides), cwd=folder)
    assert ended.code == 2, ended
    assert expected in ended.stderr
    assert 1 <= len(ended.stderr.splitlines()) <= 2, ended.stderr
    assert not (folder / "outputs").exists()


CLASSES = {
    "a syntax error": ("def f(:\n", "my_bad.py:1"),
    "an import that fails": ("import nowhere_at_all\n", "nowhere_at_all"),
    "no such class": ("x = 1\n", "Net"),
    "a parameter without a type": (
        "from mnist_lab.models.mlp import MLP\nfrom mnist_lab.models.classifier import Classifier\n"
        "class Net(Classifier):\n"
        "    def __init__(self, size=3, **kwargs):\n        super().__init__(**kwargs)\n",
        "size has no type",
    ),
    "positional arguments": (
        "from mnist_lab.models.classifier import Classifier\n"
        "class Net(Classifier):\n"
        "    def __init__(self, *args, **kwargs):\n        super().__init__(**kwargs)\n",
        "*args",
    ),
    "no classifier": (
        "from lightning.pytorch import LightningModule\nclass Net(LightningModule):\n    pass\n",
        "must be a mnist_lab.models.classifier.Classifier",
    ),
    "other logits": (
        "import torch\nfrom mnist_lab.models.classifier import Classifier\n"
        "class Net(Classifier):\n"
        "    def __init__(self, **kwargs):\n        super().__init__(**kwargs)\n"
        "        self.layer = torch.nn.Linear(784, 7)\n"
        "    def forward(self, images):\n        return self.layer(images.flatten(1))\n",
        "gives (1, 7) for an image; must be (1, 10)",
    ),
}


@pytest.mark.parametrize("fault", CLASSES)
def test_classes_that_cannot_be_used_are_refused(fault, folder, verbs, tiny):
    code, expected = CLASSES[fault]
    (folder / "my_conf" / "my_bad.py").write_text(code)
    (folder / "my_conf" / "model" / "bad.yaml").write_text("_target_: my_bad.Net\n")
    data = [text for text in tiny if not text.startswith("model.")]
    ended = verbs.run(TRAIN, *OWN, *last_of_each(*data, "model=bad"), cwd=folder)
    assert ended.code == 2, ended
    assert expected in ended.stderr
    assert 1 <= len(ended.stderr.splitlines()) <= 2, ended.stderr
    assert not (folder / "outputs").exists()


def test_a_metric_without_a_direction_is_refused(folder, verbs, tiny):
    metrics = folder / "my_conf" / "my_metrics.py"
    metrics.write_text(metrics.read_text().replace("higher_is_better = True", ""))
    ended = verbs.run(TRAIN, *OWN, *tiny, "metrics=sureness", cwd=folder)
    assert (ended.code, ended.stdout) == (2, "")
    assert "sureness: has no direction" in ended.stderr


def test_a_stranger_cannot_name_code_even_beside_a_folder_of_mine(train, folder, verbs):
    path = train("model=lenet5")
    file = path / "config.yaml"
    text = file.read_text()
    (folder / "evil.py").write_text("open('hacked', 'w')\n")
    for target in ("evil.Net", "my_nets.evil", "os.mkdir"):
        file.write_text(text.replace("my_nets.LeNet5", target))
        for verb in ("resume", "evaluate", "export"):
            ended = verbs.run(
                f"mnist_lab.{verb}", *OWN, str(path), cwd=folder, PYTHONPATH=str(folder)
            )
            assert ended.code == 2, ended
            assert "not a name that this lab builds" in ended.stderr
    assert not (folder / "hacked").exists()


def test_a_strangers_sweep_cannot_name_code(folder, verbs, tiny):
    """Not by an override either, which is composed again when the sweep goes on."""
    grid = last_of_each(*tiny, "model.width=4,8")
    assert verbs.run(TRAIN, "-m", *grid, cwd=folder).code == 0
    sweep = only_sweep(folder)
    document = json.loads((sweep / "sweep.json").read_text())
    for text in (
        "model._target_=os.mkdir",
        "model._target_=my_nets.LeNet5",
        "callbacks.mine={_target_:os.mkdir,path:hacked}",
        "callbacks.mine=[{a:{_target_:os.mkdir,path:hacked}}]",
        "+callbacks={mine:{_target_:os.mkdir,path:hacked}}",
        "callbacks.mine={'_target_':os.mkdir,path:hacked}",
    ):
        for job in document["jobs"].values():
            job["overrides"] = [text, "model.width=4"]
        (sweep / "sweep.json").write_text(json.dumps(document))
        (sweep / "000_width=4" / "metrics.json").unlink(missing_ok=True)
        (sweep / "000_width=4" / "status.json").unlink(missing_ok=True)
        ended = verbs.run("mnist_lab.resume", str(sweep), cwd=folder)
        assert ended.code == 2, ended
        assert "not a name that this lab builds" in ended.stderr or "callbacks" in text
        assert len(ended.stderr.splitlines()) <= 2
    assert not (folder / "hacked").exists()


def test_a_launcher_with_processes_of_its_own_finds_the_folder(folder, verbs, tiny):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    data = [text for text in tiny if not text.startswith("model.")]
    grid = [*data, "model=lenet5", "model.kernel=3,5", "hydra/launcher=submitit_local"]
    ended = verbs.run(TRAIN, *OWN, "-m", *last_of_each(*grid), cwd=folder)
    assert ended.code == 0, ended
    assert "2 finished" in ended.stdout


@pytest.mark.parametrize("way", ["variable", "search path"])
def test_the_folder_can_be_named_in_other_ways(way, folder, verbs, tiny):
    data = [text for text in tiny if not text.startswith("model.")]
    env = {"MNIST_LAB_CONF": "my_conf"} if way == "variable" else {}
    path = [] if env else [f"hydra.searchpath=[file://{folder}/my_conf]"]
    ended = verbs.run(TRAIN, *path, *data, "model=lenet5", cwd=folder, **env)
    assert ended.code == 0, ended
