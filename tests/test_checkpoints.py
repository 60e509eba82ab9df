"""Checkpoints that were cut or altered: noticed, and replaced by the one before."""

import copy
import json
import random
import re
import shutil

import pytest
import torch

from mnist_lab.run.checkpoints import (
    SEAL_BYTES,
    AtomicCheckpointIO,
    Damaged,
    read_checkpoint,
    refuse_unfit,
)
from mnist_lab.run.config import read_config
from mnist_lab.run.directory import Run, read_epochs, read_metrics, read_status
from mnist_lab.run.resume import go_on
from mnist_lab.ui.errors import Refused

RESUME = "mnist_lab.resume"
ASKING = ("mnist_lab.evaluate", "mnist_lab.predict", "mnist_lab.export")


@pytest.fixture(scope="module")
def whole(train_run, tmp_path_factory):
    """A run of three epochs that was left alone."""
    changes = ("model.dropout=0.5", "trainer.max_epochs=3")
    return train_run(tmp_path_factory.mktemp("whole"), *changes)


@pytest.fixture
def crashed(whole, tmp_path):
    """Its copy, killed while it was tested."""
    path = shutil.copytree(whole, tmp_path / "run")
    (path / "metrics.json").unlink()
    status = {**read_status(path), "state": "running"}
    (path / "status.json").write_text(json.dumps(status))
    return path


def alter(path, rng):
    """Change one byte."""
    raw = bytearray(path.read_bytes())
    raw[rng.randrange(len(raw))] ^= rng.randrange(1, 256)
    path.write_bytes(raw)


def weights(path):
    return read_checkpoint(path / "checkpoints" / "last.ckpt")["state_dict"]


def same(first, second):
    return first.keys() == second.keys() and all(map(torch.equal, first.values(), second.values()))


