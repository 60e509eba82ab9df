"""The lab from Python: `import mnist_lab.api as lab`. What a verb does, as a function.

All of them may be called any number of times in a process and raise what ends a verb: `Refused`
before anything is written, `Failed` for a run or sweep that began, `Interrupted` by Ctrl-C. Nothing
is done to the process itself.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_lab.run.begin import asked, begin
from mnist_lab.run.directory import read_epochs, read_metrics, read_state
from mnist_lab.run.stored import StoredRun, locate
from mnist_lab.settings import own
from mnist_lab.settings.compose import checked, compose, sweep_arguments
from mnist_lab.settings.flags import multirun, own_folders
from mnist_lab.settings.groups import LAUNCHER
from mnist_lab.settings.paths import quoted
from mnist_lab.study import comparison
from mnist_lab.study.looks import look
from mnist_lab.study.report import records, text
from mnist_lab.study.results import read_results
from mnist_lab.ui.console import percent, result_rows, show_download
from mnist_lab.ui.errors import Failed, Refused
from mnist_lab.ui.files import shown_path
from mnist_lab.ui.signals import Interrupted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mnist_lab.data.datamodule import MNISTDataModule
    from mnist_lab.models.classifier import Classifier

__all__ = ["Failed", "Interrupted", "Refused", "Run", "Study"]
__all__ += ["compare", "datamodule", "load", "model", "sweep", "train"]

PathLike = str | os.PathLike[str]
Paths = PathLike | Iterable[PathLike]


@dataclass(frozen=True)
class Run:
    """A run directory, read when it is asked; `Run(path)` is one that any verb has made."""

    path: Path
    config_dir: Paths = ()

    @property
    def state(self) -> str:
        """running, finished, failed, interrupted or crashed."""
        return read_state(locate(Path(self.path)))

    @property
    def metrics(self) -> dict[str, Any]:
        """metrics.json of a finished run: accuracies in 0..1, losses in nats."""
        return read_metrics(locate(Path(self.path)))

    @property
    def epochs(self) -> list[dict[str, float]]:
        """metrics.csv: a row an epoch."""
        return read_epochs(locate(Path(self.path)))

    def load(self, *, checkpoint: str = "last") -> Classifier:
        return load(self.path, checkpoint=checkpoint, config_dir=self.config_dir)

    def curves(self) -> Figure:
        """Draw loss and accuracy of training and validation by epoch."""
        from mnist_lab.evaluation.plots import curves_figure

        return curves_figure(self.epochs)

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        finished = self.state == "finished"
        result = f", test/acc {percent(self.metrics['test/acc'])}" if finished else ""
        return f"Run({str(self.path)!r}): {self.state}, {len(self.epochs)} epochs{result}"

    def _repr_markdown_(self) -> str | None:
        if self.state != "finished":
            return None
        rows = result_rows(self.metrics, shown_path(Path(self.path))).items()
        return "\n".join(
            ["| | |", "|:--|:--|", *(f"| **{name}** | {value} |" for name, value in rows)]
        )


@dataclass(frozen=True)
class Study:
    """Runs compared, as mnist-compare does it; printed, it is the same table and answer.

    Attributes:
        found: all that is known, as the package's own `study` returns it.
        remarks: a line for each directory that could not be read, or has jobs that have not begun.
        paths: of what was compared; of a sweep, its directory.
    """

    found: comparison.Study
    remarks: tuple[str, ...]
    paths: tuple[Path, ...]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A row for each setting, the best first: its settings, and `mean` to `high` of the metric
        over n seeds, `values` by seed; accuracies in 0..1, None where there is none."""
        rows = []
        for row in records(self.found):
            values = {int(seed): value for seed, value in row["values"].items()}
            rows.append({"rank": row["rank"], **row.pop("settings"), **row, "values": values})
        return rows

    @property
    def verdict(self) -> tuple[str, ...]:
        """The answer in words, a sentence each."""
        return self.found.verdict

    @property
    def plots(self) -> dict[str, Figure]:
        """Learning curves, the effect of each setting, and what accuracy costs, by name."""
        from mnist_lab.study.curves import read_curves
        from mnist_lab.study.plots import figures

        return figures(self.found, read_curves(self.found))

    def to_pandas(self) -> Any:
        """The rows as a DataFrame, where pandas is installed."""
        import pandas as pd

        return pd.DataFrame(self.rows)

    def __str__(self) -> str:
        return text(self.found, self.remarks)

    __repr__ = __str__

    def _repr_markdown_(self) -> str:
        return text(self.found, self.remarks, markdown=True)


