"""A recipe with another choice beside it: composed, told, built, planned, run."""

import shutil

import pytest
import torch
import yaml
from processes import last_of_each, run_cold
from sweeps import only_sweep

from mnist_lab.models.linear import Linear
from mnist_lab.run.config import read_config
from mnist_lab.run.fit import explain
from mnist_lab.settings import compose as compose_module
from mnist_lab.settings import groups
from mnist_lab.settings.build import Rehearsal, build
from mnist_lab.settings.compose import checked, compose, dropped_lines
from mnist_lab.settings.groups import choices, conf_dir
from mnist_lab.settings.table import as_typed, leaves
from mnist_lab.ui.errors import Failed, Refused

TRAIN = "mnist_lab.train"
PARTS = ("model", "optimizer", "schedule")  # what a recipe chooses; it only tunes the others


def composed(*overrides):
    own = {f"data={name}" for name in ("idx_folder", "npz", "csv", "folders")}
    root = ["data.root=nowhere"] if own & {*overrides} else []
    return checked(compose([*overrides, *root]))


def written(group, name):
    """The settings in a YAML file of conf/, read without Hydra, and the choices that it names."""
    content = yaml.safe_load((conf_dir() / group / f"{name}.yaml").read_text())
    entries = [entry for entry in content.pop("defaults", []) if isinstance(entry, dict)]
    named = {key: value for entry in entries for key, value in entry.items()}
    return content, {key.removeprefix("override /"): value for key, value in named.items()}


@pytest.mark.parametrize("group", ["data", *PARTS, "trainer"])
@pytest.mark.parametrize("recipe", choices("experiment"))
def test_every_recipe_with_every_choice(recipe, group):
    rehearsal = Rehearsal()
    sets, named = written("experiment", recipe)
    alone = composed(f"experiment={recipe}")
    for choice in choices(group):
        config = composed(f"experiment={recipe}", f"{group}={choice}")
        assert rehearsal.num_params(config) > 0
        for other in (*PARTS, "data", "trainer"):
            if other != group:
                assert config[other] == alone[other]
        if group not in PARTS:  # as many epochs and images, whatever the device or the images
            found = leaves(config[group])
            assert {name: found[name] for name in sets[group]} == sets[group]
        elif choice == alone["choices"][group]:
            assert config[group] == alone[group]
        else:
            own, _ = written(group, choice)
            assert config[group] == own
        told = dropped_lines([config])
        if group in PARTS and group in sets and choice != named[group]:
            (line,) = told
            assert line.startswith(f"experiment={recipe}: {group}={choice} drops ")
            for name, value in sets[group].items():
                assert f"{name}={as_typed(value)}" in line
            lr = (own if group == "optimizer" else alone["optimizer"])["lr"]
            assert line.endswith(f" of {named[group]}; lr {lr:g} is in force")
        else:
            assert told == []


def test_every_recipe_names_the_choices_that_it_tunes():
    for recipe in choices("experiment"):
        sets, named = written("experiment", recipe)
        assert set(sets) & set(PARTS) <= set(named), recipe


def test_what_is_typed_stays():
    typed = ["optimizer=sgd", "optimizer.lr=0.3", "model=cnn", "model.width=7"]
    config = composed("experiment=mlp_512", *typed)
    assert config["optimizer"]["lr"] == 0.3
    assert config["model"] == {**written("model", "cnn")[0], "width": 7}
    (line,) = dropped_lines([config])
    assert line.endswith("; lr 0.3 is in force")
    with pytest.raises(Refused, match=r"^optimizer.alpha=0.9: not a setting of this optimizer"):
        composed("experiment=mlp_512", "optimizer=sgd", "optimizer.alpha=0.9")


def test_several_jobs_of_one_case_are_told_in_one_line():
    configs = [
        composed("experiment=mlp_512", f"optimizer={optimizer}", f"optimizer.lr={lr}")
        for optimizer in ("sgd", "rmsprop")
        for lr in (0.1, 0.03, 0.2)
    ]
    (line,) = dropped_lines(configs)
    assert line.endswith(" of rmsprop; lr 0.03 to 0.2 is in force")


def test_a_recipe_may_build_on_another(monkeypatch, tmp_path):
    conf = shutil.copytree(conf_dir(), tmp_path / "conf")
    own = "# @package _global_\ndefaults: [mlp_512{}]\noptimizer: {{lr: 0.002}}\n"
    (conf / "experiment" / "slow.yaml").write_text(own.format(""))
    (conf / "experiment" / "adamant.yaml").write_text(own.format(", override /optimizer: adam"))
    for module in (groups, compose_module):
        monkeypatch.setattr(module, "conf_dir", lambda: conf)
    slow, adamant = composed("experiment=slow"), composed("experiment=adamant")
    assert slow["optimizer"] == {**composed("experiment=mlp_512")["optimizer"], "lr": 0.002}
    assert adamant["optimizer"] == {**composed("optimizer=adam")["optimizer"], "lr": 0.002}
    for recipe in ("slow", "adamant"):
        config = composed(f"experiment={recipe}", "optimizer=sgd")
        assert config["optimizer"] == composed("optimizer=sgd")["optimizer"]
        assert config["model"]["width"] == 512
        (line,) = dropped_lines([config])
        assert "lr=0.001, alpha=0.9" in line
        assert "lr=0.002" in line


# What a user sees -------------------------------------------------------------------------------

TOLD = "experiment=mlp_800_dropout_sgd: optimizer=adam drops lr=0.01 of sgd; lr 0.001 is in force\n"


