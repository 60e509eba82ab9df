"""One run: its directory, its metrics recomputed from the checkpoint, its weights retrained."""

import csv
import json
import math
import re
import resource
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from conftest import NUM_TEST, NUM_TRAIN, validation_rows
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from mnist_lab.data.datamodule import EVAL_BATCH_SIZE, scale
from mnist_lab.data.seeding import epoch_seed
from mnist_lab.models.dropout import Dropout
from mnist_lab.models.layers import FlattenPixels
from mnist_lab.models.mlp import MLP
from mnist_lab.optim.optimizers import RMSprop
from mnist_lab.run.checkpoints import read_checkpoint
from mnist_lab.run.config import read_config
from mnist_lab.run.directory import read_epochs, read_metrics, read_state, read_status
from mnist_lab.run.predictions import read_predictions
from mnist_lab.run.tensorboard import tag_of
from mnist_lab.settings.build import build
from mnist_lab.settings.schema import SCHEMA
from mnist_lab.ui.errors import Failed


@pytest.fixture(scope="module")
def run_dir(train_run, tmp_path_factory):
    """A finished run whose validation is best before the last epoch."""
    overrides = ["model.dropout=0.2", "optimizer.lr=0.03", "trainer.max_epochs=8", "seed=3"]
    return train_run(tmp_path_factory.mktemp("runs"), *overrides)


def splits(data_dir, *, num_val):
    """The images and labels, read without the lab: floats in 0..1."""

    def read(prefix):
        images = np.fromfile(data_dir / f"{prefix}-images-idx3-ubyte", np.uint8, offset=16)
        labels = np.fromfile(data_dir / f"{prefix}-labels-idx1-ubyte", np.uint8, offset=8)
        pixels = torch.from_numpy(images.reshape(-1, 1, 28, 28)).float() / 255
        return pixels, torch.from_numpy(labels).long()

    images, labels = read("train")
    val = torch.tensor(validation_rows(labels, num_val=num_val), dtype=torch.long)
    train = torch.tensor([row for row in range(len(images)) if row not in {*val.tolist()}])
    rows = {"train": train, "val": val}
    return {**{k: (images[v], labels[v]) for k, v in rows.items()}, "test": read("t10k")}


def mlp(width, depth, dropout):
    layers = [nn.Flatten()]
    for num_inputs in [784] + [width] * (depth - 1):
        layers += [nn.Linear(num_inputs, width), nn.ReLU(), Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def cnn(dropout):
    convolutions = [nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 3, 3), nn.ReLU()]
    dense = [nn.Linear(3 * 24 * 24, 8), nn.ReLU(), Dropout(dropout), nn.Linear(8, 10)]
    network = nn.Sequential(*convolutions, FlattenPixels(), *dense)
    return network.to(memory_format=torch.channels_last)


def metrics_of(network, split):
    """Loss and accuracy in double precision, dropout off."""
    images, labels = split
    network = network.double().eval()
    with torch.no_grad():
        logits = network(images.double())
    loss = F.cross_entropy(logits, labels).item()
    return loss, (logits.argmax(1) == labels).double().mean().item()


def stored_network(path, network):
    """A plain torch network with the weights of a checkpoint."""
    weights = torch.load(path, weights_only=True)["state_dict"]
    network.load_state_dict({key.removeprefix("layers."): w for key, w in weights.items()})
    return network


# Contract ---------------------------------------------------------------------------------------


def test_the_directory_is_as_the_contract_says(run_dir):
    names = {path.name for path in run_dir.iterdir()}
    assert names >= {
        *("config.yaml", "status.json", "metrics.json", "metrics.csv"),
        *("checkpoints", "train.log", "predictions.npz"),
    }
    names = {path.name for path in (run_dir / "checkpoints").iterdir()}
    assert names == {"best.ckpt", "last.ckpt", "previous.ckpt"}
    assert [*run_dir.glob("events.out.tfevents.*")]  # its folder's name is the run's in TensorBoard
    assert not [*run_dir.rglob("*.tmp")]
    status = read_status(run_dir)
    assert (status["state"], status["epoch"]) == ("finished", 8)
    assert isinstance(status["pid"], int)
    assert read_state(run_dir) == "finished"


