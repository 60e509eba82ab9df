"""The launcher behind hydra/launcher=pool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher

from mnist_lab.errors import Refused
from mnist_lab.settings import check
from mnist_lab.sweep.pool import Pool
from mnist_lab.sweep.slots import Slot, choose_slots

if TYPE_CHECKING:
    from mnist_lab.sweep.compose import Composer
    from mnist_lab.sweep.plan import Job
    from mnist_lab.sweep.record import Sweep


class SlotLauncher(Launcher):
    """Hands the jobs of a planned sweep to a pool of slots.

    Args:
        settings: the node `hydra.launcher`; see `conf/hydra/launcher/pool.yaml`.
    """

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.slots: list[Slot] = []
        self.planned: Mapping[tuple[str, ...], Job] = {}
        self.pool: Pool | None = None

    def setup(self, **_: Any) -> None:
        """All that Hydra would tell is known from the sweep."""

    def check(self, jobs: Sequence[Job], stored_threads: Sequence[int] = ()) -> None:
        """Settle the slots for these jobs.

        Args:
            stored_threads: those that jobs began with, and must go on with.

        Raises:
            Refused: the launcher's settings do not fit the jobs or the machine.
        """
        check({"hydra": {"launcher": self.settings}})
        own_threads = [job.settings["threads"] or 1 for job in jobs]
        self.slots = choose_slots(
            {job.settings["trainer"]["accelerator"] for job in jobs},
            devices=self.settings["devices"],
            slots=self.settings["slots"],
            threads=self.settings["threads"],
            job_threads=max([*own_threads, *stored_threads]),
            jobs_per_device=self.settings["jobs_per_device"],
        )

    def prepare(
        self, sweep: Sweep, planned: Mapping[tuple[str, ...], Job], composer: Composer
    ) -> None:
        """Get ready for `launch`, which by Hydra's contract learns of the jobs' overrides alone."""
        self.planned = planned
        stop = self.settings["on_failure"] == "stop"
        self.pool = Pool(sweep, composer, self.slots, stop_on_failure=stop)

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
