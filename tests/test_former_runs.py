"""What earlier versions have stored: read as it was, or refused with a reason."""

import json
import shutil

import pytest
import yaml
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from PIL import Image, ImageDraw

from mnist_lab.compare import compare_command
from mnist_lab.demo import demo_command
from mnist_lab.evaluate import evaluate_command
from mnist_lab.export import export_command
from mnist_lab.predict import predict_command
from mnist_lab.resume import resume_command
from mnist_lab.run.directory import read_config, read_metrics
from mnist_lab.settings.overrides import parsed_overrides
from mnist_lab.settings.schema import RETIRED, SCHEMA
from mnist_lab.settings.table import SETTINGS
from mnist_lab.sweep.plan import Composer, plan
from mnist_lab.sweep.record import Sweep, job_settings
from mnist_lab.ui.errors import Refused

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
    assert job_settings(sweep.path / sweep.jobs[1].directory)["model"]["width"] == 16
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
