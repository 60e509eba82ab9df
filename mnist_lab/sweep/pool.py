"""Jobs in parallel: slots with one warm worker process each, fed as they become free."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_lab.run.hydra_files import write_hydra_files
from mnist_lab.settings import own
from mnist_lab.sweep.job import record_lost
from mnist_lab.sweep.view import View
from mnist_lab.sweep.worker import prepare, warm_up, work, write_to
from mnist_lab.ui.errors import Failed, first_line
from mnist_lab.ui.signals import signals

if TYPE_CHECKING:
    from mnist_lab.sweep.composer import Composer
    from mnist_lab.sweep.plan import Job
    from mnist_lab.sweep.race import Race
    from mnist_lab.sweep.record import Sweep
    from mnist_lab.sweep.search import Search
    from mnist_lab.sweep.slots import Slot

WAIT_S = 0.2  # seconds between two looks for a signal
NO_LIMIT = "1e15"  # bytes: the data set that a worker keeps is no leak
WORKERS_LOG = "workers.log"  # what workers say outside of jobs, as when they cannot start


@dataclass
class Worker:
    """The process of a slot; another one takes its place when it dies.

    loky notices at once when a process dies, and sets the environment before Python starts in it.
    An executor of one process each keeps a slot's pin through every restart.
    """

    slot: Slot
    log: Path = Path(os.devnull)
    executor: Any = None
    pid: Future[int] | None = None
    warm: Future[None] | None = None

    def start(self) -> None:
        import loky

        self.executor = loky.ProcessPoolExecutor(
            max_workers=1,
            env={**self.slot.environment, "LOKY_MAX_MEMORY_LEAK_SIZE": NO_LIMIT},
            initializer=prepare,
            initargs=(os.getpid(), self.log, [*own.folders], {*own.named}),
        )
        # The worker is born deaf to a terminal's Ctrl-C, before it could say so itself. The
        # tracker, once running, leaves the signals as they are.
        resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.pid = self.executor.submit(os.getpid)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def submit(self, directory: Path) -> Future[None]:
        from loky.process_executor import BrokenProcessPool

        arguments = (work, directory, self.slot.threads, self.log)
        if self.executor is None:
            self.start()
        try:
            return self.executor.submit(*arguments)  # type: ignore[no-any-return]
        except BrokenProcessPool:  # it died while it had nothing to do
            self.kill()
            self.start()
            return self.executor.submit(*arguments)  # type: ignore[no-any-return]

    def begin(self) -> None:
        """Start before there is a job, and import what every job needs."""
        self.start()
        self.warm = self.executor.submit(warm_up)

    def write_to(self, log: Path) -> None:
        """Say in this file what is said outside of jobs; one that has died by now starts afresh."""
        from loky.process_executor import BrokenProcessPool

        self.log = log
        if self.warm is None:
            return
        if self.warm.done() and self.warm.exception() is not None:
            self.kill()  # the fresh one tells in the log, or in its first job's, what is wrong
            return
        with contextlib.suppress(BrokenProcessPool):  # told of once it gets a job
            self.executor.submit(write_to, log)

    @property
    def has_started(self) -> bool:
        return self.pid is not None and self.pid.done() and self.pid.exception() is None

    def interrupt(self) -> None:
        """Ask the job to stop at its next batch; a worker that has not begun is not needed."""
        if self.pid is not None and self.has_started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid.result(), signal.SIGTERM)
        else:
            self.kill()

    def kill(self) -> None:
        if self.executor is not None:
            self.executor.shutdown(kill_workers=True)
            self.executor = self.pid = self.warm = None


@contextlib.contextmanager
def crew(slots: Sequence[Slot], num_jobs: int) -> Iterator[list[Worker]]:
    """A worker for each slot that the jobs fill, importing torch while this process goes on.

    That takes a process seconds; meanwhile this one can find the images and claim the directory.
    """
    workers = [Worker(slot) for slot in slots[:num_jobs]]
    try:
        for worker in workers:
            worker.begin()
        yield workers
    finally:
        for worker in workers:
            worker.kill()


@dataclass
class Pool:
    """Runs jobs of one sweep in the slots of its workers.

    Attributes:
        stop_on_failure: when a job fails, those that run are interrupted and the others stay.
    """

    sweep: Sweep
    composer: Composer
    workers: Sequence[Worker]
    stop_on_failure: bool
    running: dict[Future[None], tuple[int, Job]] = field(init=False, default_factory=dict)
    stopping: bool = field(init=False, default=False)
    view: View = field(init=False)

    def __post_init__(self) -> None:
        for worker in self.workers:
            worker.write_to(self.sweep.path / WORKERS_LOG)

    def run(
        self, jobs: Sequence[Job], race: Race | None = None, search: Search | None = None
    ) -> None:
        """Run the jobs; what becomes of each is in its directory.

        Args:
            race: that decides, round by round, which of the jobs are run.
            search: that is asked for more whenever a slot has nothing to do.

        Raises:
            Interrupted: after SIGINT or SIGTERM, once every worker has stopped.
            Failed: a worker process cannot even start, which is no job's fault.
        """
        log = self.sweep.path / WORKERS_LOG
        to_come = search.num_jobs_left if search else 0
        self.view = View(self.sweep, jobs, num_slots=len(self.workers), to_come=to_come)
        rounds = iter([jobs])
        if race:
            rounds, race.say = race.rounds(), self.view.console.print
        waiting: deque[Job] = deque(next(rounds, ()))
        idle = deque(range(len(self.workers)))
        unable = False
        try:
            with signals.defer(), self.view.bars:
                while self.running or self.more(waiting, search):
                    while idle and self.more(waiting, search):
                        self.begin(waiting.popleft(), idle.popleft())
                    done, _ = wait(self.running, timeout=WAIT_S, return_when=FIRST_COMPLETED)
                    for future in done:
                        slot, job = self.running.pop(future)
                        idle.append(slot)
                        if not (self.stopping or self.workers[slot].has_started):
                            unable = True
                            self.stop("stopping, since a worker cannot start")
                        state = self.end(job, slot, future)
                        if self.stop_on_failure and state == "failed":
                            self.stop(f"stopping the others, since {job.directory} failed")
                    if signals.received:
                        self.stop("stopping at the next batch; Ctrl-C again leaves at once")
                    if race and not (waiting or self.running or self.stopping):
                        waiting.extend(next(rounds, ()))
                        self.view.leave_out(jobs)
                    self.view.draw()
        finally:
            for worker in self.workers:
                worker.kill()
            if log.exists() and not log.stat().st_size:
                log.unlink()
        signals.check()
        if unable:
            raise Failed("worker", f"no worker process can start; see {log}.")

    def more(self, waiting: deque[Job], search: Search | None) -> bool:
        """Whether there is a job to begin; a search is told of those that ended, and asked."""
        if search:
            search.take_note()
        if search and not (waiting or self.stopping):
            waiting.extend(search.ask())
            self.view.take_in([*waiting], to_come=search.num_jobs_left)
        return bool(waiting) and not self.stopping

    def begin(self, job: Job, slot: int) -> None:
        path = self.sweep.job_path(job)
        path.mkdir(exist_ok=True)
        if not (path / ".hydra").exists():
            write_hydra_files(path, self.composer.config(job.overrides), number=job.number)
        self.sweep.mark(job, "running")
        self.running[self.workers[slot].submit(path)] = slot, job
        self.view.begin(job, slot)

    def end(self, job: Job, slot: int, future: Future[None]) -> str:
        """Take note of how a job ended, also for one that could not say so itself."""
        from loky.process_executor import BrokenProcessPool

        error = future.exception()
        if isinstance(error, BrokenProcessPool):
            self.workers[slot].kill()  # it is dead; a fresh one comes with the next job
            error = cause_of_death(error)
        if error is not None and not self.stopping:
            record_lost(self.sweep.job_path(job), error)
        state = self.sweep.state(job)
        self.sweep.mark(job, state)
        self.view.end(job, slot, state)
        return state

    def stop(self, why: str) -> None:
        """Begin no more jobs, and ask those that run to stop."""
        if not self.stopping:
            self.stopping = True
            self.view.console.print(why)
            for slot, _ in self.running.values():
                self.workers[slot].interrupt()


def cause_of_death(error: Exception) -> Failed:
    """Why a job failed whose process died, from what loky says of it."""
    found = re.search(r"\((-?\d+)\)", str(error))
    if found is None:
        return Failed("killed", f"the worker died ({first_line(error)})")
    code = int(found[1])
    if code < 0:
        return Failed("killed", f"the worker was killed by {signal.Signals(-code).name}")
    return Failed("exit", f"the worker ended with exit code {code} in the middle of the job")
