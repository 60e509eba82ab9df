"""What a difference between two settings says of images that nobody has seen yet.

Runs with other seeds on the same images tell how much seeds matter, not how much the choice of the
images does. A setting may be better on these images for good, and not on others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Bool

from mnist_lab.run.predictions import Predictions, read_predictions
from mnist_lab.study.ranking import Comparison
from mnist_lab.study.results import Result
from mnist_lab.study.statistics import Difference, Estimate, satterthwaite

AGREE = 1e-6  # metrics.json has six decimals


def image_estimate(a: Bool[np.ndarray, "n N"], b: Bool[np.ndarray, "n N"]) -> Estimate:
    """Accuracy of a minus that of b, for new seeds and new images alike.

    Seeds and images are two crossed random factors: the variance of the mean is the sum of what
    each of them alone would give, less the noise that both sums hold; at least the larger one.

    Args:
        a: which images (N of them, in one order) are right in each run (n of them, at least 2, by
            seed); b likewise, for the same seeds.
    """
    apart = a.astype(np.int8) - b.astype(np.int8)  # (n, N), -1, 0 or 1
    n, num_images = apart.shape
    by_seed, by_image = apart.mean(axis=1), apart.sum(axis=0, dtype=np.int64) / n
    mean = float(by_seed.mean())
    of_seeds = float(by_seed.var(ddof=1)) / n
    of_images = float(by_image.var(ddof=1)) / num_images
    squares = float(np.count_nonzero(apart)) - num_images * float(by_seed @ by_seed)
    squares += n * num_images * mean**2 - n * float(by_image @ by_image)
    residual = squares / (n - 1) / (num_images - 1)
    variance = max(of_seeds + of_images - residual / (n * num_images), of_seeds, of_images)
    if not variance:
        return Estimate(mean, 0.0, n - 1, n, n, paired=True)
    df = satterthwaite(of_seeds, n - 1, of_images, num_images - 1)
    df *= (variance / (of_seeds + of_images)) ** 2
    return Estimate(mean, math.sqrt(variance), max(df, 1.0), n, n, paired=True)


def new_images(
    comparison: Comparison,
    runs: Mapping[str, Mapping[int, Result]],
    *,
    metric: str,
    level: float,
) -> tuple[Difference, int] | None:
    """The difference of a comparison with an interval for new images, and how many there were.

    The interval is never narrower than that for new seeds on the same images: whatever few runs
    say of their own spread, to ask for more cannot make it surer.

    Args:
        runs: of each setting by seed.

    Returns:
        None for a metric that is no accuracy of whole splits, and where fewer than two seeds of
        both settings have stored their answers to the same images.
    """
    split, _, name = metric.partition("/")
    if split not in ("val", "test") or name != "acc":
        return None
    found = [
        {seed: answers(result, split, metric) for seed, result in runs[label].items()}
        for label in (comparison.best, comparison.other)
    ]
    seeds = [s for s, answer in found[0].items() if answer is not None and found[1].get(s)]
    pairs = [[side[seed] for seed in seeds] for side in found]
    identities = {answer.identity for side in pairs for answer in side if answer is not None}
    if len(seeds) < 2 or len(identities) > 1:
        return None
    best, other = (np.stack([x.correct for x in side if x is not None]) for side in pairs)
    estimate = image_estimate(best, other)
    gain = estimate.at(1 - (1 - level) / comparison.place, p=estimate.p)
    ends = (gain.low, gain.high, comparison.gain.low, comparison.gain.high)
    known = [end for end in ends if end is not None]
    return replace(gain, low=min(known), high=max(known)), best.shape[1]


def answers(result: Result, split: str, metric: str) -> Predictions | None:
    """A run's answers, if they are those that its metric was counted from."""
    found = read_predictions(result.path, split)
    if found is None or abs(found.correct.mean() - result.metrics.get(metric, -1)) > AGREE:
        return None
    return found
