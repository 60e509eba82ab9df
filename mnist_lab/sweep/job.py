"""One job of a sweep, by whatever launcher, in whatever process."""

from __future__ import annotations

import contextlib
import signal
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_lab.data.source import Source
from mnist_lab.run.code import read_code
from mnist_lab.run.config import read_config
from mnist_lab.run.directory import Run, is_held, read_metrics
from mnist_lab.run.images import own_images
from mnist_lab.run.resume import go_on
from mnist_lab.run.tensorboard import write_session_end
from mnist_lab.settings import own
from mnist_lab.sweep.stored import job_state, planned_job
from mnist_lab.ui.errors import Failed, Refused, first_line
from mnist_lab.ui.signals import Interrupted, handlers_kept, listen
from mnist_lab.ui.startup import import_lightning

if TYPE_CHECKING:
    from omegaconf import DictConfig

ENDED = ("finished", "failed", "interrupted")
RELEASE_S = 10.0  # seconds that a killed process may take to give up its directory


def run_job(directory: Path, *, threads: int | None = None, quiet: bool = False) -> dict[str, Any]:
    """Bring a job to its end, wherever it stands: not begun, stopped midway or finished.

    All that it needs is in its directory and the sweep's. A failed job starts afresh, after what it
    has: clearing that away is `resume.start_afresh`'s.

    Args:
        threads: CPU threads where neither the job nor its first part says how many.
        quiet: write train.log only.

    Returns:
        The final metrics, as in metrics.json.

    Raises:
        Failed, Interrupted: status.json says the same.
        Refused: another process has the directory; or no data or device, which is a failure here.
    """
    run = Run.hold(directory)
    try:
        if job_state(directory) == "finished":
            return read_metrics(directory)
        settings, sha256 = planned_job(directory)
        if (directory / "config.yaml").exists():
            # The first part's threads; any device will do, and the images are where they are now.
            planned = settings
            settings = read_config(directory)
            settings["trainer"]["accelerator"] = planned["trainer"]["accelerator"]
            if Source.of(planned["data"]).has_files:
                settings["data"]["root"] = planned["data"]["root"]
        else:
            settings["threads"] = settings["threads"] or threads
        settings["data"] = own_images(settings["data"], directory, sha256=sha256)
        return go_on(run, settings, code=read_code(directory.parent), quiet=quiet)
    except Exception as error:
        record_failure(run, error)
        raise
    finally:
        run.release()


def record_failure(run: Run, error: BaseException) -> None:
    """Say in a job's status and log how it ended, unless it came far enough to do so itself."""
    if job_state(run.path) in ENDED:
        return
    reason = error.reason if isinstance(error, Failed) else "error"
    with contextlib.suppress(OSError):  # on a full disk that is all that can be done
        run.write_status("failed", reason=reason, message=first_line(error))
        with (run.path / "train.log").open("a") as file:
            file.writelines(traceback.format_exception(error))
        write_session_end(run.path, "FAILURE")


def record_lost(directory: Path, error: BaseException) -> None:
    """Do so for a job whose process no longer can."""
    run = hold_soon(directory)
    record_failure(run, error)
    run.release()


def hold_soon(directory: Path) -> Run:
    """Hold a job's directory whose process has died, or will within seconds.

    Raises:
        Refused: another process has it, and which.
    """
    end = time.monotonic() + RELEASE_S
    while is_held(directory) and time.monotonic() < end:
        time.sleep(0.05)
    return Run.hold(directory)


def train_job(config: DictConfig) -> dict[str, Any]:
    """One job, in the directory that Hydra made for it; the sweep knows its settings."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    import_lightning()
    runtime = HydraConfig.get().runtime
    own.name_sources(runtime.config_sources)
    container: Any = OmegaConf.to_container(config)
    own.name_targets(container)
    return run_job(Path(runtime.output_dir))


def train_job_apart(config: DictConfig) -> None:
    """One job in a process of another launcher's, which gets to know how it ended by its directory.

    What is raised there would end the command that waits for all jobs. A SIGTERM, which submitit
    lets pass and Ray takes for its own, stops the job at a batch's end.
    """
    with handlers_kept(), contextlib.suppress(Failed, Refused, Interrupted):
        listen(signal.SIGTERM)
        train_job(config)
