"""Run directories of strangers: nothing in them runs, is fetched, hangs or leads elsewhere.

Each payload is first set off on purpose, so that a test fails where its payload is a dud.
"""

import copy
import json
import os
import pickle
import re
import shutil
import signal
import socket
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
import yaml
from sweeps import wait_until

from mnist_lab.compare import compare_command
from mnist_lab.demo import demo_command
from mnist_lab.evaluate import evaluate_command
from mnist_lab.export import export_command
from mnist_lab.predict import predict_command
from mnist_lab.resume import resume_command
from mnist_lab.sweep.stored import planned_job
from mnist_lab.ui.verb import exit_code

VERBS = {
    "resume": (resume_command, ["trainer.max_epochs=3"]),
    "evaluate": (evaluate_command, []),
    "predict": (predict_command, ["--index", "0"]),
    "export": (export_command, []),
    "demo": (demo_command, ["--port", "0"]),
}


@pytest.fixture(scope="module")
def trained(train_run, tmp_path_factory):
    return train_run(tmp_path_factory.mktemp("trained"))


@pytest.fixture
def run(trained, tmp_path, monkeypatch):
    """A copy that a test may spoil; `hacked` beside it is what payloads make."""
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(trained, tmp_path / "run")


@pytest.fixture
def refused(capsys):
    """`refused(path)` asks each verb about a run; all refuse, in their own words and unharmed."""

    def refused(path, verbs=VERBS, status_kept=True):
        before = contents(Path(path)) if status_kept else None
        messages = []
        for verb in verbs:
            command, extra = VERBS[verb]
            code = exit_code(lambda command=command, extra=extra: command([str(path), *extra]))
            said = capsys.readouterr()
            assert code == 2, (verb, said)
            assert 1 <= len(said.err.splitlines()) <= 2, said.err
            assert "weights_only" not in said.err  # how to switch the safety off
            assert "trust" not in said.err
            messages.append(said.err)
        assert not Path("hacked").exists()
        assert before is None or contents(Path(path)) == before
        return messages

    return refused


def contents(folder):
    """Every regular file but the lock and the log."""
    return {
        path: path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in (".lock", "train.log")
    }


class Payload:
    def __reduce__(self):
        return os.makedirs, ("hacked", 0o755, True)


PLACES = [
    ("state_dict",),
    ("state_dict", "layers.1.weight"),
    ("state_dict", Payload()),
    ("hyper_parameters",),
    ("hyper_parameters", "width"),
    ("hyper_parameters", "_instantiator"),
    ("optimizer_states",),
    ("optimizer_states", 0, "state", 0, "exp_avg"),
    ("callbacks",),
    ("callbacks", "Record"),
    ("loops", "fit_loop"),
    ("lr_schedulers",),
    ("epoch",),
    ("pytorch-lightning_version",),
    ("something_else",),
]
FORMATS = {
    "zip": torch.save,
    "legacy": lambda value, path: torch.save(value, path, _use_new_zipfile_serialization=False),
    "pickle": lambda value, path: path.write_bytes(pickle.dumps(value)),
}


