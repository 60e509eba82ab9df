"""Data sets of a user's own, as docs/yours.md has them: its files and its commands, run."""

import hashlib
import importlib
import json
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import write_idx
from formats import many_classes, write_csv, write_folders
from processes import last_of_each

from mnist_lab.data.files import FILES
from mnist_lab.run.directory import read_metrics

PAGE = (Path(__file__).parents[1] / "docs" / "yours.md").read_text()
SECTION = re.split(r"^## ", PAGE.partition("\n## A data set\n")[2], flags=re.MULTILINE)[0]
TEXTS = dict(re.findall(r"`(my_conf/[\w./]+)`:\n\n```\w+\n(.*?)```", SECTION, re.DOTALL))
COMMANDS = re.findall(r"^(mnist-train [^\n]*)$", SECTION, re.MULTILINE)
SMALL = ["trainer=cpu", "trainer.max_epochs=1", "model.width=8", "model.dropout=0"]


@pytest.fixture
def folder(tmp_path):
    """Where the user works, with the data that the page speaks of."""
    for name, text in TEXTS.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    letters = many_classes(26, per_class=3)
    for name, values in zip(FILES, letters, strict=True):
        turned = values.swapaxes(1, 2) if values.ndim == 3 else values + 1
        path = tmp_path / "emnist" / f"emnist-letters-{name.replace('t10k', 'test')}"
        write_idx(path, np.ascontiguousarray(turned))
    digits = many_classes(10, per_class=3)
    (tmp_path / "digits").mkdir()
    write_csv(tmp_path / "digits" / "train.csv", *digits[:2])
    write_csv(tmp_path / "digits" / "test.csv", *digits[2:], header=False)
    np.savez(
        tmp_path / "digits.npz",
        **dict(zip(("x_train", "y_train", "x_test", "y_test"), digits, strict=True)),
    )
    write_folders(
        tmp_path / "signs", many_classes(3, per_class=5), ["stop", "give way", "turn left"]
    )
    return tmp_path


def only_run(folder):
    (path,) = folder.glob("outputs/runs/*/*/")
    return path


def test_the_page_has_its_commands():
    assert len(COMMANDS) == 5


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_of_the_page_trains(command, folder, verbs):
    ended = verbs.run("mnist_lab.train", *shlex.split(command)[1:], *SMALL, cwd=folder)
    assert ended.code == 0, ended.stderr
    assert read_metrics(only_run(folder))["data_sha256"]


# --- a LightningDataModule of the user's ---

OWN = ["--config-dir", "my_conf"]


@pytest.fixture
def train(folder, verbs):
    def train(*overrides):
        typed = last_of_each(*SMALL, "data=bars", *overrides)
        return verbs.run("mnist_lab.train", *OWN, *typed, cwd=folder)

    return train


def change(folder, old, new):
    path = folder / "my_conf" / "my_data.py"
    text = path.read_text()
    assert text.count(old) >= 1
    path.write_text(text.replace(old, new))


def test_a_module_of_ones_own_does_all_that_files_do(train, folder, verbs):
    ended = train("trainer.max_epochs=6", "optimizer.lr=0.003", "model.width=64")
    assert ended.code == 0, ended.stderr
    path = only_run(folder)
    before = read_metrics(path)
    assert before["test/acc"] > 0.8  # by chance a third
    stored = yaml.safe_load((path / "config.yaml").read_text())["data"]
    assert stored["module"] == {"_target_": "my_data.Bars", "num_images": 600}
    (file,) = json.loads((path / "code.json").read_text())["own_files"]
    assert file == str(folder / "my_conf" / "my_data.py")

    # The same images, whoever reads them, in the same order.
    expected = hashlib.sha256()
    sys.path.append(str(folder / "my_conf"))
    try:
        bars = importlib.import_module("my_data").Bars()
    finally:
        sys.path.remove(str(folder / "my_conf"))
        del sys.modules["my_data"]
    for loader in (bars.train_dataloader(), bars.test_dataloader()):
        images, labels = loader.dataset.tensors
        expected.update(images.numpy().tobytes())
        expected.update(labels.numpy().astype(np.uint8).tobytes())
    assert before["data_sha256"] == expected.hexdigest()

    for verb, more in (
        ("evaluate", []),
        ("predict", ["--index", "0", "--neighbours", "3"]),
        ("export", []),
        ("resume", ["trainer.max_epochs=7"]),
    ):
        refused = verbs.run(f"mnist_lab.{verb}", str(path), *more, cwd=folder)
        assert refused.code == 2, (verb, refused.stdout)
        assert "data.module._target_=my_data.Bars: not a name that this lab" in refused.stderr
        assert len(refused.stderr.splitlines()) <= 2
        ended = verbs.run(f"mnist_lab.{verb}", *OWN, str(path), *more, cwd=folder)
        assert ended.code == 0, (verb, ended.stderr)
    assert read_metrics(path)["data_sha256"] == before["data_sha256"]

    change(folder, "255", "254")  # other images than the run has seen
    refused = verbs.run("mnist_lab.resume", *OWN, str(path), "trainer.max_epochs=8", cwd=folder)
    assert refused.code == 2
    assert "these are not the images that the run was trained on" in refused.stderr


