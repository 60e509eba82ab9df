"""What TensorBoard is given of a run: where its events lie, under which tags, how it ended."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_lab.run.directory import read_epochs, read_json
from mnist_lab.settings.hyperparameters import Value, hyperparameters
from mnist_lab.settings.table import leaves
from mnist_lab.ui.signals import signals

if TYPE_CHECKING:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
    from torch.utils.tensorboard import SummaryWriter

# Two orders are TensorBoard's own. It opens the first two groups of charts, numbers taken as
# numbers; and HParams shows the first five metrics and colours by the first, numbers taken as text,
# so that 10 to 12 stand before 2. All that has no number here comes later in both.
PLACES = {
    "val/": "1. val/",
    "train/": "2. train/",
    "test/acc": "10. test/acc",
    "seconds": "11. seconds",
    "num_params": "12. parameters",
}


def tag_of(metric: str, run_dir: Path) -> str:
    """What TensorBoard calls a metric: in a run of an earlier version, which goes on, its name."""
    if events_dir(run_dir) != run_dir:
        return metric
    group, slash, name = metric.partition("/")
    return PLACES.get(metric) or PLACES.get(group + slash, group + slash) + name


def events_dir(run_dir: Path) -> Path:
    """The folder of a run's event files: its own, whose path is the run's name in TensorBoard.

    Earlier versions kept them in tensorboard/; such a run goes on there.
    """
    former = run_dir / "tensorboard"
    return former if former.is_dir() else run_dir


def settings_shown(config: Mapping[str, Any], varies: Collection[str]) -> dict[str, Value]:
    """The columns of HParams: what varies in the sweep, else every setting.

    TensorBoard shows five, those that differ first; it draws no line for a run that lacks one.
    """
    settings = hyperparameters(config)
    if varies:
        flat = {**leaves(config), **config["choices"], **settings}
        settings = {name: plain(flat[name]) for name in varies if name in flat}
    return {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in settings.items()
    }


def plain(value: object) -> Value:
    """A value as HParams takes it."""
    if value is None:
        return "null"
    return value if isinstance(value, (bool, int, float, str)) else str(value)


def write_session_start(run_dir: Path, config: Mapping[str, Any]) -> None:
    """Tell TensorBoard's HParams tab the settings of a run that begins or goes on.

    No experiment summary is written: TensorBoard would take its columns from one run's, whereas
    without any it shows all settings of all runs. What HParams is told has event files of its own,
    replaced here, since of two session starts or ends TensorBoard keeps the first.
    """
    from tensorboard.plugins.hparams import metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionStartInfo

    for old in events_dir(run_dir).glob("*.hparams"):
        old.unlink()
    sweep = run_dir.parent / "sweep.json"
    varies = read_json(sweep).get("varies", ()) if sweep.exists() else ()
    start = SessionStartInfo(start_time_secs=time.time())
    for name, value in settings_shown(config, varies).items():
        kind = "string_value" if isinstance(value, str) else "number_value"
        setattr(start.hparams[name], kind, value)
    write(run_dir, metadata.SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=start))


@contextlib.contextmanager
def session(run_dir: Path, config: Mapping[str, Any]) -> Iterator[SummaryWriter]:
    """The event files of one part of a run: begun, filled, closed, with how it ended.

    One that was interrupted has no end: it may go on.
    """
    from torch.utils.tensorboard import SummaryWriter

    write_session_start(run_dir, config)
    writer = SummaryWriter(events_dir(run_dir), purge_step=len(read_epochs(run_dir)) + 1)
    try:
        yield writer
    except BaseException as error:
        with contextlib.suppress(OSError):  # on a full disk that is all that can be done
            writer.close()
            if isinstance(error, Exception) and not signals.received and run_dir.is_dir():
                write_session_end(run_dir, "FAILURE")
        raise
    writer.close()
    write_session_end(run_dir, "SUCCESS")


def write_session_end(run_dir: Path, status: str) -> None:
    """Tell how a run ended: SUCCESS or FAILURE.

    Imports no torch: of a process that was lost, another tells it.
    """
    from tensorboard.plugins.hparams import metadata
    from tensorboard.plugins.hparams.api_pb2 import Status
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo

    end = SessionEndInfo(status=Status.Value(f"STATUS_{status}"), end_time_secs=time.time())
    write(run_dir, metadata.SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=end))


def write(run_dir: Path, tag: str, data: HParamsPluginData) -> None:
    """Write an event for HParams."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import metadata

    described = metadata.create_summary_metadata(data)
    value = Summary.Value(tag=tag, metadata=described, tensor=metadata.NULL_TENSOR)
    write_value(run_dir, value, kind="hparams")


def write_note(run_dir: Path, tag: str, text: str) -> None:
    """Write a line for the Text tab, in an event file of its own: `*.TAG`, told once.

    Imports no torch: it is said of runs that have ended, by another process.
    """
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
    from tensorboard.compat.proto.types_pb2 import DT_STRING
    from tensorboard.plugins.text import metadata

    if any(events_dir(run_dir).glob(f"events.out.tfevents.*.{tag}")):
        return
    one = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
    tensor = TensorProto(dtype=DT_STRING, tensor_shape=one, string_val=[text.encode()])
    described = metadata.create_summary_metadata(display_name=tag, description="")
    write_value(run_dir, Summary.Value(tag=tag, metadata=described, tensor=tensor), kind=tag)


def write_value(run_dir: Path, value: Summary.Value, *, kind: str) -> None:
    """Write one event, at once, to a file `*.KIND`: torch's writer would do it in a thread."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    now = time.time()
    folder = events_dir(run_dir)
    folder.mkdir(parents=True, exist_ok=True)
    # Named by the second, as torch names its files: TensorBoard reads them in this order.
    with (folder / f"events.out.tfevents.{int(now):010d}.{kind}").open("ab") as file:
        for event in (
            Event(wall_time=now, file_version="brain.Event:2"),
            Event(wall_time=now, summary=Summary(value=[value])),
        ):
            RecordWriter(file).write(event.SerializeToString())


def write_final(writer: SummaryWriter, run_dir: Path, metrics: Mapping[str, Any]) -> None:
    """Add the metrics that only a finished run has, at its last epoch."""
    for name, value in metrics.items():
        of_test = name.startswith("test/") and "/num_" not in name
        if of_test or name in ("gap", "num_params", "seconds"):
            writer.add_scalar(tag_of(name, run_dir), value, metrics["epochs"])
    writer.add_text("data set", metrics["data"])
