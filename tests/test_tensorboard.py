"""What TensorBoard makes of runs: read back from the event files, and asked of a real server."""

from __future__ import annotations

import importlib
import json
import shutil
import signal
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread
from processes import last_of_each
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import api_pb2, metadata
from torch.utils.tensorboard import SummaryWriter

from mnist_lab.models.linear import Linear
from mnist_lab.run.directory import Run, read_metrics
from mnist_lab.run.fit import resolved, train
from mnist_lab.run.resume import go_on
from mnist_lab.run.tensorboard import events_dir, write_session_start
from mnist_lab.settings.compose import checked, compose
from mnist_lab.settings.hyperparameters import hyperparameters
from mnist_lab.sweep.job import record_lost
from mnist_lab.ui.errors import Failed
from mnist_lab.ui.signals import Interrupted

STATUSES = ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"]


# The script of the README's screenshot is no part of the package.
sys.path.append(str(Path(__file__).parents[1] / "docs"))
screenshot: Any = importlib.import_module("tensorboard_screenshot")


def config_of(*overrides: str) -> dict[str, Any]:
    idx = ["data=idx_folder", "data.root=."]
    return checked(compose(last_of_each(*idx, "trainer=cpu", "threads=1", *overrides)))


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Path:
    """Two finished runs that share few settings, and one that has only begun."""
    folder = tmp_path_factory.mktemp("sweep")
    jobs = {
        "0_model=mlp,optimizer=adam": ["model.width=8", "seed=3"],
        "1_model=linear,optimizer=sgd": ["model=linear", "optimizer=sgd", "data.val_fraction=0"],
    }
    for name, overrides in jobs.items():
        run = Run.claim(folder / name)
        with warnings.catch_warnings():
            warnings.simplefilter("default")  # Lightning's own go to train.log, as in a real run
            config = config_of("trainer.max_epochs=2", f"data.root={data_dir}", *overrides)
            train(resolved(config), run, quiet=True)
        run.release()
    begun = folder / "2_model=cnn,optimizer=momentum"
    write_session_start(begun, config_of("model=cnn", "optimizer=momentum"))
    with SummaryWriter(begun) as board:
        board.add_scalar("1. val/acc", 0.5, 1)
    return folder


def ask(address: str, route: str, **body: Any) -> Any:
    return screenshot.ask(f"{address}/data/plugin/hparams/{route}", body)


def events(run: Path) -> EventAccumulator:
    return EventAccumulator(str(run)).Reload()


def points_of(run: Path) -> dict[str, dict[int, float]]:
    """Tag -> epoch -> value, each epoch once."""
    accumulator = events(run)
    found = {tag: accumulator.Scalars(tag) for tag in accumulator.Tags()["scalars"]}
    for tag, values in found.items():
        assert len({value.step for value in values}) == len(values), tag
    return {tag: {event.step: event.value for event in values} for tag, values in found.items()}


def session(run: Path, *, start: bool) -> Any:
    accumulator = events(run)
    if start:
        content = accumulator.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
        return metadata.parse_session_start_info_plugin_data(content)
    content = accumulator.SummaryMetadata(metadata.SESSION_END_INFO_TAG).plugin_data.content
    return metadata.parse_session_end_info_plugin_data(content)


