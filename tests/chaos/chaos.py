"""Faults by the hundred on real processes: make chaos.

Prints a table, fault by fault: how often it was tried, how often the promise held, and the slowest
answer in seconds beside the one promised; writes it to docs/chaos.md. Exit code 1 if one did not
hold. Each run that was disturbed is judged by one that was not.
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from cells import cells_interrupted
from files import bytes_changed, pictures_mutated
from jobs import races_disturbed, submitit_stopped, sweeps_disturbed
from processes import Warm
from runs import RESUME, TRAIN, git_lacking, project_moved, runs_disturbed
from tiny_run import write_data_set

TABLE = Path(__file__).parents[2] / "docs" / "chaos.md"
HEADER = """\
# Chaos

What `make chaos` tried and what came of it. A promise holds when all that it says is so on disk:
the files of `tests/chaos/` tell how each is judged.

| fault | tried | held | slowest | promised |
|---|---|---|---|---|
"""


class Tally:
    """The rows of the table.

    Attributes:
        share: of the full number of times that each fault is tried. Below 1 it is a test among
            others, beside which seconds say nothing: they are not judged.
    """

    def __init__(self, share):
        self.share = share
        self.rows = []

    def times(self, number):
        return max(2, round(self.share * number))

    def length(self, number):
        """Of what is disturbed, in epochs or seconds: shorter where few faults come."""
        return number if self.share > 0.2 else round(number / 4)

    def add(self, fault, outcomes, limit_s=None):
        """Note a fault's outcomes: whether the promise held, and the seconds of the answer."""
        assert outcomes, fault
        limit_s = limit_s if self.share == 1 else None
        held = sum(good and (limit_s is None or seconds <= limit_s) for good, seconds in outcomes)
        slowest = f"{max(seconds for _, seconds in outcomes):.2f} s" if limit_s else "-"
        promised = f"{limit_s} s" if limit_s else "-"
        self.note(fault, len(outcomes), held, slowest, promised)

    def leave_out(self, fault, why):
        self.note(fault, f"not tried: {why}", "-", "-", "-")

    def note(self, *row):
        self.rows.append(row)
        print("  ".join(map(str, row)), flush=True)

    @property
    def lines(self):
        return "".join(f"| {' | '.join(map(str, row))} |\n" for row in self.rows)

    @property
    def all_held(self):
        return all(held in (tried, "-") for _, tried, held, *_ in self.rows)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="of the moments; default 0")
    parser.add_argument(
        "--share",
        type=float,
        default=1.0,
        help="of the times that each fault is tried; below 1 the table is only printed",
    )
    return parser.parse_args()


def main():
    began = time.monotonic()
    options = arguments()
    rng = random.Random(options.seed)
    tally = Tally(options.share)
    with tempfile.TemporaryDirectory() as name, Warm([TRAIN, RESUME, "mnist_lab.run.fit"]) as warm:
        folder = Path(name)
        write_data_set(folder / "data", num_train=300, num_test=50, seed=0)
        tiny = ["data=idx_folder", f"data.root={folder}/data", "threads=1", "trainer=cpu"]
        bytes_changed(tally, folder, rng)
        pictures_mutated(tally, folder)
        runs_disturbed(tally, folder, tiny, warm, rng)
        sweeps_disturbed(tally, folder, tiny, warm, rng)
        races_disturbed(tally, folder, tiny, warm, rng)
        submitit_stopped(tally, folder, tiny, warm, rng)
        cells_interrupted(tally, folder, tiny, warm, rng)
        project_moved(tally, folder, warm, rng)
        git_lacking(tally, folder, tiny, warm, rng)
    print(f"\n{tally.lines}\n{(time.monotonic() - began) / 60:.1f} minutes")
    if options.share == 1:
        TABLE.write_text(HEADER + tally.lines)
        print(TABLE)
    return 0 if tally.all_held else 1


if __name__ == "__main__":
    sys.exit(main())
