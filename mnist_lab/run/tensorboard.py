"""What TensorBoard's HParams tab learns of a run: its settings, and how it ended."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_lab.run.directory import read_epochs, read_json
from mnist_lab.settings.hyperparameters import hyperparameters
from mnist_lab.ui.signals import signals

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


def follows(name: str, varies: Collection[str]) -> bool:
    """Whether a setting comes with a choice that varies: Adam's betas, all of an experiment."""
    group, dot, _ = name.partition(".")
    return bool(dot) and name not in varies and (group in varies or "experiment" in varies)


def write_session_start(run_dir: Path, config: Mapping[str, Any]) -> None:
    """Tell TensorBoard's HParams tab the settings of a run that begins or goes on.

    No experiment summary is written: TensorBoard would take its columns from one run's, whereas
    without any it shows all settings of all runs. The settings have an event file of their own,
    replaced here, since of two session starts TensorBoard keeps the first, and a run that goes on
    may have got more epochs.

    A job of a sweep leaves out what follows from a choice that the sweep varies. TensorBoard shows
    only the first five settings that differ, and draws no line for a run that lacks one of them: as
    SGD lacks eps.
    """
    from torch.utils.tensorboard import FileWriter
    from torch.utils.tensorboard.summary import hparams

    folder, sweep = run_dir / "tensorboard", run_dir.parent / "sweep.json"
    for old in folder.glob("*.hparams"):
        old.unlink()
    varies = read_json(sweep).get("varies", ()) if sweep.exists() else ()
    settings = {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in hyperparameters(config).items()
        if not follows(name, varies)
    }
    writer = FileWriter(str(folder), filename_suffix=".hparams")
    _, start, _ = hparams(settings, {})
    writer.add_summary(start)
    writer.close()


@contextlib.contextmanager
def session(run_dir: Path, config: Mapping[str, Any]) -> Iterator[SummaryWriter]:
    """The event files of one part of a run: begun, filled, closed, with how it ended.

    One that was interrupted has no end: it may go on.
    """
    from torch.utils.tensorboard import SummaryWriter

    write_session_start(run_dir, config)
    writer = SummaryWriter(run_dir / "tensorboard", purge_step=len(read_epochs(run_dir)) + 1)
    try:
        yield writer
    except BaseException as error:
        with contextlib.suppress(OSError):  # on a full disk that is all that can be done
            writer.close()
            if isinstance(error, Exception) and not signals.received:
                write_session_end(run_dir, "FAILURE")
        raise
    writer.close()
    write_session_end(run_dir, "SUCCESS")


def write_session_end(run_dir: Path, status: str) -> None:
    """Tell how a run ended, in an event file that goes with the start's when the run goes on."""
    from tensorboard.plugins.hparams.api_pb2 import Status
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
    from torch.utils.tensorboard import FileWriter
    from torch.utils.tensorboard.summary import hparams

    _, _, end = hparams({}, {})  # of a success
    data = end.value[0].metadata.plugin_data
    content = HParamsPluginData.FromString(data.content)
    content.session_end_info.status = Status.Value(f"STATUS_{status}")
    data.content = content.SerializeToString()
    writer = FileWriter(str(run_dir / "tensorboard"), filename_suffix=".hparams")
    writer.add_summary(end)
    writer.close()


def write_final(writer: SummaryWriter, metrics: Mapping[str, Any]) -> None:
    """Add the metrics that only a finished run has, at its last epoch."""
    for name, value in metrics.items():
        of_test = name.startswith("test/") and "/num_" not in name
        if of_test or name in ("gap", "num_params", "seconds"):
            writer.add_scalar(name, value, metrics["epochs"])
    writer.add_text("data set", metrics["data"])
