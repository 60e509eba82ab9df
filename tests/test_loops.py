"""The two textbook classes in anybody's script, and the fast loop against Lightning's own."""

import csv
import shutil
import warnings
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import yaml
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping
from lightning.pytorch.loggers import CSVLogger
from processes import last_of_each, run_cold
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from mnist_lab.compare import compare_command
from mnist_lab.evaluate import evaluate_command
from mnist_lab.models.mlp import MLP
from mnist_lab.resume import resume_command
from mnist_lab.run.checkpoints import read_checkpoint
from mnist_lab.run.config import read_config
from mnist_lab.run.directory import Run, read_epochs, read_metrics
from mnist_lab.run.fit import resolved, train
from mnist_lab.run.resume import go_on
from mnist_lab.settings.build import build
from mnist_lab.settings.compose import checked, compose
from mnist_lab.settings.schema import SCHEMA

QUIET = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


@pytest.fixture(autouse=True)
def lightnings_hints():
    """It advises workers for any DataLoader, a logging interval, and to validate."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
        warnings.filterwarnings("ignore", message=".*Skipping val loop.*")
        yield


@pytest.fixture
def data(tiny):
    """300 images to train, 100 for validation, 100 to test; batches of 32."""
    node = checked(compose([text for text in tiny if text.startswith("data")]))["data"]
    return build(node, seed=0)


def mlp(**settings):
    torch.manual_seed(0)
    return MLP(**{"width": 8, "depth": 1, "dropout": 0.0, "init": "torch", **settings})


class Watch(Callback):
    """What a user's callback sees of the steps."""

    def __init__(self):
        self.steps = 0
        self.batches = []

    def on_before_optimizer_step(self, *_):
        self.steps += 1

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):  # noqa: ARG002
        self.batches.append((trainer.current_epoch, batch_idx, batch[1].clone()))


# In anybody's script ------------------------------------------------------------------------------


def test_fit_validate_test_and_predict(data):
    model, watch = mlp(), Watch()
    trainer = Trainer(max_epochs=3, callbacks=[watch], **QUIET)
    trainer.fit(model, datamodule=data)
    assert watch.steps == trainer.global_step == len(watch.batches) == 3 * 10  # 9 of 32, one of 12
    assert [len(labels) for _, _, labels in watch.batches[:10]] == [32] * 9 + [12]
    assert 0.1 < trainer.callback_metrics["train/acc"] < 1
    model.eval()
    for split, found in (
        ("val", trainer.validate(model, datamodule=data, verbose=False)),
        ("test", trainer.test(model, datamodule=data, verbose=False)),
    ):
        images, labels = data.splits[split]
        with torch.no_grad():
            logits = model(images / 255)
        (metrics,) = found
        assert metrics == {
            f"{split}/loss": pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-6),
            f"{split}/acc": pytest.approx((logits.argmax(1) == labels).float().mean().item()),
        }
    answers = torch.cat(trainer.predict(model, datamodule=data))
    with torch.no_grad():
        assert torch.allclose(answers, model(data.splits["test"][0] / 255), atol=1e-6)


def test_a_module_of_ones_own_trains_on_the_data(data):
    class Own(LightningModule):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))

        def training_step(self, batch, _):
            images, labels = batch
            loss = F.cross_entropy(self.net(images), labels)
            self.log("loss", loss, prog_bar=True)
            return loss

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    trainer = Trainer(max_epochs=2, **QUIET)
    trainer.fit(Own(), datamodule=data)
    assert trainer.global_step == 20
    assert trainer.callback_metrics["loss"] < 2.0


def test_the_network_trains_on_a_loader_of_ones_own():
    images, labels = torch.rand(64, 1, 28, 28), torch.arange(64) % 10
    loader = DataLoader(TensorDataset(images, labels), batch_size=16, shuffle=True)
    trainer = Trainer(max_epochs=2, **QUIET)
    trainer.fit(mlp(), loader)
    assert trainer.global_step == 8
    assert trainer.callback_metrics["train/loss"].isfinite()


def test_early_stopping(data):
    stop = EarlyStopping("val/loss", patience=1, min_delta=100.0)
    trainer = Trainer(max_epochs=9, callbacks=[stop], **QUIET)
    trainer.fit(mlp(), datamodule=data)
    assert trainer.current_epoch == 2


