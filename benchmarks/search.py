"""Whether a search finds a good setting sooner than drawing does, on stored results.

    python -m benchmarks.search [--trials 50]

`search_200.csv` holds 200 drawn settings with their validation accuracy, one column a seed:

    mnist-train -m optimizer=sgd,rmsprop,adam 'model.width=interval(16,256)' \\
        'model.dropout=interval(0,0.5)' 'optimizer.lr=interval(1e-4,1)' data.batch_size=256 \\
        trainer.max_epochs=2 seed=0,1 sample=200 hydra/launcher=pool hydra.sweep.dir=SWEEP
    python -m benchmarks.search --table SWEEP

on full MNIST: 50,000 images to learn from, 10,000 to judge by. A trial asks the package's search
for a setting, takes for it the nearest stored one that has not been taken (of the same optimizer as
long as there is one; by width, dropout and the logarithm of lr, each as a share of its range), and
tells the search that one, with the mean of its seeds. So search and drawing choose among the same
200, none twice, and what a setting reaches is what it has reached. Regret: the best mean of all
200 less the best that was taken.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mnist_lab.study.results import read_results
from mnist_lab.sweep.space import Params, Space, Trial

TABLE = Path(__file__).with_name("search_200.csv")
NAMES = ("optimizer", "model.width", "model.dropout", "optimizer.lr")
SPACE = Space(
    {
        "optimizer": [("optimizer=sgd",), ("optimizer=rmsprop",), ("optimizer=adam",)],
        "model.width": [("model.width=interval(16,256)",)],
        "model.dropout": [("model.dropout=interval(0,0.5)",)],
        "optimizer.lr": [("optimizer.lr=interval(1e-4,1)",)],
    }
)
FAR = 10.0  # between two optimizers; between two settings of one at most the root of 3


def table() -> tuple[list[Params], np.ndarray]:
    """The stored settings, and the mean validation accuracy of each in 0..1."""
    with TABLE.open() as file:
        rows = [*csv.DictReader(file)]
    kinds = (str, int, float, float)
    settings = [{n: kind(row[n]) for n, kind in zip(NAMES, kinds, strict=True)} for row in rows]
    means = [np.mean([float(row[key]) for key in row if key not in NAMES]) for row in rows]
    return settings, np.array(means)


def place(params: Params) -> np.ndarray:
    optimizer, width, dropout, lr = (params[name] for name in NAMES)
    shares = [(width - 16) / 240, dropout / 0.5, math.log(lr / 1e-4) / math.log(1 / 1e-4)]
    return np.array([FAR * list(SPACE.choices["optimizer"]).index(optimizer), *shares])


def searched(
    settings: Sequence[Params], means: np.ndarray, *, seed: int, num: int, slots: int = 1
) -> list[int]:
    """The settings that a search takes, in its order, with so many asked for at once."""
    places = np.array([place(params) for params in settings])
    free = np.ones(len(settings), bool)
    taken: list[int] = []
    while len(taken) < num:
        told = max(0, len(taken) - slots + 1)  # the others still run
        values = [*means[taken[:told]].tolist(), *[None] * (len(taken) - told)]
        trials = [Trial(settings[i], value) for i, value in zip(taken, values, strict=True)]
        wanted = place(next(SPACE.proposals(trials, seed=seed)))
        distances = np.where(free, np.linalg.norm(places - wanted, axis=1), np.inf)
        taken.append(int(distances.argmin()))
        free[taken[-1]] = False
    return taken


def regrets(means: np.ndarray, taken: Sequence[int]) -> np.ndarray:
    """In points, after each of the settings that were taken."""
    return 100 * (means.max() - np.maximum.accumulate(means[taken]))


def compared(*, trials: int, slots: int = 1, num: int = 25) -> tuple[np.ndarray, np.ndarray]:
    """Regrets of a search after 1 to `num` settings, and of drawing after 1 to twice as many."""
    settings, means = table()
    found, drawn = [], []
    for seed in range(trials):
        taken = searched(settings, means, seed=seed, num=num, slots=slots)
        found.append(regrets(means, taken))
        order = np.random.default_rng(seed).permutation(len(means))
        drawn.append(regrets(means, order[: 2 * num].tolist()))
    return np.array(found), np.array(drawn)


def write_table(sweep: Path) -> None:
    """Store the results of a sweep of two seeds."""
    rows: dict[tuple[str, ...], dict[int, float]] = {}
    for result in read_results([sweep])[0]:
        key = tuple(str(result.settings[name]) for name in NAMES)
        rows.setdefault(key, {})[result.seed] = result.metrics["val/acc"]
    with TABLE.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*NAMES, "0", "1"])
        writer.writerows(
            [*key, *(round(seeds[n], 4) for n in (0, 1))] for key, seeds in rows.items()
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--trials", type=int, default=50, help="repetitions (50)")
    parser.add_argument("--table", type=Path, metavar="SWEEP", help="make the table instead")
    arguments = parser.parse_args()
    if arguments.table:
        write_table(arguments.table)
        return
    trials = arguments.trials
    print(f"Regret in points, {trials} repetitions: median (quartiles)")
    for slots in (1, 2, 4, 10):
        found, drawn = compared(trials=trials, slots=slots)
        if slots == 1:
            for num in (10, 25, 40, 50):
                print(f"{num:3} drawn                {said(drawn[:, num - 1])}")
        for num in (15, 20, 25):
            print(f"{num:3} searched, {slots:2} at once {said(found[:, num - 1])}")


def said(regret: np.ndarray) -> str:
    low, median, high = np.percentile(regret, [25, 50, 75])
    return f"{median:.3f} ({low:.3f}-{high:.3f}), mean {regret.mean():.3f}"


if __name__ == "__main__":
    main()
