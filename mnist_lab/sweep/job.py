"""One job of a sweep, by whatever launcher, in whatever process."""

from __future__ import annotations

import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_lab.run.directory import Run, is_held, read_config, read_metrics, read_status
from mnist_lab.sweep.record import job_settings
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
        The final figures, as in metrics.json.

    Raises:
        Failed, Interrupted: status.json says the same.
        Refused: another process has the directory; or no data or device, which is a failure here.
    """
    run = Run.hold(directory)
    try:
        if state(directory) == "finished":
            return read_metrics(directory)
        return train_held(run, threads=threads, quiet=quiet)
    except Exception as error:
        if state(directory) not in ENDED:  # it never came to training
            line = str(error).splitlines()[0] if str(error) else type(error).__name__
            record_failure(run, "error", line, log=traceback.format_exc())
        raise
    finally:
        run.release()


def state(directory: Path) -> str:
    """What a job says of itself: pending, running, finished, failed or interrupted."""
    if not (directory / "status.json").exists():
        return "pending"
    return str(read_status(directory)["state"])


def hold_soon(directory: Path) -> Run:
    """Hold a job's directory whose process has died, or will within seconds.

    Raises:
        Refused: another process has it, and which.
    """
    end = time.monotonic() + RELEASE_S
    while is_held(directory) and time.monotonic() < end:
        time.sleep(0.05)
    return Run.hold(directory)


def record_failure(run: Run, reason: str, message: str, *, log: str) -> None:
    """Say in a job's status and log how it ended, for one that could not say so itself."""
    with (run.path / "train.log").open("a") as file:
        file.write(log.rstrip("\n") + "\n")
    run.write_status("failed", reason=reason, message=message)


def train_held(run: Run, *, threads: int | None, quiet: bool) -> dict[str, Any]:
    from mnist_lab.run.resume import go_on

    settings = job_settings(run.path)
    config = {**settings, "threads": settings["threads"] or threads}
    if (run.path / "config.yaml").exists():  # the first part's, but any device will do
        config = read_config(run.path)
        config["trainer"]["accelerator"] = settings["trainer"]["accelerator"]
    return go_on(run, config, quiet=quiet)


def train_job(_: DictConfig) -> dict[str, Any]:
    """One job, in the directory that Hydra made for it; the sweep knows its settings."""
    from hydra.core.hydra_config import HydraConfig

    import_lightning()
    return run_job(Path(HydraConfig.get().runtime.output_dir))
