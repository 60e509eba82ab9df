"""How often mnist-compare errs, what it finds and what it covers: the tables of docs/statistics.md.

    python -m benchmarks.statistics [--trials 2000]

Each figure comes from simulated sweeps that go through the package's own functions, with fixed
seeds; or from a real one, `sweep_12x20.npz`: made with `mnist-train -m optimizer=sgd,rmsprop,adam
model.width=128,512 model.dropout=0,0.2 seed='range(20)' trainer.max_epochs=2` on full MNIST. There
axis 0 is the setting, axis 1 the seed; `C` holds a bit for each of 20,000 images: was it right?
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mnist_lab.study.effects import main_effects
from mnist_lab.study.images import image_estimate
from mnist_lab.study.racing import look
from mnist_lab.study.ranking import Ranking
from mnist_lab.study.seeds import plan
from mnist_lab.study.statistics import difference, summary

NUM_IMAGES = 10_000
POINT = 0.01
# The README's twelve settings of five seeds, best first: means in percent, sds in points.
MEANS = np.array(
    [96.76, 96.75, 96.67, 96.66, 95.45, 95.36, 95.28, 95.05, 86.79, 86.70, 86.14, 86.01]
)
SDS = np.array([0.10, 0.19, 0.13, 0.16, 0.08, 0.10, 0.13, 0.10, 0.32, 0.33, 0.42, 0.44])
EQUAL = np.full(12, 0.1)
ONE_NOISY = np.where(np.arange(12) == 0, 0.5, 0.1)
SAME = np.full(12, 96.7)

Values = np.ndarray
"""Accuracies in percent (settings, seeds)."""


def drawn(rng: np.random.Generator, means: np.ndarray, sds: np.ndarray, n: int) -> Values:
    return rng.normal(means[:, None], sds[:, None], (len(means), n))


def ranked(values: Values, *, baseline: str | None = None, level: float = 0.95) -> Ranking:
    """Of accuracies as metrics.json has them, shares of NUM_IMAGES."""
    shares = np.round(values * POINT * NUM_IMAGES) / NUM_IMAGES
    runs = {str(i): dict(enumerate(row.tolist())) for i, row in enumerate(shares)}
    return Ranking.of(
        runs,
        baseline=baseline,
        higher_is_better=True,
        level=level,
        kind="accuracy",
        num_images=NUM_IMAGES,
    )


def false_claims(
    draw: Callable[[np.random.Generator], Values], *, trials: int, seed: int = 0
) -> tuple[float, float]:
    """Of sweeps of equal settings, in percent: any claim; a given best setting is lost."""
    rng = np.random.default_rng(seed)
    claims = lost = 0
    for _ in range(trials):
        values = draw(rng)
        given = str(len(values) // 2)
        ranking = ranked(values, baseline=given)
        claims += any(comparison.separated for comparison in ranking.comparisons)
        lost += given not in ranking.contenders
    return 100 * claims / trials, 100 * lost / trials


def equal(sds: np.ndarray, n: int) -> Callable[[np.random.Generator], Values]:
    return lambda rng: drawn(rng, np.full(len(sds), 96.7), sds, n)


def skewed(rng: np.random.Generator) -> Values:
    """Long tails to below."""
    return 96.8 - rng.gamma(1.0, 0.1, (12, 5))


def collapsing(rng: np.random.Generator) -> Values:
    """One run in ten is a point worse, of every setting."""
    return drawn(rng, SAME, EQUAL, 5) - (rng.random((12, 5)) < 0.1)


def one_collapsing(rng: np.random.Generator) -> Values:
    """Of one setting one run in ten is five points worse, the others better for it: equal means."""
    values = drawn(rng, SAME, EQUAL, 5)
    values[0] += 0.5 - 5 * (rng.random(5) < 0.1)
    return values


def real_covariance(rng: np.random.Generator) -> Values:
    """As runs of one seed go together in the real sweep, its means made equal."""
    residuals = 100 * (accuracies() - accuracies().mean(axis=1, keepdims=True))
    covariance = residuals @ residuals.T / (residuals.shape[1] - 1)
    return 96.7 + rng.multivariate_normal(np.zeros(12), covariance, 5).T


FALSE = {
    "12 settings x 5 seeds, sds equal": equal(EQUAL, 5),
    "12 x 5, README's sds": equal(SDS, 5),
    "12 x 5, one setting five times as noisy": equal(ONE_NOISY, 5),
    "12 x 5, README's sds in another order": equal(SDS[::-1], 5),
    "12 x 5, the real sweep's covariance": real_covariance,
    "12 x 5, skewed": skewed,
    "12 x 3, one five times as noisy": equal(ONE_NOISY, 3),
    "12 x 2, one five times as noisy": equal(ONE_NOISY, 2),
    "6 x 2, one five times as noisy": equal(ONE_NOISY[:6], 2),
    "3 x 2, one five times as noisy": equal(ONE_NOISY[:3], 2),
    "3 x 3, one five times as noisy": equal(ONE_NOISY[:3], 3),
    "2 x 5": equal(EQUAL[:2], 5),
    "2 x 3": equal(EQUAL[:2], 3),
    "12 x 5, one run in ten a point worse": collapsing,
    "12 x 5, of one setting one run in ten five points worse": one_collapsing,
}


def power(
    sds: np.ndarray, means: np.ndarray, n: int, *, lead: float, trials: int, seed: int = 1
) -> tuple[float, float, float]:
    """The first setting `lead` points ahead of the next: how often it beats that, in percent, and
    how often by the two settings' own paired runs with Bonferroni's interval; and the mean number
    of settings that may be the best.
    """
    rng = np.random.default_rng(seed)
    means = means.copy()
    means[0] = np.sort(means[1:])[-1] + lead
    found = alone = left = 0
    for _ in range(trials):
        ranking = ranked(drawn(rng, means, sds, n))
        found += ranking.order[0] == "0" and ranking.against[0].separated
        pair = (ranking.runs[name] for name in ranking.order[:2])
        own = difference(*pair, level=1 - 0.05 / (len(means) - 1), num_images=NUM_IMAGES)
        alone += ranking.order[0] == "0" and own.low is not None and own.low > 0
        left += len(ranking.contenders)
    return 100 * found / trials, 100 * alone / trials, left / trials


def interval_coverage(n: int, *, trials: int, seed: int = 2) -> tuple[float, float]:
    """In percent: the printed intervals of a sweep (the next, the baseline) all hold the truth; the
    best row's own interval holds its own, of equal settings.
    """
    rng = np.random.default_rng(seed)
    held = own = 0
    for _ in range(trials):
        found = ranked(drawn(rng, MEANS, SDS, n), baseline="4").comparisons
        held += all(
            c.gain.low is not None
            and c.gain.high is not None
            and c.gain.low <= POINT * (MEANS[int(c.best)] - MEANS[int(c.other)]) <= c.gain.high
            for c in found
        )
        ranking = ranked(drawn(rng, SAME, EQUAL, n))
        row = summary(ranking.runs[ranking.order[0]].values(), level=0.95, num_images=NUM_IMAGES)
        assert row.low is not None
        assert row.high is not None
        own += row.low <= POINT * 96.7 <= row.high
    return 100 * held / trials, 100 * own / trials


def stopping(num_settings: int, *, first: int, last: int, trials: int, seed: int = 3) -> float:
    """Seeds are added one by one until something is claimed: false claims in percent."""
    rng = np.random.default_rng(seed)
    claims = 0
    for _ in range(trials):
        values = drawn(rng, SAME[:num_settings], EQUAL[:num_settings], last)
        claims += any(
            any(c.separated for c in ranked(values[:, :n], baseline="0").comparisons)
            for n in range(first, last + 1)
        )
    return 100 * claims / trials


def file() -> np.lib.npyio.NpzFile:
    return np.load(Path(__file__).with_name("sweep_12x20.npz"))


def accuracies() -> np.ndarray:
    with file() as stored:
        found: np.ndarray = stored["ACC"]
    return found


def right_answers() -> np.ndarray:
    """Which images were right: bool (12, 20, 20000)."""
    with file() as stored:
        return np.unpackbits(stored["C"], axis=2).astype(bool)


def image_coverage(right: np.ndarray, n: int, *, trials: int, seed: int = 4) -> tuple[float, float]:
    """How often 95 % intervals hold a pair's difference over all seeds and images, in percent.

    n seeds and NUM_IMAGES images are drawn from those of the real sweep, with replacement, as if
    it were the whole world. Returned for the interval for new images, and for that over seeds.
    """
    rng = np.random.default_rng(seed)
    held = held_by_seeds = 0
    for _ in range(trials):
        a, b = rng.choice(12, 2, replace=False)
        seeds, images = rng.integers(20, size=n), rng.integers(right.shape[2], size=NUM_IMAGES)
        first, second = right[a][seeds][:, images], right[b][seeds][:, images]
        truth = right[a].mean() - right[b].mean()
        gain = image_estimate(first, second).at(0.95, p=None)
        by_seeds = difference(
            *(dict(enumerate(side.mean(axis=1))) for side in (first, second)), level=0.95
        )
        held += covers(gain.low, truth, gain.high)
        held_by_seeds += covers(by_seeds.low, truth, by_seeds.high)
    return 100 * held / trials, 100 * held_by_seeds / trials


def covers(low: float | None, truth: float, high: float | None) -> bool:
    return low is not None and high is not None and low <= truth <= high


def more_seeds(n: int, *, trials: int, seed: int = 5) -> tuple[float, float]:
    """The median difference (points) that 12 equal settings of n seeds say they would find four
    times in five, and how often (percent) one of that size to a given setting is found.
    """
    rng = np.random.default_rng(seed)
    said = []
    for _ in range(max(50, trials // 10)):
        ranking = ranked(drawn(rng, SAME, EQUAL, n))
        found = plan(ranking.against[0], ranking)
        said.append(found.here if found else math.nan)
    size = float(np.median(said))
    means = SAME.copy()
    means[0] += size / POINT
    num_found = 0
    for _ in range(trials):
        ranking = ranked(drawn(rng, means, EQUAL, n))
        separated = {c.other for c in ranking.against if c.separated}
        num_found += ranking.order[0] == "0" and "5" in separated
    return size / POINT, 100 * num_found / trials


def seeds_range(*, trials: int, seed: int = 6) -> tuple[float, float, float, float]:
    """Two settings 0.15 points apart, sd 0.1, from pilots of five seeds.

    Returns:
        The number of seeds that it takes, by simulation; the median that pilots say; and, in
        percent, how often their range holds the first, and how far the figure by itself is within
        a factor of 1.5 of it.
    """
    rng = np.random.default_rng(seed)
    means, sds = np.array([96.7, 96.55]), EQUAL[:2]

    def rate(n: int) -> float:
        found = (ranked(drawn(rng, means, sds, n)) for _ in range(trials))
        return sum(r.order[0] == "0" and r.against[0].separated for r in found) / trials

    needed = next(n for n in range(2, 60) if rate(n) >= 0.8)
    said, held = [], 0
    for _ in range(trials):
        ranking = ranked(drawn(rng, means, sds, 5))
        found = plan(ranking.against[0], ranking)
        assert found is not None
        said.append(found.num_seeds or 101)
        held += (found.fewest or 101) <= needed <= (found.most or 101)
    near = np.mean([needed / 1.5 <= number <= needed * 1.5 for number in said])
    return needed, float(np.median(said)), 100 * held / trials, float(100 * near)


def effect_errors(sds: np.ndarray, n: int, *, trials: int, seed: int = 7) -> tuple[float, float]:
    """On the README's grid, without any interaction, in percent: the interval of dropout's effect
    holds it; that effect is said to depend on others.
    """
    rng = np.random.default_rng(seed)
    grid = [
        {"optimizer": o, "width": w, "dropout": d}
        for o in ("sgd", "rmsprop", "adam")
        for w in (128, 512)
        for d in (0, 0.2)
    ]
    held = told = 0
    for _ in range(trials):
        values = drawn(rng, SAME, sds, n) * POINT
        rows = [(g, float(v)) for g, row in zip(grid, values, strict=True) for v in row]
        effect = main_effects(rows, seeds=[*range(n)] * 12, num_images=NUM_IMAGES)["dropout"]
        gain = effect.levels[0.2].gain
        held += gain is not None and covers(gain.low, 0, gain.high)
        told += effect.depends is not None
    return 100 * held / trials, 100 * told / trials


def race(
    means: np.ndarray, sds: np.ndarray, *, last: int, trials: int, seed: int = 8
) -> tuple[float, float, float]:
    """All run two seeds; what a look separates from the best gets no more.

    At each of the looks n = 2 ... last Holm's level is 5 % over their number; those that are out
    go on informing the spreads.

    Returns:
        Runs a sweep; in percent: the first setting is lost, one is left.
    """
    rng = np.random.default_rng(seed)
    num_runs = lost = alone = 0
    for _ in range(trials):
        left, cost = raced(drawn(rng, means, sds, last) * POINT)
        num_runs += cost
        lost += "0" not in left
        alone += len(left) == 1
    return num_runs / trials, 100 * lost / trials, 100 * alone / trials


def raced(shares: np.ndarray) -> tuple[set[str], int]:
    """Race accuracies (settings, seeds), shares: the settings that are left, and runs made."""
    values = np.round(shares * NUM_IMAGES) / NUM_IMAGES
    last = values.shape[1]
    runs: dict[str, dict[int, float]] = {str(i): {} for i in range(len(values))}
    left = set(runs)
    for n in range(2, last + 1):
        for name in left:
            runs[name] = dict(enumerate(values[int(name), :n].tolist()))
        left -= {*look(runs, left, num_looks=last - 1, num_images=NUM_IMAGES)}
        if len(left) == 1:
            break
    return left, sum(map(len, runs.values()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--trials", type=int, default=2000, help="sweeps a figure (2000)")
    trials = parser.parse_args().trials

    print("| sweeps of equal settings | any false claim % | a given best lost % |\n|:--|--:|--:|")
    for name, draw in FALSE.items():
        claims, lost = false_claims(draw, trials=trials)
        print(f"| {name} | {claims:.1f} | {lost:.1f} |", flush=True)
    print("\n| first ahead by 0.3 points | n | beats the next % | by its own runs % | contenders |")
    print("|:--|--:|--:|--:|--:|")
    for name, sds, means in (("README's means and sds", SDS, MEANS), ("all equal", EQUAL, SAME)):
        for n in (2, 3, 5, 10):
            found, alone, left = power(sds, means, n, lead=0.3, trials=trials)
            print(f"| {name} | {n} | {found:.0f} | {alone:.0f} | {left:.1f} |", flush=True)
    print("\n| 95 % intervals | n | hold % |\n|:--|--:|--:|")
    for n in (3, 5):
        held, own = interval_coverage(n, trials=trials)
        print(f"| against the next and the baseline, both | {n} | {held:.1f} |")
        print(f"| the best row's own, of 12 equal settings | {n} | {own:.1f} |", flush=True)
    right = right_answers()
    print("\n| real sweep, new images | n | for new images % | over seeds % |\n|:--|--:|--:|--:|")
    for n in (3, 5, 10, 20):
        held, by_seeds = image_coverage(right, n, trials=trials)
        print(f"| any two of its settings | {n} | {held:.1f} | {by_seeds:.1f} |", flush=True)
    print("\n| n | points found four times in five, it says | found % |\n|--:|--:|--:|")
    for n in (2, 3, 5, 10):
        size, found = more_seeds(n, trials=trials)
        print(f"| {n} | {size:.2f} | {found:.0f} |", flush=True)
    needed, said, held, near = seeds_range(trials=trials // 2)
    print(f"\nSeeds for 0.15 points: {needed:g}; five-seed pilots say {said:g} (median), within a")
    print(f"factor of 1.5 in {near:.0f} %; their range holds it in {held:.0f} %.")
    print("\n| effect of dropout | n | interval holds % | said to depend % |\n|:--|--:|--:|--:|")
    for name, sds in (("equal sds", EQUAL), ("README's sds", SDS)):
        for n in (3, 5):
            held, told = effect_errors(sds, n, trials=trials)
            print(f"| {name} | {n} | {held:.1f} | {told:.1f} |", flush=True)
    print("\n| seeds added from 3 to 10 until a claim | false claims % |\n|:--|--:|")
    for k in (2, 12):
        claims = stopping(k, first=3, last=10, trials=trials // 2)
        print(f"| {k} settings | {claims:.1f} |", flush=True)
    print("\n| race | runs | the first lost % | one left % |\n|:--|--:|--:|--:|")
    ahead = MEANS.copy()
    ahead[0] += 0.3
    for name, means, last in (
        ("README's means and sds, to 5 seeds", MEANS, 5),
        ("first better by 0.3, to 5 seeds", ahead, 5),
        ("first better by 0.3, to 12 seeds", ahead, 12),
        ("all equal, README's sds, to 5 seeds", SAME, 5),
    ):
        num_runs, lost, alone = race(means, SDS, last=last, trials=trials // 2)
        print(f"| {name} | {num_runs:.1f} | {lost:.1f} | {alone:.0f} |", flush=True)


if __name__ == "__main__":
    main()