def test_how_a_run_ended_follows_it_and_nothing_of_it_stays_open(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Failed, finished, trained on and stopped; a writer left open would leave a thread."""

    def status() -> Any:
        return STATUSES[session(run.path, start=False).status]

    def fail(*_: Any) -> None:
        raise RuntimeError("a bug in a model")

    data = f"data.root={data_dir}"
    config = resolved(config_of("model=linear", "trainer.max_epochs=1", data))
    run = Run.claim(tmp_path / "run")
    before = threading.active_count()
    with monkeypatch.context() as patch:
        patch.setattr(Linear, "training_step", fail)
        with pytest.raises(Failed):
            train(config, run, quiet=True)
    assert (status(), threading.active_count()) == ("STATUS_FAILURE", before)
    go_on(run, config, quiet=True)
    assert status() == "STATUS_SUCCESS"
    config["trainer"]["max_epochs"] = 2
    with monkeypatch.context() as patch:
        patch.setattr(Linear, "training_step", lambda *_: signal.raise_signal(signal.SIGINT))
        with pytest.raises(Interrupted):
            go_on(run, config, quiet=True)
    assert metadata.SESSION_END_INFO_TAG not in events(run.path).PluginTagToContent("hparams")
    assert threading.active_count() == before
    run.release()


def test_a_run_holds_each_figure_once_and_no_experiment_summary(sweep: Path):
    run = sweep / "0_model=mlp,optimizer=adam"
    accumulator = events(run)
    points = points_of(run)
    metrics = read_metrics(run)
    curves = {
        **{"1. val/acc": "val/acc", "1. val/loss": "val/loss"},
        **{"2. train/acc": "train/acc", "2. train/loss": "train/loss", "lr": "lr"},
    }
    final = {
        **{"10. test/acc": "test/acc", "11. seconds": "seconds", "12. parameters": "num_params"},
        **{name: name for name in ("test/loss", "test/acc_best", "gap")},
    }
    assert points.keys() == curves.keys() | final.keys()
    assert all([*points[tag]] == [1, 2] for tag in curves)
    assert all([*points[tag]] == [2] for tag in final)
    for tag, name in (*final.items(), *curves.items()):
        if name in metrics:
            assert points[tag][2] == pytest.approx(metrics[name], rel=1e-6, abs=5e-7)  # six places
    assert metadata.EXPERIMENT_TAG not in accumulator.Tags()["tensors"]
    start = session(run, start=True).hparams
    assert (start["model.width"].number_value, start["seed"].number_value) == (8, 3)
    assert (start["optimizer"].string_value, start["data"].string_value) == ("adam", "idx_folder")
    assert start["data.shuffle_split"].string_value == "false"
    assert not {"threads", "data.root", "trainer.accelerator"} & start.keys()
    assert session(run, start=False).status == 1  # STATUS_SUCCESS


def test_settings_that_changed_at_resume_replace_the_first_ones(tmp_path: Path):
    for max_epochs in (2, 9):
        write_session_start(tmp_path, config_of(f"trainer.max_epochs={max_epochs}"))
    assert session(tmp_path, start=True).hparams["trainer.max_epochs"].number_value == 9


def test_a_job_has_what_varies_in_its_sweep_and_nothing_else(tmp_path: Path):
    def columns(config: dict[str, Any], *varies: str) -> dict[str, Any]:
        (tmp_path / "sweep.json").write_text(json.dumps({"varies": varies}))
        write_session_start(tmp_path / "0", config)
        shown = session(tmp_path / "0", start=True).hparams
        return {name: value.string_value or value.number_value for name, value in shown.items()}

    adam = config_of("optimizer=adam", "threads=2", "data.shuffle_split=true")
    assert columns(adam, "optimizer", "optimizer.lr") == {"optimizer": "adam", "optimizer.lr": 1e-3}
    shown = columns(adam, "threads", "data", "data.shuffle_split", "model.class_weights")
    assert shown == {
        **{"threads": 2, "data": "idx_folder", "data.shuffle_split": "true"},
        "model.class_weights": "null",
    }
    recipe = config_of("experiment=mlp_100")
    assert columns(recipe, "experiment", "seed") == {"experiment": "mlp_100", "seed": 0}


@pytest.mark.parametrize("former", [False, True], ids=["today's", "of an earlier version"])
def test_a_run_that_failed_and_goes_on_has_one_curve_and_the_last_status(
    tmp_path: Path, data_dir: Path, former: bool
):
    """Earlier versions had other names, and a folder of their own for the events."""
    settings = ["model.width=4", f"data.root={data_dir}", "trainer.max_epochs=3"]
    config = resolved(config_of(*settings))
    run = Run.claim(tmp_path / "run")
    if former:
        (run.path / "tensorboard").mkdir()
    folder = events_dir(run.path)
    assert folder == (run.path / "tensorboard" if former else run.path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mnist_lab.run.callbacks.epoch_line", fails_in_epoch_2)
        with pytest.raises(Failed):
            train(config, run, quiet=True)
    assert session(folder, start=False).status == api_pb2.STATUS_FAILURE
    go_on(run, config, quiet=True)
    run.release()
    assert session(folder, start=False).status == api_pb2.STATUS_SUCCESS
    points = points_of(folder)
    val, train_loss = ("val/acc", "train/loss") if former else ("1. val/acc", "2. train/loss")
    assert [*points[val]] == [*points[train_loss]] == [1, 2, 3]
    assert former == bool([*(run.path / "tensorboard").glob("*tfevents*")])
    assert former != bool([*run.path.glob("*tfevents*")])


def fails_in_epoch_2(row: dict[str, float], _: int) -> str:
    if row["epoch"] == 2:
        raise ZeroDivisionError
    return ""


def test_a_job_whose_process_was_lost_has_failed(tmp_path: Path):
    write_session_start(tmp_path, config_of())
    assert metadata.SESSION_END_INFO_TAG not in events(tmp_path).Tags()["tensors"]
    record_lost(tmp_path, RuntimeError("killed"))
    assert session(tmp_path, start=False).status == api_pb2.STATUS_FAILURE


def test_hyperparameters_are_what_a_user_types():
    config = config_of("experiment=cnn_12_20", "data=mnist_5k")
    settings = hyperparameters(config)
    assert settings["experiment"] == "cnn_12_20"
    assert settings["model.channels"] == "[12, 20]"
    assert settings["optimizer.lr"] == 0.001
    assert "experiment" not in hyperparameters(config_of())
    assert None not in settings.values()


def test_the_server_shows_every_setting_of_every_run(sweep: Path):
    """Columns are the union: what one run alone has is there, and empty for the others."""
    with screenshot.tensorboard(sweep) as address:
        screenshot.wait_until_read(address, sweep)
        groups = ask(address, "session_groups", sliceSize=10, allowedStatuses=STATUSES)
        experiment = ask(address, "experiment")
    rows = {group["name"].partition("/")[0]: group for group in groups["sessionGroups"]}
    mlp, linear, begun = (rows[name] for name in sorted(rows))
    assert mlp["hparams"]["model.width"] == 8
    assert "model.width" not in linear["hparams"]
    assert begun["hparams"]["model.channels"] == "[12, 20]"
    assert (mlp["hparams"]["seed"], linear["hparams"]["seed"]) == (3, 0)
    columns = {info["name"] for info in experiment["hparamInfos"]}
    assert columns == mlp["hparams"].keys() | linear["hparams"].keys() | begun["hparams"].keys()
    tags = {info["name"]["tag"] for info in experiment["metricInfos"]}
    assert {"10. test/acc", "test/loss", "1. val/acc", "12. parameters", "11. seconds"} <= tags
    assert not any("hp_metric" in tag for tag in tags)
    states = [row["sessions"][0]["status"] for row in (mlp, linear, begun)]
    assert states == ["STATUS_SUCCESS", "STATUS_SUCCESS", "STATUS_UNKNOWN"]
    metrics = read_metrics(sweep / "1_model=linear,optimizer=sgd")
    shown = {value["name"]["tag"]: value["value"] for value in linear["metricValues"]}
    assert shown["10. test/acc"] == pytest.approx(metrics["test/acc"], rel=1e-6)
    assert shown["12. parameters"] == 7850
    assert "1. val/acc" not in shown


@pytest.mark.chromium
@pytest.mark.skipif(not shutil.which("chromedriver"), reason="needs Debian's chromium-driver")
@pytest.mark.skipif(not shutil.which("chromium"), reason="needs Debian's chromium")
def test_a_browser_shows_the_sweep_with_nothing_ticked(tiny: list[str], verbs: Any, tmp_path: Path):
    """Curves of train and val, a column for each setting that varies, the metrics in order."""
    grid = ["optimizer=sgd,adam", "model.width=4,8", "seed=0,1,2", "hydra.sweep.dir=sweep"]
    ended = verbs.run("mnist_lab.train", "-m", *last_of_each(*tiny, *grid), cwd=tmp_path)
    assert ended.code == 0, ended.stdout
    with (
        screenshot.tensorboard(tmp_path / "sweep") as address,
        screenshot.Browser.started() as browser,
    ):
        screenshot.wait_until_read(address, tmp_path / "sweep")
        (runs, charts), columns, lines = screenshot.take_pictures(browser, address, tmp_path)
    assert runs[1:] == [path.parent.name for path in sorted(tmp_path.glob("sweep/*/metrics.json"))]
    assert (runs[1], runs[-1]) == ("000_w4,sgd,s0", "011_w8,adam,s2")
    assert charts == ["1. val/acc", "1. val/loss", "2. train/acc", "2. train/loss"]
    assert columns[:10] == [
        *("Trial ID", "Show Metrics", "model.width", "optimizer", "seed"),
        *("1. val/acc", "1. val/loss", "10. test/acc", "11. seconds", "12. parameters"),
    ]
    assert lines == ["1. val/acc", 12]
    for name in ("time_series", "table", "parallel"):
        image = imread(tmp_path / f"tensorboard_{name}.png")
        assert np.unique(image.reshape(-1, image.shape[2]), axis=0).shape[0] > 200