def train(overrides: Sequence[str] = (), *, config_dir: Paths = (), quiet: bool = False) -> Run:
    """Train one run as `mnist-train` does: lab.train(["experiment=mlp_512", "seed=3"]).

    Args:
        config_dir: a folder, or several, of configuration and code of your own.
        quiet: print nothing; train.log has it all.
    """
    with lab_of(overrides, config_dir) as given:
        config, settings = asked(given)
        import_lightning()
        return Run(begin(config, settings, quiet=quiet), tuple(own.folders))


def sweep(
    overrides: Sequence[str], *, launcher: str | None = None, config_dir: Paths = ()
) -> Study:
    """Train every combination of the values given, as `mnist-train -m` does, and compare them.

    Args:
        launcher: "pool" for all cores or all GPUs, or another of hydra/launcher.

    Raises:
        Failed: a job failed; `compare` of the sweep's directory shows the others.
    """
    with lab_of(overrides, config_dir) as given:
        chosen = [] if launcher is None else [f"{LAUNCHER}={launcher}"]
        arguments = sweep_arguments([*given, *chosen])
        import_lightning()
        from mnist_lab.sweep.job import train_job

        path = multirun(arguments, train_job)
    return compare(path)


def compare(
    paths: Paths,
    *,
    metric: str | None = None,
    by: Sequence[str] = (),
    where: Sequence[str] = (),
    baseline: str | None = None,
) -> Study:
    """Compare runs, sweeps or folders of them as `mnist-compare` does, but write no plots.

    Args:
        metric, by, where, baseline: as its --metric, --by, --filter and --baseline.
    """
    folders = tuple(map(Path, listed(paths)))
    results, remarks = read_results(folders)
    found = look(results, metric=metric, by=listed(by), where=listed(where), baseline=baseline)
    return Study(found, tuple(remarks), folders)


def load(path: PathLike, *, checkpoint: str = "last", config_dir: Paths = ()) -> Classifier:
    """The network of a run, on the CPU and in evaluation mode; `.predict(images)` asks it.

    Args:
        checkpoint: last, or best: that of the best validation.
        config_dir: the folder that the run was made with, if its classes are your own.
    """
    if checkpoint not in ("last", "best"):
        raise Refused(f"checkpoint={checkpoint!r}: must be 'last' or 'best'.")
    with own.folders_named(listed(config_dir)):
        network, _ = StoredRun.find(Path(path), checkpoint=checkpoint).load()
    return network


def model(
    name: str = "mlp", /, *, seed: int | None = None, config_dir: Paths = (), **settings: Any
) -> Classifier:
    """A network with the first weights that `seed` gives: lab.model("mlp", width=512).

    What is not given is conf's, also optimizer and schedule: those of `mnist-train model=NAME`.
    """
    with lab_of(override_texts("model", name, seed, settings), config_dir) as given:
        config = checked(compose(given))
        import torch

        from mnist_lab.run.fit import build_model

        with torch.random.fork_rng(devices=[]):
            return build_model(config, {})


def datamodule(
    name: str = "mnist", /, *, seed: int | None = None, config_dir: Paths = (), **settings: Any
) -> MNISTDataModule:
    """The LightningDataModule of a data set: lab.datamodule("mnist", batch_size=64).

    What is not given is conf's. Its `splits` hold uint8 images (n, 1, 28, 28) and labels.

    Args:
        seed: of the order of the training images.
    """
    with lab_of(override_texts("data", name, seed, settings), config_dir) as given:
        config = checked(compose(given))
        from mnist_lab.data.source import settled
        from mnist_lab.run.images import data_module

        node = settled(config["data"], progress=show_download)
        return data_module(node, seed=config["seed"])


@contextmanager
def lab_of(overrides: Sequence[str], config_dir: Paths) -> Iterator[list[str]]:
    """Name the user's own folders for the moment; yields the overrides without any folders."""
    if isinstance(overrides, str) or not all(isinstance(text, str) for text in overrides):
        raise Refused(f"overrides: {overrides!r}; must be a list of texts, as in ['seed=3'].")
    left, folders = own_folders(overrides)
    with own.folders_named([*listed(config_dir), *folders]):
        yield left


def listed(paths: Any) -> list[Any]:
    """One path, or several."""
    return [paths] if isinstance(paths, (str, os.PathLike)) else [*paths]


def override_texts(group: str, name: str, seed: int | None, settings: dict[str, Any]) -> list[str]:
    """Keyword arguments as they would be typed."""
    texts = [f"{group}={name}", *([] if seed is None else [f"seed={seed}"])]
    for key, value in settings.items():
        shown = quoted(value) if isinstance(value, (str, Path)) else json.dumps(value)
        texts.append(f"{group}.{key}={shown}")
    return texts


def import_lightning() -> None:
    """Import Lightning as anybody does: the verbs' quicker way leaves its mark on a process."""
    import lightning.pytorch  # noqa: F401

    from mnist_lab.ui import startup

    startup.import_lightning()  # all that is left for it is a variable that slows down each step
