"""Runs that are read-only, without checkpoints or gone, and variables of other programs."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from processes import last_of_each, run_cold

import mnist_lab
from mnist_lab.run.directory import read_metrics, read_state

TRAIN = "mnist_lab.train"


@pytest.fixture(scope="module")
def finished(tmp_path_factory, train_run):
    return train_run(tmp_path_factory.mktemp("finished"), "trainer.max_epochs=1")


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


def content(folder):
    return {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


def test_out_leaves_a_run_as_it_was(run, verbs, tmp_path):
    """As a teacher's, which a class may read and not write."""
    before = content(run)
    for verb, files in {
        "evaluate": ("metrics.json", "mistakes.png", "curves.png", "events.out.*"),
        "export": ("model.onnx", "model.json"),
    }.items():
        out = tmp_path / verb
        ended = verbs.run(f"mnist_lab.{verb}", str(run), "--out", str(out), cwd=tmp_path)
        assert (ended.code, ended.stderr) == (0, ""), ended
        assert all([*out.glob(name)] for name in files)
        (run / verb.replace("evaluate", "evaluation")).touch()  # stops root, too
        ended = verbs.run(f"mnist_lab.{verb}", str(run), cwd=tmp_path)
        (line,) = ended.stderr.splitlines()
        assert line.endswith("; --out FOLDER names another.")
        (run / verb.replace("evaluate", "evaluation")).unlink()
    assert content(run).keys() == before.keys()
    assert all(content(run)[path] == time for path, time in before.items() if path != run)


def test_without_checkpoints_a_run_keeps_its_results_and_says_so(run, verbs, tmp_path):
    shutil.rmtree(run / "checkpoints")
    before = content(run)
    gone = "checkpoints/last.ckpt: was deleted; the run's results stay, its network does not.\n"
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(tmp_path / "x.png")
    for verb, *args in (["evaluate"], ["export"], ["demo"], ["predict", "x.png"]):
        ended = verbs.run(f"mnist_lab.{verb}", "run", *args, cwd=tmp_path)
        assert (ended.code, ended.stderr) == (2, f"run/{gone}"), ended
    for args in ([], ["trainer.max_epochs=2"]):
        ended = verbs.run("mnist_lab.resume", "run", *args, cwd=tmp_path)
        (line,) = (ended.stderr + ended.stdout).splitlines()
        assert "finished, and its checkpoints were deleted: nothing to go on from." in line
    assert content(run) == before
    ended = verbs.run("mnist_lab.compare", "run", cwd=tmp_path)
    assert (ended.code, ended.stderr) == (0, "")
    assert f"{100 * read_metrics(run)['val/acc']:.2f}" in ended.stdout


def test_a_figure_of_more_pictures_than_it_shows_of_which_one_cannot_be_read(run, verbs, tmp_path):
    pixels = np.full((28, 28), 255, np.uint8)
    pixels[6:22, 13:15] = 0
    names = [f"{number:02}.png" for number in range(23)]
    for name in names:
        Image.fromarray(pixels).save(tmp_path / name)
    (tmp_path / names[3]).write_bytes(b"no picture")
    ended = verbs.run("mnist_lab.predict", str(run), *names, "--show", "f.png", cwd=tmp_path)
    assert ended.code == 1, ended
    assert ended.stderr.splitlines()[-1] == "failed (pictures): 1 of 23 could not be predicted."
    assert (tmp_path / "f.png").exists()


@pytest.mark.usefixtures("run")
def test_variables_that_other_programs_set_end_nothing(tiny, tmp_path):
    others = {"PYTHONWARNINGS": "error", "MPLBACKEND": "no_such_backend"}
    ended = run_cold("-m", TRAIN, *tiny, "hydra.run.dir=other", cwd=tmp_path, **others)
    assert (ended.code, ended.stderr) == (0, ""), ended
    sweep = last_of_each(*tiny, "seed=0,1", "hydra/launcher=pool", "hydra.sweep.dir=sweep")
    ended = run_cold("-m", TRAIN, "-m", *sweep, cwd=tmp_path, **others)
    assert (ended.code, ended.stderr) == (0, ""), ended
    ended = run_cold("-m", "mnist_lab.evaluate", "run", cwd=tmp_path, **others)
    assert ended.code == 0, ended


def test_the_run_button(tiny, tmp_path):
    file = Path(mnist_lab.__file__).with_name("train.py")
    ended = run_cold(str(file), *tiny, "hydra.run.dir=run", cwd=tmp_path)
    assert (ended.code, ended.stderr) == (0, ""), ended
    assert read_state(tmp_path / "run") == "finished"


def test_the_folder_of_a_running_sweep_is_deleted(tiny, tmp_path):
    """Between two jobs, when nothing of it is there any more: a line, and exit code 1."""
    delete = (
        "import shutil, sys, mnist_lab.train, mnist_lab.sweep.launcher as launcher\n"
        "launch = launcher.launch\n"
        "def then_delete(sweep, *args):\n"
        "    launch(sweep, *args)\n"
        "    shutil.rmtree(sweep.path)\n"
        "launcher.launch = then_delete\n"
        "mnist_lab.train.main()\n"
    )
    sweep = last_of_each(*tiny, "seed=0,1", "hydra.sweep.dir=sweep")
    ended = run_cold("-c", delete, "-m", *sweep, cwd=tmp_path)
    assert ended.code == 1, ended
    (line,) = ended.stderr.splitlines()
    said = f"failed (disk): {tmp_path / 'sweep/sweep.json'}: No such file or directory."
    assert line == said


def test_the_list_of_runs_and_sweeps(run, tiny, verbs, tmp_path):
    folder = tmp_path / "outputs"
    run.rename(tmp_path / "moved")
    typed = last_of_each(*tiny, "seed=0,1", f"hydra.sweep.dir={folder}/sweep")
    assert verbs.run(TRAIN, "-m", *typed, cwd=tmp_path).code == 0
    shutil.rmtree(folder / "sweep/001_seed=1")  # as if it had not begun
    shutil.copytree(tmp_path / "moved", folder / "dropped")
    (tmp_path / "moved").rename(folder / "whole")
    shutil.rmtree(folder / "dropped/checkpoints")
    ended = verbs.run("mnist_lab.compare", "outputs", "--list", cwd=tmp_path)
    assert (ended.code, ended.stderr) == (0, ""), ended
    header, *rows, blank, total = ended.stdout.splitlines()
    assert header.split("  ")[0] == "state"
    found = {row.split()[-1]: row for row in rows}
    assert found.keys() == {"outputs/sweep", "outputs/dropped", "outputs/whole"}
    assert found["outputs/sweep"].startswith("1 finished, 1 pending ")
    for name in ("whole", "dropped"):
        files = [path for path in (folder / name).rglob("*") if path.is_file()]
        sizes = {path: path.stat().st_size for path in files}
        weights = sum(size for path, size in sizes.items() if path.suffix == ".ckpt")
        state, whole, part, *_ = found[f"outputs/{name}"].split()
        assert (state, whole) == ("finished", f"{sum(sizes.values()) / 1e6:.1f}")
        assert part == f"{weights / 1e6:.1f}"
    assert (blank, total.partition(",")[0]) == ("", "3 runs and sweeps")
    ended = verbs.run("mnist_lab.compare", "outputs", "--list", "--by", "seed", cwd=tmp_path)
    assert (ended.code, len(ended.stderr.splitlines())) == (2, 1)
