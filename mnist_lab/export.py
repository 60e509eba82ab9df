"""mnist-export: a run's network as files that other programs run, checked against the network."""

from __future__ import annotations

import argparse
import hashlib
import operator
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from rich.table import Table

from mnist_lab.console import Screen
from mnist_lab.errors import Failed, Refused
from mnist_lab.files import write_atomically, write_json
from mnist_lab.imports import import_lightning
from mnist_lab.run_arguments import add_checkpoint, add_one_run, one_run
from mnist_lab.run_data import RunData, data_seen, stored_class_names, trial_data
from mnist_lab.runs import read_metrics, read_state
from mnist_lab.signals import listen
from mnist_lab.train import exit_code
from mnist_lab.trained import TrainedRun

if TYPE_CHECKING:
    from mnist_lab.models.classifier import Classifier

EXAMPLES = """\
examples:
  mnist-export outputs/runs/mlp/2026-01-31_18-00-00
  mnist-export RUN_DIR --checkpoint best
  mnist-export RUN_DIR data.root=/path/to/data          where the test images are now

Writes model.onnx, model.pt2 (torch.export) and model.json to RUN_DIR/export/, the best checkpoint's
to RUN_DIR/export/best/. Both networks take uint8 images (n, 28, 28), 0 paper to 255 ink, for any n,
and give float32 probabilities (n, 10); the scaling is inside. Before anything is written both
answer test images, and no probability may differ from the network's own by more than 1e-5.
"""

NUM_CHECKED = 1_000  # test images that every file answers before it is written
TOLERANCE = 1e-5  # largest difference of a probability


def main() -> None:
    listen()
    sys.exit(exit_code(lambda: export_command(sys.argv[1:])))


def export_command(args: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="mnist-export",
        usage="%(prog)s [-h] [--checkpoint {last,best}] RUN_DIR [data.root=DIR]",
        description="Write a run's network as ONNX and torch.export files.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_one_run(parser)
    add_checkpoint(parser)
    options = parser.parse_intermixed_args(list(args))
    path, overrides = one_run(options.run)
    run = TrainedRun.find(path, checkpoint=options.checkpoint)
    data = trial_data(run.path, run.config, overrides)
    screen = Screen(highlight=False, markup=False, soft_wrap=True)
    if run.caveat:
        screen.print(run.caveat)
    export(run, data, screen)


def export(run: TrainedRun, data: RunData, screen: Screen) -> None:
    """Convert, compare, and write only what agrees.

    Raises:
        Refused: the weights do not fit into one ONNX file.
        Failed: a file's answers differ from the network's by more than `TOLERANCE`, or the folder
            cannot be written.
    """
    import_lightning()
    import torch

    from mnist_lab import portable

    torch.set_num_threads(run.threads)
    model, epoch = run.load()
    num_bytes = sum(weight.nbytes for weight in model.parameters())
    if num_bytes > portable.MAX_BYTES:
        raise Refused(
            f"{run.path}: its weights take {num_bytes / 1e9:.1f} GB; an ONNX file holds at most "
            f"{portable.MAX_BYTES / 1e9:.0f}."
        )
    metadata = described(run, data, model, epoch)
    program = portable.to_program(model)
    files = {
        "model.onnx": portable.to_onnx_file(program, metadata),
        "model.pt2": portable.to_torch_file(program, metadata),
    }
    images = data.read().test_images[:NUM_CHECKED]
    answers = {
        "model.onnx": portable.onnx_file_probs(files["model.onnx"], images, threads=run.threads),
        "model.pt2": portable.torch_file_probs(files["model.pt2"], images),
    }
    own = portable.own_probs(model, images)
    differences = {name: portable.largest_difference(probs, own) for name, probs in answers.items()}
    screen.print(f"{run.path}, epoch {epoch}; against its own probabilities,")
    screen.print(f"on {len(images):,} images of {data.name}'s test split:")
    screen.print(difference_table(files, differences))
    for name, difference in differences.items():
        if not difference <= TOLERANCE:  # a nan is not
            raise Failed(
                "export",
                f"{name}: a probability differs by {difference:.1e}, above {TOLERANCE:.0e}; "
                "nothing was written.",
            )
    metadata["checked"] = {"num_images": len(images), "largest_difference": differences}
    metadata["sha256"] = {name: hashlib.sha256(file).hexdigest() for name, file in files.items()}
    folder = run.path / "export" / (run.checkpoint if run.checkpoint != "last" else "")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, file in files.items():
            write_atomically(folder / name, operator.methodcaller("write", file))
        write_json(folder / "model.json", metadata)
    except OSError as error:
        raise Failed("disk", f"{folder}: {error.strerror}.") from None
    screen.print(f"They are in {folder}, with model.json, which describes them.")


def difference_table(files: dict[str, bytes], differences: dict[str, float]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("file", "MB", "run by", "largest difference"):
        table.add_column(name, justify="right" if name == "MB" else "left")
    engines = {
        "model.onnx": f"ONNX Runtime {version('onnxruntime')}",
        "model.pt2": f"torch.export, torch {version('torch')}",
    }
    for name, file in files.items():
        table.add_row(name, f"{len(file) / 1e6:.2f}", engines[name], f"{differences[name]:.1e}")
    return table


def described(run: TrainedRun, data: RunData, model: Classifier, epoch: int) -> dict[str, Any]:
    """What a stranger to this package needs to know of the network."""
    where = run.path.absolute()
    finished = read_metrics(run.path) if read_state(run.path) == "finished" else {}
    chosen = run.config.get("choices", {})
    acc = finished.get("test/acc" if run.checkpoint == "last" else "test/acc_best")
    environment = ("mnist_lab_version", "torch_version", "git_commit")
    return {
        "input": "images: uint8 (n, 28, 28), 0 paper to 255 ink, centred as in MNIST",
        "output": "probs: float32 (n, 10), probabilities in the order of class_names",
        "class_names": stored_class_names(run.config),
        "data": run.config["data"]["name"],
        "data_sha256": data.sha256 if data.own else data_seen(run.path),
        "run": f"{where.parent.name}/{where.name}",
        "experiment": chosen.get("experiment"),
        "model": chosen.get("model"),
        "num_params": sum(weight.numel() for weight in model.parameters()),
        "seed": run.config["seed"],
        "checkpoint": run.checkpoint,
        "epoch": epoch,
        "test/acc": acc,
        "trained_with": {name: finished.get(name) for name in environment},
        "exported_with": {
            name: version(name) for name in ("mnist_lab", "torch", "onnx", "onnxruntime")
        },
    }


if __name__ == "__main__":
    main()