def test_the_configuration_is_resolved_plain_and_readable(run_dir, data_dir):
    text = (run_dir / "config.yaml").read_text()
    config = yaml.safe_load(text)
    assert "${" not in text
    assert config.pop("schema") == SCHEMA
    assert config == read_config(run_dir)
    assert config["data"]["root"] == str(data_dir)
    assert config["trainer"]["accelerator"] == "cpu"
    assert config["threads"] == 1
    assert config["choices"]["model"] == "mlp"


def test_metrics_csv_has_a_row_an_epoch(run_dir):
    with (run_dir / "metrics.csv").open() as file:
        rows = [*csv.DictReader(file)]
    names = {"train/loss", "train/acc", "val/loss", "val/acc"}
    assert set(rows[0]) >= {"epoch", "step", "lr", "seconds", *names}
    assert [int(row["epoch"]) for row in rows] == list(range(1, 9))
    assert [int(row["step"]) for row in rows] == [10 * epoch for epoch in range(1, 9)]
    assert {float(row["lr"]) for row in rows} == {0.03}
    assert all(0 <= float(row["val/acc"]) <= 1 and float(row["seconds"]) >= 0 for row in rows)


def test_metrics_json_is_flat_and_complete(run_dir):
    metrics = json.loads((run_dir / "metrics.json").read_text())
    assert metrics.pop("data_warnings") == []
    assert all(value is None or isinstance(value, (int, float, str)) for value in metrics.values())
    losses = {f"{split}/loss" for split in ("train", "val", "test")}
    accs = {f"{split}/acc" for split in ("train", "val", "test")}
    assert metrics.keys() >= losses | accs | {"train/acc_eval", "test/acc_best", "gap"}
    assert metrics["num_params"] == 784 * 8 + 8 + 8 * 10 + 10
    assert metrics["seed"] == 3
    assert metrics["data"] == "idx_folder"
    assert metrics["torch_version"] == torch.__version__.partition("+")[0]
    assert metrics["python_version"] == ".".join(map(str, sys.version_info[:3]))
    assert 0 < metrics["seconds"] < 300


def test_predictions_are_those_of_the_last_checkpoint(run_dir):
    """Image by image, with the labels, the counts of metrics.json and the identity of the split."""
    metrics, config = read_metrics(run_dir), read_config(run_dir)
    data = build(config["data"], seed=config["seed"])
    model = MLP.load_from_checkpoint(run_dir / "checkpoints/last.ckpt").eval()
    for split in ("val", "test"):
        found = read_predictions(run_dir, split)
        images, labels = data.splits[split]
        with torch.no_grad():
            predicted = model(scale(images)).argmax(1)
        assert found.predicted.tolist() == predicted.tolist()
        assert found.labels.tolist() == labels.tolist()
        assert metrics[f"{split}/num_images"] == len(labels)
        assert metrics[f"{split}/num_correct"] == int((predicted == labels).sum())
        assert found.identity.startswith(f"{data.sha256} {split}")
    assert metrics["train/num_images"] == data.num_train
    assert metrics["train/num_correct"] / data.num_train == pytest.approx(
        metrics["train/acc_eval"], abs=6e-7
    )
    assert read_predictions(run_dir, "val").identity.endswith(f" val {data.num_val} split_seed 0")
    assert read_predictions(run_dir / "checkpoints", "val") is None  # as in runs of before


def test_metrics_json_equals_what_the_checkpoints_give(run_dir, data_dir):
    """Recomputed by plain torch in double precision; files have six decimals."""
    metrics = read_metrics(run_dir)
    of = splits(data_dir, num_val=100)
    last = stored_network(run_dir / "checkpoints" / "last.ckpt", mlp(8, 1, 0.2))
    for split in ("val", "test"):
        loss, acc = metrics_of(last, of[split])
        assert metrics[f"{split}/loss"] == pytest.approx(loss, abs=2e-6)
        assert metrics[f"{split}/acc"] == pytest.approx(acc, abs=6e-7)
    loss, acc = metrics_of(last, of["train"])
    assert metrics["train/loss_eval"] == pytest.approx(loss, abs=2e-6)
    assert metrics["train/acc_eval"] == pytest.approx(acc, abs=6e-7)
    assert metrics["gap"] == pytest.approx(acc - metrics["test/acc"], abs=2e-6)
    assert metrics["train/acc"] != metrics["train/acc_eval"]  # dropout on, and while it changed


