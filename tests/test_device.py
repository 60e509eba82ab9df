"""The device of a run: what is asked of torch about it, and what a person is told."""

import os

import pytest
import torch
import yaml
from processes import last_of_each, run_cold

from mnist_lab.run.checkpoints import read_checkpoint
from mnist_lab.run.config import read_config
from mnist_lab.run.device import Gpus, device_kind, gpus, granted, has_kernels
from mnist_lab.run.directory import Run, read_metrics
from mnist_lab.run.resume import go_on
from mnist_lab.settings.compose import checked, compose
from mnist_lab.sweep.composer import Composer
from mnist_lab.sweep.job import run_job
from mnist_lab.sweep.plan import plan
from mnist_lab.sweep.record import Sweep
from mnist_lab.sweep.slots import choose_slots
from mnist_lab.ui.errors import Refused

KERNELS = ["sm_75", "sm_80", "sm_86", "sm_90a", "sm_100f"]  # of a torch that might be installed


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """`nvidia-smi` on the PATH, failing as it does where its driver is broken."""
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed' >&2\nexit 9\n")
    program.chmod(0o755)
    path = f"{program.parent}:{os.environ['PATH']}"
    monkeypatch.setenv("PATH", path)
    return path


@pytest.fixture
def machine(driver, monkeypatch):  # noqa: ARG001
    """`machine(version, ...)`: GPUs of these compute capabilities, as torch would show them."""

    def machine(*versions, bf16=True):
        answers = {
            "is_available": lambda: bool(versions),
            "device_count": lambda: len(versions),
            "init": lambda: None,
            "get_arch_list": lambda: KERNELS,
            "get_device_capability": lambda index: versions[index],
            "get_device_name": lambda index=0: f"GPU {index}",
            "is_bf16_supported": lambda including_emulation=True: including_emulation or bf16,
        }
        for name, answer in answers.items():
            monkeypatch.setattr(torch.cuda, name, answer)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")

    return machine


@pytest.mark.parametrize(
    ("version", "kernels", "runs"),
    [
        ((7, 5), ["sm_75"], True),
        ((7, 0), ["sm_75", "sm_80"], False),  # older than all
        ((8, 9), ["sm_75", "sm_86"], True),  # a later minor version
        ((8, 0), ["sm_86"], False),
        ((9, 0), ["sm_86"], False),  # another major version
        ((9, 0), ["sm_86", "compute_86"], True),  # PTX is compiled there
        ((8, 0), ["sm_75", "compute_86"], False),
        ((9, 0), ["sm_90a"], True),
        ((9, 1), ["sm_90a", "compute_90a"], False),
        ((10, 3), ["sm_100"], True),
        ((10, 3), ["sm_100f"], True),
        ((12, 0), ["sm_100f", "compute_100f"], False),
        ((12, 1), ["sm_75", "sm_120"], True),
        ((9, 0), ["gfx90a"], True),  # AMD's: no such rule
        ((9, 0), [], True),
    ],
)
def test_which_kernels_run_where(version, kernels, runs):
    assert has_kernels(version, kernels) is runs


def test_a_gpu_without_kernels_is_left_alone(machine):
    machine((8, 6))
    assert gpus() == Gpus([True])
    assert (device_kind("auto"), device_kind("gpu"), device_kind("cpu")) == ("gpu", "gpu", "cpu")
    machine((6, 1), (8, 9))
    why = "torch has no kernels for GPU 0 (sm_61), only for sm_75, sm_80, sm_86, sm_90a, sm_100f"
    assert gpus() == Gpus([False, True], why)
    assert device_kind("auto") == "cpu"
    with pytest.raises(Refused) as refusal:
        device_kind("gpu")
    assert str(refusal.value) == f"trainer.accelerator=gpu: {why}; must be cpu or auto."


