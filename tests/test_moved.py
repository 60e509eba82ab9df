"""Projects that were renamed, moved or copied: their runs find their images again, or are told."""

import json
import shutil
import signal
from pathlib import Path

import pytest
from conftest import write_idx_folder
from sweeps import contents, states, wait_until

from mnist_lab.run.config import read_config
from mnist_lab.run.directory import read_epochs, read_metrics, read_status
from mnist_lab.run.images import OtherImages, own_images

TRAIN, RESUME = "mnist_lab.train", "mnist_lab.resume"
TINY = ["data=idx_folder", "model.width=8", "trainer=cpu", "trainer.max_epochs=1", "threads=1"]
MORE = "trainer.max_epochs=2"


def only(folder, pattern):
    (path,) = folder.glob(pattern)
    return path


@pytest.fixture(scope="module")
def project(verbs, tmp_path_factory):
    """A folder with data, a run and a sweep that lacks the last of its jobs."""
    folder = tmp_path_factory.mktemp("before") / "project"
    write_idx_folder(folder / "data")
    for more in ([], ["-m", "seed=0,1,2"]):
        ended = verbs.run(TRAIN, *TINY, "data.root=data", *more, cwd=folder)
        assert ended.code == 0, ended
    sweep = only(folder, "outputs/sweeps/*/*")
    shutil.rmtree(only(sweep, "002_*"))
    return folder


@pytest.fixture
def moved(project, tmp_path):
    """The same under another name in another place, and nothing where it was."""
    after = shutil.copytree(project, tmp_path / "elsewhere" / "Été, 2 (1)", symlinks=True)
    hidden = project.rename(project.with_name("hidden"))
    yield after
    hidden.rename(project)


def verbs_on(run, folder):
    """Every verb that needs a run's images, as it is typed in the project's folder."""
    yield "evaluate", [run]
    yield "predict", [run, "--random", "1"]
    yield "export", [run]
    yield "resume", [run, MORE]
    sweep = only(folder, "outputs/sweeps/*/*").relative_to(folder)
    yield "resume", [sweep]


def written(folder):
    """All but who holds what."""
    return {path: raw for path, raw in contents(folder).items() if path.name != ".lock"}


def served(verbs, *typed, cwd):
    """Start the demo, and stop it once it has said something."""
    server = verbs.start("mnist_lab.demo", *map(str, typed), "--port", "0", cwd=cwd)
    wait_until(lambda: any(path.stat().st_size for path in server.output.glob("std*")))
    server.send(signal.SIGINT)
    return server.wait()


def test_every_verb_finds_the_images_of_a_moved_project(moved, verbs):
    run = only(moved, "outputs/runs/*/*")
    shown, acc = run.relative_to(moved), read_metrics(run)["test/acc"]
    digest = read_status(run)["data_sha256"]
    assert "Draw at http" in served(verbs, shown, cwd=moved).stdout
    for verb, typed in verbs_on(shown, moved):
        ended = verbs.run(f"mnist_lab.{verb}", *map(str, typed), cwd=moved)
        assert (ended.code, ended.stderr) == (0, ""), (verb, ended)
    evaluated = json.loads((run / "evaluation/metrics.json").read_text())
    assert evaluated["test/acc"] == pytest.approx(acc, abs=1e-6)
    assert len(read_epochs(run)) == 2
    assert read_config(run)["data"]["root"] == str(moved / "data")
    sweep = only(moved, "outputs/sweeps/*/*")
    assert set(states(sweep).values()) == {"finished"}
    for path in (run, *sweep.glob("00*")):
        assert read_metrics(path)["data_sha256"] == digest


