"""Learning curves of the runs of a setting."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from mnist_lab.study.groups import Group

Rows = Sequence[Mapping[str, float]]
"""metrics.csv of one run: a row an epoch."""


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