def test_clipping_with_accumulation_equals_a_slow_loop(data):
    model, other = mlp(), mlp()
    settings = {"gradient_clip_val": 0.5, "accumulate_grad_batches": 4}
    trainer = Trainer(max_epochs=2, **settings, **QUIET)
    trainer.fit(model, datamodule=data)
    assert trainer.global_step == 2 * 3  # of 4, 4 and 2 batches
    optimizer = torch.optim.Adam(other.parameters(), lr=1e-3)
    losses = []
    loader = data.train_dataloader()
    for _ in range(2):
        batches = list(loader)
        for start in range(0, len(batches), 4):
            optimizer.zero_grad()
            for images, labels in batches[start : start + 4]:
                loss = F.cross_entropy(other(images), labels)
                (loss / 4).backward()
                losses.append(loss.item() * len(labels))
            nn.utils.clip_grad_norm_(other.parameters(), 0.5)
            optimizer.step()
    for name, weight in other.state_dict().items():
        assert torch.allclose(model.state_dict()[name], weight, atol=1e-6), name
    shown = trainer.callback_metrics["train/loss"].item()
    assert shown == pytest.approx(sum(losses[10:]) / 300, rel=1e-5)


def test_real_batches_are_counted(data):
    watch = Watch()
    Trainer(fast_dev_run=True, callbacks=[watch], **QUIET).fit(mlp(), datamodule=data)
    assert watch.steps == 1
    watch = Watch()
    Trainer(max_epochs=2, limit_train_batches=5, callbacks=[watch], **QUIET).fit(mlp(), data)
    assert watch.steps == 10
    assert not torch.equal(watch.batches[0][2], watch.batches[5][2])  # the epochs differ
    watch = Watch()
    Trainer(max_epochs=3, overfit_batches=1, callbacks=[watch], **QUIET).fit(mlp(), datamodule=data)
    assert [epoch for epoch, _, _ in watch.batches] == [0, 1, 2]
    assert torch.equal(watch.batches[0][2], watch.batches[2][2])


def test_profiler_and_csv_logger(data, tmp_path, caplog):
    settings = {**QUIET, "logger": CSVLogger(tmp_path)}
    with caplog.at_level("INFO", logger="lightning.pytorch"):
        trainer = Trainer(max_epochs=2, profiler="simple", **settings)
        trainer.fit(mlp(), datamodule=data)
    assert "run_training_batch" in trainer.profiler.summary()
    (file,) = tmp_path.rglob("metrics.csv")
    with file.open() as lines:
        rows = list(csv.DictReader(lines))
    for name in ("train/loss", "train/acc", "val/loss", "val/acc"):
        assert len([row[name] for row in rows if row[name]]) == 2, name


COMPILED = """
import sys
import torch
from lightning.pytorch import Trainer
from mnist_lab.settings.build import build
from mnist_lab.settings.compose import checked, compose
from mnist_lab.models.mlp import MLP
data = build(checked(compose(sys.argv[1:]))["data"], seed=0)
weights = []
for compiled in (False, True):
    torch.manual_seed(0)
    model = MLP(width=8, depth=1, dropout=0.0, init="torch")
    trainer = Trainer(accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False)
    trainer.fit(torch.compile(model) if compiled else model, datamodule=data)
    assert trainer.global_step == 10
    weights.append(model.layers[1].weight.detach())
print((weights[0] - weights[1]).abs().max().item())
"""


@pytest.mark.slow
def test_torch_compile(tiny):
    """In a process of its own: the checks of shapes in these tests are no code for its compiler."""
    overrides = [text for text in tiny if text.startswith("data")]
    ended = run_cold("-W", "ignore", "-c", COMPILED, *overrides, cwd=Path.cwd())
    assert ended.code == 0, ended.stderr
    assert float(ended.stdout.splitlines()[-1]) < 1e-4


# The fast loop against Lightning's ----------------------------------------------------------------

RECIPES = (
    "mlp_512",
    "mlp_512x2_dropout",
    "mlp_800_dropout_sgd",
    "mlp_100",
    "mlp_25x2",
    "cnn_12_20",
)


def run_of(path, data_dir, *overrides):
    """A run of two epochs on 400 images."""
    base = ["data=idx_folder", f"data.root={data_dir}", "trainer=cpu", "threads=1"]
    every = last_of_each(*base, "trainer.max_epochs=2", *overrides)
    config = resolved(checked(compose(every)))
    run = Run.claim(path)
    try:
        train(config, run, quiet=True)
    finally:
        run.release()
    return path


