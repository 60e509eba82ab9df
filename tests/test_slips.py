"""What people type by mistake, or in all good faith: obeyed, or refused in one line."""

import shlex

import pytest
from processes import last_of_each

from mnist_lab.run.config import read_config
from mnist_lab.run.directory import read_metrics, read_state
from mnist_lab.settings.check import check
from mnist_lab.settings.compose import checked, compose, sweep_arguments
from mnist_lab.ui.errors import Refused

TRAIN = "mnist_lab.train"

# Folders as people have them. Hydra's grammar can read two of them.
FOLDERS = ("a b", "lr=0.1,seed=3", "[x] {y} (1)", "Übung ñ", "it's", "50 %!&#$", "a:100:b", "2024")

# Settings of Hydra's that a run or sweep of the lab would not obey -> what helps instead.
HYDRAS = {
    "hydra=1": "hydra.run.dir",
    "hydra.run=null": "hydra.run.dir=DIR",
    "hydra.run.dir=": "must name a folder",
    "hydra.run.dir=${nope}": "Interpolation key 'nope' not found",
    "hydra.run.dir=${oc.env:NOPE_}": "Environment variable 'NOPE_' not found",
    "hydra.sweep.dir=${nope} -m seed=0,1": "Interpolation key 'nope' not found",
    "hydra.sweep.dir=x": "hydra.run.dir=DIR",
    "-m seed=0,1 hydra.run.dir=x": "hydra.sweep.dir=DIR",
    "-m seed=0,1 hydra.sweep.subdir=x": "hydra.sweep.dir=DIR",
    "hydra.job.env_copy=[NOPE_]": "NAME=value mnist-train",
    "+hydra.job.env_set.X=1": "NAME=value mnist-train",
    "hydra.job.chdir=true": "hydra.run.dir=DIR",
    "hydra.job.name=x": "of Hydra's settings are: hydra.run.dir",
    "hydra.mode=MULTIRUN": "-m makes a sweep",
    "-m seed=0,1 hydra/sweeper=basic": "-m and the values are enough",
    "hydra/sweeper=optuna": "-m and the values are enough",
    "hydra/launcher=pool": "add -m and values",
    "-m seed=0,1 hydra/launcher=pool,basic": "must be one value",
    "hydra.launcher.slots=2": "add -m and values",
    "-m seed=0,1 hydra.launcher.slots=2": "hydra/launcher=pool",
    "-m seed=0,1 hydra/launcher=pool +hydra.launcher.slot=2": "hydra.launcher.slots?",
    "hydra.verbose=true": "train.log",
    "hydra/job_logging=default": "train.log",
    "hydra.output_subdir=null": ".hydra",
    "+hydra.callbacks.x._target_=os.system": "what the lab builds itself",
    "hydra.sweeper.resume=x": "--plan",
    "-m seed=0,1 hydra.sweeper.params=3": "-m model.width=1,2",
    "~hydra.run": "none can be taken away",
}


@pytest.mark.parametrize("typed", HYDRAS)
def test_a_setting_of_hydras_is_refused_with_what_helps(typed, light_verbs, tmp_path):
    ended = light_verbs.run(TRAIN, *shlex.split(typed), cwd=tmp_path)
    assert (ended.code, ended.stdout) == (2, ""), ended
    assert HYDRAS[typed] in ended.stderr
    (line,) = ended.stderr.splitlines()
    named = line.partition(": ")[0].partition("=")[0]
    assert named in [word.partition("=")[0] for word in shlex.split(typed)]
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("name", FOLDERS)
def test_paths_are_taken_as_they_are_typed_by_every_verb(name, tiny, verbs, idx_folder, tmp_path):
    root, out = tmp_path / f"{name} data", tmp_path / name
    idx_folder(root)
    typed = last_of_each(*tiny, f"data.root={root}", "model=linear", f"hydra.run.dir={name}")
    typed = [text for text in typed if text not in ("model.width=8", "model.dropout=0")]
    ended = verbs.run(TRAIN, *typed, cwd=tmp_path)
    assert (ended.code, ended.stderr) == (0, ""), ended
    assert read_config(out)["data"]["root"] == str(root)
    root = root.rename(tmp_path / f"{name} moved")
    ended = verbs.run("mnist_lab.evaluate", str(out), f"data.root={root}", cwd=tmp_path)
    assert (ended.code, ended.stderr) == (0, ""), ended
    typed = [str(out), f"data.root={root}", "trainer.max_epochs=3"]
    ended = verbs.run("mnist_lab.resume", *typed, cwd=tmp_path)
    assert (ended.code, ended.stderr) == (0, ""), ended
    assert read_metrics(out)["epochs"] == 3