def test_images_that_went_elsewhere_are_taken_from_where_the_user_says(moved, verbs, tmp_path):
    run, sweep = only(moved, "outputs/runs/*/*"), only(moved, "outputs/sweeps/*/*")
    shutil.move(moved / "data", tmp_path / "images")
    others = write_idx_folder(tmp_path / "others", seed=7)
    before = written(moved)

    for verb, typed in verbs_on(run, moved):
        ended = verbs.run(f"mnist_lab.{verb}", *map(str, typed), cwd=moved)
        assert ended.code == 2, (verb, ended)
        missing, cure = ended.stderr.splitlines()
        assert missing.startswith("data.root=")
        assert "no idx_folder files in" in missing
        assert cure.endswith("What helps: data.root=DIR, the folder that holds them.")
        wrong = [*map(str, typed), f"data.root={others}"]
        ended = verbs.run(f"mnist_lab.{verb}", *wrong, cwd=moved)
        assert ended.code == 2, (verb, ended)
        (line,) = ended.stderr.splitlines()
        assert line.startswith(f"data.root={others}: these are not the images that the run was")
        assert written(moved) == before

    there = "data.root=../../images"  # of the folder in which it is typed
    for verb, typed in verbs_on(run, moved):
        ended = verbs.run(f"mnist_lab.{verb}", *map(str, typed), there, cwd=moved)
        assert (ended.code, ended.stderr) == (0, ""), (verb, ended)
    assert "Draw at http" in served(verbs, run, there, cwd=moved).stdout
    assert set(states(sweep).values()) == {"finished"}
    for path in (run, only(sweep, "002_*")):
        assert Path(read_config(path)["data"]["root"]).samefile(tmp_path / "images")
        assert read_metrics(path)["data_sha256"] == read_status(only(sweep, "000_*"))["data_sha256"]


def test_a_job_that_began_goes_on_where_the_sweep_says(moved, verbs, tmp_path):
    """Stopped in the middle; and one that began with images that nobody kept the sum of."""
    sweep = only(moved, "outputs/sweeps/*/*")
    job = only(sweep, "001_*")
    (job / "metrics.json").unlink()
    status = read_status(job)
    (job / "status.json").write_text(json.dumps({**status, "state": "interrupted"}))
    document = json.loads((sweep / "sweep.json").read_text())
    del document["data_sha256"]  # as an earlier lab wrote it
    (sweep / "sweep.json").write_text(json.dumps(document))
    shutil.move(moved / "data", tmp_path / "images")
    others = write_idx_folder(moved / "data", seed=7)  # in their old place
    ended = verbs.run(RESUME, str(sweep), cwd=moved)
    assert (ended.code, others.exists()) == (2, True)
    assert "these are not the images that the run was trained on" in ended.stderr
    ended = verbs.run(RESUME, str(sweep), f"data.root={tmp_path / 'images'}", cwd=moved)
    assert (ended.code, ended.stderr) == (0, ""), ended
    for path in sweep.glob("00*"):
        assert read_metrics(path)["data_sha256"] == status["data_sha256"]


def test_of_several_places_that_with_the_own_images_is_taken(tmp_path):
    """A copied project, whose original has got other images since."""
    from mnist_lab.data.source import Source
    from mnist_lab.settings.compose import checked, compose

    root, copy = tmp_path / "original/data", tmp_path / "a/copy"
    data = checked(compose(["data=idx_folder", f"data.root={root}"]))["data"]
    there = write_idx_folder(tmp_path / "a/data")
    own = Source.of({**data, "root": str(there)}).read().sha256
    run = copy / "outputs/runs/mlp/now"
    run.mkdir(parents=True)
    assert own_images(data, run, sha256=own)["root"] == str(there)
    write_idx_folder(copy / "data", seed=8)  # nearer, but others
    damaged = write_idx_folder(copy / "outputs/data", seed=1) / "t10k-labels-idx1-ubyte"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    write_idx_folder(root, seed=9)
    assert own_images(data, run, sha256=own)["root"] == str(there)
    beside = {**data, "root": str(tmp_path / "a/former name/../data")}
    assert Path(own_images(beside, run, sha256=own)["root"]).samefile(there)
    with pytest.raises(OtherImages, match=f"^data.root={root}: these are not"):
        own_images(data, run, sha256=own, given=True)
    with pytest.raises(OtherImages, match=r"data\.root=DIR says where those are; buy new ones\.$"):
        own_images(data, run, sha256="0" * 64, otherwise="buy new ones")
