"""--resume: the line of a batch script that starts, goes on, or says that all is done."""

import shutil

import pytest
from processes import last_of_each
from sweeps import contents, states, weights
from tiny_run import write_data_set

from mnist_lab.run.directory import read_epochs

TRAIN = "mnist_lab.train"


def test_a_run_starts_goes_on_and_is_done_by_the_same_line(verbs, tiny, tmp_path):
    line = [*last_of_each(*tiny, "model.dropout=0.5", "trainer.max_epochs=4"), "--resume"]
    whole, run = tmp_path / "whole", tmp_path / "run"
    for path in (whole, run):
        assert verbs.run(TRAIN, *line, f"hydra.run.dir={path}", cwd=tmp_path).code == 0
    former = weights(whole)
    shutil.rmtree(run)  # as a killed one is left: after two epochs
    short = last_of_each(*line[:-1], "trainer.max_epochs=2")
    assert verbs.run(TRAIN, *short, f"hydra.run.dir={run}", cwd=tmp_path).code == 0
    done = verbs.run(TRAIN, *line, f"hydra.run.dir={run}", cwd=tmp_path)
    assert (done.code, "going on after epoch 2 of 4" in done.stdout) == (0, True), done
    assert weights(run) == former
    done = verbs.run(TRAIN, *line, f"hydra.run.dir={run}", cwd=tmp_path)
    assert (done.code, "finished already, 4 epochs" in done.stdout) == (0, True), done
    assert len(read_epochs(run)) == 4
    done = verbs.run(TRAIN, *line, f"hydra.run.dir={run}", "seed=7", cwd=tmp_path)
    assert (done.code, done.stdout) == (2, "")
    assert "holds a run with seed=0, not 7; name another directory" in done.stderr


def test_a_sweep_starts_goes_on_and_is_done_by_the_same_line(verbs, tiny, tmp_path):
    sweep = tmp_path / "sweep"
    line = ["-m", *tiny, "seed=0,1,2", f"hydra.sweep.dir={sweep}", "--resume"]
    done = verbs.run(TRAIN, *line, cwd=tmp_path)
    assert done.code == 0, done
    former = weights(sweep / "001_seed=1")
    shutil.rmtree(sweep / "001_seed=1")
    done = verbs.run(TRAIN, *line, cwd=tmp_path)
    assert (done.code, "going on with 1 of 3 jobs" in done.stdout) == (0, True), done
    assert weights(sweep / "001_seed=1") == former
    done = verbs.run(TRAIN, *line, cwd=tmp_path)
    assert (done.code, "3 finished, 0 failed, 0 to do" in done.stdout) == (0, True), done
    assert set(states(sweep).values()) == {"finished"}
    done = verbs.run(TRAIN, *last_of_each(*line, "seed=0,1"), cwd=tmp_path)
    assert (done.code, done.stdout) == (2, "")
    assert "holds a sweep of other jobs (3, here 2; one that differs is" in done.stderr


def test_what_is_done_needs_no_images_any_more(verbs, light_verbs, tmp_path):
    """And no torch."""
    write_data_set(tmp_path / "data", num_train=60, num_test=20, seed=0)
    settings = ["data=idx_folder", "data.root=data", "model.width=4", "trainer.max_epochs=1"]
    run = [*settings, "hydra.run.dir=run", "--resume"]
    sweep = ["-m", *settings, "seed=0,1", "hydra.sweep.dir=sweep", "--resume"]
    for line in (run, sweep):
        assert verbs.run(TRAIN, *line, cwd=tmp_path).code == 0
    shutil.rmtree(tmp_path / "data")
    done = light_verbs.run(TRAIN, *run, cwd=tmp_path)
    assert (done.code, "finished already, 1 epochs" in done.stdout) == (0, True), done
    done = light_verbs.run(TRAIN, *sweep, cwd=tmp_path)
    assert (done.code, "2 finished, 0 failed, 0 to do" in done.stdout) == (0, True), done


def test_what_is_not_done_does(verbs, light_verbs, tmp_path):
    write_data_set(tmp_path / "data", num_train=60, num_test=20, seed=0)
    line = ["data=idx_folder", "data.root=data", "model.width=4", "hydra.run.dir=run", "--resume"]
    assert verbs.run(TRAIN, *line, "trainer.max_epochs=1", cwd=tmp_path).code == 0
    before = contents(tmp_path / "run")
    shutil.rmtree(tmp_path / "data")
    done = light_verbs.run(TRAIN, *line, "trainer.max_epochs=2", cwd=tmp_path)
    assert (done.code, done.stdout) == (2, "")
    assert "no idx_folder files in" in done.stderr
    assert contents(tmp_path / "run") == before


@pytest.mark.parametrize(
    ("args", "place"),
    [
        (["--resume"], "hydra.run.dir=DIR"),
        (["--resume", "-m", "seed=0,1"], "hydra.sweep.dir=DIR"),
        (["--resume", "sweep=published"], "hydra.sweep.dir=DIR"),
    ],
)
def test_resume_without_a_fixed_directory_is_refused(args, place, light_verbs, tmp_path):
    done = light_verbs.run(TRAIN, *args, cwd=tmp_path)
    assert (done.code, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert place in done.stderr
    assert list(tmp_path.iterdir()) == []