def assert_equal(a, b, where="checkpoint"):
    assert type(a) is type(b), where
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_equal(a[key], b[key], f"{where}/{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for number, (one, other) in enumerate(zip(a, b, strict=True)):
            assert_equal(one, other, f"{where}/{number}")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    else:
        assert a == b, where


def rows_of(path):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in read_epochs(path)]


def assert_same_run(fast, plain):
    """Weights, counters, optimizer and schedule; every epoch's metrics, and the last ones."""
    for name in ("last.ckpt", "previous.ckpt"):
        first, second = (read_checkpoint(path / "checkpoints" / name) for path in (fast, plain))
        assert_equal(first, second, name)
    assert rows_of(fast) == rows_of(plain)
    kept = [
        {k: v for k, v in read_metrics(path).items() if k != "seconds"} for path in (fast, plain)
    ]
    assert kept[0] == kept[1]


@pytest.mark.parametrize(
    "overrides",
    [
        *([f"experiment={name}", "data.batch_size=128"] for name in RECIPES),
        ["experiment=fast_994", "data.batch_size=64", "data.val_fraction=0.25"],
        ["model=mlp", "model.width=16", "model.dropout=0.5", "data.max_shift=2", "schedule=cosine"],
    ],
    ids=lambda overrides: overrides[0],
)
def test_both_loops_give_the_same_run_to_the_bit(overrides, tmp_path, data_dir):
    fast = run_of(tmp_path / "fast", data_dir, *overrides)
    plain = run_of(tmp_path / "plain", data_dir, *overrides, "trainer.profiler=simple")
    assert_same_run(fast, plain)
    said = "trainer.profiler: the fast loop has none of it"
    assert said not in (fast / "train.log").read_text()
    log = (plain / "train.log").read_text()
    assert log.count(said) == 1
    assert "run_training_batch" in log  # the profiler's table


@pytest.mark.parametrize("first", ["fast", "plain"])
def test_what_one_loop_began_the_other_goes_on_with(first, tmp_path, data_dir):
    overrides = ["model.width=8", "model.dropout=0.2", "optimizer=momentum", "data.max_shift=1"]
    plain = ["trainer.profiler=simple"]
    whole = run_of(tmp_path / "whole", data_dir, *overrides, "trainer.max_epochs=4")
    parts = [[], plain] if first == "fast" else [plain, []]
    path = run_of(tmp_path / "parts", data_dir, *overrides, *parts[0])
    config = read_config(path)
    config["trainer"] |= {"max_epochs": 4, "profiler": "simple" if parts[1] else None}
    run = Run.hold(path)
    go_on(run, config, quiet=True)
    run.release()
    assert_same_run(path, whole)


def test_a_stored_run_of_manual_optimization_goes_on_to_the_bit(tmp_path, data_dir):
    """One that was stopped after two of four epochs by the lab as it was in November 2026."""
    stored = tmp_path / "stored"
    shutil.copytree("tests/stored/one_cycle", stored)
    file = stored / "config.yaml"
    file.write_text(file.read_text().replace("root: DATA", f"root: {data_dir}"))
    config = read_config(stored)
    run = Run.hold(stored)
    go_on(run, config, quiet=True)
    run.release()
    assert yaml.safe_load(file.read_text())["schema"] == SCHEMA
    whole = Run.claim(tmp_path / "whole")
    train(resolved(config), whole, quiet=True)
    whole.release()
    assert_same_run(stored, whole.path)


def test_a_network_that_logs_in_its_step_goes_the_plain_way(tmp_path, data_dir, monkeypatch):
    def training_step(self, batch, batch_idx):
        outputs = super(MLP, self).training_step(batch, batch_idx)
        self.log("train/norm", self.layers[1].weight.norm(), on_step=False, on_epoch=True)
        return outputs

    monkeypatch.setattr(MLP, "training_step", training_step, raising=False)
    path = run_of(tmp_path / "run", data_dir, "model.width=8")
    assert "MLP.training_step: the fast loop has none of it" in (path / "train.log").read_text()
    assert all(row["train/norm"] > 0 for row in read_epochs(path))


