"""The metric that ranks: which it is, which way is better, and how finely it is measured."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mnist_lab.settings.table import nearest
from mnist_lab.study.moderation import Kind
from mnist_lab.study.results import Result
from mnist_lab.ui.errors import Refused

MOST_IMAGES = 10**6  # figures have six decimals
METRIC = "val/acc"  # what ranks unless the user says otherwise
FALLBACK = "train/acc_eval"  # what ranks where nothing was kept for validation
# The lab's own metrics by the last part of their names. Of any other the user says it.
HIGHER_IS_BETTER = {"acc", "acc_eval", "acc_best"}
LOWER_IS_BETTER = {"loss", "loss_eval", "gap", "num_params", "epochs", "seconds"}


def last_part(metric: str) -> str:
    return metric.rpartition("/")[2]


def is_fraction(metric: str) -> bool:
    """Accuracies and their differences, which people read in percent."""
    return last_part(metric) in {*HIGHER_IS_BETTER, "gap"}


def ranking_metric(wanted: str | None, finished: Sequence[Result]) -> tuple[str, bool, list[str]]:
    """Choose what ranks and whether higher is better; say so where it is not validation."""
    available = {name for result in finished for name in result.metrics}
    if wanted is None:
        if METRIC in available or not finished:
            return METRIC, True, []
        warning = (
            "WARNING: without a validation split this ranks by the last training metrics, which "
            "favour what overfits."
        )
        return FALLBACK, True, [warning]
    metric, colon, direction = wanted.partition(":")
    if finished and metric not in available:
        raise Refused(f"--metric {wanted}: no finished run has it; {nearest(metric, available)}")
    last = last_part(metric).removesuffix("_eval")
    own = {one.directions[last] for one in finished if last in one.directions}
    known = last_part(metric) in HIGHER_IS_BETTER | LOWER_IS_BETTER or len(own) == 1
    if direction not in ("max", "min") and (colon or not known):
        raise Refused(
            f"--metric {wanted}: whether higher is better must be said; write {metric}:max or "
            f"{metric}:min."
        )
    higher = own == {True} or last_part(metric) in HIGHER_IS_BETTER
    if colon:
        higher = direction == "max"
    if not metric.startswith("test/"):
        return metric, higher, []
    warning = (
        f"WARNING: ranked by {metric}, as asked; the best setting's value is too good, since it "
        "was chosen by the same images."
    )
    return metric, higher, [warning]


def kind_of(metric: str) -> Kind:
    last = last_part(metric)
    return "accuracy" if last in HIGHER_IS_BETTER else "loss" if "loss" in last else "other"


def images_behind(metric: str, finished: Sequence[Result]) -> int | None:
    """By how many steps a figure of a run is rounded; see `Study.num_images`."""
    if metric in ("num_params", "epochs", "seconds"):
        return None
    split = "test" if metric == "gap" else metric.partition("/")[0]
    counted = {result.num_images.get(split) for result in finished if metric in result.metrics}
    if counted and None not in counted and (metric == "gap" or kind_of(metric) == "accuracy"):
        return min(number for number in counted if number)
    values = [result.metrics[metric] for result in finished if metric in result.metrics]
    return fewest_images(values) if kind_of(metric) == "accuracy" else MOST_IMAGES


def fewest_images(shares: Sequence[float]) -> int:
    """The smallest number of images of which all shares, with six decimals, can be whole parts.

    For runs that have not counted them: never more than there were, so that nothing is taken to be
    known better than it is.
    """
    possible = np.arange(1, 10**5 + 1)
    for share in dict.fromkeys(shares):
        if math.isfinite(share) and len(possible):
            parts = share * possible
            possible = possible[np.abs(parts - np.round(parts)) <= 0.6e-6 * possible]
    return int(possible[0]) if len(possible) else MOST_IMAGES


def number(metric: str, value: float | None) -> str:
    """As a person reads it: percent, nats, parameters or seconds; the unit stands in the header."""
    if value is None:
        return "-"
    if not math.isfinite(value):
        return "diverged"
    if metric == "num_params":
        return f"{value:,.0f}"
    if metric in ("epochs", "seconds"):
        return f"{value:.1f}"
    return f"{100 * value:.2f}" if is_fraction(metric) else f"{value:.4f}"


def header(metric: str) -> str:
    if metric == "num_params":
        return "params"
    return f"{metric} %" if is_fraction(metric) else metric
