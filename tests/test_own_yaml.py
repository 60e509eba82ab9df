"""The usual slips in YAML files of one's own: one or two lines that name file and line."""

import shutil

import pytest
from processes import run_cold

from mnist_lab.settings import compose as composing
from mnist_lab.settings import flags, groups, overrides
from mnist_lab.settings.compose import checked, compose, sweep_arguments
from mnist_lab.settings.groups import conf_dir
from mnist_lab.ui.errors import Refused

HEAD = "# @package _global_\n"

# What an experiment holds -> the line that is named, and what is said of it.
SLIPS = {
    "model:\n  width: 3\nseed: 4\n": (1, "must be # @package _global_"),
    "defaults:\n  - override /model: cnn\nseed: 4\n": (1, "must be # @package _global_"),
    "# @packge _global_\nmodel:\n  width: 3\n": (1, "must be # @package _global_"),
    "": (1, "must be # @package _global_"),
    f"{HEAD}model:\n\twidth: 3\n": (3, "YAML is indented by spaces"),
    f"{HEAD}model:\n  width: 3\n depth: 4\n": (4, "expected <block end>"),
    f"{HEAD}seed: 3\nseed: 4\n": (3, "found duplicate key seed"),
    f"{HEAD}seed:3\n": (1, "holds text; must hold settings"),
    "- a\n- b\n": (1, "holds a list; must hold settings"),
    f"{HEAD}seed: 3 # \xe4\n": (2, "not UTF-8"),
    f"{HEAD}defaults:\n  - /model: cnn\nseed: 3\n": (3, "write - override /model: cnn"),
    f"{HEAD}defaults:\n  - override model: cnn\n": (3, "write - override /model: NAME"),
    f"{HEAD}defaults:\n  - override /model: cnnn\n": (3, "no such model; did you mean cnn?"),
    f"{HEAD}defaults:\n  - override /modle: cnn\n": (
        3,
        "modle: no such group; did you mean model?",
    ),
    f"{HEAD}defaults:\n  override /model: cnn\n": (2, "must be a list, as in"),
    f"{HEAD}model: cnn\n": (2, "model=cnn: must hold settings; a choice stands in the list"),
    f"{HEAD}model:\n  widht: 3\n": (3, "model.widht: no such setting; did you mean model.width?"),
    f"{HEAD}seed: 3\nmodel:\n  width: -3\n": (4, "model.width=-3: must be a whole number"),
    f"{HEAD}optimizer:\n  lr: 1e3\n": (3, "optimizer.lr=1000.0: must be a number"),
    f"{HEAD}model:\n  width: true\n": (3, "model.width=true: must be a whole number"),
    f"{HEAD}seed: ${{nope}}\n": (2, "seed: Interpolation key 'nope' not found"),
}


@pytest.fixture
def conf(tmp_path, monkeypatch):
    folder = shutil.copytree(conf_dir(), tmp_path / "conf")
    for module in (composing, flags, groups, overrides):
        if hasattr(module, "conf_dir"):
            monkeypatch.setattr(module, "conf_dir", lambda: folder)
    return folder


@pytest.mark.parametrize("text", SLIPS)
def test_a_slip_in_an_experiment_names_file_and_line(text, conf):
    line, said = SLIPS[text]
    file = conf / "experiment/mine.yaml"
    file.write_text(text, encoding="latin-1")
    with pytest.raises(Refused) as caught:
        checked(compose(["experiment=mine"]))
    told = str(caught.value)
    assert told.startswith(f"{file}, line {line}: ")
    assert said in told
    assert len(told.splitlines()) <= 2


def test_what_was_typed_is_not_put_down_to_a_file(conf):
    (conf / "experiment/mine.yaml").write_text(f"{HEAD}model:\n  width: 3\n")
    for typed in ("model.width=-3", "model.width=${nope}", "optimizer.lr=0"):
        with pytest.raises(Refused) as caught:
            checked(compose(["experiment=mine", typed]))
        assert str(caught.value).startswith(typed.partition("=")[0])


def test_other_files_than_experiments(conf):
    (conf / "sweep/mine.yaml").write_text("hydra:\n  sweeper:\n    params:\n      seed: 0,1\n")
    with pytest.raises(Refused, match=r"sweep/mine.yaml, line 1: must be # @package _global_"):
        sweep_arguments(["sweep=mine"])
    text = (conf / "model/mlp.yaml").read_text().replace("width:", "widht:")
    (conf / "model/mine.yaml").write_text(text)
    with pytest.raises(Refused, match=r"model/mine.yaml, line \d: model.widht: no such setting"):
        checked(compose(["model=mine"]))
    (conf / "train.yaml").write_text("seed:\n\t- 0\n")
    with pytest.raises(Refused, match=r"train.yaml, line 2: found character"):
        compose([])


def test_a_slip_is_told_by_the_verb_without_a_traceback(tmp_path):
    package = conf_dir().parent
    for name in ("mnist_lab", "conf", "hydra_plugins"):
        shutil.copytree(package / name, tmp_path / name)
    (tmp_path / "conf/experiment/mine.yaml").write_text(f"{HEAD}model:\n\twidth: 3\n")
    start = "import sys; sys.path.insert(0, '.'); from mnist_lab.train import main; main()"
    for sweep in ([], ["-m", "seed=0,1"]):
        ended = run_cold("-c", start, *sweep, "experiment=mine", cwd=tmp_path)
        assert (ended.code, ended.stdout) == (2, ""), ended
        (line,) = ended.stderr.splitlines()
        assert line.startswith("conf/experiment/mine.yaml, line 3: ")
