"""What a record claims, and whether its runs bear it out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy import special

from mnist_lab.study.statistics import rounding_variance

FOLDER = Path(__file__).parent
ALPHA = 0.01  # chance at most that a network no better than the mark is said to be
NUM_TEST = 10_000  # images, with their published labels


@dataclass(frozen=True, kw_only=True)
class Claim:
    """records/NAME/record.yaml.

    Attributes:
        name: of its folder.
        track: what is the best of, in a few words.
        settings: of `mnist-train`, but for the seed.
        seeds: each is trained once.
        acc: the mark that the mean test accuracy must lie above, in 0..1.
        seconds: what the mean of the seconds of training must lie below; None: any.
        num_params: what the number of parameters must not exceed; None: any.
        elsewhere: what others have reached, with the source.
        remark: where the record departs from the rules of the page.
    """

    name: str
    track: str
    settings: tuple[str, ...]
    seeds: tuple[int, ...]
    acc: float
    seconds: float | None
    num_params: int | None
    elsewhere: str
    remark: str = ""


@dataclass(frozen=True, kw_only=True)
class Test:
    """A one-sided t test of a mean against a mark.

    Attributes:
        sd: of a run; divides by n - 1.
        p: chance of a mean this far on the right side of the mark, if the true one were the mark.
    """

    n: int
    mean: float
    sd: float
    p: float


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """`holds` is said of all that is claimed; `seconds` has a p of 1 where none are claimed."""

    acc: Test
    seconds: Test
    num_params: int
    holds: bool


def claims(folder: Path = FOLDER) -> dict[str, Claim]:
    """Every claim by its name, in the order of accuracy and then of seconds."""
    found = [read_claim(path) for path in folder.glob("*/record.yaml")]
    found.sort(key=lambda claim: (claim.acc, claim.seconds or math.inf, claim.name))
    return {claim.name: claim for claim in found}


def read_claim(path: Path) -> Claim:
    content: dict[str, Any] = yaml.safe_load(path.read_text())
    lists = {name: tuple(content.pop(name)) for name in ("settings", "seeds")}
    return Claim(name=path.parent.name, **lists, **content)


def judge(claim: Claim, runs: Sequence[Mapping[str, Any]]) -> Verdict:
    """Hold a claim against the metrics.json of its runs.

    Raises:
        ValueError: runs of other seeds than the claim's.
    """
    seeds = sorted(run["seed"] for run in runs)
    if seeds != sorted(claim.seeds):
        raise ValueError(f"records/{claim.name}: runs of seeds {seeds}, not {list(claim.seeds)}")
    acc = above([run["test/acc"] for run in runs], claim.acc, floor=rounding_variance(NUM_TEST))
    mark = math.inf if claim.seconds is None else claim.seconds
    seconds = above([-run["seconds"] for run in runs], -mark)
    seconds = Test(n=seconds.n, mean=-seconds.mean, sd=seconds.sd, p=seconds.p)
    num_params = max(run["num_params"] for run in runs)
    return Verdict(
        acc=acc,
        seconds=seconds,
        num_params=num_params,
        holds=acc.p < ALPHA
        and (claim.seconds is None or seconds.p < ALPHA)
        and (claim.num_params is None or num_params <= claim.num_params),
    )


def above(values: Sequence[float], mark: float, *, floor: float = 0.0) -> Test:
    """Does the mean lie above a mark?

    Args:
        floor: variance that every value has beside what the values show: they are rounded.

    Raises:
        ValueError: fewer than two values, which tell no spread.
    """
    runs = np.array(values, dtype=np.float64)
    if len(runs) < 2:
        raise ValueError(f"{len(runs)} runs: a test needs two or more")
    mean, variance = float(runs.mean()), float(runs.var(ddof=1))
    error = math.sqrt((variance + floor) / len(runs))
    if not math.isfinite(mark):
        p = 1.0
    elif error:
        p = float(special.stdtr(len(runs) - 1, (mark - mean) / error))
    else:
        p = 0.0 if mean > mark else 1.0
    return Test(n=len(runs), mean=mean, sd=math.sqrt(variance), p=p)