def test_cfg_plan_and_run_agree(light_verbs, verbs, tiny, tmp_path):
    tuned = [text for text in tiny if not text.startswith("model.")]
    typed = ["experiment=mlp_800_dropout_sgd", "optimizer=adam", "model.width=8", *tuned]
    shown = light_verbs.run(TRAIN, *typed, "--cfg", "job", cwd=tmp_path)
    assert (shown.code, shown.stderr) == (0, "")
    assert shown.stdout.startswith(f"# {TOLD}")
    settings = yaml.safe_load(shown.stdout)
    assert settings["optimizer"] == written("optimizer", "adam")[0]

    informed = light_verbs.run(TRAIN, *typed, "--info", "config", cwd=tmp_path)
    assert yaml.safe_load(informed.stdout.rpartition("******\n")[2]) == settings

    planned = verbs.run(TRAIN, "-m", *typed, "seed=0,1", "--plan", cwd=tmp_path)
    assert (planned.code, planned.stderr) == (0, "")
    assert planned.stdout.count(TOLD) == 1
    assert [*tmp_path.iterdir()] == []

    ran = verbs.run(TRAIN, *typed, "hydra.run.dir=run", cwd=tmp_path)
    assert (ran.code, ran.stderr) == (0, "")
    assert ran.stdout.startswith(TOLD)
    assert "adam, lr 0.001" in ran.stdout
    assert (tmp_path / "run/train.log").read_text().startswith(TOLD)
    composition = yaml.safe_load((tmp_path / "run/.hydra/config.yaml").read_text())
    assert composition == settings
    config = read_config(tmp_path / "run")
    assert {part: config[part] for part in PARTS} == {part: settings[part] for part in PARTS}


def test_the_ready_grid_runs_with_a_recipe(verbs, tiny, tmp_path):
    typed = ["sweep=optimizer_width_dropout_epochs", "experiment=mlp_512"]
    planned = verbs.run(TRAIN, *typed, "--plan", cwd=tmp_path)
    assert (planned.code, planned.stderr) == (0, "")
    assert planned.stdout.startswith("108 jobs in ")
    told = [line for line in planned.stdout.splitlines() if line.startswith("experiment=")]
    assert [line.split()[1] for line in told] == ["optimizer=sgd", "optimizer=adam"]
    assert [*tmp_path.iterdir()] == []

    one_each = ["model.width=8", "model.dropout=0", "trainer.max_epochs=1", "seed=0"]
    ran = verbs.run(TRAIN, *typed, *last_of_each(*tiny, *one_each), cwd=tmp_path)
    assert (ran.code, ran.stderr) == (0, "")
    assert ran.stdout.startswith("\n".join(told))
    jobs = sorted(only_sweep(tmp_path).glob("*/config.yaml"))
    names = ["sgd", "rmsprop", "adam"]
    for job, name in zip(jobs, names, strict=True):
        expected = composed("experiment=mlp_512", f"optimizer={name}")["optimizer"]
        assert read_config(job.parent)["optimizer"] == expected
        composition = yaml.safe_load((job.parent / ".hydra/config.yaml").read_text())
        assert composition["optimizer"] == expected


NESTEROV = ["optimizer=momentum", "optimizer.nesterov=true"]
REASON = "Nesterov momentum requires a momentum and zero dampening"


def test_what_cannot_be_built_is_refused_before_anything_is_written(verbs, tiny, tmp_path):
    ended = verbs.run(TRAIN, *tiny, *NESTEROV, "optimizer.momentum=0", cwd=tmp_path)
    assert (ended.code, ended.stdout) == (2, "")
    assert ended.stderr == f"optimizer=momentum: cannot be built: {REASON}\n"
    typed = ["-m", *tiny, *NESTEROV, "optimizer.momentum=0.5,0", "seed=0,1"]
    for ended in (
        verbs.run(TRAIN, *typed, cwd=tmp_path),
        verbs.run(TRAIN, *typed, "--plan", cwd=tmp_path),
        run_cold("-m", TRAIN, *typed, "hydra/launcher=pool", cwd=tmp_path),
    ):
        assert (ended.code, ended.stdout) == (2, "")
        first, second = ended.stderr.splitlines()
        assert first.startswith("job 2 (")
        assert second == f"optimizer=momentum: cannot be built: {REASON}"
        assert [*tmp_path.iterdir()] == []


def test_a_network_must_give_ten_logits(monkeypatch):
    monkeypatch.setattr(Linear, "forward", lambda self, images: self.layers(images)[:, :9])
    with pytest.raises(Refused, match=r"^model=linear: .* gives \(1, 9\) for an image; must be"):
        Rehearsal().num_params(composed("model=linear"))


def test_exceptions_keep_their_reason():
    node = {**composed("model=linear")["model"], "depth": 3}
    with pytest.raises(TypeError, match="unexpected keyword argument 'depth'"):
        build(node)
    config = {**composed("model=linear"), "model": node}
    with pytest.raises(Refused, match=r"^model=linear: .* unexpected keyword argument 'depth'$"):
        Rehearsal().num_params(config)
    with pytest.raises(RuntimeError) as caught:
        torch.nn.Linear(2, 1).load_state_dict({"weight": torch.zeros(1, 3), "bias": torch.ones(1)})
    failed = explain(caught.value, config)
    assert isinstance(failed, Failed)
    assert str(failed).startswith("RuntimeError: Error(s) in loading state_dict for Linear: size ")
    with pytest.raises(Refused, match=r"mode=abc\nInvalid value 'abc', expected one of"):
        compose(["hydra.mode=abc"])
