"""A sweep before it starts, its record, and Hydra's own launcher under it."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest
import yaml
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from omegaconf import OmegaConf
from sweeps import end, only_sweep, reached, run, start, states, status, wait_until
from tiny_run import write_data_set

from mnist_lab.settings.compose import checked, compose
from mnist_lab.settings.groups import choices, conf_dir
from mnist_lab.settings.overrides import parsed_overrides
from mnist_lab.settings.table import leaves
from mnist_lab.sweep import composer as sweep_composer
from mnist_lab.sweep import plan as sweep_plan
from mnist_lab.sweep.composer import Composer
from mnist_lab.sweep.launcher import quoted
from mnist_lab.sweep.plan import directory_names, plan
from mnist_lab.sweep.record import Sweep
from mnist_lab.sweep.resume import resume_arguments
from mnist_lab.sweep.stored import nested, read_jobs, read_sweep
from mnist_lab.train import train_command
from mnist_lab.ui.errors import Refused


def grid_of(*overrides):
    (grid,) = BasicSweeper.split_arguments(parsed_overrides(overrides), None)
    return grid


GRIDS = [
    ("optimizer=sgd,rmsprop,adam", "model.width=8,16", "model.dropout=0,0.5", "seed=range(2)"),
    ("model=cnn", "model.channels=[4],[4,8]", "data.root='a b',c", "threads=null,1"),
    ("experiment=mlp_100,cnn_12_20", "trainer.max_epochs=1,2", "data=mnist,mnist_5k"),
    ("experiment=mlp_512,fast_99", "optimizer=sgd,rmsprop", "optimizer.lr=0.1", "seed=0,1"),
    ("optimizer=adam", "optimizer.betas=[0.5,0.9],[0.9,0.99]", "optimizer.lr=1e-3,0.01"),
]


@pytest.mark.parametrize("overrides", GRIDS)
def test_jobs_are_composed_as_hydra_composes_them(overrides):
    hydra_overrides = ["hydra/launcher=pool", "hydra.launcher.slots=1", "hydra.mode=MULTIRUN"]
    composer = Composer(hydra_overrides)
    for job in grid_of(*overrides):
        reference = compose([*job, *hydra_overrides])
        ours = composer.config(job)
        assert ours == reference
        assert OmegaConf.to_yaml(ours) == OmegaConf.to_yaml(reference)
        assert composer.settings(job) == checked(reference)


def test_files_are_resolved_once_for_each_choice_of_them(monkeypatch):
    composed = []

    def counting(overrides):
        composed.append(overrides)
        return compose(overrides)

    monkeypatch.setattr(sweep_composer, "compose", counting)
    grid = grid_of("optimizer=sgd,adam", "model.width=range(1,11)", "seed=range(5)")
    assert len(plan(grid, Composer()).jobs) == 100
    assert composed == [["optimizer=sgd"], ["optimizer=adam"]]


def test_equal_jobs_are_one(capsys):
    overrides = ["model.dropout=0,0.0,0.5", "optimizer=adam", "optimizer.lr=0.001,1e-3"]
    planned = plan(grid_of(*overrides), Composer())
    assert [job.number for job in planned.jobs] == [0, 4]
    assert planned.duplicates == {1: 0, 2: 0, 3: 0, 5: 4}
    assert capsys.readouterr().out == ""


def test_names_of_directories():
    few = [{"optimizer": "adam", "model.width": str(width)} for width in (32, 128)]
    assert directory_names(few)[1] == "001_optimizer=adam,width=128"
    both = {"model.dropout": "0.5", "x.dropout": "0"}
    assert directory_names([both]) == ["000_m0.5,x0"]
    odd = {"data.root": "../" * 50 + "$(rm -r ~)/é"}
    names = directory_names([odd] * 20_000)
    assert len(set(names)) == 20_000
    for name in names[:2]:
        assert len(name) <= 100
        assert re.fullmatch(r"\d{5}_[\w.,=+-]+", name, re.ASCII)


def test_names_that_are_longer_than_tensorboard_shows_are_brief():
    """The ready grid of five settings: every value within 30 characters."""
    grid = grid_of(
        *("optimizer=sgd,rmsprop,adam", "model.width=128,512", "model.dropout=0,0.2,0.5"),
        *("trainer.max_epochs=5,20", "seed=range(3)"),
    )
    names = directory_names([sweep_plan.values_of(overrides) for overrides in grid])
    assert names[0] == "000_sgd,w128,d0,m5,s0"
    assert names[70] == "070_rmsprop,w512,d0.5,m20,s1"
    assert max(map(len, names)) <= 30
    assert len({name[4:] for name in names}) == len(grid)  # apart without their numbers, too
    alike = {"model.depth": "2", "model.dropout": "0", "model.init": "he", "optimizer.lr": "1e-3"}
    assert directory_names([alike | {"model": "mlp"}]) == ["000_de2,dr0,i=he,lr1e-3,mlp"]


@pytest.mark.parametrize("path", ["/a b/$c", "/it's", "/a\\b", "/a\\", "/\\'", "/ü,=[]{}:#"])
def test_hydra_is_told_any_path_as_it_is(path):
    (override,) = parsed_overrides([f"hydra.sweep.dir={quoted(path)}"])
    assert override.value() == path


def test_the_name_of_a_sweep_is_what_its_jobs_share():
    def name(*overrides, sweep=None):
        return plan(grid_of(*overrides), Composer(), sweep=sweep).name

    assert name("seed=0,1") == "mlp"
    assert name("experiment=mlp_100", "seed=0,1") == "mlp_100"
    assert name("model=mlp,linear") == "mixed"
    assert name("experiment=mlp_100,mlp_512", sweep="published") == "published"


@pytest.mark.parametrize("name", choices("sweep"))
def test_ready_grids(name):
    file = conf_dir() / "sweep" / f"{name}.yaml"
    node = yaml.safe_load(file.read_text())["hydra"]
    assert node["mode"] == "MULTIRUN"
    overrides = [f"{key}={value}" for key, value in node["sweeper"]["params"].items()]
    planned = plan(grid_of(f"sweep={name}", *overrides), Composer(), sweep=name)
    promised = re.search(r"(\d+) jobs", file.read_text())
    assert len(planned.jobs) == int(promised[1])
    assert not planned.duplicates
    assert planned.name == name


def test_choosing_a_ready_grid_plans_it_without_a_flag(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["mnist-train"])
    train_command(["sweep=published", "seed=3,4", "--plan", "model.init=torch"])
    output = capsys.readouterr().out
    assert "12 jobs in outputs/sweeps/published/" in output
    assert re.search(r"^10 +cnn_12_20 +3 +290,585 +4 *$", output, re.MULTILINE)
    assert list(tmp_path.iterdir()) == []


NO_TORCH = "import sys; sys.modules['torch'] = None; from mnist_lab.train import main; main()"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["model.dropout=0.1,1.5", "seed=0,1"], ["job 2", "model.dropout=1.5", "below 1"]),
        (["model=linear,cnn", "model.depth=2"], ["job 0", "model.depth=2", "not a setting"]),
        (["seed=0,1", "model.widht=8"], ["model.widht", "did you mean model.width?"]),
        (["optimizer=adam,adm"], ["optimizer=adm", "did you mean"]),
        (["seed=interval(0,1)"], ["seed", "list of values"]),
        (["seed=0,1", "data=mnist,idx_folder"], ["job 1", "data.root: must be given"]),
        (["seed=0,1", "data=idx_folder", "data.root=nowhere"], ["data.root=", "nowhere"]),
        (["seed=0,1", "hydra/launcher=poool"], ["did you mean pool?"]),
        (["seed=0,1", "hydra/launcher=pool", "hydra.launcher.slots=1000"], ["slots=1000", "cores"]),
        (["seed=0,1", "hydra/launcher=pool", "hydra.launcher.threads=0"], ["threads=0"]),
        (["seed=0,1", "hydra/launcher=pool", "trainer=gpu"], ["accelerator=gpu", "no GPU"]),
        (["sweep=publish"], ["did you mean published?"]),
        (["sweep=published", "model.init=torch,x"], ["job 1", "model.init=x"]),
    ],
    ids=" ".join,
)
def test_a_bad_sweep_is_refused_before_anything_is_written(tmp_path, arguments, named):
    flags = [] if arguments[0].startswith("sweep") else ["-m"]
    done = subprocess.run(
        [sys.executable, "-c", NO_TORCH, *flags, *arguments],
        cwd=tmp_path,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    for word in named:
        assert word in done.stderr
    assert len(done.stderr.splitlines()) <= 2
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def planned_sweep(tmp_path):
    grid = grid_of("optimizer=sgd,rmsprop", "model=mlp,cnn", "seed=0,1", "data.download=false")
    planned = plan(grid, Composer())
    launcher = ["hydra/launcher=pool", "hydra.launcher.slots=1", "hydra.callbacks.x._target_=os"]
    sweep = Sweep.claim(planned, tmp_path / "s", arguments=["seed=0,1"], launcher=launcher)
    yield sweep
    sweep.held.release()


def test_sweep_json_gives_back_every_job(planned_sweep):
    document = read_sweep(planned_sweep.path)
    assert document["launcher"] == ["hydra/launcher=pool", "hydra.launcher.slots=1"]
    jobs = read_jobs(planned_sweep.path, document)
    assert jobs == planned_sweep.jobs
    for job in jobs:
        assert nested(leaves(job.settings)) == job.settings
    assert set(states(planned_sweep.path).values()) == {"pending"}


def test_a_resumed_sweep_has_each_setting_of_its_launcher_once(planned_sweep):
    def arguments(*typed):
        told = resume_arguments(planned_sweep.path, typed, retry_failed=False)
        return [text for text in told if not text.startswith("hydra.sweeper.")]

    assert arguments() == ["hydra/launcher=pool", "hydra.launcher.slots=1"]
    changed = arguments("hydra.launcher.slots=2", "hydra.launcher.threads=1")
    assert changed == ["hydra/launcher=pool", "hydra.launcher.slots=2", "hydra.launcher.threads=1"]
    assert arguments("hydra/launcher=basic") == ["hydra/launcher=basic"]
    with pytest.raises(Refused, match=r"given 2 times; must be given once: hydra.*slots=3$"):
        arguments("hydra.launcher.slots=2", "hydra.launcher.slots=3")


def test_a_sweep_in_use_or_done_is_not_claimed_again(planned_sweep):
    with pytest.raises(Refused, match=f"in use by process {os.getpid()}"):
        Sweep.open(planned_sweep.path)
    grid = Composer(), plan(grid_of("seed=0,1"), Composer())
    with pytest.raises(Refused, match="holds a sweep already"):
        Sweep.claim(grid[1], planned_sweep.path, arguments=[], launcher=[])


def change(document, path, value):
    *groups, last = path
    for group in groups:
        document = document[group]
    document[last] = value


JOB = "000_sgd,mlp,s0"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["settings", "data.root"], "${oc.env:HOME}", "interpolation"),
        (["settings", "data.batch_size"], 0, "data.batch_size"),
        (["settings", "data._target_"], "os.system", "not a name that this lab builds"),
        (["launcher"], ["hydra.launcher._target_=os.system"], "not allowed"),
        (["launcher"], ["hydra.launcher.slots={_target_: os.system}"], "not allowed"),
        (["launcher"], ["hydra.callbacks.x.y=1"], "not allowed"),
        (["launcher"], "hydra/launcher=pool", "lacks a proper"),
        (["jobs", JOB, "overrides"], ["+hydra.callbacks.x._target_=os.system"], "not allowed"),
        (["jobs", JOB, "overrides"], ["hydra.sweep.dir=/"], "not allowed"),
        (["jobs", JOB, "overrides"], ["model.widht=1"], "no such setting"),
        (["jobs", JOB, "number"], None, "cannot be read"),
        (["jobs", JOB], [], "cannot be read"),
        (["jobs", "../x"], {}, "not a name"),
    ],
)
def test_sweep_json_is_data_and_not_trusted(planned_sweep, path, value, message):
    file = planned_sweep.path / "sweep.json"
    document = json.loads(file.read_text())
    change(document, path, value)
    file.write_text(json.dumps(document))
    planned_sweep.held.release()
    with pytest.raises(Refused, match=message):
        Sweep.open(planned_sweep.path)
    planned_sweep.held = planned_sweep.held.hold(planned_sweep.path)


def test_hydras_own_launcher_survives_a_failure_and_stops_for_a_signal(tmp_path):
    write_data_set(tmp_path / "data", num_train=300, num_test=50, seed=0)
    settings = ["data=idx_folder", "data.root=data", "model.width=8", "trainer.max_epochs=3"]
    arguments = ["-m", *settings, "seed=0,1,2,3"]
    process = start("train", *arguments, cwd=tmp_path, faults="001:raise,002:linger")
    wait_until(lambda: reached(tmp_path, 2), process)
    process.send_signal(signal.SIGTERM)
    code, output = end(process)
    assert code == 143
    sweep = only_sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.glob("outputs/sweeps/*")) == ["mlp"]
    assert states(sweep) == {0: "finished", 1: "failed", 2: "interrupted", 3: "pending"}
    for line in ("job 3/4  002_seed=2", "RuntimeError: a bug in a model", "1 finished, 1 failed"):
        assert line in output
    assert "job 4/4" not in output
    assert "a bug in a model" in (sweep / "001_seed=1" / "train.log").read_text()
    overrides = yaml.safe_load((sweep / "002_seed=2/.hydra/overrides.yaml").read_text())
    assert overrides == ["data=idx_folder", "data.root=data", *settings[2:], "seed=2"]

    code, output = run("resume", sweep, cwd=tmp_path / "data")  # the data's path was made absolute
    assert code == 1, output  # the failed one is left alone
    assert states(sweep) == {0: "finished", 1: "failed", 2: "finished", 3: "finished"}, output
    assert "going on after epoch 1 of 3" in output
    assert status(sweep, 2)["epoch"] == 3