def damages(raw):
    yield b""
    yield raw[: len(raw) // 2]
    yield raw[:-1]
    yield raw + b"\0"
    yield b"sha256:" + b"0" * 64
    yield bytes(len(raw))


def test_the_former_checkpoint_is_kept_and_both_load(whole):
    folder = whole / "checkpoints"
    epochs = {path.name: read_checkpoint(path)["epoch"] for path in folder.iterdir()}
    assert epochs.items() >= {"last.ckpt": 2, "previous.ckpt": 1}.items()
    assert torch.load(folder / "last.ckpt", weights_only=True)["epoch"] == 2  # torch's own format
    assert not [*folder.glob(".*")]


def test_any_altered_byte_is_noticed(whole, tmp_path):
    rng = random.Random(4)
    path = tmp_path / "last.ckpt"
    raw = (whole / "checkpoints" / "last.ckpt").read_bytes()
    path.write_bytes(raw)
    assert same(read_checkpoint(path)["state_dict"], weights(whole))
    for place in [*rng.sample(range(len(raw)), 50), *range(len(raw) - SEAL_BYTES - 2, len(raw))]:
        altered = bytearray(raw)
        altered[place] ^= rng.randrange(1, 256)
        path.write_bytes(altered)
        with pytest.raises(Damaged, match=r"last\.ckpt: .*damaged"):
            read_checkpoint(path)
    for damaged in damages(raw):
        path.write_bytes(damaged)
        with pytest.raises(Damaged):
            read_checkpoint(path)


def test_a_checkpoint_without_a_sum_is_checked_by_its_records(tmp_path):
    path = tmp_path / "foreign.ckpt"
    torch.save({"state_dict": {"weight": torch.zeros(1000)}}, path)
    assert read_checkpoint(path)["state_dict"]["weight"].shape == (1000,)
    raw = bytearray(path.read_bytes())
    raw[raw.index(bytes(4000)) + 2000] = 1
    path.write_bytes(raw)
    assert torch.load(path, weights_only=True)["state_dict"]["weight"].any(), "torch sees it now"
    with pytest.raises(Damaged, match=r"data/0. in it is not what"):
        read_checkpoint(path)


@pytest.mark.parametrize("damage", ["altered", "missing"])
def test_resume_falls_back_to_the_former_one_and_says_so(damage, crashed, whole, verbs, tmp_path):
    last, previous = (crashed / "checkpoints" / f"{name}.ckpt" for name in ("last", "previous"))
    rows = (crashed / "metrics.csv").read_text()
    if damage == "altered":
        alter(last, random.Random(1))
    else:
        last.unlink()
    ended = verbs.run(RESUME, str(crashed), cwd=tmp_path)
    assert ended.code == 0, ended.stderr
    _, warning = ended.stdout.replace("\n", " ").split("WARNING ")
    for named in (last, previous):
        assert str(named) in warning
        assert str(named) in (crashed / "train.log").read_text().replace("\n", "")
    assert "going on after epoch 2 of 3" in ended.stdout
    assert same(weights(crashed), weights(whole))
    strip = [{k: v for k, v in row.items() if k != "seconds"} for row in read_epochs(crashed)]
    assert strip == [{k: v for k, v in row.items() if k != "seconds"} for row in read_epochs(whole)]
    assert rows.splitlines()[:3] == (crashed / "metrics.csv").read_text().splitlines()[:3]
    assert read_metrics(crashed)["test/loss"] == read_metrics(whole)["test/loss"]
    assert read_checkpoint(previous)["epoch"] == 1, "the good one, not the damaged one"


def test_no_good_checkpoint_is_refused_and_a_whole_one_needs_none_before(crashed, verbs, tmp_path):
    last, previous = (crashed / "checkpoints" / f"{name}.ckpt" for name in ("last", "previous"))
    raw = previous.read_bytes()
    status = (crashed / "status.json").read_bytes()
    previous.write_bytes(raw[:-100])
    good = last.read_bytes()
    last.write_bytes(good[:-100])
    ended = verbs.run(RESUME, str(crashed), cwd=tmp_path)
    assert (ended.code, ended.stdout) == (2, "")
    first, second = ended.stderr.splitlines()
    assert first.startswith(f"{last}: ")
    assert second.startswith(f"{previous}: ")
    assert (crashed / "status.json").read_bytes() == status
    last.write_bytes(good)
    ended = verbs.run(RESUME, str(crashed), cwd=tmp_path)
    assert (ended.code, "WARNING" in ended.stdout) == (0, False), ended.stderr


def test_who_only_asks_is_told_and_never_given_another_epochs_answers(whole, verbs, tmp_path):
    path = shutil.copytree(whole, tmp_path / "run")
    alter(path / "checkpoints" / "last.ckpt", random.Random(2))
    before = {*path.rglob("*")}
    for verb in ASKING:
        extra = ["--index", "0"] if verb.endswith("predict") else []
        ended = verbs.run(verb, str(path), *extra, cwd=tmp_path)
        assert (ended.code, ended.stdout) == (2, ""), ended
        assert ended.stderr.startswith(f"{path}/checkpoints/last.ckpt: ")
        assert "damaged" in ended.stderr
        assert len(ended.stderr.splitlines()) == 1
    assert {*path.rglob("*")} - before <= {path / "evaluation"}


def test_a_checkpoint_that_no_one_could_read_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr("mnist_lab.run.checkpoints.MAX_BYTES", 10_000)
    path = tmp_path / "checkpoints" / "last.ckpt"
    small, large = ({"state_dict": {"weight": torch.zeros(n)}} for n in (1_000, 10_000))
    AtomicCheckpointIO().save_checkpoint(small, path)
    assert read_checkpoint(path)
    with pytest.raises(Exception, match="could not be read"):
        AtomicCheckpointIO().save_checkpoint(large, path)
    torch.save(large, path)
    with pytest.raises(Refused, match=r"bytes, more than the 10,000 allowed"):
        read_checkpoint(path)


@pytest.mark.parametrize("damage", ["missing", "altered", "of another epoch"])
def test_without_the_best_epochs_weights_a_run_ends_well_and_says_so(
    damage, train_run, verbs, tmp_path
):
    changes = ("model.dropout=0.2", "optimizer.lr=0.03", "trainer.max_epochs=8", "seed=3")
    path = train_run(tmp_path, *changes)
    expected = read_metrics(path)
    assert expected["best_epoch"] < 8
    (path / "metrics.json").unlink()
    status = {**read_status(path), "state": "running"}  # as if killed while it was tested
    (path / "status.json").write_text(json.dumps(status))
    best = path / "checkpoints" / "best.ckpt"
    if damage == "missing":
        best.unlink()
    elif damage == "altered":
        alter(best, random.Random(1))
    else:
        shutil.copy(path / "checkpoints" / "last.ckpt", best)
    ended = verbs.run(RESUME, str(path), cwd=tmp_path)
    assert (ended.code, read_status(path)["state"]) == (0, "finished"), ended
    (warning,) = re.findall(r"WARNING (.*?)test/acc_best is left out\.", ended.stdout, re.DOTALL)
    assert str(best) in warning.replace("\n", "")
    metrics = read_metrics(path)
    assert metrics == {k: v for k, v in expected.items() if k != "test/acc_best"}


# Optimizers with groups of their own --------------------------------------------------------------


def no_decay_on_biases(params, *, lr, betas, eps, weight_decay):
    """AdamW; the biases come first, so that no weight has the place that it has in the network."""
    params = list(params)
    groups = [
        {"params": [weight for weight in params if weight.ndim == 1], "weight_decay": 0.0},
        {"params": [weight for weight in params if weight.ndim > 1]},
    ]
    return torch.optim.AdamW(groups, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)


def factored(params, *, lr, **_):
    """Its moments of a matrix are a row and a column."""
    return torch.optim.Adafactor(params, lr=lr)


@pytest.mark.parametrize("optimizer", [no_decay_on_biases, factored])
def test_optimizers_with_groups_and_states_of_their_own_resume_to_the_bit(
    optimizer, train_run, tmp_path
):
    target = f"{__name__}.{optimizer.__name__}"
    own = ["optimizer=adamw", f"optimizer._target_={target}", "optimizer.weight_decay=0.5"]
    left_alone = train_run(tmp_path / "whole", *own, "trainer.max_epochs=4")
    path = train_run(tmp_path / "parts", *own)
    stored = read_checkpoint(path / "checkpoints" / "last.ckpt")
    config = read_config(path)
    config["trainer"]["max_epochs"] = 4
    run = Run.hold(path)
    go_on(run, config, quiet=True)
    run.release()
    first, second = (read_checkpoint(p / "checkpoints" / "last.ckpt") for p in (left_alone, path))
    assert same(first["state_dict"], second["state_dict"])

    (states,) = stored["optimizer_states"]
    refuse_unfit(config, stored)
    for damage in (
        lambda states: states["param_groups"].append(
            states["param_groups"].pop(0) | {"params": []}
        ),
        lambda states: states["param_groups"][0]["params"].pop(),
        lambda states: states["state"].update({0: states["state"][3], 3: states["state"][0]}),
    ):
        damaged = copy.deepcopy(states)
        damage(damaged)
        with pytest.raises(Refused, match="optimizer_states do not fit the network and optimizer"):
            refuse_unfit(config, {**stored, "optimizer_states": [damaged]})
