"""What earlier versions have stored: read as it was, or refused with a reason."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from PIL import Image, ImageDraw

from mnist_lab.compare import compare_command
from mnist_lab.demo import demo_command
from mnist_lab.evaluate import evaluate_command
from mnist_lab.evaluation.answers import log_probs
from mnist_lab.export import export_command
from mnist_lab.predict import predict_command
from mnist_lab.resume import resume_command
from mnist_lab.run.config import read_config
from mnist_lab.run.directory import read_metrics
from mnist_lab.run.stored import StoredRun
from mnist_lab.settings.overrides import parsed_overrides
from mnist_lab.settings.schema import RETIRED, SCHEMA
from mnist_lab.settings.table import SETTINGS
from mnist_lab.study.results import read_results
from mnist_lab.sweep.composer import Composer
from mnist_lab.sweep.plan import plan
from mnist_lab.sweep.record import Sweep
from mnist_lab.sweep.stored import planned_job
from mnist_lab.ui.errors import Refused

RESUME = "mnist_lab.resume"
STORED = Path(__file__).with_name("stored")
FORMER_5K = "f386f0e516db30df2eb9236a9582736c528aaa7cead280644fe3357100553511"  # SHA-256


@pytest.fixture(scope="module")
def trained(train_run, tmp_path_factory):
    return train_run(tmp_path_factory.mktemp("trained"))


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def change_config(run, **data):
    file = run / "config.yaml"
    config = yaml.safe_load(file.read_text())
    config["data"] |= data
    file.write_text(yaml.safe_dump(config))


@pytest.fixture
def on_former_5k(run):
    """A run on the 5,000 images that went by the name of mnist_5k once."""
    change_config(run, name="mnist_5k", allow_embedded=True, folder="MNIST/raw", mirrors=[])
    for name, changes in {
        "status.json": {"data": "mnist_5k", "data_sha256": FORMER_5K},
        "metrics.json": {"data": "mnist_5k", "data_sha256": FORMER_5K},
    }.items():
        (run / name).write_text(json.dumps(json.loads((run / name).read_text()) | changes))
    return run


def test_a_retired_setting_is_dropped_when_a_run_is_read(run, trained):
    assert not RETIRED.keys() & SETTINGS.keys()
    change_config(run, allow_embedded=False)
    assert read_config(run) == read_config(trained)
    resume_command([str(run), "trainer.max_epochs=3"])
    assert "allow_embedded" not in (run / "config.yaml").read_text()
    evaluate_command([str(run)])
    with pytest.raises(Refused, match="not a setting of this run"):
        resume_command([str(run), "data.allow_embedded=false"])
    change_config(run, allow_embeded=False)
    with pytest.raises(Refused, match=r"data\.allow_embeded: no such setting"):
        read_config(run)


def test_a_retired_setting_is_dropped_when_a_sweep_is_read(tmp_path):
    texts = ["data=mnist_5k", "data.download=false", "model.width=8,16"]
    (grid,) = BasicSweeper.split_arguments(parsed_overrides(texts), None)
    sweep = Sweep.claim(plan(grid, Composer()), tmp_path / "s", arguments=texts, launcher=[])
    sweep.held.release()
    file = sweep.path / "sweep.json"
    document = json.loads(file.read_text())
    document["settings"]["data.allow_embedded"] = True
    for job in document["jobs"].values():
        job["overrides"].insert(1, "data.allow_embedded=true")
    document["varies"].append("data.allow_embedded")
    file.write_text(json.dumps(document))
    opened = Sweep.open(sweep.path)
    opened.held.release()
    assert [job.settings for job in opened.jobs] == [job.settings for job in sweep.jobs]
    assert [job.overrides for job in opened.jobs] == [job.overrides for job in sweep.jobs]
    assert planned_job(sweep.path / sweep.jobs[1].directory)[0]["model"]["width"] == 16
    for job in opened.jobs:
        Composer().settings(job.overrides)  # as a sweep that goes on does


def test_a_run_of_before_split_seed_keeps_its_validation_images(train_run, tmp_path):
    """It was trained on the beginning of its split, and is validated on the end."""
    run = train_run(tmp_path / "run", "data.split_seed=null")
    whole = train_run(tmp_path / "whole", "data.split_seed=null", "trainer.max_epochs=3")
    file = run / "config.yaml"
    config = yaml.safe_load(file.read_text())
    del config["data"]["split_seed"]
    del config["schema"]
    file.write_text(yaml.safe_dump(config))
    evaluate_command([str(run), "--split", "val"])
    found = json.loads((run / "evaluation/val/metrics.json").read_text())
    assert found["val/acc"] == pytest.approx(read_metrics(run)["val/acc"], abs=1e-6)
    assert found["val/loss"] == pytest.approx(read_metrics(run)["val/loss"], abs=1e-5)
    with pytest.raises(Refused, match="cannot change within a run"):
        resume_command([str(run), "data.split_seed=0", "--allow-changes"])
    resume_command([str(run), "trainer.max_epochs=3"])
    config = yaml.safe_load(file.read_text())
    assert (config["schema"], config["data"]["split_seed"]) == (SCHEMA, None)
    metrics = [{**read_metrics(path), "seconds": None} for path in (run, whole)]
    assert metrics[0] == metrics[1]


def test_what_does_not_need_former_images(on_former_5k, mnist_5k, tmp_path, capsys):
    compare_command([str(on_former_5k)])
    assert "mlp" in capsys.readouterr().out
    picture = Image.new("L", (80, 80), 255)
    ImageDraw.Draw(picture).line([(40, 10), (40, 70)], fill=0, width=8)
    picture.save(tmp_path / "one.png")
    predict_command([str(on_former_5k), str(tmp_path / "one.png")])
    assert "one.png" in capsys.readouterr().out
    export_command([str(on_former_5k)])
    assert "on 1,000 images of mnist's test split" in capsys.readouterr().out
    model = json.loads((on_former_5k / "export/model.json").read_text())
    assert (model["data"], model["data_sha256"]) == ("mnist_5k", FORMER_5K)
    evaluate_command([str(on_former_5k), "--data", "mnist"])
    metrics = json.loads((on_former_5k / "evaluation/mnist/metrics.json").read_text())
    assert metrics["test/num_images"] == len(mnist_5k.test_images)


@pytest.mark.parametrize(
    ("command", "more"),
    [
        (evaluate_command, []),
        (resume_command, ["trainer.max_epochs=3"]),
        (predict_command, ["--index", "0"]),
        (demo_command, ["--port", "0"]),
    ],
)
def test_what_needs_former_images_is_refused_in_a_line(on_former_5k, command, more):
    before = sorted(on_former_5k.rglob("*"))
    with pytest.raises(Refused, match=r"^data=mnist_5k: [^\n]*no longer shipped[^\n]*\.$"):
        command([str(on_former_5k), *more])
    assert sorted(on_former_5k.rglob("*")) == before


# By the lab as it was at earlier commits; stored/make.py is how.


@pytest.fixture(params=["97db8db", "cf050c7", "e98e689", "859fd60"])
def stored(request, tmp_path):
    return shutil.copytree(STORED / request.param, tmp_path / request.param)


def assert_close(found, expected, *, names=("train/loss", "test/loss", "test/acc")):
    """As close as one processor comes to another."""
    for name in names:
        assert found[name] == pytest.approx(expected[name], rel=5e-5), name


def answers(run, checkpoint, data_dir):
    """Loss and accuracy on the test split, as the weights that are stored give them."""
    asked = StoredRun.find(run, checkpoint=checkpoint)
    splits = asked.data([f"data.root={data_dir}"]).splits
    logs = log_probs(asked.load()[0], torch.from_numpy(splits.test_images).unsqueeze(1))
    labels = splits.test_labels.astype(int)
    return {
        "test/loss": -logs[range(len(labels)), labels].mean(),
        "test/acc": (logs.argmax(1) == labels).mean(),
    }


def test_stored_runs_of_all_commits_can_be_compared(capsys, tmp_path):
    folder = shutil.copytree(STORED, tmp_path / "stored")
    results, remarks = read_results([folder])
    assert sorted(result.state for result in results) == ["finished"] * 6 + ["interrupted"] * 3
    assert [line.rpartition(": ")[2] for line in remarks] == ["1 of 3 jobs have not begun."] * 2
    compare_command([str(folder)])
    for commit in ("97db8db", "cf050c7"):
        run = folder / commit / "run"
        compare_command([str(run)])
        assert "is the only setting that can be ranked" in capsys.readouterr().out
    file = run / "config.yaml"
    file.write_text(file.read_text() + "hight: 8\n")
    compare_command([str(run)])
    output = capsys.readouterr().out
    assert f"{file}: hight: no such setting" in output
    assert "No run has finished yet" not in output


def test_a_stored_run_answers_as_it_did(stored, data_dir):
    run = stored / "run"
    metrics = read_metrics(run)
    evaluate_command([str(run), f"data.root={data_dir}"])
    found = json.loads((run / "evaluation/metrics.json").read_text())
    assert_close(found, metrics, names=("test/loss", "test/acc"))
    assert answers(run, "best", data_dir)["test/acc"] == pytest.approx(metrics["test/acc_best"])


def test_a_stored_run_goes_on_to_where_its_own_lab_would_have_come(stored, data_dir):
    run, whole = stored / "run", json.loads((stored / "whole.json").read_text())["run"]
    resume_command([str(run), "trainer.max_epochs=2", f"data.root={data_dir}"])
    metrics = read_metrics(run)
    assert_close(metrics, whole)
    assert_close(metrics, whole, names=("val/loss", "test/acc_best", "best_epoch"))
    # Its checkpoints are of today now.
    assert_close(answers(run, "last", data_dir), metrics, names=("test/loss", "test/acc"))
    best = answers(run, "best", data_dir)["test/acc"]
    assert best == pytest.approx(metrics["test/acc_best"])


@pytest.mark.parametrize("commit", ["cf050c7", "e98e689"])
def test_a_stored_sweep_goes_on(commit, verbs, data_dir, tmp_path):
    sweep = shutil.copytree(STORED / commit / "sweep", tmp_path / "sweep")
    whole = json.loads((STORED / commit / "whole.json").read_text())
    ended = verbs.run(RESUME, str(sweep), f"data.root={data_dir}", cwd=tmp_path)
    assert (ended.code, ended.stderr) == (0, ""), ended
    assert "3 finished, 0 failed, 0 to do" in ended.stdout
    for path in sweep.glob("*/metrics.json"):
        assert_close(json.loads(path.read_text()), whole[path.parent.name])
