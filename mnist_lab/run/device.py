"""The device of a run: the GPU where torch can use one, else the CPU; and arithmetic that it has.

Run as a program, this file tells as JSON what `gpus` finds. Torch is imported when it is asked.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mnist_lab.ui.errors import Refused, first_line

MASK = "CUDA_VISIBLE_DEVICES"
NO_DEVICE = ("", "-1", "NoDevFiles", "void", "none")  # entries of it that end the list
DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # NVIDIA, AMD, Windows' subsystem for Linux
ANSWER_S = 120  # seconds within which a driver should answer

BF16 = "bf16-mixed"
INSTEAD = "32-true"


@dataclasses.dataclass(frozen=True)
class Gpus:
    """The GPUs that this process may use.

    Attributes:
        usable: of each one that torch sees, whether it has kernels for it.
        problem: why one, or all, are left alone, in a line; None where there is nothing to say.
    """

    usable: Sequence[bool] = ()
    problem: str | None = None


def gpus() -> Gpus:
    """Look for GPUs. A driver that is there and gives torch none is a problem."""
    import torch

    if masked():
        return Gpus()
    installed = shutil.which("nvidia-smi") is not None
    with warnings.catch_warnings(record=True) as caught:  # torch warns of what is said here
        warnings.simplefilter("always")
        try:
            count = torch.cuda.device_count() if torch.cuda.is_available() else 0
            if count or installed:
                torch.cuda.init()  # raises where there is a driver that does not work
            reason = str(caught[0].message).splitlines()[0] if caught else "it counts none"
        except Exception as error:  # an AssertionError, where torch was built without CUDA
            count, reason = 0, first_line(error)
    if not count:
        return Gpus(
            problem=f"nvidia-smi is here, torch sees no GPU ({reason})" if installed else None
        )
    kernels = torch.cuda.get_arch_list()
    versions = [torch.cuda.get_device_capability(index) for index in range(count)]
    usable = [has_kernels(version, kernels) for version in versions]
    without = [
        f"{torch.cuda.get_device_name(index)} (sm_{major}{minor})"
        for index, (major, minor) in enumerate(versions)
        if not usable[index]
    ]
    problem = f"torch has no kernels for {', '.join(without)}, only for {', '.join(kernels)}"
    return Gpus(usable, problem if without else None)


def masked() -> bool:
    """Whether this process may use no GPU, be there any."""
    return os.environ.get(MASK, "all").split(",")[0].strip() in NO_DEVICE


def worth_a_look() -> bool:
    """Whether there may be a GPU, as far as can be told without the time that torch takes."""
    found = shutil.which("nvidia-smi") or any(Path(name).exists() for name in DRIVERS)
    return bool(found) and not masked()


def gpus_by_another_process() -> Gpus:
    """What `gpus` finds, for a process that does not import torch."""
    if not worth_a_look():
        return Gpus()
    path = os.pathsep.join(filter(None, sys.path))
    try:
        done = subprocess.run(
            [sys.executable, "-m", __name__],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=True,
            timeout=ANSWER_S,
        )
        return Gpus(**json.loads(done.stdout.splitlines()[-1]))
    except subprocess.CalledProcessError as error:
        said = error.stderr.splitlines() or [f"exit code {error.returncode}"]
        return Gpus(problem=f"torch cannot look for GPUs ({said[-1]})")
    except subprocess.TimeoutExpired:
        return Gpus(problem=f"torch found no GPU within {ANSWER_S} seconds")


def has_kernels(version: tuple[int, int], kernels: Sequence[str]) -> bool:
    """Whether code compiled for `kernels` runs on a GPU of this compute capability.

    Machine code (sm_86) runs on the same major version, from its minor version on, and PTX
    (compute_86) on everything later; with an `a` either runs on its own version alone, with an `f`
    on its major version. Names that are not NVIDIA's are taken to run.
    Source: CUDA C++ Programming Guide, "Binary, PTX, and Application Compatibility".
    """
    for name in kernels:
        found = re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", name)
        if found is None:
            return True
        kind, own, suffix = found[1], (int(found[2]), int(found[3])), found[4]
        if own == version:
            return True
        anywhere_later = kind == "compute" and not suffix
        if suffix != "a" and own < version and (own[0] == version[0] or anywhere_later):
            return True
    return not kernels


def device_kind(accelerator: str) -> str:
    """Settle `trainer.accelerator`: gpu where torch can use the first one, else cpu.

    Raises:
        Refused: gpu is asked for, and why there is none.
    """
    if accelerator == "cpu":
        return "cpu"
    found = gpus()
    if any(found.usable[:1]):
        return "gpu"
    if accelerator == "gpu":
        why = found.problem or "no GPU that torch can use is here"
        raise Refused(f"trainer.accelerator=gpu: {why}; must be cpu or auto.")
    return "cpu"


def has_bf16(kind: str) -> bool:
    """Whether the device itself computes in bf16; emulated it takes many times as long."""
    import torch

    if kind == "gpu":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    built = torch.backends.mkldnn.is_available()
    return built and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def granted(trainer: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a trainer with the device and arithmetic that it really gets.

    Raises:
        Refused: a GPU that is not there, or arithmetic that only a GPU has.
    """
    kind, precision = device_kind(trainer["accelerator"]), trainer["precision"]
    if precision == "16-mixed" and kind == "cpu":
        raise Refused(f"trainer.precision=16-mixed: needs a GPU; on a CPU it must be {BF16}.")
    if precision == BF16 and not has_bf16(kind):
        precision = INSTEAD
    return {**trainer, "accelerator": kind, "precision": precision}


def asked_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the trainer that were asked for and not granted, also in a run's first part."""
    asked: dict[str, Any] = config.get("asked", {}).get("trainer", {})
    return asked


def departures(asked: Mapping[str, Any], trainer: Mapping[str, Any]) -> Iterator[str]:
    """What a person should know of a trainer that is not as it was asked for, a line each.

    Args:
        asked: those settings that were asked for and not granted.
    """
    took_cpu = (asked.get("accelerator"), trainer["accelerator"]) == ("auto", "cpu")
    if took_cpu and (problem := gpus().problem):
        yield f"{problem}: this run takes the CPU."
    if "precision" in asked:
        yield (
            f"trainer.precision={asked['precision']}: was asked of a device without such "
            f"arithmetic, where it takes many times as long; {trainer['precision']} instead."
        )


def device_name(kind: str) -> str:
    import torch

    return torch.cuda.get_device_name() if kind == "gpu" else f"CPU ({platform.machine()})"


if __name__ == "__main__":
    print(json.dumps(dataclasses.asdict(gpus())))
