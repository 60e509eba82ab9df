"""The table of settings: what it refuses is generated from the table itself."""

import inspect
import math
import re

import beartype.door
import pytest
import yaml
from lightning.pytorch import Trainer

from mnist_lab.settings.build import build
from mnist_lab.settings.check import BUILDABLE, check
from mnist_lab.settings.compose import checked, compose
from mnist_lab.settings.groups import conf_dir
from mnist_lab.settings.table import DIGESTS, SETTINGS, leaves, nearest
from mnist_lab.ui.errors import Refused
from mnist_lab.ui.verb import exit_code


def nested(name, value):
    for key in reversed(name.split(".")):
        value = {key: value}
    return value


def good_values(setting):
    """The ends of the range, or the nearest values inside of it."""
    if setting.choices:
        values = list(setting.choices)
    elif setting.kind is bool:
        values = [True, False]
    elif setting.kind is str:
        values = ["some text"]
    elif setting.kind is int:
        values = [setting.low + setting.open_low, setting.high - setting.open_high]
        values = [int(value) for value in values]
    else:
        low = math.nextafter(setting.low, math.inf) if setting.open_low else setting.low
        high = math.nextafter(setting.high, -math.inf) if setting.open_high else setting.high
        values = [low, high, (low + high) / 2]
    if setting.many:
        sizes = {setting.min_items, setting.max_items}
        values = [[value] * size for value in values for size in sizes]
    if setting.otherwise:
        values += good_values(setting.otherwise)
    return values + [None] * setting.optional


def bad_values(setting):
    """Below, above, not finite, of another type, of another length."""
    values = [{}, {"a": 1}, object()] + [None] * (not setting.optional)
    numbers = [math.nan, math.inf, -math.inf, 10**400, -(10**400), 1e300, -1e300, 1.5e9]
    if setting.choices:
        values += ["nonsense", "", 0, 1.0, True, *numbers]
    elif setting.kind is bool:
        values += ["true", 0, 1, 1.0, *numbers]
    elif setting.kind is str:
        values += [0, 1.5, True, *numbers]
    else:
        values += ["1", "nonsense", "", True, False, *numbers]
        if setting.kind is int:
            values += [setting.low - (not setting.open_low), setting.high + (not setting.open_high)]
            values += [float(setting.low + 1), setting.low + 0.5]
        else:
            below = setting.low if setting.open_low else math.nextafter(setting.low, -math.inf)
            above = setting.high if setting.open_high else math.nextafter(setting.high, math.inf)
            values += [below, above]
    if setting.many:
        good = next(value for value in reversed(good_values(setting)) if value)[0]
        filling = [good] * (max(1, setting.min_items) - 1)
        values = [[*filling, value] for value in values]
        values += [good, tuple(filling), [good] * (setting.max_items + 1)]
        values += [[good] * (setting.min_items - 1)] if setting.min_items else []
    else:
        values += [[value] for value in good_values(setting)]
    if other := setting.otherwise:
        values = [
            value
            for value in values
            if type(value) not in (int, other.kind) or not other.low <= value <= other.high
        ]
    return values


@pytest.mark.parametrize("name", SETTINGS)
def test_ends_of_the_range_are_accepted_and_all_beyond_is_refused(name, capsys):
    setting = SETTINGS[name]
    for value in good_values(setting):
        check(nested(name, value))
    for value in bad_values(setting):
        assert exit_code(lambda value=value: check(nested(name, value))) == 2, value
        message = capsys.readouterr().err
        assert message.startswith(name), (value, message)  # the setting, or a leaf inside of it
        assert len(message.splitlines()) == 1
        if not isinstance(value, dict):
            assert setting.allowed in message


def test_trainer_settings_are_lightnings_own():
    """Each is an argument of the Trainer, with its default and of its annotation; but patience."""
    parameters = inspect.signature(Trainer.__init__).parameters
    node = yaml.safe_load((conf_dir() / "trainer" / "default.yaml").read_text())
    own = {
        "accelerator": "auto",
        "devices": 1,
        "precision": "32-true",
        "max_epochs": node["max_epochs"],
    }
    assert "patience" not in parameters  # the lab's own, which makes a callback of it
    for name in sorted({n for n in SETTINGS if n.startswith("trainer.")} - {"trainer.patience"}):
        leaf = name.removeprefix("trainer.")
        parameter = parameters[leaf]
        # Lightning leaves these open, and fills them in by itself
        unset = {"accumulate_grad_batches": 1, "detect_anomaly": False, "overfit_batches": 0.0}
        filled = {"limit_train_batches": 1.0, "limit_val_batches": 1.0, **unset, **own}
        default = filled.get(leaf, parameter.default)
        assert node[leaf] == default, name
        assert type(node[leaf]) is type(default), name
        for value in good_values(SETTINGS[name]):
            assert beartype.door.is_bearable(value, parameter.annotation), (name, value)