def test_best_is_the_first_of_the_best_epochs_and_last_is_the_last(run_dir, data_dir):
    accs = [row["val/acc"] for row in read_epochs(run_dir)]
    best_epoch = 1 + accs.index(max(accs))
    assert best_epoch < len(accs), "this run no longer tells best from last"
    metrics = read_metrics(run_dir)
    assert metrics["best_epoch"] == best_epoch
    assert metrics["val/acc_best"] == pytest.approx(max(accs), abs=1e-6)
    checkpoints = run_dir / "checkpoints"
    assert read_checkpoint(checkpoints / "best.ckpt")["epoch"] == best_epoch - 1
    assert read_checkpoint(checkpoints / "last.ckpt")["epoch"] == len(accs) - 1
    assert read_checkpoint(checkpoints / "last.ckpt")["global_step"] == 80
    best = stored_network(checkpoints / "best.ckpt", mlp(8, 1, 0.2))
    of = splits(data_dir, num_val=100)
    assert metrics["test/acc_best"] == pytest.approx(metrics_of(best, of["test"])[1], abs=6e-7)
    assert metrics["val/acc_best"] == pytest.approx(metrics_of(best, of["val"])[1], abs=6e-7)
    assert metrics["test/acc_best"] != metrics["test/acc"]


def test_of_equal_epochs_the_first_is_the_best(train_run, tmp_path):
    """Four validation images give few different accuracies."""
    overrides = ["model=linear", "data.val_fraction=0.01", "trainer.max_epochs=8"]
    path = train_run(tmp_path, *overrides)
    accs = [row["val/acc"] for row in read_epochs(path)]
    assert accs.count(max(accs)) > 1
    assert read_metrics(path)["best_epoch"] == 1 + accs.index(max(accs))
    best = read_checkpoint(path / "checkpoints" / "best.ckpt")
    assert best["epoch"] == accs.index(max(accs))


def test_tensorboard_has_the_metrics_of_the_files(run_dir):
    events = EventAccumulator(str(run_dir)).Reload()
    rows, metrics = read_epochs(run_dir), read_metrics(run_dir)
    for name in ("train/loss", "train/acc", "val/loss", "val/acc"):
        found = [(event.step, event.value) for event in events.Scalars(tag_of(name, run_dir))]
        assert found == [(row["epoch"], pytest.approx(row[name], rel=1e-6)) for row in rows]
    for name in ("test/loss", "test/acc"):
        (event,) = events.Scalars(tag_of(name, run_dir))
        assert event.value == pytest.approx(metrics[name], rel=1e-6)
    assert "hp_metric" not in events.Tags()["scalars"]
    (text,) = events.Tensors("data set/text_summary")
    assert text.tensor_proto.string_val == [b"idx_folder"]


def test_the_log_says_what_ran_and_what_came_out(run_dir):
    log = (run_dir / "train.log").read_text()
    for text in ("idx_folder: 300 train, 100 val, 100 test", "6,370 parameters", "seed 3", "6,280"):
        assert text in log
    metrics = read_metrics(run_dir)
    assert log.count("epoch 8/8") == 1
    assert f"test loss                             {metrics['test/loss']:.4f}" in log
    assert f"{100 * metrics['test/acc']:.2f} %" in log
    assert f"{100 * metrics['test/acc_best']:.2f} %  (epoch {metrics['best_epoch']})" in log
    for advertisement in ("💡", "litlogger", "GPU available", "LOCAL_RANK", "Trainer.fit"):
        assert advertisement not in log


# A slow plain loop ------------------------------------------------------------------------------


def glorot(network):
    for layer in network:
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    return network


KERAS = {"alpha": 0.9, "eps": 1e-7, "weight_decay": 0.0}
LOOPS = {
    "adam": (
        ["model.depth=2", "model.dropout=0.3", "model.init=glorot"],
        lambda: glorot(mlp(8, 2, 0.3)),
        lambda weights: torch.optim.Adam(weights, lr=0.001, fused=True),
        32,
    ),
    "many steps an epoch": (
        ["optimizer=rmsprop", "model.dropout=0.2", "data.batch_size=4"],
        lambda: mlp(8, 1, 0.2),
        lambda weights: RMSprop(weights, lr=0.001, **KERAS),
        4,
    ),
    "momentum": (
        ["model=linear", "optimizer=momentum", "data.batch_size=300"],
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 10)),
        lambda weights: torch.optim.SGD(weights, lr=0.01, momentum=0.9, fused=True),
        300,
    ),
    "convolutions": (
        ["model=cnn", "model.channels=[2,3]", "model.dropout=0.5", "optimizer=sgd"],
        lambda: cnn(0.5),
        lambda weights: torch.optim.SGD(weights, lr=0.01, fused=True),
        32,
    ),
}


