"""The launcher behind hydra/launcher=pool, and what any launcher is checked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from rich.markup import escape

from mnist_lab.run.device import device_kind, gpus, worth_a_look
from mnist_lab.settings.check import check
from mnist_lab.settings.table import SETTINGS, leaves
from mnist_lab.sweep.pool import Pool
from mnist_lab.sweep.slots import Slot, choose_slots
from mnist_lab.ui.console import Screen
from mnist_lab.ui.errors import Refused
from mnist_lab.ui.startup import import_lightning

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from mnist_lab.sweep.plan import Job


POOL = "hydra_plugins.mnist_lab_pool.PoolLauncher"


def check_launcher(
    config: DictConfig, jobs: Sequence[Job], stored_threads: Sequence[int] = ()
) -> list[Slot]:
    """Check that whatever launcher can run these jobs; return the slots, where it is the pool.

    Args:
        config: with the `hydra` node.
        stored_threads: those that jobs began with, and must go on with.

    Raises:
        Refused: a setting out of the table's range, or one that does not fit jobs or machine.
    """
    from omegaconf import OmegaConf

    node: Any = OmegaConf.to_container(config.hydra.launcher, resolve=False)
    known = leaves({"hydra": {"launcher": node}})
    check({name: value for name, value in known.items() if name in SETTINGS})
    accelerators = {job.settings["trainer"]["accelerator"] for job in jobs}
    if node["_target_"] == POOL:
        own_threads = [job.settings["threads"] or 1 for job in jobs]
        return choose_slots(
            accelerators,
            devices=node["devices"],
            slots=node["slots"],
            threads=node["threads"],
            job_threads=max([*own_threads, *stored_threads]),
            jobs_per_device=node["jobs_per_device"],
            warn=warn,
        )
    asked = "gpu" in accelerators
    looking = asked or (accelerators != {"cpu"} and worth_a_look())
    if looking and is_basic_target(node["_target_"]):
        import_lightning()
        if device_kind("gpu" if asked else "auto") == "cpu" and (why := gpus().problem):
            warn(f"{why}: the jobs run on the CPU.")
    return []


def warn(text: str) -> None:
    Screen(highlight=False, soft_wrap=True).print(f"[bold yellow]WARNING[/] {escape(text)}")


def is_basic_target(target: str) -> bool:
    """Hydra's own launcher: one job after the other, in this process."""
    return target == "hydra._internal.core_plugins.basic_launcher.BasicLauncher"


class SlotLauncher(Launcher):
    """Hands the jobs of a planned sweep to a pool of slots.

    Args:
        settings: the node `hydra.launcher`; see `conf/hydra/launcher/pool.yaml`.
    """

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.planned: Mapping[tuple[str, ...], Job] = {}
        self.pool: Pool | None = None

    def setup(self, **_: Any) -> None:
        """All that Hydra would tell is known from the sweep."""

    def prepare(self, pool: Pool, planned: Mapping[tuple[str, ...], Job]) -> None:
        """Get ready for `launch`, which by Hydra's contract learns of the jobs' overrides alone."""
        self.pool = pool
        self.planned = planned

    def launch(
        self,
        job_overrides: Sequence[Sequence[str]],
        initial_job_idx: int,  # noqa: ARG002
    ) -> Sequence[JobReturn]:
        if self.pool is None:
            raise Refused("hydra/launcher=pool: works with the lab's own hydra/sweeper=lab only.")
        jobs = [self.planned[tuple(overrides)] for overrides in job_overrides]
        self.pool.run(jobs)
        return [JobReturn(overrides=job.overrides, status=JobStatus.COMPLETED) for job in jobs]
