"""What a race of the real sweep costs, and whether it keeps what the whole grid keeps.

    python -m benchmarks.racing [--trials 1000]

Each trial draws five of the twenty seeds of `sweep_12x20.npz`, the same for every setting, and
gives them to the twelve settings in two ways: all of them, compared at 5 %; and in a race.
"""

from __future__ import annotations

import argparse

import numpy as np

from benchmarks.statistics import (
    EQUAL,
    ONE_NOISY,
    POINT,
    SAME,
    SDS,
    accuracies,
    drawn,
    raced,
    ranked,
)


def real(*, trials: int, seeds: int = 5, seed: int = 9) -> tuple[float, float]:
    """Runs of a race in the mean; how often, in percent, it keeps all that the grid keeps."""
    rng = np.random.default_rng(seed)
    values = accuracies()
    num_runs = kept = 0
    for _ in range(trials):
        some = values[:, rng.permutation(values.shape[1])[:seeds]]
        left, cost = raced(some)
        num_runs += cost
        kept += {*ranked(some / POINT).contenders} <= left
    return num_runs / trials, 100 * kept / trials


def lost(sds: np.ndarray, *, trials: int, seeds: int = 5, seed: int = 10) -> float:
    """In percent: a given one of equal settings, the sixth, is lost."""
    rng = np.random.default_rng(seed)
    out = 0
    for _ in range(trials):
        out += "5" not in raced(drawn(rng, SAME, sds, seeds) * POINT)[0]
    return 100 * out / trials


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--trials", type=int, default=1000, help="draws of the real sweep (1000)")
    trials = parser.parse_args().trials
    num_runs, kept = real(trials=trials)
    print(f"12 x 5 seeds of the real sweep, {trials} draws: {num_runs:.1f} of 60 runs;")
    print(f"may be best: the race keeps all that the grid keeps in {kept:.1f} %")
    for name, sds in (("equal", EQUAL), ("README's", SDS), ("one noisy", ONE_NOISY)):
        print(f"null sweeps, sds {name}: {lost(sds, trials=2 * trials):.2f} % lose a given best")


if __name__ == "__main__":
    main()
