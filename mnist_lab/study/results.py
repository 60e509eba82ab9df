"""Runs read back to be compared: found below any folder, whatever state they are in. No torch."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mnist_lab.run.config import MAX_CONFIG_BYTES, read_config
from mnist_lab.run.directory import read_json, read_metrics, read_state, read_status
from mnist_lab.settings.hyperparameters import Value, hyperparameters
from mnist_lab.ui.errors import Refused
from mnist_lab.ui.files import read_bytes, refuse_ways_out

SEED_LINE = re.compile(rb"^seed: (\d{1,18})$", re.MULTILINE)
Known = dict[bytes, dict[str, Value]]
"""Settings by the SHA-256 of their config.yaml without the line of the seed."""

STATES = ("running", "finished", "failed", "interrupted", "crashed")


@dataclass(frozen=True)
class Result:
    """What a run has to say.

    Attributes:
        state: one of STATES.
        epoch: finished epochs.
        reason: why it failed: `nan`, `disk`, ...
        message: the line that it failed with.
        updated: when it last wrote its state, ISO 8601.
        seed: None for a run that ended before it wrote its settings.
        settings: by flat name, without the seed; empty if it ended before it wrote them.
        metrics: the final ones, numbers only; empty unless it finished.
        num_images: behind the accuracies of each split, where the run has counted them.
        digest: SHA-256 of its images, if it got as far as reading them.
        directions: of metrics of the user's own, by the last part of their names: higher is better.
    """

    path: Path
    state: str
    epoch: int = 0
    reason: str = ""
    message: str = ""
    updated: str = ""
    seed: int | None = None
    settings: dict[str, Value] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    num_images: dict[str, int] = field(default_factory=dict)
    digest: str = ""
    directions: dict[str, bool] = field(default_factory=dict)

    @property
    def diverged(self) -> bool:
        """Failed by the fault of its settings, not of the machine: that counts against them."""
        return self.state == "failed" and self.reason == "nan"


def natural(name: str) -> list[tuple[int, str]]:
    """Sort key that puts job 9 before job 10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def run_directories(folder: Path) -> Iterator[Path]:
    """Run directories at or below a folder, in the order of their names; links are not followed."""
    for path, names, files in os.walk(folder):
        if {"status.json", "config.yaml"} & {*files}:
            names.clear()
            yield Path(path)
        names[:] = sorted((name for name in names if not name.startswith(".")), key=natural)


def read_results(folders: Sequence[Path]) -> tuple[list[Result], list[str]]:
    """Read every run at or below the folders, in order; a run that is found twice counts once.

    Returns:
        The runs, and a line for each directory that cannot be read as one, and for each sweep with
        jobs that have not begun.

    Raises:
        Refused: a folder is not there, or no run lies in any of them.
    """
    paths: dict[Path, Path] = {}
    remarks = []
    for folder in folders:
        if not folder.is_dir():
            raise Refused(f"{folder}: no such directory; name a run, a sweep or a folder of them.")
        found = list(run_directories(folder))
        if not found and len(folders) > 1:
            remarks.append(f"{folder}: no run lies in it.")
        for path in found:
            paths.setdefault(path.resolve(), path)
    if not paths:
        raise Refused(f"{' '.join(map(str, folders))}: no run lies in it; mnist-train makes some.")
    results: list[Result] = []
    known: Known = {}
    for path in paths.values():
        try:
            results.append(read_result(path, known))
        except Refused as error:
            remarks.append(str(error))
    for parent in dict.fromkeys(path.parent for path in paths.values()):
        remarks += jobs_to_come(parent)
    return results, remarks


def jobs_to_come(folder: Path) -> list[str]:
    """A line if the folder is a sweep with jobs that have not begun; a line for each setting that
    its race has dropped; a line if it is a search.
    """
    if not (folder / "sweep.json").exists():
        return []
    try:
        document = read_json(folder / "sweep.json")
    except Refused as error:
        return [str(error)]
    jobs, race = document.get("jobs"), document.get("race")
    names = {**jobs} if isinstance(jobs, dict) else {}
    spared = {
        n for n, job in names.items() if isinstance(job, dict) and job.get("state") == "spared"
    }
    waiting = {name for name in names if not (folder / name / "status.json").exists()} - spared
    lines = [f"{folder}: {len(waiting)} of {len(names)} jobs have not begun."] if waiting else []
    dropped = race.get("dropped") if isinstance(race, dict) else None
    if dropped and isinstance(dropped, dict):
        lines.append(
            f"{folder}: a race, whose decisions allow for its looks, as the table's p does not:"
        )
        lines += [dropped_line(name, one) for name, one in dropped.items()]
    if document.get("search"):
        lines.append(
            f"{folder}: a search, whose settings follow from its results: the best looks better "
            "than it is, and effects mix."
        )
    return lines


