"""mnist-demo: a page to draw on, while a run's network says what it sees."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence

from mnist_lab.run.stored import add_runs, stored_runs
from mnist_lab.ui.console import progress_bar
from mnist_lab.ui.errors import Refused
from mnist_lab.ui.verb import Parser, verb, whole

EXAMPLES = """\
examples:
  mnist-demo outputs/runs/mlp/2026-01-31_18-00-00
  mnist-demo RUN_A RUN_B                                two networks side by side on one drawing
  mnist-demo RUN_DIR --port 9000                        0 takes a free port
  mnist-demo RUN_DIR data.root=/path/to/data            where the training images are now

A good network for drawings: mnist-train experiment=handwriting.

Open the address that it prints. Probabilities, nearest training images and every layer's answers
follow the pen; where and how large a digit is drawn does not matter, and several beside each other
are read one by one. Units, weights and the drawing can be broken, and mended. The page is for this
machine alone: it is served on 127.0.0.1 and loads nothing from elsewhere. Ctrl-C ends it.
"""


def main() -> None:
    verb(demo_command)


def demo_command(args: Sequence[str]) -> None:
    parser = Parser(
        "mnist-demo",
        "Serve a page on which a run's network, or two, read what is drawn.",
        usage="%(prog)s [-h] [--port PORT] [--checkpoint {last,best}] RUN_DIR [RUN_B] "
        "[data.root=DIR]",
        examples=EXAMPLES,
    )
    add_runs(parser)
    parser.add_argument("--port", type=whole(0, 65_535), default=8000, help="of 127.0.0.1 (8000)")
    options = parser.parsed(args)
    runs, overrides = stored_runs(options, most=2)
    if len({tuple(run.class_names) for run in runs}) > 1:
        raise Refused(
            f"{runs[1].path}: has other classes than {runs[0].path}; both must read alike."
        )
    from mnist_lab.drawing.server import ADDRESS, application, bind, serve

    with bind(options.port) as listener:
        data = [run.data(overrides) for run in runs]
        for run in runs:
            if run.caveat:
                print(run.caveat, file=sys.stderr)
        networks = [run.load_for_verb() for run in runs]
        from mnist_lab.drawing.facts import facts_of
        from mnist_lab.drawing.reader import NUM_PIXELS, SIDE, Reader
        from mnist_lab.evaluation.neighbours import TrainingImages
        from mnist_lab.evaluation.unsure import unsure_or_why

        say = functools.partial(print, file=sys.stderr)
        readers = []
        for run, images, (model, epoch) in zip(runs, data, networks, strict=True):
            split = images.load().splits["train"]
            with progress_bar("training images", len(split[0])) as advance:
                training = TrainingImages.of(model, split, progress=advance)
            facts = facts_of(run, epoch=epoch) | {"num_images": len(training.images)}
            unsure = unsure_or_why(run, model, say, data=images)
            readers.append(Reader(model, training, facts, unsure))
        app = application(readers, num_bytes=SIDE * SIDE, num_pixels=NUM_PIXELS)
        port = listener.getsockname()[1]
        print(f"Draw at http://{ADDRESS}:{port}/ (Ctrl-C ends it)", flush=True)
        serve(app, listener)


if __name__ == "__main__":
    main()
