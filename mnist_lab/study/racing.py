"""One look of a race: which settings the runs so far separate from the best."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from mnist_lab.study.ranking import Ranking
from mnist_lab.study.statistics import Runs

ALPHA = 0.05  # of a whole race, shared out evenly among its looks


def look(
    runs: Mapping[str, Runs], left: Collection[str], *, num_looks: int, num_images: int | None
) -> dict[str, float | None]:
    """Test the best setting that is left against each other one, by validation accuracy.

    Args:
        runs: of every setting; the spread of those that are out still counts.
        left: those that are still in.
        num_images: behind each accuracy.

    Returns:
        What is out by now: Holm's p, or None for a setting with a run that diverged.
    """
    ranking = Ranking.of(
        runs,
        higher_is_better=True,
        level=1 - ALPHA / num_looks,
        kind="accuracy",
        num_images=num_images,
        out=runs.keys() - {*left},
    )
    out: dict[str, float | None] = {c.other: c.p for c in ranking.against if c.separated}
    diverged = [name for name in left if any(map(math.isnan, runs.get(name, {}).values()))]
    return {**out, **dict.fromkeys(diverged)}