def test_a_run_that_takes_the_cpu_for_want_of_kernels_says_so(monkeypatch, train_run, tmp_path):
    why = "torch has no kernels for GPU 0 (sm_35)"
    monkeypatch.setattr("mnist_lab.run.device.gpus", lambda: Gpus([False], why))
    path = train_run(tmp_path / "auto", "trainer.accelerator=auto", "trainer.max_epochs=1")
    assert read_config(path)["trainer"]["accelerator"] == "cpu"
    log = " ".join((path / "train.log").read_text().split())
    assert f"WARNING {why}: this run takes the CPU." in log
    path = train_run(tmp_path / "cpu", "trainer.accelerator=cpu", "trainer.max_epochs=1")
    assert "WARNING" not in (path / "train.log").read_text()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("Found no NVIDIA driver on your system.\nPlease check"), "Found no NVIDIA"),
        (RuntimeError("The NVIDIA driver on your system is too old (found 11040)"), "is too old"),
        (AssertionError("Torch not compiled with CUDA enabled"), "not compiled with CUDA"),
        (None, "it counts none"),
    ],
)
@pytest.mark.parametrize("counted", [False, True])  # by NVML, which may see what does not work
def test_a_broken_driver_is_told_with_torchs_reason(error, reason, counted, machine, monkeypatch):
    machine()

    def init():
        if error:
            raise error

    monkeypatch.setattr(torch.cuda, "init", init)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(counted and error))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    found = gpus()
    assert not found.usable
    assert found.problem.startswith("nvidia-smi is here, torch sees no GPU (")
    assert reason in found.problem
    assert len(found.problem.splitlines()) == 1
    for mask in ("", "-1", "NoDevFiles"):  # hidden on purpose
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", mask)
        assert gpus() == Gpus()


def test_without_a_driver_there_is_nothing_to_say(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr("mnist_lab.run.device.DRIVERS", ())
    assert gpus() == Gpus()
    with pytest.raises(Refused, match="no GPU that torch can use is here; must be cpu or auto"):
        device_kind("gpu")


@pytest.mark.parametrize("launcher", ["basic", "pool"])
def test_runs_and_sweeps_begin_with_the_broken_driver(launcher, driver, tiny, tmp_path):
    """Real processes; where there are GPUs, the mask names none of them."""
    auto = last_of_each(*tiny, "trainer=default", "trainer.max_epochs=1")
    env = {"PATH": driver, "CUDA_VISIBLE_DEVICES": "63"}
    told = "WARNING nvidia-smi is here, torch sees no GPU ("
    sweep = ["-m", *auto, "seed=0,1", f"hydra/launcher={launcher}"]
    ended = run_cold("-m", "mnist_lab.train", *sweep, cwd=tmp_path, **env)
    assert ended.code == 0, ended.stderr
    assert ended.stdout.startswith(told)
    assert ended.stdout.index(told) < ended.stdout.index("sweep  2 jobs")
    assert ended.stdout.count(told) == {"basic": 3, "pool": 1}[launcher]  # each run has a head
    ended = run_cold(
        "-m", "mnist_lab.train", *last_of_each(*sweep, "trainer=gpu"), cwd=tmp_path, **env
    )
    assert (ended.code, ended.stdout) == (2, "")
    assert ended.stderr.startswith("trainer.accelerator=gpu: nvidia-smi is here, torch sees no GPU")


def test_a_pool_leaves_out_what_torch_has_no_kernels_for(monkeypatch):
    numbers = {"slots": None, "threads": 1, "job_threads": 1, "jobs_per_device": 1}
    said = []

    def slots(found, *accelerators, devices="auto"):
        monkeypatch.setattr("mnist_lab.sweep.slots.gpus_by_another_process", lambda: found)
        said.clear()
        chosen = choose_slots({*accelerators}, devices=devices, warn=said.append, **numbers)
        return [slot.device for slot in chosen]

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b,GPU-c")
    assert slots(Gpus([True, False, True], "no kernels"), "auto") == ["GPU-a", "GPU-c"]
    assert said == ["no kernels: the jobs run on the other GPUs."]
    assert {*slots(Gpus([False] * 3, "no kernels"), "auto")} == {None}
    assert said == ["no kernels: the jobs run on the cores."]
    slots(Gpus([True] * 3), "gpu")
    assert said == []
    with pytest.raises(Refused, match=r"^trainer\.accelerator=gpu: no kernels; use auto or cpu\.$"):
        slots(Gpus([False] * 3, "no kernels"), "gpu")
    with pytest.raises(Refused, match=r"^hydra\.launcher\.devices=gpu: no kernels; must be"):
        slots(Gpus([], "no kernels"), "auto", devices="gpu")
    slots(Gpus([], "not asked for"), "cpu")
    assert said == []


# bf16 ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bf16", [False, True])
def test_bf16_is_used_where_a_gpu_has_it(bf16, machine):
    machine((8, 0) if bf16 else (7, 5), bf16=bf16)
    trainer = {"accelerator": "auto", "precision": "bf16-mixed", "max_epochs": 3}
    used = "bf16-mixed" if bf16 else "32-true"
    assert granted(trainer) == {"accelerator": "gpu", "precision": used, "max_epochs": 3}
    assert granted({**trainer, "precision": "16-mixed"})["precision"] == "16-mixed"


@pytest.fixture
def no_bf16(monkeypatch):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)