def slow_loop(network, optimizer, split, *, seed, batch_size, max_epochs):
    """Plain torch; yields the epoch's mean loss and accuracy, each image counted once."""
    images, labels = split
    for epoch in range(max_epochs):
        network.train()
        generator = torch.Generator().manual_seed(epoch_seed(seed, epoch, "order"))
        order = torch.randperm(len(images), generator=generator)
        torch.manual_seed(epoch_seed(seed, epoch, "dropout"))
        total = right = 0.0
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            logits = network(images[rows])
            loss = F.cross_entropy(logits, labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows)
            right += (logits.argmax(1) == labels[rows]).sum().item()
        yield total / len(images), right / len(images)


@pytest.mark.parametrize("name", LOOPS)
def test_training_equals_a_slow_plain_loop_to_the_bit(name, train_run, tmp_path, data_dir):
    overrides, build_network, build_optimizer, batch_size = LOOPS[name]
    path = train_run(tmp_path, *overrides, "trainer.max_epochs=3", "seed=5")
    torch.manual_seed(epoch_seed(5, 0, "weights"))
    network = build_network()
    optimizer = build_optimizer(network.parameters())
    of = splits(data_dir, num_val=100)
    settings = {"seed": 5, "batch_size": batch_size, "max_epochs": 3}
    expected = [*slow_loop(network, optimizer, of["train"], **settings)]
    weights = read_checkpoint(path / "checkpoints" / "last.ckpt")["state_dict"]
    assert len(weights) == len(network.state_dict())
    for key, weight in network.state_dict().items():
        assert torch.equal(weights[f"layers.{key}"], weight), key
    for row, (loss, acc) in zip(read_epochs(path), expected, strict=True):
        assert row["train/loss"] == pytest.approx(loss, rel=1e-6)
        assert row["train/acc"] == pytest.approx(acc, rel=1e-6)


def test_the_loss_counts_each_image_once_also_in_a_smaller_last_batch(
    train_run, tmp_path, data_dir
):
    """A step so small that the weights stay: the epoch's mean is the loss of the first weights."""
    overrides = ["model=linear", "optimizer=sgd", "optimizer.lr=1e-12", "trainer.max_epochs=1"]
    path = train_run(tmp_path, *overrides, "data.batch_size=299")  # 299 images, then one
    torch.manual_seed(epoch_seed(0, 0, "weights"))
    network = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    of = splits(data_dir, num_val=100)
    loss, acc = metrics_of(network, of["train"])
    (row,) = read_epochs(path)
    assert row["train/loss"] == pytest.approx(loss, rel=1e-6)
    assert row["train/acc"] == pytest.approx(acc, rel=1e-6)
    generator = torch.Generator().manual_seed(epoch_seed(0, 0, "order"))
    order = torch.randperm(300, generator=generator)
    one = metrics_of(network, tuple(values[order[299:]] for values in of["train"]))[0]
    most = metrics_of(network, tuple(values[order[:299]] for values in of["train"]))[0]
    assert abs((one + most) / 2 - loss) > 1e-3  # a mean of batches would be told apart


def test_evaluation_counts_each_image_once_also_in_a_smaller_last_batch(
    train_run, tmp_path, idx_folder
):
    """More images than one evaluation batch takes, in both splits; the second batch is of few."""
    num_train = 8 * EVAL_BATCH_SIZE
    folder = idx_folder(tmp_path / "data", num_train=num_train, num_test=EVAL_BATCH_SIZE + 7)
    num_val = round(0.51 * num_train)
    assert 0 < num_val % EVAL_BATCH_SIZE < 50
    overrides = ["model=linear", f"data.root={folder}", "data.val_fraction=0.51", "seed=1"]
    path = train_run(tmp_path / "runs", *overrides, "data.batch_size=500", "trainer.max_epochs=1")
    network = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    last = stored_network(path / "checkpoints" / "last.ckpt", network)
    metrics, of = read_metrics(path), splits(folder, num_val=num_val)
    for split in ("val", "test"):
        loss, acc = metrics_of(last, of[split])
        assert metrics[f"{split}/loss"] == pytest.approx(loss, abs=2e-6)
        assert metrics[f"{split}/acc"] == pytest.approx(acc, abs=6e-7)


