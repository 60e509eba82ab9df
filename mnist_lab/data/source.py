"""Where the images come from: files, a copy in an installed package, or a download. No torch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mnist_lab.data.classes import Classes
from mnist_lab.data.csv import find_csv
from mnist_lab.data.download import DownloadError, fetch
from mnist_lab.data.files import FILES, chosen_set, named_sets
from mnist_lab.data.idx import read_idx
from mnist_lab.data.installed import INSTALL, PACKAGE, installed_copy
from mnist_lab.data.splits import READERS, Splits, read_once, read_splits
from mnist_lab.ui.errors import Refused

DEFAULT_ROOT = "data"  # relative to where the command runs
SUBSET, PER_CLASS = "mnist_5k", 500  # MNIST with so many training images of each class

COPIED = ("mnist", SUBSET)  # the data sets that the installed copy serves

Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set before it is read; the fields are the settings of the group `data`.

    `root` is None where the user gives none: data/ if it holds the files, else the installed copy.
    """

    name: str
    root: str | None
    folder: str
    mirrors: tuple[str, ...]
    md5: tuple[tuple[str, str], ...]
    sha256: tuple[tuple[str, str], ...]
    classes: Classes
    format: str
    transposed: bool
    download: bool
    has_module: bool
    module: Any = None

    @classmethod
    def of(cls, data: Mapping[str, Any], *, module: Any = None) -> Source:
        """Take the settings that say where the data is from the node `data` of a configuration.

        Args:
            module: the LightningDataModule that data.module names, to be read; see `read_module`.
        """
        return cls(
            name=data["name"],
            root=data["root"] or None,  # MNIST_LAB_DATA= is no folder
            folder=data["folder"],
            mirrors=tuple(data["mirrors"]),
            md5=tuple((data["md5"] or {}).items()),
            sha256=tuple((data["sha256"] or {}).items()),
            classes=Classes(tuple(data["class_names"]), data["first_label"]),
            format=data["format"],
            transposed=data["transposed"],
            download=data["download"],
            has_module=bool(data.get("module")),
            module=module,
        )

    @property
    def base(self) -> Path:
        return Path(self.root or DEFAULT_ROOT).expanduser().absolute()

    @property
    def path(self) -> Path:
        return self.base / self.folder

    @property
    def is_own(self) -> bool:
        """The user's own images: no SHA-256 vouches for them."""
        return not self.sha256

    @property
    def has_files(self) -> bool:
        if self.format in READERS or self.has_module:
            return self.has_module or self.path.exists()
        return self.found is not None

    @property
    def found(self) -> tuple[Path, str] | None:
        """The folder with the files, and which set of files in it.

        Their usual place, else data.root itself or what lies between, where it cannot be another
        data set's: a SHA-256 vouches for them, or they are the user's own.
        """
        others = self.places if self.sha256 or not self.mirrors else self.places[:1]
        for folder in others:
            if (of := chosen_set(folder, self.name)) is not None:
                return folder, of
        return None

    @property
    def places(self) -> list[Path]:
        """Where the files may lie: DIR/MNIST/raw, DIR/raw, DIR for the folder MNIST/raw."""
        parts = Path(self.folder).parts
        tails = [parts[start:] for start in range(len(parts) + 1)]
        return [self.base.joinpath(*tail) for tail in tails if parts] or [
            self.base.joinpath(*tail) for tail in ((), ("raw",), ("MNIST", "raw"))
        ]

    @property
    def notes(self) -> list[str]:
        """What the names of the files make doubtful."""
        if self.format == "csv":
            names = [path.name for path in find_csv(self.path).values()]
        else:
            names = [self.found[1]] if self.format == "idx" and self.found else []
        if self.transposed or not any(name.lower().startswith("emnist") for name in names):
            return []
        return [
            "EMNIST's images are stored transposed: data.transposed=true turns them upright, as "
            "mnist-predict and mnist-demo need them."
        ]

    @property
    def copy(self) -> Path | None:
        """The installed copy, where it may serve."""
        return installed_copy() if self.root is None and self.name in COPIED else None

    @property
    def is_former_subset(self) -> bool:
        """Another 5,000 images went by this name, and had no official files to be held to."""
        return self.name == SUBSET and not self.sha256

    def find(self, *, progress: Progress | None = None) -> Source:
        """Make the data available; return its source with a root that holds in any folder.

        A root that is given is used alone: files there, or a download into it. Without one: files
        in data/, the installed copy (the root stays None), a download into data/.

        Raises:
            Refused: nothing of that serves.
        """
        if self.is_former_subset:
            raise Refused(
                f"data={SUBSET}: the 5,000 images of this run are no longer shipped; "
                "mnist-compare, mnist-predict, mnist-export and mnist-evaluate --data mnist do "
                "without them."
            )
        if self.has_module:
            return self
        if self.has_files:
            return replace(self, root=str(self.base))
        if self.copy is not None:
            return self
        if self.format in READERS:
            what = READERS[self.format][1]
            raise Refused(f"data.root={self.root}: no {self.path}; must be {what}.")
        problem = self._download(progress) if self.download else "data.download=false"
        if problem is not None:
            raise Refused(self._refusal(problem))
        return replace(self, root=str(self.base))

    def _download(self, progress: Progress | None) -> str | None:
        """Fetch what is missing, and say so; return why that cannot be.

        Raises:
            Refused: an address that is not to be trusted.
        """
        try:
            mirrors = fetch(
                FILES,
                mirrors=self.mirrors,
                folder=self.path,
                md5=dict(self.md5),
                check=self._check_file,
                progress=progress,
            )
        except DownloadError as error:
            problem, *causes = str(error).splitlines()
            return f"{problem} {'; '.join(cause.strip() for cause in causes)}".rstrip()
        except ValueError as error:
            raise Refused(f"data.mirrors: {error}.") from None
        except OSError as error:
            return f"{self.path}: cannot be written ({error.strerror})"
        if mirrors:
            where = " and ".join(dict.fromkeys(mirrors))
            print(f"Downloaded {self.name} from {where} into {self.path}.", file=sys.stderr)
        return None

    def _check_file(self, name: str, path: Path) -> None:
        read_idx(path, sha256=dict(self.sha256).get(name))

    def _refusal(self, problem: str) -> str:
        """Two lines: what was looked for and not found; why no download, and what to do."""
        looked = f"no {self.name} files in {self.path} (looked for {FILES[0]}[.gz] and three more)"
        cures = []
        if self.name in COPIED:
            looked += f", no installed copy ({PACKAGE})" if self.root is None else ""
            cures.append(INSTALL + (" and data.root=null" if self.root is not None else ""))
        cures.append("put them there" + "".join(f", from {each}/" for each in self.mirrors[:1]))
        cures[:0] = self._found_otherwise()
        inside = "them" if self.folder == "." else self.folder
        cures.append(f"set data.root or MNIST_LAB_DATA to the folder that holds {inside}")
        return (
            f"data.root={self.root or 'null'}: {looked}.\n"
            f"No download: {problem}. What helps: {'; or '.join(cures)}."
        )

    def _found_otherwise(self) -> list[str]:
        """What is there in another form than can be read, and what to do with it."""
        whole = {
            folder: [of for of, found in named_sets(folder).items() if len(found) == len(FILES)]
            for folder in self.places
        }
        for folder, sets in whole.items():
            if len(sets) > 1:
                names = " or ".join(of.replace("-", "_") for of in sets)
                return [f"{folder} has several sets of files: data.name={names} chooses one"]
            if sets and folder != self.path:
                return [
                    f"four such files are in {folder}: data.root={folder} data.folder=. reads them"
                ]
        zips = (path for folder in self.places for path in sorted(folder.glob("*.zip")))
        return [f"unzip {path} there" for path in zips][:1]

    def _advice(self, problem: str) -> str:
        """What to do about a bad file: only one that the lab has downloaded may go."""
        downloads = [self.path / f"{name}.gz" for name in FILES] if self.mirrors else []
        if any(problem.startswith(f"{path}: ") for path in downloads):
            return f"{problem} Delete it and fetch it again."
        if self.sha256 and self.has_files:
            return f"{problem} These are not {self.name}'s files; data=idx_folder reads one's own."
        return problem

    def read(self) -> Splits:
        """Read and check all four files, or the installed copy, once in the life of a process.

        Raises:
            Refused: names the file and what is wrong with it.
        """
        if self.has_module:
            return read_once(self.module, self.classes)
        where = (self.format == "idx" and self.found) or (self.copy or self.path, "")
        try:
            return read_splits(
                *where,
                format=self.format,
                classes=self.classes,
                transposed=self.transposed,
                sha256=self.sha256,
                per_class=PER_CLASS if self.name == SUBSET else None,
            )
        except (ValueError, OSError) as error:
            raise Refused(self._advice(str(error))) from None


def settled(data: Mapping[str, Any], *, progress: Progress | None = None) -> dict[str, Any]:
    """Find the data and return the node `data` with its root, so that it holds in any folder.

    Raises:
        Refused: as `Source.find`.
    """
    return {**data, "root": Source.of(data).find(progress=progress).root}
