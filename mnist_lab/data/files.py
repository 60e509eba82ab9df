"""The four IDX files of a data set in a folder, under whatever names people have them. No torch."""

import contextlib
import re
from pathlib import Path

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
# MNIST's own names, or train-images.idx3-ubyte, TRAIN-LABELS-IDX1-UBYTE.bin, or EMNIST's, such as
# emnist-letters-test-images-idx3-ubyte.gz.
SPELLED = re.compile(
    r"(?:(?P<of>[\w-]+?)[-_])?(?P<split>train|t10k|test)[-_.](?P<kind>images|labels)"
    r"[-_.]idx[13][-_.]ubyte(?:\.bin)?(?:\.gz)?",
    re.IGNORECASE,
)

Found = dict[str, Path]  # one of FILES -> the file


def named_sets(folder: Path) -> dict[str, Found]:
    """The sets of IDX files in a folder, by what stands before their names: "", "emnist-letters".

    A folder named like a file stands for the file in it, as Kaggle's archives unpack; for itself
    where there is none. Of several spellings the official one counts, before that with .gz.
    """
    sets: dict[str, Found] = {}
    # No such folder, or too long a name for one, or not for us; a ValueError: there is a NUL in it.
    with contextlib.suppress(OSError, ValueError):
        for path in sorted(folder.iterdir(), key=lambda path: (len(path.name), path.name)):
            if name := official(path):
                sets.setdefault(name[0], {}).setdefault(name[1], inner(path))
    return sets


def official(path: Path) -> tuple[str, str] | None:
    """What a file is by its name: its set, and which of FILES."""
    if not (match := SPELLED.fullmatch(path.name)):
        return None
    split = "train" if match["split"].lower() == "train" else "t10k"
    (name,) = (each for each in FILES if each.startswith(f"{split}-{match['kind'].lower()}"))
    return (match["of"] or "").lower(), name


def inner(path: Path) -> Path:
    """The file, where a folder has its name."""
    if not path.is_dir():
        return path
    return next(
        (each for each in sorted(path.iterdir()) if official(each) and each.is_file()), path
    )


def find_idx(folder: Path, name: str) -> Path | None:
    """The file that is `name`, one of FILES, None where there is none."""
    return named_sets(folder).get("", {}).get(name)


def chosen_set(folder: Path, name: str) -> str | None:
    """The set of IDX files that is meant, None where no set is whole or nothing tells which.

    Args:
        name: of the data set: emnist_letters are the files emnist-letters-...
    """
    whole = [of for of, found in named_sets(folder).items() if len(found) == len(FILES)]
    for of in (name.lower().replace("_", "-"), ""):
        if of in whole:
            return of
    return whole[0] if len(whole) == 1 else None
