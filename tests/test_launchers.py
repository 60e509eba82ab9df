"""Launchers for more than one machine, where their extra is installed."""

import json
import os
import signal
from importlib.util import find_spec

import pytest
from sweeps import end, only_sweep, reached, run, start, states, status, wait_until, weights
from tiny_run import write_data_set

from mnist_lab.settings.compose import compose
from mnist_lab.settings.groups import EXTRAS
from mnist_lab.ui.errors import Refused


def needs(extra):
    reason = f"the extra is not installed: pip install 'mnist_lab[{extra}]'"
    return pytest.mark.skipif(find_spec(EXTRAS[extra]) is None, reason=reason)


def sweep_twice(folder, *launcher):
    """One job fails and is started again, through the launcher of the first time."""
    write_data_set(folder / "data", num_train=300, num_test=50, seed=0)
    settings = ["data=idx_folder", "data.root=data", "model.width=4", "trainer.max_epochs=2"]
    arguments = ["-m", *settings, "seed=0,1", *launcher]
    code, output = run("train", *arguments, cwd=folder, faults="001:raise")
    sweep = only_sweep(folder)
    assert (code, states(sweep)) == (1, {0: "finished", 1: "failed"}), output
    assert "a bug in a model" in output
    code, output = run("resume", sweep, "--retry-failed", cwd=folder)
    assert (code, states(sweep)) == (0, {0: "finished", 1: "finished"}), output


def race_apart(folder, *launcher):
    """A race through a launcher decides, and trains, as one in this process."""
    write_data_set(folder / "data", num_train=1200, num_test=50, seed=0)
    settings = ["data=idx_folder", "data.root=data", "model.width=32", "trainer.max_epochs=3"]
    arguments = ["-m", *settings, "data.batch_size=16", "optimizer.lr=0.0004,0.00041,1e-7"]
    sweeps = []
    for name, through in (("own", ()), ("apart", launcher)):
        place = f"hydra.sweep.dir={name}"
        line = [*arguments, "seed=0,1,2", "race=on", place, *through]
        code, output = run("train", *line, cwd=folder)
        assert code == 0, output
        sweeps.append(folder / name)
    own, apart = (json.loads((sweep / "sweep.json").read_text())["race"] for sweep in sweeps)
    assert own == apart
    assert own["dropped"].keys() == {"lr=1e-07"}
    assert states(sweeps[0]) == states(sweeps[1])
    jobs = [path.parent.name for path in sweeps[0].glob("*/checkpoints")]
    assert len(jobs) == 8
    assert [weights(sweeps[0] / job) for job in jobs] == [weights(sweeps[1] / job) for job in jobs]


@pytest.mark.slurm
@needs("slurm")
def test_a_race_in_submitit_decides_the_same(tmp_path):
    race_apart(tmp_path, "hydra/launcher=submitit_local", "hydra.launcher.timeout_min=10")


@pytest.mark.slurm
@needs("slurm")
def test_submitit_runs_a_sweep(tmp_path):
    sweep_twice(tmp_path, "hydra/launcher=submitit_local", "hydra.launcher.timeout_min=10")


@pytest.mark.slurm
@needs("slurm")
def test_a_sigterm_stops_submitits_job_which_then_goes_on(tmp_path):
    """Sent by Slurm to the job's own process, where submitit alone would let it pass."""
    write_data_set(tmp_path / "data", num_train=300, num_test=50, seed=0)
    settings = ["data=idx_folder", "data.root=data", "model.width=4", "trainer.max_epochs=2"]
    launcher = ["hydra/launcher=submitit_local", "hydra.launcher.timeout_min=10"]
    arguments = ["-m", *settings, "seed=0,1", *launcher]
    process = start("train", *arguments, cwd=tmp_path, faults="000:linger")
    wait_until(lambda: reached(tmp_path, 0), process)
    sweep = only_sweep(tmp_path)
    os.kill(status(sweep, 0)["pid"], signal.SIGTERM)
    code, output = end(process)
    assert code == 1, output
    assert states(sweep) == {0: "interrupted", 1: "finished"}
    code, output = run("resume", sweep, cwd=tmp_path)
    assert (code, states(sweep)) == (0, {0: "finished", 1: "finished"}), output


@pytest.mark.slurm
@needs("slurm")
def test_slurm_is_asked_for_what_the_file_says():
    from hydra_plugins.hydra_submitit_launcher.submitit_launcher import SlurmLauncher

    node = compose(["hydra/launcher=slurm", "hydra.launcher.partition=gpu"]).hydra.launcher
    assert node._target_.endswith(SlurmLauncher.__name__)
    assert (node.partition, node.timeout_min, node.cpus_per_task) == ("gpu", 60, 1)


@pytest.mark.ray
@needs("ray")
def test_ray_runs_a_sweep(tmp_path):
    sweep_twice(tmp_path, "hydra/launcher=ray", "hydra.launcher.ray.init.num_cpus=2")


@pytest.mark.ray
@needs("ray")
def test_a_race_in_ray_decides_the_same(tmp_path):
    race_apart(tmp_path, "hydra/launcher=ray", "hydra.launcher.ray.init.num_cpus=2")


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_missing_extra_is_named(monkeypatch, extra):
    monkeypatch.setitem(EXTRAS, extra, "hydra_plugins.not_there")
    with pytest.raises(Refused, match=rf"pip install 'mnist_lab\[{extra}\]'"):
        compose([f"hydra/launcher={extra}"])
