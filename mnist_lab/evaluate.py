"""mnist-evaluate: what a run's network gets right and wrong; or two of them, on the same images."""

from __future__ import annotations

from collections.abc import Sequence

from mnist_lab.evaluation.judge import claim_folder, find_data, judge, judge_pair
from mnist_lab.run.stored import add_out, add_runs, stored_runs
from mnist_lab.settings.groups import choices
from mnist_lab.ui.console import screen
from mnist_lab.ui.errors import Failed, Refused
from mnist_lab.ui.verb import Parser, verb, whole

EXAMPLES = """\
examples:
  mnist-evaluate outputs/runs/mlp/2026-01-31_18-00-00
  mnist-evaluate RUN_DIR --checkpoint best --split val
  mnist-evaluate RUN_DIR --data fashion_mnist data.root=/path/to/data
  mnist-evaluate RUN_A RUN_B                  McNemar's exact test on the same images
  mnist-evaluate RUN_DIR --projector          the images as the last hidden layer sees them

Writes metrics.json, predictions.csv, mistakes.csv, confusion.png, mistakes.png and reliability.png
to RUN_DIR/evaluation/, and RUN_DIR/curves.png. Other images, splits and checkpoints get folders of
their own below it, such as evaluation/val-best/, and two runs RUN_A/evaluation/against_.../. The
same evaluation again replaces the last. The network runs on the CPU, in 32-bit arithmetic.
"""


def main() -> None:
    verb(evaluate_command)


def evaluate_command(args: Sequence[str]) -> None:
    parser = Parser(
        "mnist-evaluate",
        "Test a run's network: metrics, confusion, calibration and mistakes.",
        examples=EXAMPLES,
    )
    add_runs(parser, what="a run directory, or two")
    parser.add_argument(
        "--split", choices=("test", "val", "train"), default="test", help="test by default"
    )
    parser.add_argument(
        "--data",
        metavar="NAME",
        help=f"other images than the run's, at data.root=DIR: {', '.join(choices('data'))}",
    )
    parser.add_argument(
        "--mistakes", type=whole(0), default=10, metavar="N", help="how many to put in words (10)"
    )
    parser.add_argument(
        "--projector",
        action="store_true",
        help="for one run: write what its last hidden layer gives for TensorBoard's projector",
    )
    add_out(parser, what="everything goes there, and nothing into the run's own directory")
    options = parser.parsed(args)
    runs, overrides = stored_runs(options, most=2)
    if options.projector and len(runs) == 2:
        raise Refused("--projector: is for one run.")
    if len({run.path.resolve() for run in runs}) < len(runs):
        raise Refused(f"{runs[0].path}: is named twice; a run cannot be compared with itself.")
    data = find_data(runs, options.data, overrides, split=options.split)
    folder = claim_folder(runs, data, split=options.split, out=options.out)
    console = screen()
    for note in [*(run.caveat for run in runs), data.note]:
        if note:
            console.print(note)
    try:
        wanted = {"split": options.split, "num_words": options.mistakes}
        if len(runs) == 1:
            beside = folder if options.out else runs[0].path
            more = {"projector": options.projector, "beside": beside}
            judge(runs[0], data, folder, console, **wanted, **more)
        else:
            judge_pair(runs, data, folder, console, **wanted)
    except OSError as error:
        raise Failed("disk", f"{error.filename or folder}: {error.strerror}.") from None


if __name__ == "__main__":
    main()
