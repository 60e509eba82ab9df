"""Data sets of a user's own, as docs/yours.md has them: its files and its commands, run."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from conftest import write_idx
from formats import many_classes, write_csv, write_folders

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