def test_the_folder_of_a_sweep_and_its_data_are_taken_as_they_are_typed(
    tiny, verbs, idx_folder, tmp_path
):
    root, sweep = idx_folder(tmp_path / "~a,b=[c]"), tmp_path / "x=y, z"
    typed = last_of_each(*tiny, f"data.root=~/{root.name}", "seed=0,1", f"hydra.sweep.dir={sweep}")
    ended = verbs.run(TRAIN, "-m", *typed, cwd=tmp_path, HOME=str(tmp_path))
    assert (ended.code, ended.stderr) == (0, ""), ended
    assert [read_state(sweep / f"00{n}_seed={n}") for n in (0, 1)] == ["finished"] * 2
    assert read_config(sweep / "000_seed=0")["data"]["root"] == str(root)
    root = root.rename(tmp_path / "moved = (1)")
    (sweep / "001_seed=1/status.json").unlink()
    ended = verbs.run("mnist_lab.resume", str(sweep), f"data.root={root}", cwd=tmp_path)
    assert (ended.code, ended.stderr) == (0, ""), ended
    assert read_state(sweep / "001_seed=1") == "finished"


def test_a_comma_in_a_sweep_separates_folders_unless_it_is_in_the_name_of_one(
    monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    said = ["data=idx_folder", "seed=0,1", "data.root=a=b,c d"]
    assert sweep_arguments(said)[-1] == "data.root='a=b',c d"
    (tmp_path / "a=b,c d").mkdir()
    assert sweep_arguments(said)[-1] == "data.root=choice('a=b,c d')"


def test_other_text_that_hydra_would_take_apart_comes_with_the_line_that_works():
    with pytest.raises(Refused) as caught:
        compose(["data.name=my digits (1)"])
    line = str(caught.value).rpartition("write ")[2]
    (word,) = shlex.split(line)
    assert checked(compose(["data=mnist", word]))["data"]["name"] == "my digits (1)"


def test_messages_show_values_as_they_are_typed():
    with pytest.raises(Refused, match=r"^trainer.fast_dev_run=true and trainer.limit_train_bat"):
        checked(compose(["trainer.fast_dev_run=True", "trainer.limit_train_batches=3"]))
    config = checked(compose([]))
    for value, shown in ((True, "true"), (None, "null"), ([1, True], r"\[1, true\]"), (2.0, "2.0")):
        config["model"]["width"] = value
        with pytest.raises(Refused, match=f"^model.width={shown}: must be a whole number"):
            check(config)


# A name that there is not -> what is said of it.
NAMES = {
    "lr=0.01": "did you mean optimizer.lr?",
    "momentum=0.9": "did you mean optimizer.momentum?",
    "learning_rate=0.1": "did you mean optimizer.lr?",
    "num_epochs=3": "did you mean trainer.max_epochs?",
    "fast_dev_run=true": "did you mean trainer.fast_dev_run?",
    "+trainer.fast_dev_run=true": "write trainer.fast_dev_run=true, without the +.",
    "+seed=3": "write seed=3, without the +.",
    "+trainer.max_steps=100": "trainer has: accelerator, accumulate_grad_batches, check_val",
    "trainer.log_every_n_steps=5": "trainer has: accelerator, ",
    "optimiser.lr=1": "did you mean optimizer.lr?",
    "optimizer.learning_rate=1": "did you mean optimizer.lr?",
    "xyzzy=3": "there are callbacks, data, debug, experiment, logger, metrics, model, opti",
}


@pytest.mark.parametrize("typed", NAMES)
def test_a_name_that_there_is_not_leads_to_the_one_that_was_meant(typed):
    with pytest.raises(Refused) as caught:
        compose(["optimizer=sgd", typed])
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{typed}: ")
    assert NAMES[typed] in line
    assert len(line) < 500


def test_piped_lines_and_paths_are_whole_and_no_emoji(tiny, verbs, tmp_path):
    out = tmp_path / ":100:" / "-".join(["a long name"] * 18)
    typed = last_of_each(*tiny, "trainer.max_epochs=1", f"hydra.run.dir={out}")
    ended = verbs.run(TRAIN, *typed, cwd=tmp_path.parent, COLUMNS="80")
    assert (ended.code, ended.stderr) == (0, "")
    shown = str(out.relative_to(tmp_path.parent))
    for text in (ended.stdout, (out / "train.log").read_text()):
        assert f"directory  {shown}\n" in text
        (line,) = (line for line in text.splitlines() if line.startswith("run directory"))
        assert line.split(maxsplit=2)[2].rstrip() == shown


def test_a_sweep_and_its_comparison_name_the_data_set(tiny, verbs, tmp_path):
    ended = verbs.run(TRAIN, "-m", *tiny, "seed=0,1", "hydra.sweep.dir=sweep", cwd=tmp_path)
    assert (ended.code, ended.stderr) == (0, "")
    assert "data   idx_folder\n" in ended.stdout
    ended = verbs.run("mnist_lab.compare", "sweep", cwd=tmp_path)
    assert "data set: idx_folder\n" in ended.stdout
    assert verbs.run("mnist_lab.compare", "sweep", "--format", "csv", cwd=tmp_path).code == 0