def test_without_validation_all_is_trained_on_and_nothing_is_best(train_run, tmp_path, data_dir):
    path = train_run(tmp_path, "model=linear", "data.val_fraction=0")
    assert not (path / "checkpoints" / "best.ckpt").exists()
    assert not [name for name in read_epochs(path)[0] if name.startswith("val/")]
    metrics = read_metrics(path)
    assert not [name for name in metrics if name.startswith("val/") or "best" in name]
    log = (path / "train.log").read_text()
    assert f"{NUM_TRAIN} train, 0 val, {NUM_TEST} test" in log
    assert "test accuracy, best validation epoch  -" in log
    network = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    last = stored_network(path / "checkpoints" / "last.ckpt", network)
    loss, _ = metrics_of(last, splits(data_dir, num_val=0)["train"])
    assert metrics["train/loss_eval"] == pytest.approx(loss, abs=2e-6)
    assert read_epochs(path)[-1]["step"] == 2 * math.ceil(NUM_TRAIN / 32)


def test_a_run_does_not_depend_on_what_ran_before_in_the_process(train_run, tmp_path, run_dir):
    train_run(tmp_path / "other", "model=linear", "optimizer=sgd", "seed=9")
    torch.manual_seed(123)
    overrides = ["model.dropout=0.2", "optimizer.lr=0.03", "trainer.max_epochs=8", "seed=3"]
    again = train_run(tmp_path / "again", *overrides)
    expected, found = (
        read_checkpoint(path / "checkpoints" / "last.ckpt") for path in (run_dir, again)
    )
    for key, weight in expected["state_dict"].items():
        assert torch.equal(weight, found["state_dict"][key])
    names = set(read_epochs(run_dir)[0]) - {"seconds"}
    for row, expected_row in zip(read_epochs(again), read_epochs(run_dir), strict=True):
        assert {name: row[name] for name in names} == {name: expected_row[name] for name in names}
    volatile = {"seconds", "git_commit"}
    kept = [
        {k: v for k, v in read_metrics(p).items() if k not in volatile} for p in (again, run_dir)
    ]
    assert kept[0] == kept[1]


def test_another_seed_is_another_run(train_run, tmp_path, run_dir):
    overrides = ["model.dropout=0.2", "optimizer.lr=0.02", "trainer.max_epochs=1", "seed=4"]
    row = read_epochs(train_run(tmp_path, *overrides))[0]
    assert row["train/loss"] != read_epochs(run_dir)[0]["train/loss"]


# Bad ends ---------------------------------------------------------------------------------------


def test_nan_ends_as_failed_with_finite_checkpoints(train_run, tmp_path):
    """Decay of three times the weights at each step doubles them until they overflow."""
    overrides = ["optimizer=sgd", "optimizer.lr=1", "optimizer.weight_decay=3", "model=linear"]
    with pytest.raises(Failed) as caught:
        train_run(tmp_path, *overrides, "trainer.max_epochs=100")
    assert caught.value.reason == "nan"
    (path,) = tmp_path.iterdir()
    status = read_status(path)
    assert (status["state"], status["reason"]) == ("failed", "nan")
    assert re.search(r"became (inf|nan)|not finite", status["message"])
    epochs = read_epochs(path)
    assert 2 <= len(epochs) == status["epoch"] < 100  # it went well for a while
    assert all(math.isfinite(value) for row in epochs for value in row.values())
    checkpoints = [*(path / "checkpoints").iterdir()]
    assert {file.name for file in checkpoints} == {"best.ckpt", "last.ckpt", "previous.ckpt"}
    for file in checkpoints:
        checkpoint = read_checkpoint(file)
        assert all(weight.isfinite().all() for weight in checkpoint["state_dict"].values())
    assert read_checkpoint(path / "checkpoints" / "last.ckpt")["epoch"] == len(epochs) - 1
    assert not (path / "metrics.json").exists()
    log = (path / "train.log").read_text()
    assert "Traceback" in log
    assert "Failed: " in log


def test_a_disk_that_takes_no_checkpoint_ends_as_failed(train_run, tmp_path):
    """A limit on the size of files stands in for a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        with pytest.raises(Failed) as caught:
            train_run(tmp_path, "model.width=128")  # a checkpoint of 1.2 MB
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.reason == "disk"
    (path,) = tmp_path.iterdir()
    assert read_status(path)["reason"] == "disk"
    assert read_status(path)["state"] == "failed"
    assert [*(path / "checkpoints").iterdir()] == []  # neither half a file nor a temporary one
