"""What a user brings along: a folder laid out like conf/, and the classes that it names."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mnist_lab.ui.errors import Refused

FLAG = "--config-dir"
VARIABLE = "MNIST_LAB_CONF"  # for mnist-train, which is told everything on its command line
PROVIDER = "mnist_lab_own"  # what Hydra calls them among the places it searches
TARGET = re.compile(r"^\s*_target_\s*:\s*[\"']?([\w.]+)", re.MULTILINE)

# Of this command line, so that the next one of the process begins without.
folders: list[Path] = []
named: set[str] = set()


def name_folders(paths: Iterable[str | Path]) -> None:
    """Search these folders before conf/, and import what they name from them.

    Raises:
        Refused: one is not there, or not laid out like conf/.
    """
    folders.clear()
    named.clear()
    for path in paths:
        folder = Path(path).expanduser().absolute()
        if not folder.is_dir():
            raise Refused(f"{FLAG} {path}: no such folder.")
        files = [*yaml_files(folder)]
        if not files:
            raise Refused(
                f"{FLAG} {path}: must be laid out like conf/, as in {path}/model/my_net.yaml; no "
                "YAML file lies there."
            )
        folders.append(folder)
        if str(folder) not in sys.path:
            sys.path.append(str(folder))  # last, so that no name of the lab's or Python's is taken
        for file in files:
            named.update(TARGET.findall(file.read_text(errors="replace")))


def name_sources(sources: Iterable[Any]) -> None:
    """Do so in another process than that which was told of them, by what Hydra searches."""
    if not folders:
        own = [one.path for one in sources if one.provider == PROVIDER]
        name_folders(path.removeprefix("file://") for path in own)


@contextlib.contextmanager
def folders_named(paths: Iterable[str | Path]) -> Iterator[None]:
    """Name folders for the moment; on sys.path they stay, since what is built may import later.

    Raises:
        Refused: as `name_folders`.
    """
    before = [*folders], {*named}
    try:
        name_folders(paths)
        yield
    finally:
        folders[:] = before[0]
        named.clear()
        named.update(before[1])


def yaml_files(folder: Path) -> Iterator[Path]:
    yield from folder.glob("*/*.yaml")
    yield from folder.glob("hydra/*/*.yaml")


def add_config_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        FLAG,
        action="append",
        default=[],
        metavar="FOLDER",
        help="configuration and code of your own, laid out like conf/, that a run was made with",
    )


def targets(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The nodes that name what is to be built: `model`, `callbacks.ema` or `data.module`."""
    for group, node in config.items():
        if not isinstance(node, Mapping) or group == "hydra":
            continue
        if "_target_" in node:
            yield group, node
        for name in ("module",) if "_target_" in node else node:
            inner = node.get(name)
            if isinstance(inner, Mapping) and "_target_" in inner:
                yield f"{group}.{name}", inner


def name_targets(config: Mapping[str, Any]) -> None:
    """Take what a configuration names as named by the user, who has had it composed."""
    named.update(str(node["_target_"]) for _, node in targets(config))


def code_files() -> dict[str, str]:
    """The files of these folders that this process has imported: path -> SHA-256."""
    digests = {}
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if file and any(Path(file).is_relative_to(folder) for folder in folders):
            digests[file] = hashlib.sha256(Path(file).read_bytes()).hexdigest()
    return dict(sorted(digests.items()))
