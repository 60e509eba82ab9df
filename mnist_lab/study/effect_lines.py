"""The effect of each setting in lines for people, none longer than a screen."""

from __future__ import annotations

from mnist_lab.settings.hyperparameters import Value
from mnist_lab.study.comparison import Study, levels
from mnist_lab.study.effects import Dependence, Effect
from mnist_lab.study.groups import as_typed, short_name
from mnist_lab.study.metric import is_fraction, number

MOST_LEVELS, MOST_LETTERS = 6, 40  # of a line of effects


def points(study: Study, gain: float) -> str:
    """A difference, with its sign: in points, or in the metric's own unit."""
    return f"{100 * gain:+.2f}" if is_fraction(study.metric) else f"{gain:+.4f}"


def shown_levels(effect: Effect) -> list[Value | None]:
    """The levels that a line has room for; None stands for those left out."""
    known = [level for level in levels(effect) if effect.levels[level].mean is not None]
    if len(known) <= MOST_LEVELS:
        return [*known]
    order = sorted(known, key=lambda level: effect.levels[level].mean or 0.0)
    kept = {*order[:2], *order[-(MOST_LEVELS - 2) :]}
    shown: list[Value | None] = []
    for level in known:
        if level in kept:
            shown.append(level)
        elif not shown or shown[-1] is not None:
            shown.append(None)
    return shown


def level_text(study: Study, effect: Effect, level: Value) -> str:
    found = effect.levels[level]
    unit = " %" if is_fraction(study.metric) else ""
    text = f"{as_typed(level)[:MOST_LETTERS]}: {number(study.metric, found.mean)}{unit}"
    gain = found.gain
    if gain is None or gain.low is None or gain.high is None:
        return text
    mean, low, high = (points(study, x) for x in (gain.mean, gain.low, gain.high))
    return f"{text} ({mean} [{low}, {high}])"


def dependence_text(study: Study, depends: Dependence) -> str:
    """Where an effect is smallest and largest, since its mean is that of no setting."""
    low, high = (
        f"{points(study, gain)} ({' '.join(map(as_typed, cell.values()))[:MOST_LETTERS]})"
        for gain, cell in (depends.lowest, depends.highest)
    )
    level, other = (as_typed(each)[:MOST_LETTERS] for each in (depends.level, depends.other))
    on = ", ".join(map(short_name, depends.on))
    return (
        f"! {level} against {other}: from {low} to {high}; depends on {on}, so choose by the rows "
        "above, not by these means"
    )


def effect_rows(study: Study) -> list[list[str]]:
    """A row for each setting that varies: its levels with their means, and what to beware of."""
    rows = []
    for name, effect in study.effects.items():
        means = [
            "..." if level is None else level_text(study, effect, level)
            for level in shown_levels(effect)
        ]
        if not means:
            means = ["- (no combination of the other settings was run with all of its values)"]
        elif effect.num_left_out:
            means.append(f"({effect.num_left_out} runs left out: their combination lacks a value)")
        elif not effect.balanced:
            means.append("(not the same number of runs everywhere)")
        rows.append([short_name(name), "   ".join(means)])
        if effect.depends:
            rows.append(["", dependence_text(study, effect.depends)])
    return rows


def shares_line(study: Study) -> str:
    parts = [
        f"{short_name(name)} {100 * share:.{0 if share >= 0.1 else 1}f} %"
        for name, share in study.shares.items()
    ]
    return f"Shares of the variance of all runs: {', '.join(parts)}." if len(parts) > 3 else ""
