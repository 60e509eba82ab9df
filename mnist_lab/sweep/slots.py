"""Where the jobs of a pool run: a share of the CPU cores, or a GPU. Imports no torch."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mnist_lab.ui.errors import Refused

MASK = "CUDA_VISIBLE_DEVICES"
DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # NVIDIA, AMD, Windows' subsystem for Linux


@dataclass(frozen=True)
class Slot:
    """What one worker may use.

    Attributes:
        threads: CPU threads.
        device: one entry for CUDA_VISIBLE_DEVICES: an index, a UUID or a MIG name; None: no GPU.
    """

    threads: int
    device: str | None

    @property
    def environment(self) -> dict[str, str]:
        """What must be set before torch is imported."""
        threads = str(self.threads)
        return {MASK: self.device or "", "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}


def cpu_slots(
    *, num_cores: int, slots: int | None, threads: int | None, job_threads: int
) -> list[Slot]:
    """Share the cores out, one thread a slot unless asked for more.

    Args:
        num_cores: that this process may use.
        slots: at most; None: as many as the cores allow.
        threads: of a slot; None: what the jobs ask for.
        job_threads: the most that a job asks for.

    Raises:
        Refused: more threads than cores.
    """
    threads = threads or job_threads
    refuse_few_threads(threads, job_threads)
    fitting = num_cores // threads
    if (slots or 1) > fitting:
        raise Refused(
            f"hydra.launcher.slots={slots or 1}, {threads} threads each: more than the "
            f"{num_cores} cores here, and jobs would slow each other down; slots x "
            f"threads must be at most {num_cores}."
        )
    return [Slot(threads, None)] * (slots or fitting)


def gpu_slots(
    gpus: list[str],
    *,
    num_cores: int,
    slots: int | None,
    threads: int | None,
    job_threads: int,
    jobs_per_device: int,
) -> list[Slot]:
    """One slot a GPU, or several; the CPU threads are shared out. Arguments as `cpu_slots`.

    Raises:
        Refused: more slots than GPUs x jobs_per_device, or fewer threads than a job asks for.
    """
    places = gpus * jobs_per_device  # all GPUs get one job before any gets two
    if slots is not None and slots > len(places):
        raise Refused(
            f"hydra.launcher.slots={slots}: there are {len(gpus)} GPUs and "
            f"hydra.launcher.jobs_per_device={jobs_per_device}; must be at most {len(places)}."
        )
    places = places[:slots]
    threads = threads or max(1, num_cores // len(places), job_threads)
    refuse_few_threads(threads, job_threads)
    return [Slot(threads, gpu) for gpu in places]


def refuse_few_threads(threads: int, job_threads: int) -> None:
    if threads < job_threads:
        raise Refused(
            f"hydra.launcher.threads={threads}: a job has threads={job_threads}; "
            "give the slots as many, or leave it null."
        )


def visible_gpus(environment: Mapping[str, str], count: Callable[[], int]) -> list[str]:
    """The GPUs that this process may use, as entries for the workers' CUDA_VISIBLE_DEVICES.

    An inherited mask is kept to: its entries are handed on one by one, be they indices, UUIDs or
    MIG names. As in CUDA, an entry that names no device ends the list.

    Args:
        count: how many GPUs torch sees; asked only when the mask leaves any.
    """
    mask = environment.get(MASK)
    if mask is None:
        return [str(index) for index in range(count())]
    entries = []
    for entry in (text.strip() for text in mask.split(",")):
        if entry in ("", "-1", "NoDevFiles", "void", "none"):
            break
        entries.append(entry)
    if not entries:
        return []
    seen = count()
    if entries[0].startswith("MIG-"):  # torch counts one of them, whatever their number
        return entries if seen else []
    return entries[:seen]


def count_gpus() -> int:
    """Ask torch in a process of its own: this one does not import it. 0 without any driver."""
    if not (shutil.which("nvidia-smi") or any(Path(name).exists() for name in DRIVERS)):
        return 0
    command = [sys.executable, "-c", "import torch; print(torch.cuda.device_count())"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return int(done.stdout) if done.returncode == 0 else 0


def choose_slots(
    accelerators: set[str],
    *,
    devices: str,
    slots: int | None,
    threads: int | None,
    job_threads: int,
    jobs_per_device: int,
) -> list[Slot]:
    """Slots on the GPUs where there are any and a job could use one, else on the cores.

    Args:
        accelerators: the jobs' own `trainer.accelerator`s: auto, cpu, gpu.
        devices: auto, cpu or gpu.

    Raises:
        Refused: a GPU is asked for where none may be used; or the numbers do not go together.
    """
    import loky

    num_cores = loky.cpu_count()  # by affinity and the container's limit
    wanted = devices == "gpu" or (devices == "auto" and accelerators != {"cpu"})
    gpus = visible_gpus(os.environ, count_gpus) if wanted else []
    if gpus:
        return gpu_slots(
            gpus,
            num_cores=num_cores,
            slots=slots,
            threads=threads,
            job_threads=job_threads,
            jobs_per_device=jobs_per_device,
        )
    if devices == "gpu":
        raise Refused("hydra.launcher.devices=gpu: torch sees no GPU here; must be cpu or auto.")
    if "gpu" in accelerators:
        where = "hydra.launcher.devices=cpu" if devices == "cpu" else "torch sees no GPU here"
        raise Refused(f"trainer.accelerator=gpu: {where}; use auto or cpu.")
    if jobs_per_device > 1:
        raise Refused(
            f"hydra.launcher.jobs_per_device={jobs_per_device}: only GPUs are shared so; on cores "
            "use hydra.launcher.slots."
        )
    return cpu_slots(num_cores=num_cores, slots=slots, threads=threads, job_threads=job_threads)