def test_a_module_in_a_sweep_of_its_own_settings(folder, verbs):
    typed = [*SMALL, "data=bars", "data.module.num_images=60,90", "hydra/launcher=pool"]
    ended = verbs.run("mnist_lab.train", *OWN, "-m", *typed, cwd=folder)
    assert ended.code == 0, ended.stderr
    found = [read_metrics(path.parent) for path in folder.glob("outputs/sweeps/*/*/*/metrics.json")]
    assert len({each["data_sha256"] for each in found}) == 2


VAL = """
    def val_dataloader(self) -> DataLoader:
        return self.loader(30, seed=2)
"""


def test_a_modules_own_validation_is_the_runs(train, folder):
    path = folder / "my_conf" / "my_data.py"
    path.write_text(path.read_text() + VAL)
    ended = train("data.val_fraction=0.5", "data.shuffle_split=true")
    assert ended.code == 0, ended.stderr
    assert "bars: 600 train, 30 val, 150 test" in ended.stdout
    told = read_metrics(only_run(folder))["data_warnings"]
    assert told[0].startswith("validation: the 30 images of the module's own; data.val_fraction")


FLOATS = "TensorDataset(images.float(), labels)"
STREAM = """torch.utils.data.DataLoader(Stream())


class Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter(())
"""
NOISY = """DataLoader(Noisy(), batch_size=64)


class Noisy(torch.utils.data.Dataset):
    def __len__(self):
        return 100

    def __getitem__(self, row):
        return torch.randint(255, (1, 28, 28), dtype=torch.uint8), 0
"""
LOADER = "DataLoader(TensorDataset(images, labels), batch_size=64)\n"
UNFIT = {
    "TensorDataset(images, labels)": [
        (FLOATS, r"train_dataloader\(\) gives images torch\.float32 \(64, 1, 28, 28\); must be to"),
        ("TensorDataset(images)", r"train_dataloader\(\) gives list; must be batches \(images, la"),
        (
            "TensorDataset(images, labels + 1)",
            r"label \d+ of train_dataloader\(\) is 3, not in 0\.\.2, as data\.class_names \(3 name",
        ),
        (
            "TensorDataset(images, labels.float())",
            r"train_dataloader\(\) gives labels torch\.float32 \(64,\); must be whole numbers",
        ),
    ],
    LOADER: [
        ("[1, 2]\n", r"train_dataloader\(\) gives list; must be a map-style DataLoader"),
        (STREAM, r"train_dataloader\(\) gives DataLoader; must be a map-style DataLoader"),
        (NOISY, r"train_dataloader\(\) gives other images when it is read again"),
        (
            LOADER.replace(
                "batch_size", "sampler=torch.utils.data.WeightedRandomSampler([1], 5), batch_size"
            ),
            r"train_dataloader\(\) has a sampler of its own; must take each image of its data se",
        ),
        ("1 / 0\n", r"division by zero"),
    ],
    "    def train_dataloader": [
        (
            "    def on_after_batch_transfer(self, batch, _):\n        return batch\n\n"
            "    def train_dataloader",
            "its on_after_batch_transfer would not be called; leave it out",
        ),
    ],
    "(LightningDataModule)": [("", r"must be a lightning\.pytorch\.LightningDataModule")],
}


@pytest.mark.parametrize(
    ("old", "new", "told"), [(old, *each) for old, cases in UNFIT.items() for each in cases]
)
def test_what_a_module_cannot_be_is_refused_in_a_line(old, new, told, train, folder):
    new, *classes = new.split("\n\n\n")
    change(folder, old, new + "\n" * bool(classes))
    path = folder / "my_conf" / "my_data.py"
    path.write_text("\n\n".join([path.read_text(), *classes]))
    ended = train()
    assert ended.code == 2, ended.stderr
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    assert re.search(rf"data\.module=Bars: {told}", ended.stderr), ended.stderr
    assert not (folder / "outputs").exists()


def test_a_modules_settings_are_checked_by_its_constructor(train):
    for text, told in {
        "data.module.num_images=3": "must be a whole number from 30 to 100000",
        "data.module.num_image=300": "data.module.num_image=300: not a setting of this data",
    }.items():
        ended = train(text)
        assert ended.code == 2
        assert told in ended.stderr
        assert len(ended.stderr.splitlines()) == 1
