"""The images of a stored run: found again where they are now, held to their SHA-256. No torch."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_lab.data.installed import INSTALL
from mnist_lab.data.source import COPIED, Source, settled
from mnist_lab.settings.build import build
from mnist_lab.ui.console import show_download
from mnist_lab.ui.errors import Refused

if TYPE_CHECKING:
    from mnist_lab.data.datamodule import MNISTDataModule


@functools.lru_cache(maxsize=2)
def built_module(node: str) -> Any:
    """A LightningDataModule of the user's own, built once: it is read once, too."""
    return build(json.loads(node))


def module_of(data: Mapping[str, Any]) -> Any:
    return built_module(json.dumps(data["module"])) if data.get("module") else None


def source_of(data: Mapping[str, Any]) -> Source:
    """The data set that a node `data` names, to be found and read."""
    return Source.of(data, module=module_of(data))


def data_module(data: Mapping[str, Any], *, seed: int) -> MNISTDataModule:
    built: MNISTDataModule = build(data, seed=seed, module=module_of(data))
    return built


class OtherImages(Refused):
    """There are images, but not those that a run has seen."""


def own_images(
    data: Mapping[str, Any],
    directory: Path,
    *,
    sha256: str | None,
    given: bool = False,
    otherwise: str = "",
) -> dict[str, Any]:
    """Find a run's images and return its node `data` with a root that holds in any folder.

    A stored root is absolute. After the folder that holds both images and runs was renamed, moved
    or copied, its last parts still lead from one of the folders above the run to the images: for
    /before/project/data, each of them is asked for `data`, `project/data` and so on, the nearest
    one first. No guess can be wrong, since such images are held to their SHA-256.

    Args:
        directory: of the run, or of its sweep.
        sha256: of the images that it has seen; None: of a run that has seen none.
        given: the root is what the user says now; nothing else will do.
        otherwise: what else the user can do where the images are others, after "...; ".

    Raises:
        OtherImages: what was found is not what the run has seen.
        Refused: nothing is there, or damaged files.
    """
    source = source_of(data)
    directory = directory.absolute()
    if source.is_former_subset or source.download:
        source.find(progress=show_download)
    root = data["root"]
    can_guess = not given and root is not None and (sha256 or source.sha256)
    has_others = False
    for place in places(Path(root), directory) if can_guess else [root]:
        source = source_of({**data, "root": place})
        if not source.has_files and source.copy is None:
            continue
        try:
            found = source.read().sha256
        except Refused:
            if place == root:
                raise
            continue
        if sha256 in (None, found):
            return settled({**data, "root": place})
        has_others = True
    where = f"data.root={root or 'null'}"
    if has_others:
        raise OtherImages(
            f"{where}: these are not the images that the run was trained on (their SHA-256 "
            f"differs); data.root=DIR says where those are{otherwise and '; '}{otherwise}."
        )
    beside = f", nor in that place beside {directory}" if can_guess else ""
    source = Source.of(data)
    cures = [
        f"data.root=DIR, the folder that holds {'them' if source.folder == '.' else source.folder}"
    ]
    if source.name in COPIED:
        cures.append(INSTALL + (" and data.root=null" if root is not None else ""))
    raise Refused(
        f"{where}: no {source.name} files in {source.path}{beside}.\n"
        f"No download: data.download=false. What helps: {'; or '.join(cures)}."
    )


def places(root: Path, directory: Path) -> Iterator[str]:
    """The root itself, then where it may be now."""
    yield str(root)
    parts = root.parts[1:]
    for folder in (directory, *directory.parents):
        for start in range(len(parts)):
            yield str(folder.joinpath(*parts[start:]))