def set_off(path, load):
    """The twin: a reader without care runs the payload."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        load(path)
    Path("hacked").rmdir()


def with_payload(checkpoint, place):
    *parents, last = place
    checkpoint = copy.deepcopy(checkpoint)
    node = checkpoint
    for name in parents:
        node = node[name]
    node[last] = Payload()
    return checkpoint


@pytest.mark.parametrize("form", FORMATS)
def test_no_object_in_a_checkpoint_comes_to_life(form, run, refused):
    file = run / "checkpoints" / "last.ckpt"
    (run / "checkpoints" / "previous.ckpt").unlink()
    checkpoint = torch.load(file, weights_only=True)
    for place in PLACES:
        FORMATS[form](with_payload(checkpoint, place), file)
        if form == "pickle":
            set_off(file, lambda path: pickle.loads(path.read_bytes()))
        else:
            set_off(file, lambda path: torch.load(path, weights_only=False))
        for message in refused(run):
            assert message.startswith(f"{file}: not a checkpoint"), message


def test_the_environment_cannot_switch_the_safety_off(run, verbs):
    file = run / "checkpoints" / "last.ckpt"
    torch.save(with_payload(torch.load(file, weights_only=True), ("epoch",)), file)
    force = {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}
    assert verbs.run("writers", "load", str(file), cwd=run.parent).code == 1
    assert not (run.parent / "hacked").exists()
    verbs.run("writers", "load", str(file), cwd=run.parent, **force)
    (run.parent / "hacked").rmdir()  # it is set off so
    for verb, (_, extra) in VERBS.items():
        ended = verbs.run(f"mnist_lab.{verb}", str(run), *extra, cwd=run.parent, **force)
        assert (ended.code, ended.stdout) == (2, ""), ended
        assert "it names" in ended.stderr
        assert not (run.parent / "hacked").exists()


def test_what_does_not_fit_the_network_is_refused_before_training(run, refused):
    file = run / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(file, weights_only=True)

    def changed(place, value):
        damaged = copy.deepcopy(checkpoint)
        node = damaged
        for name in place[:-1]:
            node = node[name]
        node[place[-1]] = value
        torch.save(damaged, file)

    weight = ("state_dict", "layers.1.weight")
    for place, value in (
        (weight, torch.zeros(8, 783)),
        (weight, torch.zeros(()).expand(10**6, 10**6)),  # a terabyte in four bytes
        (weight, torch.full((8, 784), torch.nan)),
        (weight, "weights"),
        (("state_dict", "more"), torch.zeros(1)),
        (("state_dict",), [1]),
        (("epoch",), "1"),
        (("epoch",), -3),
    ):
        changed(place, value)
        refused(run)
    moment = ("optimizer_states", 0, "state", 0, "exp_avg")
    for place, value in (
        (moment, torch.zeros(8, 783)),
        (moment, torch.zeros(8, 784).to_sparse().coalesce().values()[:0].expand(10**6, 0)),
        (("optimizer_states", 0, "state", 99), {"step": torch.zeros(())}),
        (("optimizer_states",), []),
        (("optimizer_states",), 3),
    ):
        changed(place, value)
        (message,) = refused(run, ["resume"])
        assert "optimizer_states do not fit" in message


def test_a_checkpoint_cannot_claim_more_than_it_has(run, refused):
    """A packed record of a gigabyte, many records of one place, and a file of 9 GiB of nothing."""
    file = run / "checkpoints" / "last.ckpt"
    (run / "checkpoints" / "previous.ckpt").unlink()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(1 << 27))
    assert file.stat().st_size < 1 << 20
    assert all("claims more bytes than it has" in text for text in refused(run))
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data/0", bytes(10_000))
        (first,) = archive.filelist
        archive.filelist += [first] * 1000
    assert all("claims more bytes than it has" in text for text in refused(run))
    with file.open("wb") as sparse:
        sparse.truncate(9 << 30)
    assert all(
        "more than the 8,589,934,592 allowed" in text for text in refused(run, status_kept=False)
    )


def yaml_payloads(text):
    """A config.yaml in which something would run, and what sets it off in a careless reader."""
    call = "!!python/object/apply:os.mkdir [hacked]"
    yield text + f"extra: {call}\n", yaml.unsafe_load
    yield text.replace("width: 8", f"width: {call}"), yaml.unsafe_load
    yield f"? {call}\n: 1\n{text}", yaml.unsafe_load
    config = yaml.safe_load(text)

    def instantiated(text):
        from hydra.utils import instantiate
        from omegaconf import OmegaConf

        for node in OmegaConf.create(yaml.safe_load(text)).values():
            try:
                instantiate(node)
            except Exception:
                continue

    for group in ("data", "model", "optimizer", "schedule", "trainer"):
        for target in ("os.mkdir", "lightning.pytorch.core.saving.os.mkdir"):
            attack = {**config, group: {"_target_": target, "path": "hacked"}}
            yield yaml.safe_dump(attack), instantiated
        nested = {"_target_": "os.mkdir", "_args_": ["hacked"]}
        yield yaml.safe_dump({**config, group: {**config[group], "root": nested}}), instantiated


def test_nothing_in_a_stored_configuration_runs(run, refused, capsys):
    file = run / "config.yaml"
    text = file.read_text()
    for attack, reader in yaml_payloads(text):
        file.write_text(attack)
        assert attack != text
        set_off(attack, reader)
        refused(run)
        assert exit_code(lambda: compare_command([str(run)])) == 0
        said = capsys.readouterr().out
        if re.search(
            r"^(model|optimizer|schedule):\n  _target_: (os|lightning\.pytorch\.core)", attack, re.M
        ):
            assert not Path("hacked").exists()
            continue  # to compare, a class that nobody builds is a name among others
        assert str(file) in said  # a line says that it is unreadable
        assert not Path("hacked").exists()


def test_no_resolver_runs_however_it_is_written(run, refused):
    from omegaconf import OmegaConf

    OmegaConf.register_new_resolver("payload", lambda: Path("hacked").mkdir())
    try:
        file = run / "config.yaml"
        text = file.read_text()
        for written in (
            "${payload:}",
            "\\u0024{payload:}",
            "\\x24\\x7bpayload:}",
            "a${oc.env:HOME}",
        ):
            for key in ("name: idx_folder", "class_names:\n  - '0'"):
                assert key in text
                file.write_text(text.replace(key, f'{key.rpartition(" ")[0]} "{written}"'))
                if "payload" in written:
                    stored = yaml.safe_load(file.read_text())
                    set_off(
                        stored,
                        lambda stored: OmegaConf.to_container(
                            OmegaConf.create(stored), resolve=True
                        ),
                    )
                for message in refused(run):
                    assert "holds an interpolation" in message
    finally:
        OmegaConf.clear_resolver("payload")


def test_what_hydra_stored_is_not_read(run):
    for file in (run / ".hydra").glob("*.yaml"):
        file.write_text("!!python/object/apply:os.mkdir [hacked]\n")
    (run / ".hydra").mkdir(exist_ok=True)
    (run / ".hydra" / "config.yaml").write_text("!!python/object/apply:os.mkdir [hacked]\n")
    for verb in ("evaluate", "resume"):
        command, extra = VERBS[verb]
        assert exit_code(lambda command=command, extra=extra: command([str(run), *extra])) == 0
    assert not Path("hacked").exists()


@pytest.fixture
def listener():
    """An address of this machine, and how many have called there."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)

        def num_calls():
            calls = 0
            while True:
                try:
                    connection, _ = server.accept()
                except BlockingIOError:
                    return calls
                connection.close()
                calls += 1

        yield f"http://127.0.0.1:{server.getsockname()[1]}", num_calls


