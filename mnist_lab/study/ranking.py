"""Settings ranked by their mean, the best tested against each other one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from mnist_lab.study.moderation import Kind, Spread, moderated, moderated_estimate
from mnist_lab.study.statistics import (
    ROUNDING,
    Difference,
    Estimate,
    Runs,
    check_level,
    estimate,
    holm,
)


@dataclass(frozen=True)
class Comparison:
    """The best setting against another; a positive `gain` is in its favour, for losses too."""

    best: str
    other: str
    gain: Difference  # its interval is adjusted for `place` comparisons, its p is not
    p: float | None  # Holm's, over num_comparisons
    way: Estimate  # behind the gain
    place: int  # in Holm's order: 1 is the last
    num_comparisons: int
    separated: bool  # Holm's p is below 1 - level; the interval then leaves out 0


@dataclass(frozen=True)
class Ranking:
    """Settings by their mean, and how far their runs tell the best from the others.

    A setting with a run that isn't finite is not in `order`: ranked by its survivors it would be
    praised for diverging. So give NaN for a run that diverged, and no value for one that never ran.

    Attributes:
        runs: of each setting, ranked or not.
        baseline: the setting that was there before, ranked or not.
        order: the ranked settings, best first.
        against: the best with each other ranked setting, by rank.
        spreads: of each setting, by the whole sweep; empty where that cannot be had.
        num_images: behind each value, a share of them; of a figure that is no share 10**6 for its
            six decimals; None where nothing is rounded.
    """

    runs: Mapping[str, Runs]
    baseline: str | None
    higher_is_better: bool
    level: float
    order: tuple[str, ...]
    against: tuple[Comparison, ...]
    spreads: Mapping[str, Spread]
    num_images: int | None

    @classmethod
    def of(
        cls,
        runs: Mapping[str, Runs],
        *,
        baseline: str | None = None,
        higher_is_better: bool,
        level: float,
        kind: Kind = "other",
        num_images: int | None = None,
        out: Collection[str] = (),
    ) -> Self:
        """Rank settings.

        Args:
            kind: of the metric.
            out: settings that are not ranked any more, as in a race; their spread still counts.
        """
        check_level(level)
        if baseline is not None and baseline not in runs:
            raise ValueError(f"baseline {baseline!r} is not among the settings: {', '.join(runs)}")
        means = {
            name: mean
            for name, values in runs.items()
            if values and name not in out and np.isfinite(mean := np.mean([*values.values()]))
        }
        order = sorted(means, key=means.__getitem__, reverse=higher_is_better)
        spreads = moderated(runs, kind=kind, num_images=num_images)
        sign = 1 if higher_is_better else -1
        found = []
        for other in order[1:]:
            a, b = (order[0], other) if higher_is_better else (other, order[0])
            ways = [estimate(runs[a], runs[b], num_images=num_images)]
            if a in spreads and b in spreads:
                gain = sign * float(means[order[0]] - means[other])
                gain = gain if abs(gain) > ROUNDING * abs(means[other]) else 0.0
                if not ways[0].paired or ways[0].n_a < 3:
                    ways.clear()
                ways.append(moderated_estimate(gain, spreads[a], spreads[b]))
            found.append(surest(ways))
        alpha = 1 - level
        adjusted, places = holm([1.0 if p is None else p for _, p, _ in found], alpha=alpha)
        against = []
        for other, (ways, p, num_tries), p_holm, place in zip(
            order[1:], found, adjusted, places, strict=True
        ):
            way, difference = narrowest(ways, p=p, alpha=alpha / (place * num_tries))
            against.append(
                Comparison(
                    best=order[0],
                    other=other,
                    gain=difference,
                    p=None if p is None else p_holm,
                    way=way,
                    place=place,
                    num_comparisons=len(order) - 1,
                    separated=p_holm < alpha and difference.mean > 0,
                )
            )
        return cls(
            runs, baseline, higher_is_better, level, (*order,), (*against,), spreads, num_images
        )

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """The best with the next and, after it, with the baseline if that is another one.

        The data that name the best also judge it. So p values and intervals are adjusted for
        settings - 1 comparisons, those of the best with each other setting, by Holm's method.
        """
        return self.against[:1] + tuple(c for c in self.against[1:] if c.other == self.baseline)

    @property
    def contenders(self) -> tuple[str, ...]:
        """Settings that may be the best, by rank: the best one and all not separated from it.

        A given setting that is truly the best is lost only if one of the others beats it, and that
        is what the adjustment for settings - 1 comparisons allows for. A setting that is left out
        isn't the best, but may equal one left in. Source: subset selection, Gupta (1965),
        Technometrics 7, p. 225.
        """
        return self.order[:1] + tuple(c.other for c in self.against if not c.separated)


def surest(ways: list[Estimate]) -> tuple[list[Estimate], float | None, int]:
    """The ways that can tell two settings apart, the best one's p value, adjusted for the choice,
    and for how many it is adjusted: two also where two runs leave the whole sweep's spread alone,
    as that is then too sure of itself where one setting is far noisier than the others.
    """
    tested = [(p, way) for way in ways if (p := way.p) is not None]
    if not tested:
        return ways[-1:], None, 1
    num_tries = 2 if any(way.moderated for _, way in tested) else len(tested)
    return [way for _, way in tested], min(1.0, num_tries * min(p for p, _ in tested)), num_tries


def narrowest(
    ways: list[Estimate], *, p: float | None, alpha: float
) -> tuple[Estimate, Difference]:
    """The way with the narrowest interval of level 1 - alpha: of those that tell apart, if any.

    All of them hold the truth together as often as the p value was adjusted for.
    """
    telling = [way for way in ways if way.p is not None and way.p < alpha] or ways
    found = [(way, way.at(1 - alpha, p=p)) for way in telling]
    return min(found, key=lambda item: (item[1].high or 0) - (item[1].low or 0))