def test_a_figure_of_some_epochs_is_theirs_alone(tmp_path, data_dir, monkeypatch):
    """It comes late, in a column of its own, and is not repeated where there is none."""

    def log_in_even_epochs(self):
        if self.current_epoch % 2:
            self.log("train/norm", 1.0 + self.current_epoch)

    monkeypatch.setattr(MLP, "on_train_epoch_end", log_in_even_epochs, raising=False)
    late = ["model.width=8", "trainer.check_val_every_n_epoch=3", "trainer.max_epochs=6"]
    whole = run_of(tmp_path / "runs" / "whole", data_dir, *late)
    path = run_of(tmp_path / "runs" / "parts", data_dir, *late[:2], "trainer.max_epochs=3")
    resume_command([str(path), "trainer.max_epochs=6"])
    assert rows_of(path) == rows_of(whole)
    rows = read_epochs(path)
    assert [row.get("train/norm") for row in rows] == [None, 2, None, 4, None, 6]
    assert ["val/acc" in row for row in rows] == [False, False, True] * 2
    assert all({"train/acc", "lr", "seconds"} <= row.keys() for row in rows)
    evaluate_command([str(path)])
    compare_command([str(tmp_path / "runs"), "--metric", "train/norm:max"])
    for picture in (path / "curves.png", tmp_path / "runs/comparison/learning_curves.png"):
        assert picture.stat().st_size > 10_000


# Settings of the Trainer in a run -----------------------------------------------------------------


@pytest.mark.parametrize(
    "overrides",
    [
        ["trainer.gradient_clip_val=0.5", "trainer.accumulate_grad_batches=3"],
        ["trainer.limit_train_batches=5", "trainer.limit_val_batches=1"],
        ["trainer.overfit_batches=2"],
        ["trainer.check_val_every_n_epoch=2"],
        ["trainer.precision=64-true"],
        ["trainer.detect_anomaly=true", "trainer.profiler=advanced"],
        ["trainer.limit_val_batches=0"],
    ],
    ids=lambda overrides: overrides[0],
)
def test_a_run_with_it_resumes_to_the_bit(overrides, tmp_path, data_dir):
    base = ["model.width=8", "model.dropout=0.3", "data.batch_size=32", "data.val_fraction=0.25"]
    whole = run_of(tmp_path / "whole", data_dir, *base, *overrides, "trainer.max_epochs=4")
    path = run_of(tmp_path / "parts", data_dir, *base, *overrides)
    assert (
        read_config(path)["trainer"].items()
        >= {
            key.removeprefix("trainer."): yaml.safe_load(value)
            for key, _, value in (text.partition("=") for text in overrides)
        }.items()
    )
    config = read_config(path)
    config["trainer"]["max_epochs"] = 4
    run = Run.hold(path)
    go_on(run, config, quiet=True)
    run.release()
    assert_same_run(path, whole)


def test_limits_hold_in_a_run(tmp_path, data_dir):
    base = ["model.width=8", "data.batch_size=32", "data.val_fraction=0.25"]
    path = run_of(tmp_path / "limit", data_dir, *base, "trainer.limit_train_batches=5")
    assert [row["step"] for row in read_epochs(path)] == [5, 10]
    path = run_of(tmp_path / "dev", data_dir, *base, "trainer.fast_dev_run=true")
    assert [row["step"] for row in read_epochs(path)] == [1]
    path = run_of(tmp_path / "every", data_dir, *base, "trainer.check_val_every_n_epoch=2")
    epochs, metrics = read_epochs(path), read_metrics(path)
    assert "val/acc" not in epochs[0]
    assert metrics["val/acc"] == pytest.approx(epochs[1]["val/acc"], abs=1e-6)
    assert metrics["best_epoch"] == 2
    odd = run_of(
        tmp_path / "odd",
        data_dir,
        *base,
        "trainer.check_val_every_n_epoch=2",
        "trainer.max_epochs=3",
    )
    weights = read_checkpoint(odd / "checkpoints" / "last.ckpt")["state_dict"]
    model = MLP(width=8, depth=1, dropout=0.0, init="torch")
    model.load_state_dict(weights)
    data = build(read_config(odd)["data"], seed=0)
    images, labels = data.splits["val"]
    with torch.no_grad():
        acc = (model.eval()(images / 255).argmax(1) == labels).double().mean().item()
    assert read_metrics(odd)["val/acc"] == pytest.approx(acc, abs=1e-6)  # of the last weights
    assert read_metrics(odd)["best_epoch"] == 2