def dropped_line(name: str, entry: Any) -> str:
    """What a race has decided of a setting, from sweep.json: data that may be a stranger's."""
    p, seeds = (entry.get(key) if isinstance(entry, dict) else None for key in ("p", "seeds"))
    shown = "< 0.0001" if isinstance(p, float) and p < 0.0001 else f"= {p:.2g}" if p else ""
    return f"{name}: dropped after {seeds} seeds, {f'p {shown}' if shown else 'a run diverged'}"


def read_result(path: Path, known: Known | None = None) -> Result:
    """Read one run directory.

    Args:
        known: settings of runs that were read before; see `read_settings`.

    Raises:
        Refused: it is damaged, or another program's.
    """
    state = read_state(path)
    if state == "crashed":
        state = read_state(path)  # it may have finished between a look at its status and its lock
    if state not in STATES:
        raise Refused(f"{path / 'status.json'}: state {state!r} is none that a run has.")
    status = read_status(path)
    epoch = status.get("epoch")
    result = Result(
        path=path,
        state=state,
        epoch=epoch if isinstance(epoch, int) else 0,
        reason=str(status.get("reason", "")),
        message=str(status.get("message", status.get("signal", ""))),
        updated=str(status.get("updated", "")),
        digest=str(status.get("data_sha256", "")),
    )
    if state != "finished" and not (path / "config.yaml").exists():
        return result
    settings, seed = read_settings(path, {} if known is None else known)
    stored = read_metrics(path) if state == "finished" else {}
    metrics, num_images = numbers(stored), {}
    for split, name in (("val", "val/acc"), ("test", "test/acc"), ("train", "train/acc_eval")):
        total, correct = (stored.get(f"{split}/num_{what}") for what in ("images", "correct"))
        if isinstance(total, int) and isinstance(correct, int) and 0 <= correct <= total > 0:
            num_images[split] = total
            metrics[name] = correct / total  # exact, where the figure has six decimals
    if state == "finished" and not metrics:
        raise Refused(f"{path / 'metrics.json'}: holds no metrics.")
    directions = stored.get("higher_is_better")
    return replace(
        result,
        seed=seed,
        settings=settings,
        metrics=metrics,
        num_images=num_images,
        directions=directions if isinstance(directions, dict) else {},
    )


def read_settings(path: Path, known: Known) -> tuple[dict[str, Value], int]:
    """The checked settings of a run, without its seed, and that.

    Runs of one setting have files that differ in the line of the seed alone: such a file is parsed
    and checked once, and its settings are held once.
    """
    file = path / "config.yaml"
    try:
        text = read_bytes(file, max_bytes=MAX_CONFIG_BYTES)
    except (OSError, ValueError):
        text = b""  # read_config says what is wrong with it
    lines = SEED_LINE.findall(text)
    key = hashlib.sha256(SEED_LINE.sub(b"", text)).digest() if len(lines) == 1 else None
    if key is not None and key in known:
        refuse_ways_out(path)
        return known[key], int(lines[0])
    settings = hyperparameters(read_config(path, to_build=False))
    seed = settings.pop("seed", None)
    if not isinstance(seed, int):
        raise Refused(f"{file}: holds no seed.")
    if key is not None and int(lines[0]) == seed:
        known[key] = settings
    return settings, seed


def numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Keep the metrics that runs can be compared by, dropping names, versions and counters."""
    return {
        name: float(value)
        for name, value in metrics.items()
        if isinstance(value, (int, float))
        and not isinstance(value, bool)
        and "/num_" not in name
        and ("/" in name or name in ("gap", "num_params", "epochs", "seconds"))
    }
