"""mnist-export: a run's network as files that other programs run, checked against the network."""

from __future__ import annotations

import copy
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mnist_lab.run.code import installed_version
from mnist_lab.run.directory import read_metrics, read_state
from mnist_lab.run.stored import RunData, StoredRun, add_out, add_runs, stored_runs
from mnist_lab.ui.console import Screen, screen
from mnist_lab.ui.errors import Failed, Refused
from mnist_lab.ui.files import write_bytes, write_json
from mnist_lab.ui.verb import Parser, verb

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from mnist_lab.models.classifier import Classifier

EXAMPLES = """\
examples:
  mnist-export outputs/runs/mlp/2026-01-31_18-00-00
  mnist-export RUN_DIR --checkpoint best
  mnist-export RUN_DIR data.root=/path/to/data          where the test images are now
  mnist-export RUN_DIR --page digits.html               instead: a page to draw on, in one file

Writes model.onnx, model.pt2 (torch.export) and model.json to RUN_DIR/export/, the best checkpoint's
to RUN_DIR/export/best/. Both networks take uint8 images (n, 28, 28), 0 paper to 255 ink, for any n,
and give float32 probabilities (n, classes); the scaling is inside. Before anything is written both
answer test images, and no probability may differ from the network's own by more than 1e-5.

The page is mnist-demo's without its server: the network is in the file, and the browser computes
it. It opens from disk, loads nothing, and lacks only the training images and what needs torch. It
says where the network is unsure, of less that is strange than mnist-demo does.
"""

NUM_CHECKED = 1_000  # test images that every file answers before it is written
TOLERANCE = 1e-5  # largest difference of a probability
MAX_BYTES = 2_000_000_000  # of weights: an ONNX file is one protobuf message, 2 GiB at most
METADATA = "metadata.json"  # the extra file inside a torch.export archive


def main() -> None:
    verb(export_command)


def export_command(args: Sequence[str]) -> None:
    parser = Parser(
        "mnist-export",
        "Write a run's network as ONNX and torch.export files, or as a page to draw on.",
        usage="%(prog)s [-h] [--checkpoint {last,best}] [--out FOLDER | --page FILE.html] RUN_DIR "
        "[data.root=DIR]",
        examples=EXAMPLES,
    )
    add_runs(parser)
    add_out(parser, what="the files go there")
    parser.add_argument(
        "--page", type=Path, metavar="FILE.html", help="write a page to draw on there, and no more"
    )
    options = parser.parsed(args)
    if options.page is not None:
        refuse_no_page(options.page, options.out)
    (run,), overrides = stored_runs(options)
    if options.page is not None:
        export_page(run, options.page, overrides)
        return
    data = run.trial_data(overrides)
    console = screen()
    if run.caveat:
        console.print(run.caveat)
    folder = run.path / "export" / (run.checkpoint if run.checkpoint != "last" else "")
    export(run, data, options.out or folder, console)


def refuse_no_page(path: Path, out: Path | None) -> None:
    """Refuse what cannot be a page's file before anything is looked at.

    Raises:
        Refused: and why.
    """
    if out is not None:
        raise Refused(f"--out {out}: a page goes where --page says; leave it out.")
    if path.suffix not in (".html", ".htm"):
        raise Refused(f"--page {path}: must be a file to write that ends in .html.")
    if path.is_dir():
        raise Refused(f"--page {path}: is a directory; name a file to write.")


def export_page(run: StoredRun, path: Path, overrides: Sequence[str]) -> None:
    """Write the page to draw on with the network inside.

    Raises:
        Refused: the page cannot compute the network, or the file cannot be written.
    """
    if overrides:
        raise Refused(f"{overrides[0]}: a page needs no images; leave it out.")
    model, epoch = run.load_for_verb()
    from mnist_lab.drawing.doubt import doubt
    from mnist_lab.drawing.facts import facts_of
    from mnist_lab.drawing.network import UntoldError, description
    from mnist_lab.drawing.standalone import standalone
    from mnist_lab.evaluation.unsure import unsure_or_why

    try:
        network = description(model)
    except UntoldError as error:
        raise Refused(f"{run.path}: a page cannot compute this network: {error}.") from None
    missing: list[str] = []
    unsure = unsure_or_why(run, model, missing.append, data=None)
    facts = facts_of(run, epoch=epoch)
    page = standalone(facts, network, doubt(unsure) if unsure else {}).encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, page)
    except OSError as error:
        raise Refused(f"--page {path}: cannot be written ({error.strerror}).") from None
    console = screen()
    if run.caveat:
        console.print(run.caveat)
    console.print(f"{path}: {len(page) / 1e6:.2f} MB; open it in a browser and draw.")
    for line in missing:
        console.print(line)


