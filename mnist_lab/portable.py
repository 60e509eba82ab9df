"""A network in forms that run without this package: ONNX, and a torch.export program."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from mnist_lab.data import scale
from mnist_lab.models.classifier import Classifier

INPUT, OUTPUT = "images", "probs"
METADATA = "metadata.json"  # the extra file inside a torch.export archive
MAX_BYTES = 2_000_000_000  # of weights: an ONNX file is one protobuf message, 2 GiB at most

Images = UInt8[np.ndarray, "n 28 28"]
Probs = Float32[np.ndarray, "n 10"]


class PixelsToProbs(nn.Module):
    """A classifier with the scaling before it and the softmax after it."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        # Exported weights lie in the plain order, whatever is fastest here.
        self.classifier = copy.deepcopy(classifier).to(memory_format=torch.contiguous_format)

    def forward(self, images: UInt8[Tensor, "n 28 28"]) -> Float32[Tensor, "n 10"]:
        logits: Tensor = self.classifier(scale(images.unsqueeze(1)))
        return logits.softmax(dim=1)


def to_program(classifier: Classifier) -> ExportedProgram:
    """Trace a network in evaluation mode: uint8 (n, 28, 28) to probabilities (n, 10), any n."""
    network = PixelsToProbs(classifier).eval()
    example = torch.zeros(2, 28, 28, dtype=torch.uint8)
    program = torch.export.export(network, (example,), dynamic_shapes=({0: Dim("n")},))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # where the code lies is nobody's business
    return program


def to_torch_file(program: ExportedProgram, metadata: Mapping[str, Any]) -> bytes:
    """The bytes of a .pt2 archive; `torch.export.load` opens it."""
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={METADATA: json.dumps(metadata)})
    return file.getvalue()


def to_onnx_file(program: ExportedProgram, metadata: Mapping[str, Any]) -> bytes:
    """The bytes of a .onnx file; metadata that is no text is written as JSON."""
    import onnx

    converted = torch.onnx.export(
        program,
        dynamic_shapes=({0: Dim("n")},),  # names the dimension
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamo=True,
        verbose=False,
    )
    assert converted is not None
    proto = converted.model_proto
    graph = proto.graph
    for part in (*graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("metadata_props")  # how it was traced
    proto.producer_name = "mnist_lab"
    proto.producer_version = metadata["exported_with"]["mnist_lab"]
    texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in metadata.items()}
    onnx.helper.set_model_props(proto, texts)
    onnx.checker.check_model(proto, full_check=True)
    return proto.SerializeToString()  # type: ignore[no-any-return]


def own_probs(classifier: Classifier, images: Images) -> Probs:
    """What the network itself says, as in training, evaluation and prediction."""
    with torch.inference_mode():
        logits = classifier(scale(torch.as_tensor(images).unsqueeze(1)))
    return logits.softmax(dim=1).numpy()  # type: ignore[no-any-return]


def torch_file_probs(file: bytes, images: Images) -> Probs:
    network = torch.export.load(io.BytesIO(file)).module()
    with torch.inference_mode():
        return network(torch.as_tensor(images)).numpy()  # type: ignore[no-any-return]


def onnx_file_probs(file: bytes, images: Images, *, threads: int) -> Probs:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    (probs,) = session.run([OUTPUT], {INPUT: images})
    return probs  # type: ignore[no-any-return]


def largest_difference(probs: Probs, others: Probs) -> float:
    """Largest absolute difference of a probability; nan where either holds one."""
    assert probs.shape == others.shape
    return float(np.abs(probs.astype(float) - others).max())
