"""Images as Kaggle has them in CSV: a row of label and 784 grey levels for each. No torch."""

import csv
import warnings
from pathlib import Path

import numpy as np

from mnist_lab.data.classes import Classes
from mnist_lab.data.idx import IMAGE_SIZE

COLUMNS = 1 + IMAGE_SIZE**2
MAX_BYTES = 1 << 30  # of a file; Kaggle's train.csv has 77 MB
LEVELS = {str(level) for level in range(256)}
UNLABELLED = (
    "data=csv needs a test.csv with labels, as train.csv has them (Kaggle's own has none): move "
    "the last rows of train.csv there"
)


def find_csv(folder: Path) -> dict[str, Path]:
    """The files of the splits: train.csv, or the only one that ends so, as mnist_train.csv."""
    found = {}
    for split in ("train", "test"):
        paths = sorted(folder.glob(f"*{split}.csv"))
        exact = [path for path in paths if path.name == f"{split}.csv"]
        if len(exact or paths) == 1:
            (found[split],) = exact or paths
    return found


def read_csv(folder: Path, classes: Classes) -> list[np.ndarray]:
    """Read both splits; a first row of words is a header.

    Returns:
        Training images uint8 (n, 28, 28) and class numbers (n,), then those of the test split.

    Raises:
        ValueError: a file is missing or holds something else; the message begins with its path,
            and names line and column.
    """
    found = find_csv(folder)
    if "train" not in found:
        raise ValueError(f"{folder}: no train.csv there, nor just one file whose name ends so.")
    if "test" not in found:
        raise ValueError(f"{folder}: no test.csv there; {UNLABELLED}.")
    return [values for path in found.values() for values in read_rows(path, classes)]


def read_rows(path: Path, classes: Classes) -> tuple[np.ndarray, np.ndarray]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"it has more than the {MAX_BYTES} bytes allowed")
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = next(csv.reader(file), [])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that there is nothing: told below
            rows = np.loadtxt(
                path,
                np.int16,
                comments=None,
                delimiter=",",
                quotechar='"',
                skiprows=int(is_header(first)),
                ndmin=2,
                encoding="utf-8-sig",
            )
        if not rows.size:
            raise ValueError("there is no image in it")
        if rows.shape[1] != COLUMNS:
            raise ValueError(f"it has {rows.shape[1]} columns")
        pixels, labels = rows[:, 1:], classes.numbered(rows[:, 0])
        if pixels.min() < 0 or pixels.max() > 255:
            raise ValueError("a grey level is not in 0..255")
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror or error}).") from None
    except ValueError as error:
        raise ValueError(f"{path}{fault(path, classes) or f': {error}'}.") from None
    return pixels.astype(np.uint8).reshape(-1, IMAGE_SIZE, IMAGE_SIZE), labels


def is_header(row: list[str]) -> bool:
    return bool(row) and not any(field.strip().lstrip("-").isdigit() for field in row)


def fault(path: Path, classes: Classes) -> str | None:
    """Where the first fault of a file is, and what it is: the slow way."""
    labels = {str(classes.first + k) for k in range(len(classes))}
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.reader(file)
        for row in reader:
            line = f", line {reader.line_num}"
            if len(row) == COLUMNS - 1:
                return f"{line}: {len(row)} columns, a label too few. {UNLABELLED}"
            if row and len(row) != COLUMNS:
                return f"{line}: {len(row)} columns; must be {COLUMNS}, a label and 784 grey levels"
            if LEVELS.issuperset(row[1:]) and labels.issuperset(row[:1]):
                continue  # nearly all of them: a quick look first
            if reader.line_num == 1 and is_header(row):
                continue
            for column, field in enumerate(row, 1):
                value = int(field) if field.strip().lstrip("-").isdigit() else None
                here = f"{line}, column {column}"
                if value is None:
                    return f"{here}: {field[:20]!r} is no whole number"
                if column > 1 and not 0 <= value <= 255:
                    return f"{here}: {value} is no grey level; must be 0 paper to 255 ink"
                if column == 1 and not 0 <= value - classes.first < len(classes):
                    last = classes.first + len(classes) - 1
                    return (
                        f"{here}: label {value}, not in {classes.first}..{last}, as "
                        f"data.class_names ({len(classes)} names) and "
                        f"data.first_label={classes.first} have it"
                    )
    return None
