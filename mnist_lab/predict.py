"""mnist-predict: a run's network reads pictures of one's own, or images of its test split."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from mnist_lab.prediction.asking import MAX_SHOWN, ask, read_pictures, test_items
from mnist_lab.prediction.report import draw, refuse_to_overwrite, report
from mnist_lab.run.stored import StoredRun, add_checkpoint, paths_and_overrides
from mnist_lab.settings import own
from mnist_lab.ui.errors import Failed, Refused
from mnist_lab.ui.verb import Parser, verb, whole

EXAMPLES = """\
examples:
  mnist-predict RUN_DIR my_digit.png photo.jpg          photos or scans, of one digit or several
  mnist-predict RUN_DIR scans/ --one                    a folder's pictures, of one digit each
  mnist-predict RUN_DIR *.png --show digits.png         a figure: picture, 28x28, probabilities
  mnist-predict RUN_DIR --index 0 7 --format json       images of the test split by number
  mnist-predict RUN_DIR --random 10 --seed 3            ten of them drawn at random
  mnist-predict RUN_DIR photo.jpg --neighbours 8        and the training images it finds most alike

For pictures of your own digits: mnist-train experiment=handwriting. The column `unsure` tells where
what the network sees is unlike what it learned from.

PNG, JPEG, BMP, TIFF, WebP, GIF and, with pillow-heif, HEIC; dark on light or light on dark. The
sheet, the digits on it and their ink are found and brought into the form of MNIST's own digits, so
the pictures suit runs on MNIST. Each digit gets a row, from left to right and top to bottom. A file
without any gets a line with the reason, the others are predicted, and the exit code is 1.
"""

MAX_NEIGHBOURS = 50


def main() -> None:
    verb(predict_command)


def predict_command(args: Sequence[str]) -> None:
    parser = Parser("mnist-predict", "Ask a run's network about pictures.", examples=EXAMPLES)
    parser.add_argument("run", type=Path, metavar="RUN_DIR", help="a run directory")
    parser.add_argument("images", nargs="*", metavar="IMAGE", help="picture files, folders")
    parser.add_argument(
        "--index", type=int, nargs="+", default=[], metavar="N", help="test images, from 0"
    )
    parser.add_argument("--random", type=int, metavar="N", help="so many test images at random")
    parser.add_argument("--seed", type=whole(0), help="which ones; without it others each time")
    parser.add_argument(
        "--show",
        type=Path,
        nargs="?",
        const=Path("predictions.png"),
        metavar="PATH",
        help=f"write a figure of the first {MAX_SHOWN} pictures (predictions.png)",
    )
    parser.add_argument(
        "--neighbours",
        type=whole(0, MAX_NEIGHBOURS),
        default=0,
        metavar="N",
        help="show so many training images, those nearest in the network's last hidden layer",
    )
    parser.add_argument("--one", action="store_true", help="refuse pictures of several digits")
    parser.add_argument("--format", choices=("table", "json", "csv"), default="table")
    add_checkpoint(parser)
    options = parser.parsed(args)

    own.name_folders(options.config_dir)
    paths, overrides = paths_and_overrides(options.images)
    run = StoredRun.find(options.run, checkpoint=options.checkpoint)
    if options.show is not None:
        refuse_to_overwrite(options.show)
    wanted = options.random is not None or options.index
    if not (paths or wanted):
        raise Refused("nothing to predict: name pictures, or test images by --index or --random.")
    if options.seed is not None and options.random is None:
        raise Refused(f"--seed {options.seed}: draws the images of --random; add it.")
    needs_data = wanted or options.neighbours or overrides
    data = run.data(overrides) if needs_data else None
    predictions = read_pictures(paths, one=options.one)
    if data is not None:
        predictions += test_items(data, options.index, options.random, seed=options.seed)
    if run.caveat:
        print(run.caveat, file=sys.stderr)
    ask(run, predictions, data=data, num_neighbours=options.neighbours)
    report(predictions, run.class_names, form=options.format)
    if options.show is not None:
        draw(predictions, run.class_names, options.show)
    num_failed = sum(each.error is not None for each in predictions)
    if num_failed:
        num_pictures = sum(not each.digit for each in predictions)
        raise Failed("pictures", f"{num_failed} of {num_pictures} could not be predicted.")


if __name__ == "__main__":
    main()
