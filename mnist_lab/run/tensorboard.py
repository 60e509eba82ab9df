"""What TensorBoard's HParams tab learns of a run: its settings, and how it ended."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_lab.run.directory import read_json
from mnist_lab.settings.hyperparameters import hyperparameters

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


def write_session_end(writer: SummaryWriter, metrics: Mapping[str, Any]) -> None:
    """Add the metrics that only a finished run has, at its last epoch, and that it ended well."""
    from torch.utils.tensorboard.summary import hparams

    for name, value in metrics.items():
        of_test = name.startswith("test/") and "/num_" not in name
        if of_test or name in ("gap", "num_params", "seconds"):
            writer.add_scalar(name, value, metrics["epochs"])
    _, _, end = hparams({}, {})
    writer._get_file_writer().add_summary(end)
