"""Learning curves of the runs of a setting."""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from mnist_lab.run.directory import read_epochs
from mnist_lab.study.comparison import Study
from mnist_lab.study.groups import Group
from mnist_lab.ui.errors import Refused

Rows = Sequence[Mapping[str, float]]
"""metrics.csv of one run: a row an epoch."""


def read_curves(study: Study) -> dict[Path, list[dict[str, float]]]:
    """metrics.csv of each run, by its directory; of one that cannot be read, it says so."""
    epochs: dict[Path, list[dict[str, float]]] = {}
    for group in (*study.groups, *study.unranked):
        for result in group.results:
            try:
                epochs[result.path] = read_epochs(result.path)
            except Refused as error:
                print(f"{error} Its curve is not drawn.", file=sys.stderr)
    return epochs


def by_epoch(group: Group, epochs: Mapping[Path, Rows], name: str) -> dict[int, list[float]]:
    """The finite values of a group's runs after each epoch."""
    values = defaultdict(list)
    for result in group.results:
        for row in epochs.get(result.path, ()):
            if math.isfinite(row.get(name, math.nan)) and math.isfinite(row.get("epoch", math.nan)):
                values[int(row["epoch"])].append(row[name])
    return dict(sorted(values.items()))


def means_of(group: Group, epochs: Mapping[Path, Rows], name: str) -> dict[int, float]:
    found = by_epoch(group, epochs, name)
    return {epoch: math.fsum(values) / len(values) for epoch, values in found.items()}