@pytest.mark.usefixtures("no_bf16")
def test_a_cpu_without_bf16_computes_in_32_bits_and_says_so(train_run, tmp_path, monkeypatch):
    asked = ["trainer.precision=bf16-mixed", "trainer.max_epochs=4"]
    plain = train_run(tmp_path / "plain", "trainer.max_epochs=4")
    whole = train_run(tmp_path / "whole", *asked)
    path = train_run(tmp_path / "parts", *asked[:1])
    line = "WARNING trainer.precision=bf16-mixed: was asked of a device without such arithmetic"
    assert line in " ".join((path / "train.log").read_text().split())
    assert "WARNING" not in (plain / "train.log").read_text()
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    run = Run.hold(path)
    config = read_config(path)
    config["trainer"]["max_epochs"] = 4
    go_on(run, config, quiet=True)  # on another machine: in the arithmetic that it began with
    run.release()
    weights = [
        read_checkpoint(p / "checkpoints" / "last.ckpt")["state_dict"] for p in (plain, whole, path)
    ]
    for other in weights[1:]:
        assert all(torch.equal(weights[0][name], other[name]) for name in weights[0])
    for found, precision in ((plain, "32-true"), (whole, "bf16-mixed"), (path, "bf16-mixed")):
        metrics = read_metrics(found)
        assert (metrics["precision"], metrics["precision_asked"]) == ("32-true", precision)
        assert (
            yaml.safe_load((found / "config.yaml").read_text())["trainer"]["precision"] == "32-true"
        )


@pytest.mark.usefixtures("no_bf16")
def test_a_job_goes_on_in_the_arithmetic_that_it_began_with(tiny, tmp_path, monkeypatch):
    texts = last_of_each(*tiny, "trainer.precision=bf16-mixed", "trainer.max_epochs=1")
    sweep = Sweep.claim(plan([texts], Composer()), tmp_path / "s", arguments=texts, launcher=[])
    (job,) = sweep.jobs
    directory = sweep.job_path(job)
    directory.mkdir()
    run_job(directory, quiet=True)
    run = Run.hold(directory)
    run.write_status("interrupted", signal="SIGTERM")
    run.release()
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    run_job(directory, quiet=True)
    sweep.held.release()
    metrics = read_metrics(directory)
    assert (metrics["precision"], metrics["precision_asked"]) == ("32-true", "bf16-mixed")


def test_on_a_cpu_of_the_year_2013_a_recipe_in_bf16_takes_32_bits(tiny, tmp_path):
    """A real process, in which oneDNN may use no later instructions."""
    settings = last_of_each(*tiny, "trainer.precision=bf16-mixed", "trainer.max_epochs=1")
    old = {"ONEDNN_MAX_CPU_ISA": "AVX2"}
    ended = run_cold("-m", "mnist_lab.train", *settings, cwd=tmp_path, **old)
    assert ended.code == 0, ended.stderr
    assert "1 thread, 32-true" in ended.stdout
    assert ended.stdout.count("WARNING trainer.precision=bf16-mixed") == 1
    (path,) = tmp_path.glob("outputs/runs/*/*")
    assert read_metrics(path)["precision_asked"] == "bf16-mixed"


def test_what_was_asked_is_checked_when_it_is_read(train_run, tmp_path):
    path = train_run(tmp_path, "trainer.max_epochs=1")
    text = (path / "config.yaml").read_text()
    for asked in ("{trainer: {precision: fast}}", "{trainer: {presicion: 32-true}}", "[]", "{}"):
        (path / "config.yaml").write_text(f"{text}asked: {asked}\n")
        with pytest.raises(Refused, match=r"config\.yaml: "):
            read_config(path)
    assert checked(compose([]))["trainer"]["precision"] == "32-true"