def test_what_excludes_each_other_is_refused():
    for trainer in (
        {"fast_dev_run": True, "overfit_batches": 2},
        {"fast_dev_run": 3, "limit_train_batches": 5},
        {"overfit_batches": 0.5, "limit_val_batches": 0},
        {"overfit_batches": 1, "limit_train_batches": 1},
    ):
        first, second = trainer
        message = rf"^trainer\.{first}=.* and trainer\.{second}=.*: exclude each other"
        with pytest.raises(Refused, match=message):
            check({"trainer": trainer})
    check({"trainer": {"overfit_batches": 0, "limit_train_batches": 5, "fast_dev_run": False}})
    check({"trainer": {"overfit_batches": 1, "limit_train_batches": 1.0, "max_epochs": 3}})
    with pytest.raises(Refused, match=r"check_val_every_n_epoch=3: must be at most .*max_epochs=2"):
        check({"trainer": {"check_val_every_n_epoch": 3, "max_epochs": 2}})


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("pooled_cnn", {"kernels": [5]}, "model.kernels=[5]: must be one for each entry of"),
        ("pooled_cnn", {"kernels": [15, 8]}, "model.kernels=[15, 8]: nothing of the image"),
        ("batchnorm_cnn", {"crop": 11}, "model.kernels=[5, 3]: nothing of the image"),
        (
            "deep_cnn",
            {"pooled": [2, 5]},
            "model.pooled=[2, 5]: must be numbers of convolutions, of",
        ),
        (
            "deep_cnn",
            {"pooled": [1, 2, 3, 4], "padded": False},
            "model.kernels=[5, 3, 3, 3]: nothing",
        ),
    ],
)
def test_convolutions_fit_into_the_image(name, settings, message):
    model = checked(compose([f"model={name}"]))["model"]
    check({"model": model})
    with pytest.raises(Refused, match=re.escape(message)):
        check({"model": {**model, **settings}})


def test_a_message_names_setting_value_and_range():
    with pytest.raises(Refused) as caught:
        check({"model": {"dropout": 1.5}})
    assert str(caught.value) == "model.dropout=1.5: must be a number from 0 below 1."
    with pytest.raises(Refused, match=r"^seed=-1: must be a whole number from 0 to 4294967295.$"):
        check({"seed": -1})
    with pytest.raises(Refused, match=r"^model.width=null: must be a whole number from 1 to"):
        check({"model": {"width": None}})


@pytest.mark.parametrize("name", SETTINGS)
def test_typos_get_the_nearest_name(name):
    """One letter left out of the last word, and the last two swapped."""
    group, dot, word = name.rpartition(".")
    for typo in (word[:-2] + word[-1], word[:-2] + word[-1] + word[-2]):
        typo = f"{group}{dot}{typo}"  # noqa: PLW2901
        if typo in SETTINGS:
            continue  # a word that ends in a double letter
        with pytest.raises(Refused) as caught:
            check(nested(typo, 1))
        assert str(caught.value) == f"{typo}: no such setting; did you mean {name}?"


def test_what_resembles_nothing_gets_the_whole_list():
    assert nearest("xyzzy", ["b", "a"]) == "there is: a, b"


def test_only_listed_names_are_built(tmp_path):
    for target in BUILDABLE:
        check({"model": {"_target_": target, "_partial_": True}})
    victim = tmp_path / "made"
    # Reachable from an allowed package: a prefix is no boundary.
    for target in ("lightning.pytorch.core.saving.os.makedirs", "torch.optim", "", None, []):
        for node in ({"model": {"_target_": target}}, {"model": {"init": {"_target_": target}}}):
            with pytest.raises(Refused, match="not a name that this lab builds"):
                check(node)
        with pytest.raises(Refused, match="not a name that this lab builds"):
            build({"_target_": target, "name": str(victim)})
    assert not victim.exists()
    for partial in (False, "true", 1, None):
        with pytest.raises(Refused, match="must be true"):
            check({"optimizer": {"_partial_": partial}})
    for key in ("_args_", "_recursive_", "_convert_"):
        with pytest.raises(Refused, match="no such setting"):
            check({"model": {key: True}})


@pytest.mark.parametrize(("name", "length"), DIGESTS.items())
def test_digests_are_hexadecimal(name, length):
    for good in (None, {"train-images-idx3-ubyte": "0a" * (length // 2)}):
        check(nested(name, good))
    for bad in (
        "0a" * (length // 2),
        {"file": "0" * (length - 1)},
        {"file": "G" * length},
        {"f": 0},
    ):
        with pytest.raises(Refused, match=rf"^{name}: .*{length} hexadecimal digits"):
            check(nested(name, bad))


def test_choices_are_names():
    check({"choices": {"model": "mlp", "experiment": None}})
    with pytest.raises(Refused, match=r"^choices\.model=1: "):
        check({"choices": {"model": 1}})


def test_leaves_lose_nothing():
    sums = {"train-images-idx3-ubyte": "ab"}
    config = {"a": {"b": {"c": 1}, "d": [1, {"e": 2}]}, "f": None, "g": {}, "data": {"md5": sums}}
    expected = {"a.b.c": 1, "a.d": [1, {"e": 2}], "f": None, "g": {}, "data.md5": sums}
    assert leaves(config) == expected
