"""mnist-predict: a run's network reads pictures of one's own, or images of its test split."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mnist_lab.pictures.prediction import Prediction, as_csv, as_json, as_table
from mnist_lab.run.stored import RunData, StoredRun, add_checkpoint, paths_and_overrides
from mnist_lab.settings import own
from mnist_lab.ui.console import Screen, progress_bar
from mnist_lab.ui.errors import Failed, Refused
from mnist_lab.ui.verb import Parser, verb, whole

EXAMPLES = """\
examples:
  mnist-predict RUN_DIR my_digit.png photo.jpg          photos or scans, one digit in each
  mnist-predict RUN_DIR *.png --show digits.png         a figure: picture, 28x28, probabilities
  mnist-predict RUN_DIR --index 0 7 --format json       images of the test split by number
  mnist-predict RUN_DIR --random 10 --seed 3            ten of them drawn at random
  mnist-predict RUN_DIR photo.jpg --neighbours 8        and the training images it finds most alike

PNG, JPEG, BMP, TIFF and WebP; dark on light or light on dark. The ink is found and brought into the
form of MNIST's own digits, so the pictures suit runs on MNIST. A file that cannot be read gets a
line with the reason, the others are predicted, and the exit code is 1.
"""

MAX_SHOWN = 20  # pictures in one figure
MAX_NEIGHBOURS = 50
WIDE = 200  # columns where no terminal sets a limit
MARK = {"Software": "mnist-predict"}  # in a figure's PNG, which may then be replaced


def main() -> None:
    verb(predict_command)


def predict_command(args: Sequence[str]) -> None:
    parser = Parser("mnist-predict", "Ask a run's network about pictures.", examples=EXAMPLES)
    parser.add_argument("run", type=Path, metavar="RUN_DIR", help="a run directory")
    parser.add_argument("images", nargs="*", metavar="IMAGE", help="picture files")
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
    predictions = read_pictures(paths)
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
        raise Failed("pictures", f"{num_failed} of {len(predictions)} could not be predicted.")


def read_pictures(paths: Sequence[Path]) -> list[Prediction]:
    with progress_bar("pictures", len(paths)) as advance:
        predictions = []
        for path in paths:
            predictions.append(Prediction.of_file(path))
            if len(predictions) > MAX_SHOWN:
                predictions[-1].picture = None  # no figure needs it
            advance(1)
    return predictions


def test_items(
    data: RunData, indices: Sequence[int], num_random: int | None, *, seed: int | None
) -> list[Prediction]:
    """Items of the official test split, by number and then drawn without repetition.

    Raises:
        Refused: there are not so many.
    """
    total = len(data.splits.test_images)
    for index in indices:
        if not 0 <= index < total:
            raise Refused(f"--index {index}: the test split has the images 0 to {total - 1}.")
    if num_random is not None and not 1 <= num_random <= total:
        raise Refused(f"--random {num_random}: must be a whole number from 1 to {total}.")
    drawn = np.random.default_rng(seed).choice(total, num_random or 0, replace=False).tolist()
    return [Prediction.of_test_item(data.splits, index) for index in [*indices, *drawn]]


def ask(
    run: StoredRun,
    predictions: Sequence[Prediction],
    *,
    data: RunData | None = None,
    num_neighbours: int = 0,
) -> None:
    """Fill in the probabilities of all pictures that were read, and their neighbours in `data`."""
    asked = [each for each in predictions if each.image is not None]
    if not asked:
        return
    model, _ = run.load_for_verb()
    import torch

    from mnist_lab.evaluation.answers import log_probs

    images = torch.from_numpy(np.stack([each.image for each in asked])).unsqueeze(1)  # type: ignore[misc]
    for each, logs in zip(asked, log_probs(model, images), strict=True):
        each.probs = np.exp(logs)
    if data is None or not num_neighbours:
        return
    from mnist_lab.evaluation.neighbours import TrainingImages, features

    split = data.load().splits["train"]
    with progress_bar("training images", len(split[0])) as advance:
        training = TrainingImages.of(model, split, progress=advance)
    found = training.nearest(features(model, images), num_neighbours=num_neighbours)
    for each in predictions:
        each.neighbours = []
    for each, neighbours in zip(asked, found, strict=True):
        each.neighbours = neighbours


def report(predictions: Sequence[Prediction], class_names: Sequence[str], *, form: str) -> None:
    screen = Screen(highlight=False, markup=False, soft_wrap=True)
    if form != "table":
        write = as_csv if form == "csv" else as_json
        screen.out(write(predictions, class_names), end="", highlight=False)
        return
    if not screen.is_terminal:
        screen.width = WIDE
    if any(each.probs is not None for each in predictions):
        screen.print(as_table(predictions, class_names))
        if class_names != [str(k) for k in range(len(class_names))]:
            screen.print(", ".join(f"{k} {name}" for k, name in enumerate(class_names)))
    for each in predictions:
        if each.neighbours:
            near = ", ".join(f"{class_names[n.label]} ({n.index})" for n in each.neighbours)
            screen.print(f"{each.name}: nearest training images {near}")
        if each.error is not None:
            screen.print(f"{each.name}: {each.error}")


def refuse_to_overwrite(path: Path) -> None:
    """Let a figure replace only a figure: `--show photo.png` may have meant a picture to read."""
    if path.suffix.lower() != ".png":
        raise Refused(f"--show {path}: must end in .png.")
    if not path.parent.is_dir():
        raise Refused(f"--show {path}: there is no folder {path.parent}.")
    try:
        own = not path.exists() or MARK["Software"].encode() in path.read_bytes()[:1000]
    except OSError:
        own = False
    if not own:
        raise Refused(
            f"--show {path}: is there and was not written by mnist-predict; give another name. "
            "(Pictures to read come before --show.)"
        )


def draw(predictions: Sequence[Prediction], class_names: Sequence[str], path: Path) -> None:
    shown = [each for each in predictions if each.probs is not None][:MAX_SHOWN]
    if not shown:
        return
    from mnist_lab.evaluation.plots import predictions_figure
    from mnist_lab.ui.plotting import save

    try:
        save(predictions_figure(shown, class_names), path, metadata=MARK)
    except OSError as error:
        raise Failed("disk", f"{path}: {error.strerror}.") from None
    print(f"The figure is {path}.", file=sys.stderr)


if __name__ == "__main__":
    main()