def export(run: StoredRun, data: RunData, folder: Path, console: Screen) -> None:
    """Convert, compare, and write only what agrees.

    Raises:
        Refused: the weights do not fit into one ONNX file.
        Failed: a file's answers differ from the network's by more than `TOLERANCE`, or the folder
            cannot be written.
    """
    model, epoch = run.load_for_verb()
    import torch

    from mnist_lab.evaluation.answers import log_probs

    num_bytes = sum(weight.nbytes for weight in model.parameters())
    if num_bytes > MAX_BYTES:
        raise Refused(
            f"{run.path}: its weights take {num_bytes / 1e9:.1f} GB; an ONNX file holds at most "
            f"{MAX_BYTES / 1e9:.0f}."
        )
    metadata = model_card(run, data, model, epoch)
    program = to_program(model)
    files = {
        "model.onnx": onnx_file(program, metadata),
        "model.pt2": torch_file(program, metadata),
    }
    images = data.splits.test_images[:NUM_CHECKED]
    expected = np.exp(log_probs(model, torch.from_numpy(images).unsqueeze(1)))
    answers = {
        "model.onnx": onnx_file_probs(files["model.onnx"], images, threads=run.threads),
        "model.pt2": torch_file_probs(files["model.pt2"], images),
    }
    console.print(f"{run.path}, epoch {epoch}; against its own probabilities,")
    console.print(f"on {len(images):,} images of {data.name}'s test split:")
    differences = {}
    for name, probs in answers.items():
        differences[name] = difference = float(np.abs(probs - expected).max())
        size = f"{len(files[name]) / 1e6:.2f} MB"
        console.print(f"  {name:10} {size:>9}  largest difference {difference:.1e}")
        if not difference <= TOLERANCE:  # a nan is not
            raise Failed(
                "export",
                f"{name}: a probability differs by {difference:.1e}, above {TOLERANCE:.0e}; "
                "nothing was written.",
            )
    metadata["checked"] = {"num_images": len(images), "largest_difference": differences}
    metadata["sha256"] = {name: hashlib.sha256(file).hexdigest() for name, file in files.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, file in files.items():
            write_bytes(folder / name, file)
        write_json(folder / "model.json", metadata)
    except OSError as error:
        raise Failed("disk", f"{folder}: {error.strerror}; --out FOLDER names another.") from None
    console.print(f"They are in {folder}, with model.json, which describes them.")


def model_card(run: StoredRun, data: RunData, model: Classifier, epoch: int) -> dict[str, Any]:
    """What a stranger to this package needs to know of the network."""
    finished = read_metrics(run.path) if read_state(run.path) == "finished" else {}
    chosen = run.config.get("choices", {})
    acc = finished.get("test/acc" if run.checkpoint == "last" else "test/acc_best")
    environment = ("mnist_lab_version", "torch_version", "git_commit")
    return {
        "input": "images: uint8 (n, 28, 28), 0 paper to 255 ink, centred as in MNIST",
        "output": "probs: float32 (n, classes), probabilities in the order of class_names",
        "class_names": run.class_names,
        "data": run.config["data"]["name"],
        "data_sha256": data.splits.sha256 if data.own else run.data_sha256,
        "run": run.name,
        "experiment": chosen.get("experiment"),
        "model": chosen.get("model"),
        "num_params": sum(weight.numel() for weight in model.parameters()),
        "seed": run.config["seed"],
        "checkpoint": run.checkpoint,
        "epoch": epoch,
        "test/acc": acc,
        "trained_with": {name: finished.get(name) for name in environment},
        "exported_with": {
            name: installed_version(name) for name in ("mnist_lab", "torch", "onnx", "onnxruntime")
        },
    }


def to_program(classifier: Classifier) -> ExportedProgram:
    """Trace a network with the scaling before it and the softmax after it, for any n.

    uint8 (n, 28, 28), 0 paper to 255 ink -> probabilities (n, classes).
    """
    import torch
    from torch import Tensor, nn

    from mnist_lab.data.datamodule import scale

    class PixelsToProbs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            # Exported weights lie in the plain order, whatever is fastest here.
            plain = copy.deepcopy(classifier).to(memory_format=torch.contiguous_format)
            self.classifier = plain

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.classifier(scale(images.unsqueeze(1)))
            return logits.softmax(dim=1)

    example = torch.zeros(2, 28, 28, dtype=torch.uint8)
    any_n = ({0: torch.export.Dim("n")},)
    program = torch.export.export(PixelsToProbs().eval(), (example,), dynamic_shapes=any_n)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # where the code lies is nobody's business
    return program


def torch_file(program: ExportedProgram, metadata: Mapping[str, Any]) -> bytes:
    """The bytes of a .pt2 archive; `torch.export.load` opens it."""
    import torch

    file = io.BytesIO()
    torch.export.save(program, file, extra_files={METADATA: json.dumps(metadata)})
    return file.getvalue()


def onnx_file(program: ExportedProgram, metadata: Mapping[str, Any]) -> bytes:
    """The bytes of a .onnx file; metadata that is no text is written as JSON."""
    import onnx
    import torch

    converted = torch.onnx.export(
        program,
        dynamic_shapes=({0: torch.export.Dim("n")},),  # names the dimension
        input_names=["images"],
        output_names=["probs"],
        dynamo=True,
        verbose=False,
    )
    assert converted is not None
    proto = converted.model_proto
    graph = proto.graph
    for part in (*graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("metadata_props")  # how it was traced
    proto.producer_name = "mnist_lab"
    proto.producer_version = metadata["exported_with"]["mnist_lab"] or ""
    texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in metadata.items()}
    onnx.helper.set_model_props(proto, texts)
    onnx.checker.check_model(proto, full_check=True)
    return proto.SerializeToString()  # type: ignore[no-any-return]


def torch_file_probs(file: bytes, images: np.ndarray) -> np.ndarray:
    import torch

    network = torch.export.load(io.BytesIO(file)).module()
    with torch.inference_mode():
        return network(torch.from_numpy(images)).numpy()  # type: ignore[no-any-return]


def onnx_file_probs(file: bytes, images: np.ndarray, *, threads: int) -> np.ndarray:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images})[0]  # type: ignore[no-any-return]


if __name__ == "__main__":
    main()
