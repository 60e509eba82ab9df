"""Every YAML that ships: composed, checked against the table, and built."""

import gzip
import math
import shutil
import sys
from pathlib import Path

import pytest
import torch
import yaml
from formats import many_classes, write_formats
from lightning.pytorch import Trainer
from omegaconf import OmegaConf

from mnist_lab.data.datamodule import MNISTDataModule
from mnist_lab.models.classifier import Classifier
from mnist_lab.settings.build import build
from mnist_lab.settings.check import BUILDABLE
from mnist_lab.settings.compose import checked, compose, plain
from mnist_lab.settings.groups import GROUPS, choices, conf_dir
from mnist_lab.settings.table import DIGESTS, SETTINGS, leaves
from mnist_lab.ui.errors import Refused

CHOICES = [(group, name) for group in GROUPS for name in choices(group)]
OWN = Path("hydra/sweeper/lab.yaml")  # what the entry points tell our sweeper, no settings
YAMLS = [path for path in conf_dir().rglob("*.yaml") if path != conf_dir() / OWN]

# What the recipes' authors wrote: optimizer, its settings, batch, epochs, first weights, dropout,
# images trained on. Written down here a second time, so that no figure in conf/ drifts.
RMSPROP = ("mnist_lab.optim.optimizers.RMSprop", {"lr": 0.001, "alpha": 0.9, "eps": 1e-7})
ADAM = ("mnist_lab.optim.optimizers.Adam", {"lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-7})
SGD = ("mnist_lab.optim.optimizers.SGD", {"lr": 0.01})
RECIPES = {
    "mlp_512x2_dropout": (*RMSPROP, 32, 20, "glorot", 0.2, 60_000),
    "mlp_800_dropout_sgd": (*SGD, 256, 10, "uniform", 0.5, 60_000),
    "mlp_512": (*RMSPROP, 128, 5, "glorot", 0, 60_000),
    "mlp_100": (*ADAM, 32, 5, "glorot", 0, 60_000),
    "mlp_25x2": (*ADAM, 100, 20, "glorot", 0, 48_000),
    "cnn_12_20": (*ADAM, 100, 4, "glorot", 0, 48_000),
}


def composed(*overrides):
    return checked(compose(overrides))


@pytest.fixture(scope="module")
def data_root(tmp_path_factory, idx_folder):
    """A folder with tiny images where each data set looks for its own."""
    root = tmp_path_factory.mktemp("root")
    for folder in (".", "MNIST/raw", "FashionMNIST/raw", "KMNIST/raw"):
        idx_folder(root / folder, num_train=60, num_test=20)
    write_formats(root, many_classes(10), names="0123456789")
    return root


@pytest.mark.parametrize(("group", "name"), CHOICES)
def test_every_choice_is_composed_checked_and_built(group, name, data_root):
    config = composed(f"{group}={name}", f"data.root={data_root}")
    assert config["choices"][group] == name
    optimizer, schedule = build(config["optimizer"]), build(config["schedule"])
    model = build(config["model"], optimizer=optimizer, schedule=schedule)
    assert isinstance(model, Classifier)
    assert isinstance(optimizer(model.parameters()), torch.optim.Optimizer)
    assert all(0 <= schedule(progress) <= 1 for progress in (0.0, 0.3, 1.0))
    # No GPU here, and no official files: the sums of those are for the test after the next.
    settings = {**config["trainer"], "accelerator": "cpu"}
    assert settings.pop("patience") is None  # the one that is no argument of the Trainer
    trainer = build(settings, logger=False)
    assert isinstance(trainer, Trainer)
    fast_dev_run = config["trainer"]["fast_dev_run"]
    assert trainer.max_epochs == (1 if fast_dev_run else config["trainer"]["max_epochs"])
    data = build({**config["data"], "sha256": None, "name": "tiny"}, seed=0)
    assert isinstance(data, MNISTDataModule)
    assert [len(images) for images, _ in data.splits.values()] == (
        [48, 12, 20]
        if config["data"]["val_fraction"] == 0.2
        else [60, 0, 20]
        if config["data"]["val_fraction"] == 0
        else [50, 10, 20]
    )
    for node, built in (("model", model), ("data", data), ("trainer", trainer)):
        kind = type(built)
        exposed = config[node]["_target_"].rpartition(".")[2]
        assert kind.__name__ == exposed


def test_the_list_of_what_is_built_is_exactly_what_conf_names():
    named = set()
    for path in YAMLS:
        if "hydra" in path.relative_to(conf_dir()).parts:
            continue  # Hydra builds its launchers
        text = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
        named |= {value for name, value in leaves(text).items() if name.endswith("_target_")}
    assert named == BUILDABLE


def test_only_one_line_instantiates():
    package = Path(sys.modules["mnist_lab"].__file__).parent
    calls = [
        f"{path.name}: {line.strip()}"
        for path in package.rglob("*.py")
        for line in path.read_text().splitlines()
        if "instantiate(" in line
    ]
    assert len(calls) == 1, calls
    assert calls[0].startswith("build.py: built = instantiate(dict(node), _recursive_=False")


def yaml_leaves(path):
    """The settings that a YAML file gives, by their dotted names."""
    content = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    content.pop("defaults", None)
    content.pop("hydra", None)  # Hydra's own settings; its own types check those
    at_root = path.parent == conf_dir() or "@package _global_" in path.read_text().splitlines()[0]
    prefix = "" if at_root else f"{path.parent.relative_to(conf_dir())}.".replace("/", ".")
    return leaves(content, prefix)


def test_every_leaf_has_a_row_and_every_row_is_used():
    used = set()
    for path in YAMLS:
        for name, value in yaml_leaves(path).items():
            if name.rpartition(".")[2] in ("_target_", "_partial_") or name in DIGESTS:
                continue
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if name.startswith(("metrics.", "callbacks.", "logger.")):
                continue  # checked against the signatures of their classes
            if number or not name.startswith("hydra."):  # Hydra checks what its launchers are told
                assert name in SETTINGS, f"{path} gives {name}, which no row of SETTINGS explains"
            used |= {name} & set(SETTINGS)
    assert used == set(SETTINGS), "rows that no YAML uses"


def test_every_group_is_known():
    folders = {path.name for path in conf_dir().iterdir() if path.is_dir()}
    assert folders - {"hydra", "sweep"} == set(GROUPS)


def test_defaults_of_the_plain_run():
    config = composed()
    assert config["choices"] == {
        "data": "mnist",
        "model": "mlp",
        "optimizer": "adam",
        "schedule": "constant",
        "trainer": "default",
        "experiment": None,
        "metrics": None,
        "callbacks": None,
        "logger": "tensorboard",
        "debug": None,
    }
    assert (config["model"]["width"], config["model"]["depth"]) == (512, 1)
    assert config["model"]["dropout"] == 0.2
    assert config["trainer"]["max_epochs"] == 15
    assert math.isclose(config["data"]["val_fraction"], 1 / 6)
    assert config["seed"] == 0


def test_every_experiment_is_in_the_published_table_or_our_own():
    own = {"fast_99", "fast_994", "best_mlp", "best_cnn", "small_99", "small_994", "handwriting"}
    assert {*RECIPES, *own} == set(choices("experiment"))
    shipped = compose(["sweep=published"]).hydra.sweeper.params.experiment
    assert set(RECIPES) == set(shipped.split(","))


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_are_as_published(name):
    target, settings, batch_size, max_epochs, init, dropout, num_train = RECIPES[name]
    config = composed(f"experiment={name}")
    assert config["optimizer"]["_target_"] == target
    assert {key: config["optimizer"][key] for key in settings} == settings
    assert config["optimizer"]["weight_decay"] == 0
    assert config["choices"]["schedule"] == "constant"
    assert config["data"]["batch_size"] == batch_size
    assert config["trainer"]["max_epochs"] == max_epochs
    assert config["model"]["init"] == init
    assert config["model"]["dropout"] == dropout
    assert 60_000 - round(60_000 * config["data"]["val_fraction"]) == num_train
    assert config["data"]["shuffle_split"] is False
    assert config["data"]["name"] == "mnist"
    assert config["trainer"]["precision"] == "32-true"


def test_an_experiment_wins_over_all_defaults():
    """Whatever stands after it in the list would override it in silence."""
    defaults = yaml.safe_load((conf_dir() / "train.yaml").read_text())["defaults"]
    names = [entry if isinstance(entry, str) else next(iter(entry)) for entry in defaults]
    settings = [name for name in names if not name.startswith("override") and name != "sweep"]
    assert settings[-3:] == ["_self_", "experiment", "debug"]  # asked for in order to look closer


def test_the_command_line_wins_over_an_experiment():
    config = composed("experiment=mlp_512", "model.width=64", "optimizer=sgd", "seed=3")
    assert config["model"]["width"] == 64
    assert config["optimizer"]["_target_"] == "mnist_lab.optim.optimizers.SGD"
    assert config["seed"] == 3
    assert config["choices"]["experiment"] == "mlp_512"


def test_data_root_comes_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("MNIST_LAB_DATA", raising=False)
    assert composed()["data"]["root"] is None
    monkeypatch.setenv("MNIST_LAB_DATA", str(tmp_path))
    assert composed()["data"]["root"] == str(tmp_path)


def test_the_official_sums_refuse_other_images(data_root):
    config = composed("data=mnist", f"data.root={data_root}")
    with pytest.raises(Refused, match="train-images-idx3-ubyte: its SHA-256 is"):
        build(config["data"], seed=0)


@pytest.mark.parametrize(
    "overrides",
    [
        ["~seed"],
        ["~model.width"],
        ["~optimizer"],
        ["+optimizer.momentum=0.5"],
        ["++optimizer.momentum=0.5"],
        ["+model.channels=[1]"],
        ["model=cnn", "model.depth=2"],
        ["+model.x=1"],
        ["+choices.model=cnn"],
        ["seed={}"],
        ["optimizer.lr={}"],
        ["model={width:4}"],
        ["model=null"],
        ["model=[mlp,cnn]"],
        ["model@data=cnn"],
        ["model=../data/mnist"],
        ["model._target_=os.system"],
        ["+_target_=os.system"],
        ["data.sha256=null"],
        ["data.allow_embedded=false"],
        ["experiment=null,mlp_512"],
        ["trainer.devices=1.0"],
        ["trainer.devices=2"],
        ["model.width=" + "9" * 400],
        ["model.width=" + "9" * 5000],
        ["model.width=1e400"],
        ["model.width=1,2"],
        ["model.width=range(1,5)"],
        ["model.width=${nope}"],
        ["data.root=${oc.env:NO_SUCH_VARIABLE}"],
        ["data=idx_folder"],
        ["optimizer.betas=[0.9]"],
        ["optimizer.betas=0.9"],
        ["+seed=3"],
        ["threads=1000"],
        ["hydra/launcher=nope"],
        ["hydra.nope=1"],
        ["="],
        [""],
        ["model.width"],
        ["a=b=c"],
    ],
    ids=lambda overrides: " ".join(overrides)[:40],
)
def test_whatever_is_typed_is_refused_in_a_line_or_two(overrides):
    """As Refused, which the entry points print; never another exception, never a half config."""
    with pytest.raises(Refused) as caught:
        composed(*overrides)
    lines = str(caught.value).splitlines()
    assert 1 <= len(lines) <= 2
    assert len(str(caught.value)) > 10


def test_an_interpolation_on_the_command_line_is_checked_after_it_is_resolved():
    assert composed("seed=4", "model.width=${seed}")["model"]["width"] == 4
    with pytest.raises(Refused, match=r"model.width=0: must be"):
        composed("model.width=${seed}")


def test_what_a_checked_configuration_holds_is_plain_data():
    config = composed("experiment=cnn_12_20")
    assert yaml.safe_load(yaml.safe_dump(config)) == config
    unresolved = plain(compose(["data=mnist"]), resolve=False)
    assert unresolved["data"]["root"] == "${oc.env:MNIST_LAB_DATA,null}"


def test_building_is_not_recursive(tmp_path):
    """A node inside of the node that is built stays data, whatever it names."""
    victim = tmp_path / "made"
    node = {
        "_target_": "mnist_lab.optim.optimizers.SGD",
        "_partial_": True,
        "lr": {"_target_": "os.mkdir", "path": str(victim)},
    }
    assert build(node).keywords == {"lr": node["lr"]}
    assert not victim.exists()


def test_data_may_be_gzipped(tmp_path, data_root):
    raw = tmp_path / "raw"
    shutil.copytree(data_root / "MNIST" / "raw", raw)
    for file in raw.iterdir():
        file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    plain_files = build(composed("data=idx_folder", f"data.root={data_root}")["data"], seed=0)
    gzipped = build(composed("data=idx_folder", f"data.root={raw}")["data"], seed=0)
    assert gzipped.sha256 == plain_files.sha256
