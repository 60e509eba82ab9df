"""Where the jobs of a pool run: a share of the CPU cores, or a GPU. Imports no torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mnist_lab.run.device import MASK, NO_DEVICE, Gpus, gpus_by_another_process
from mnist_lab.ui.errors import Refused


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


def visible_gpus(environment: Mapping[str, str], usable: Sequence[bool]) -> list[str]:
    """The GPUs that this process may use, as entries for the workers' CUDA_VISIBLE_DEVICES.

    An inherited mask is kept to: its entries are handed on one by one, be they indices, UUIDs or
    MIG names. As in CUDA, an entry that names no device ends the list.

    Args:
        usable: of each GPU that torch sees, whether it has kernels for it.
    """
    mask = environment.get(MASK)
    if mask is None:
        return [str(index) for index, good in enumerate(usable) if good]
    entries = []
    for entry in (text.strip() for text in mask.split(",")):
        if entry in NO_DEVICE:
            break
        entries.append(entry)
    if entries and entries[0].startswith("MIG-"):  # torch counts one of them, be they many
        return entries if any(usable) else []
    return [entry for entry, good in zip(entries, usable, strict=False) if good]


def choose_slots(
    accelerators: set[str],
    *,
    devices: str,
    slots: int | None,
    threads: int | None,
    job_threads: int,
    jobs_per_device: int,
    warn: Callable[[str], object],
) -> list[Slot]:
    """Slots on the GPUs where there are any and a job could use one, else on the cores.

    Args:
        accelerators: the jobs' own `trainer.accelerator`s: auto, cpu, gpu.
        devices: auto, cpu or gpu.
        warn: told in a line of a GPU that is left out.

    Raises:
        Refused: a GPU is asked for where none may be used; or the numbers do not go together.
    """
    import loky

    num_cores = loky.cpu_count()  # by affinity and the container's limit
    wanted = devices == "gpu" or (devices == "auto" and accelerators != {"cpu"})
    found = gpus_by_another_process() if wanted else Gpus()
    gpus = visible_gpus(os.environ, found.usable)
    why = found.problem or "torch sees no GPU here"
    if found.problem and (gpus or "gpu" not in {devices, *accelerators}):
        warn(f"{why}: the jobs run on {'the other GPUs' if gpus else 'the cores'}.")
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
        raise Refused(f"hydra.launcher.devices=gpu: {why}; must be cpu or auto.")
    if "gpu" in accelerators:
        where = "hydra.launcher.devices=cpu" if devices == "cpu" else why
        raise Refused(f"trainer.accelerator=gpu: {where}; use auto or cpu.")
    if jobs_per_device > 1:
        raise Refused(
            f"hydra.launcher.jobs_per_device={jobs_per_device}: only GPUs are shared so; on cores "
            "use hydra.launcher.slots."
        )
    return cpu_slots(num_cores=num_cores, slots=slots, threads=threads, job_threads=job_threads)