def test_nothing_is_fetched_for_a_stranger(run, refused, listener, light_verbs, tmp_path):
    address, num_calls = listener
    for path in (f"{address}/run", f"{address}/last.ckpt", f"s3://{address[7:]}/run"):
        refused(path)
    config = yaml.safe_load((run / "config.yaml").read_text())
    elsewhere = tmp_path / "elsewhere"
    config["data"] |= {"root": str(elsewhere), "mirrors": [address], "download": True}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    for message in refused(run):
        assert "No download: data.download=false" in message
    assert num_calls() == 0
    assert not elsewhere.exists()
    asked = ["data=idx_folder", f"data.root={elsewhere}", f"data.mirrors=[{address}]"]
    process = light_verbs.start(
        "mnist_lab.train", *asked, "data.download=true", cwd=tmp_path, no_proxy="*"
    )
    wait_until(num_calls)
    process.send(signal.SIGKILL)
    process.wait()


def test_a_stored_sweep_does_not_say_what_is_fetched(run, tmp_path):
    config = yaml.safe_load((run / "config.yaml").read_text())
    del config["schema"]
    config["data"] |= {"mirrors": ["https://example.org"], "download": True}
    job = {"number": 0, "overrides": [], "settings": {}}
    flat = {
        f"{group}.{name}": value
        for group, node in config.items()
        if isinstance(node, dict)
        for name, value in node.items()
    } | {name: value for name, value in config.items() if not isinstance(value, dict)}
    document = {"varies": [], "launcher": [], "settings": flat, "jobs": {"000_": job}}
    (tmp_path / "sweep.json").write_text(json.dumps(document))
    assert planned_job(tmp_path / "000_")[0]["data"]["download"] is False


FILES = ("config.yaml", "status.json", "metrics.csv", "train.log", "checkpoints/last.ckpt", ".lock")


@pytest.mark.parametrize("name", FILES)
def test_a_pipe_or_a_way_out_in_place_of_a_file(name, run, refused, tmp_path):
    """A pipe would wait for a writer; through a link, files of others would change."""
    file = run / name
    outside = tmp_path / "mine"
    outside.write_bytes(file.read_bytes() if file.exists() else b"mine")
    mine = outside.read_bytes()
    file.unlink()
    os.mkfifo(file)
    named = str(run if name == "config.yaml" else file)
    assert all(named in text for text in refused(run))
    file.unlink()
    for target in (outside, os.path.relpath(outside, file.parent), "/dev/zero"):
        file.symlink_to(target)
        assert all(named in text for text in refused(run, status_kept=False))
        file.unlink()
    assert outside.read_bytes() == mine


@pytest.mark.parametrize("name", ["checkpoints", "tensorboard", "evaluation", "export", ".hydra"])
def test_a_folder_that_lies_elsewhere(name, run, refused, tmp_path):
    outside = tmp_path / "elsewhere"
    if (run / name).exists():
        (run / name).rename(outside)
    outside.mkdir(exist_ok=True)
    (run / name).symlink_to(outside)
    before = contents(outside)
    assert all(f"{run / name}: a symbolic link that leads out" in text for text in refused(run))
    assert contents(outside) == before


def test_a_link_that_stays_inside_is_nobodys_harm(run):
    (run / "checkpoints").rename(run / "weights")
    (run / "checkpoints").symlink_to("weights")
    assert exit_code(lambda: evaluate_command([str(run)])) == 0


def test_files_without_end(run, refused):
    """Nested without end, billions of settings in forty lines, or too many of them."""
    file = run / "config.yaml"
    text = file.read_text()
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{n}: &a{n} {{p: *a{n - 1}, q: *a{n - 1}, r: *a{n - 1}}}" for n in range(1, 40)]
    for attack in ("[" * 1_200, text + "\n".join(lines)):
        file.write_text(attack)
        refused(run)
    with file.open("w") as sparse:
        sparse.truncate(300_000)
    assert all("more than the 262,144 allowed" in text for text in refused(run))
    file.write_text(text)
    (run / "status.json").write_text("[" * 1_000_000)
    refused(run, ["resume", "evaluate"])
