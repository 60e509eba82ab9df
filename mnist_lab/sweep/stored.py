"""A stored sweep.json read as data: nothing in it is resolved or built."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mnist_lab.run.config import refuse_interpolations
from mnist_lab.run.directory import read_json, read_state, read_status
from mnist_lab.settings.check import check, foreign_nodes
from mnist_lab.settings.overrides import (
    check_override,
    groups_of_own_classes,
    names_class,
    parsed_overrides,
)
from mnist_lab.settings.schema import RETIRED, taken_version, upgrade
from mnist_lab.sweep.plan import Job, values_of
from mnist_lab.ui.errors import Refused

FILE = "sweep.json"

# What a launcher may be told: names and plain values, nothing that Hydra could build or resolve.
LAUNCHER_OVERRIDE = re.compile(r"hydra/launcher=\w+|hydra\.launcher(\.[a-zA-Z]\w*)+=[\w.,:/+-]*")
DIRECTORY = re.compile(r"\d{3,}[\w.,=+-]*")


def read_sweep(path: Path) -> dict[str, Any]:
    """Read sweep.json as data: nothing in it is resolved or built.

    Raises:
        Refused: not there, or not what this lab writes.
    """
    file = path / FILE
    document = read_json(file)
    refuse_interpolations(document, file)
    document = {"schema": taken_version(document, file), **document}
    shape = {"varies": list, "launcher": list, "settings": dict, "jobs": dict}
    for key, kind in shape.items():
        if not isinstance(document.get(key), kind):
            raise Refused(f"{file}: lacks a proper `{key}`.")
    for text in document["launcher"]:
        if not (isinstance(text, str) and LAUNCHER_OVERRIDE.fullmatch(text)):
            raise Refused(f"{file}: launcher: {text!r} is not allowed there.")
    return document


def read_jobs(path: Path, document: Mapping[str, Any]) -> tuple[Job, ...]:
    """Check and rebuild the jobs of a sweep that was read."""
    jobs = []
    for directory, stored in document["jobs"].items():
        try:
            jobs.append(read_job(directory, stored, document))
        except Refused as error:
            raise Refused(f"{path / FILE}: {directory}: {error}") from None
        except (KeyError, TypeError, AttributeError) as error:
            raise Refused(f"{path / FILE}: {directory}: cannot be read ({error!r}).") from None
    return tuple(jobs)


def targets_in(value: Any) -> Iterator[Any]:
    """What a value names as a class to build, however nested."""
    if isinstance(value, dict):
        yield from (inner for key, inner in value.items() if str(key) == "_target_")
        value = [*value.values()]
    if isinstance(value, list):
        for inner in value:
            yield from targets_in(inner)


def read_job(directory: str, stored: Mapping[str, Any], document: Mapping[str, Any]) -> Job:
    if not DIRECTORY.fullmatch(directory):
        raise Refused("not a name that a job's directory has.")
    typed = [str(text) for text in stored["overrides"]]
    overrides = tuple(text for text in typed if text.partition("=")[0] not in RETIRED)
    refuse_unfit(overrides, multirun=False)
    settings = stored_settings(document, stored)
    values = values_of(overrides)
    return Job(
        number=int(stored["number"]),
        overrides=overrides,
        values={key: values[key] for key in document["varies"] if key in values},
        directory=directory,
        settings=settings,
    )


def refuse_unfit(overrides: Sequence[str], *, multirun: bool) -> None:
    """Refuse stored overrides that are not for a run's settings alone, or name a foreign class."""
    parsed = parsed_overrides(overrides, multirun=multirun)
    for override in parsed:
        if override.key_or_group.startswith("hydra"):
            raise Refused(f"{override.input_line}: not allowed there.")
        check_override(override, multirun=multirun, unknown=groups_of_own_classes(parsed))
        value: Any = override.value()
        if names_class(override):
            value = {"_target_": value}
        for target in targets_in(value):  # composing takes what it is told for the user's own word
            foreign_nodes({"model": {"_target_": target}}, to_build=True)


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Undo `settings.leaves`."""
    tree: dict[str, Any] = {}
    for name, value in flat.items():
        *groups, leaf = name.split(".")
        node = tree
        for group in groups:
            node = node.setdefault(group, {})
        node[leaf] = value
    return tree


def job_state(directory: Path) -> str:
    """pending, running, finished, failed, interrupted or crashed; as the job itself says."""
    return read_state(directory) if (directory / "status.json").exists() else "pending"


def images_of_job(document: Mapping[str, Any], directory: Path) -> str | None:
    """SHA-256 of the images that a job has seen or, before it began, that it was planned with."""
    status = read_status(directory) if (directory / "status.json").exists() else {}
    stored = document["jobs"][directory.name]
    planned = stored.get("data_sha256", document.get("data_sha256"))
    sha256 = status.get("data_sha256", planned)
    return sha256 if isinstance(sha256, str) else None


def planned_job(directory: Path) -> tuple[dict[str, Any], str | None]:
    """The settings of one job, from the sweep.json beside its directory, and `images_of_job`.

    Raises:
        Refused: no sweep, or the directory is none of its jobs.
    """
    document = read_sweep(directory.parent)
    stored = document["jobs"].get(directory.name)
    if not isinstance(stored, dict) or not isinstance(stored.get("settings"), dict):
        raise Refused(f"{directory}: not a job of the sweep in {directory.parent}.")
    return stored_settings(document, stored), images_of_job(document, directory)


def stored_settings(document: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """Check the settings of a job. Its images are there, or put there by hand.

    The file may be a stranger's: what is downloaded from where is not for it to say.
    """
    settings = nested({**document["settings"], **stored["settings"]})
    upgrade(settings, document["schema"])
    check(settings)
    settings["data"]["download"] = False
    return settings
