"""trainer.patience: a run ends once validation has not got better for so many epochs."""

import json
import shutil

import pytest
from lightning.pytorch import Trainer
from processes import last_of_each
from sweeps import weights

from mnist_lab.run.directory import read_epochs, read_metrics

TRAIN, RESUME = "mnist_lab.train", "mnist_lab.resume"
LONG = ("trainer.max_epochs=30", "optimizer.lr=0.02", "model.dropout=0.2", "data.batch_size=16")


def slow_end(losses, patience):
    """After how many epochs a run ends, by its losses, the obvious way."""
    for epoch in range(1, len(losses) + 1):
        if epoch - (losses.index(min(losses[:epoch])) + 1) >= patience:
            return epoch
    return len(losses)


@pytest.fixture(scope="module")
def whole(train_run, tmp_path_factory):
    return train_run(tmp_path_factory.mktemp("whole"), *LONG)


@pytest.fixture(scope="module")
def stopped(train_run, tmp_path_factory):
    return train_run(tmp_path_factory.mktemp("stopped"), *LONG, "trainer.patience=2")


def test_a_run_ends_where_its_losses_say_and_is_the_beginning_of_the_long_one(whole, stopped):
    losses = [row["val/loss"] for row in read_epochs(whole)]
    end = slow_end(losses, 2)
    assert 2 < end < 30
    assert [row["val/loss"] for row in read_epochs(stopped)] == losses[:end]
    metrics = read_metrics(stopped)
    assert (metrics["epochs"], metrics["max_epochs"]) == (end, 30)


def test_it_says_so_and_takes_the_fast_loop(stopped):
    log = (stopped / "train.log").read_text()
    assert f"{read_metrics(stopped)['epochs']} of 30" in log
    assert "Lightning's own" not in log


@pytest.mark.parametrize("lost", [0, 1])
def test_killed_before_its_end_it_ends_the_same(stopped, lost, verbs, tmp_path):
    """After its last epoch, and with that epoch's checkpoint damaged, too."""
    run = tmp_path / "run"
    shutil.copytree(stopped, run)
    (run / "metrics.json").unlink()
    status = json.loads((run / "status.json").read_text())
    (run / "status.json").write_text(json.dumps({**status, "state": "running"}))
    if lost:
        (run / "checkpoints/last.ckpt").write_bytes(b"cut off")
    done = verbs.run(RESUME, str(run), cwd=tmp_path)
    assert done.code == 0, done
    assert weights(run) == weights(stopped)
    kept = [{**row, "seconds": 0} for row in read_epochs(run)]
    assert kept == [{**row, "seconds": 0} for row in read_epochs(stopped)]
    done = verbs.run(RESUME, str(run), "trainer.max_epochs=40", cwd=tmp_path)
    assert (done.code, "trainer.patience=2 has ended it after" in done.stderr) == (2, True), done


def test_it_counts_validations_of_which_not_every_epoch_has_one(train_run, whole, tmp_path):
    rare = train_run(tmp_path, *LONG, "trainer.patience=2", "trainer.check_val_every_n_epoch=3")
    losses = [row["val/loss"] for row in read_epochs(whole)][2::3]
    end = slow_end(losses, 2)
    assert 2 < end < len(losses)
    epochs = read_epochs(rare)
    assert [row["val/loss"] for row in epochs if "val/loss" in row] == losses[:end]
    assert len(epochs) == end * 3


def test_tables_say_after_how_many_epochs(verbs, tiny, tmp_path):
    line = [*last_of_each(*tiny, *LONG), "trainer.patience=1,2", "seed=0,1"]
    done = verbs.run(TRAIN, "-m", *line, f"hydra.sweep.dir={tmp_path / 's'}", cwd=tmp_path)
    assert (done.code, " epochs  seconds" in done.stdout) == (0, True), done
    done = verbs.run("mnist_lab.compare", "s", "--format", "csv", cwd=tmp_path)
    header, *rows = (row.split(",") for row in done.stdout.splitlines())
    stored = [read_metrics(path.parent) for path in tmp_path.glob("s/*/metrics.json")]
    found = sorted(float(row[header.index("epochs")]) for row in rows)
    assert sum(found) * 2 == sum(metrics["epochs"] for metrics in stored)
    assert len(found) == 2


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["data.val_fraction=0"], "trainer.patience=3 and data.val_fraction=0: without valid"),
        (["trainer.limit_val_batches=0"], "trainer.patience=3 and trainer.limit_val_batches=0"),
        (["trainer.patience=0"], "trainer.patience=0: must be a whole number from 1"),
    ],
)
def test_patience_without_validation_is_refused(args, said, light_verbs, tmp_path):
    done = light_verbs.run(TRAIN, *last_of_each("trainer.patience=3", *args), cwd=tmp_path)
    assert (done.code, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_it_is_no_argument_of_the_trainer():
    with pytest.raises(TypeError, match="patience"):
        Trainer(patience=3)
