"""mnist-demo: a page to draw on, while a run's network says what it sees."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence

from mnist_lab.run.stored import add_runs, stored_runs
from mnist_lab.ui.console import printable, progress_bar
from mnist_lab.ui.verb import Parser, verb, whole

EXAMPLES = """\
examples:
  mnist-demo outputs/runs/mlp/2026-01-31_18-00-00
  mnist-demo RUN_DIR --port 9000                        0 takes a free port
  mnist-demo RUN_DIR data.root=/path/to/data            where the training images are now

A good network for drawings: mnist-train experiment=handwriting.

Open the address that it prints. The probabilities, the 28x28 that the network saw and the nearest
training images follow the pen; where and how large the digit is drawn does not matter. The page is
for this machine alone: it is served on 127.0.0.1 and loads nothing from elsewhere. Ctrl-C ends it.
"""


def main() -> None:
    verb(demo_command)


def demo_command(args: Sequence[str]) -> None:
    parser = Parser(
        "mnist-demo",
        "Serve a page on which a run's network reads what is drawn.",
        usage="%(prog)s [-h] [--port PORT] [--checkpoint {last,best}] RUN_DIR [data.root=DIR]",
        examples=EXAMPLES,
    )
    add_runs(parser)
    parser.add_argument("--port", type=whole(0, 65_535), default=8000, help="of 127.0.0.1 (8000)")
    options = parser.parsed(args)
    (run,), overrides = stored_runs(options)
    from mnist_lab.drawing.server import ADDRESS, application, bind, serve

    with bind(options.port) as listener:
        data = run.data(overrides)
        if run.caveat:
            print(run.caveat, file=sys.stderr)
        model, epoch = run.load_for_verb()
        from mnist_lab.drawing.reader import SIDE, read_drawing
        from mnist_lab.evaluation.neighbours import TrainingImages

        split = data.load().splits["train"]
        with progress_bar("training images", len(split[0])) as advance:
            training = TrainingImages.of(model, split, progress=advance)
        facts = {
            "run": printable(run.name),
            "epoch": epoch,
            "data": printable(data.name),
            "class_names": run.class_names,
            "num_images": len(training.images),
        }
        read = functools.partial(read_drawing, model, training)
        app = application(read, facts=facts, num_bytes=SIDE * SIDE)
        port = listener.getsockname()[1]
        print(f"Draw at http://{ADDRESS}:{port}/ (Ctrl-C ends it)", flush=True)
        serve(app, listener)


if __name__ == "__main__":
    main()
