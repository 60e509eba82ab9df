"""A network as a plain list of layers and weights, from which network.js computes it in a page."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from mnist_lab.models.classifier import Classifier
from mnist_lab.models.layers import Crop, FlattenPixels, Noise

NUM_CHECKED = 16  # random images
TOLERANCE = 1e-5  # largest difference of a logit, as a share of the largest logit, or of 1


class UntoldError(ValueError):
    """Why the inside of a network cannot be told, in a few words that fit after its name."""


@dataclass(frozen=True)
class Layer:
    """A step from one list of values to the next.

    Attributes:
        name: as the code says it, such as `layers.0`.
        code: class and arguments, such as `Conv2d(1, 12, kernel_size=(3, 3), stride=(1, 1))`.
        kind: how it computes; a key of `KINDS`.
        shape: of what it answers to one image: (units,) or (maps, height, width).
        numbers: what `kind` needs to know beside the weights.
        weights: `weight` and `bias`, as far as it has them.
    """

    name: str
    code: str
    kind: str
    shape: tuple[int, ...]
    numbers: dict[str, Any]
    weights: dict[str, Tensor]


def layer_of(name: str, module: nn.Module, shape: tuple[int, ...]) -> Layer:
    """What a module without children computes in evaluation.

    Raises:
        UntoldError: none of those that the page knows, or with arguments that it does not know.
    """
    numbers: dict[str, Any] = {}
    weights = {key: weight.detach() for key, weight in module.named_parameters(recurse=False)}
    match module:
        case nn.Linear():
            kind = "linear"
        case nn.Conv2d(padding_mode="zeros", dilation=(1, 1), groups=1):
            kind, numbers = "convolution", squares(module, "stride", "padding")
        case Crop():
            kind, numbers = "crop", {"edge": module.edge}
        case nn.MaxPool2d(padding=0, dilation=1, ceil_mode=False, return_indices=False):
            kind, numbers = "max pooling", squares(module, "kernel_size", "stride")
        case nn.AvgPool2d(padding=0, ceil_mode=False, divisor_override=None):
            kind, numbers = "average pooling", squares(module, "kernel_size", "stride")
        case nn.BatchNorm1d() | nn.BatchNorm2d() if module.running_mean is not None:
            kind, weights = "scaling", scaling(module)
        case nn.ReLU():
            kind = "ReLU"
        case nn.Tanh():
            kind = "tanh"
        case FlattenPixels():
            kind = "pixel by pixel"
        case (
            nn.Flatten(start_dim=1, end_dim=-1)
            | nn.Dropout()
            | nn.Dropout2d()
            | nn.Identity()
            | Noise()
        ):
            kind = "as it is"
        case _:
            raise UntoldError(f"the page does not know {module}")
    return Layer(name, str(module), kind, shape, numbers, weights)


def squares(module: nn.Module, *names: str) -> dict[str, Any]:
    """Whole numbers of pixels, each the same in both directions."""
    numbers = {}
    for name in names:
        value = getattr(module, name)
        if isinstance(value, tuple) and len(set(value)) == 1:
            value = value[0]
        if not isinstance(value, int):
            raise UntoldError(f"the page does not know {module}")
        numbers[name] = value
    return numbers


def scaling(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> dict[str, Tensor]:
    """What batch normalisation comes to in evaluation: times `weight`, plus `bias`."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    factor = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.affine:
        factor = factor * norm.weight.detach()
    bias = -norm.running_mean * factor + (norm.bias.detach() if norm.affine else 0)
    return {"weight": factor.float(), "bias": bias.float()}


# Each as the page computes it; a batch of images at a time.
KINDS: dict[str, Callable[[Layer, Tensor], Tensor]] = {
    "linear": lambda layer, values: F.linear(values, **layer.weights),
    "convolution": lambda layer, values: F.conv2d(
        values, layer.weights["weight"], layer.weights.get("bias"), **layer.numbers
    ),
    "crop": lambda layer, values: F.pad(values, [-layer.numbers["edge"]] * 4),
    "max pooling": lambda layer, values: F.max_pool2d(values, **layer.numbers),
    "average pooling": lambda layer, values: F.avg_pool2d(values, **layer.numbers),
    "scaling": lambda layer, values: (
        values * per_map(layer.weights["weight"], values) + per_map(layer.weights["bias"], values)
    ),
    "ReLU": lambda _, values: values.relu(),
    "tanh": lambda _, values: values.tanh(),
    "pixel by pixel": lambda _, values: values.permute(0, 2, 3, 1).flatten(1),
    "as it is": lambda layer, values: values.reshape(-1, *layer.shape),
}


def per_map(weight: Tensor, values: Tensor) -> Tensor:
    return weight.view(-1, *[1] * (values.ndim - 2))


def layers_of(model: Classifier) -> list[Layer]:
    """The modules that a forward pass goes through, each of which takes what the last one gave.

    Raises:
        UntoldError: there is one that the page does not know, or the network does more than they
            do: on random images its logits differ from what the list says, or are not finite.
    """
    called: list[tuple[str, nn.Module, tuple[int, ...]]] = []

    def recorder(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def record(module: nn.Module, _: Any, values: Any) -> None:
            shape = values.shape[1:] if isinstance(values, Tensor) else ()
            called.append((name, module, tuple(shape)))

        return record

    leaves = [(name, each) for name, each in model.named_modules() if not [*each.children()]]
    hooks = [module.register_forward_hook(recorder(name)) for name, module in leaves]
    images = torch.rand(NUM_CHECKED, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            logits = model(images)
    finally:
        for hook in hooks:
            hook.remove()
    if not logits.isfinite().all():
        raise UntoldError("its logits are no numbers")
    layers = [layer_of(*each) for each in called]
    largest = max(1.0, float(logits.abs().max()))
    try:
        difference = float((logits_of(layers, images) - logits).abs().max())
    except (RuntimeError, IndexError):  # shapes that do not fit together
        difference = float("nan")
    if not difference <= TOLERANCE * largest:
        raise UntoldError("its forward does more than one layer after the other")
    return layers


def logits_of(layers: list[Layer], images: Float[Tensor, "n 1 28 28"]) -> Tensor:
    """The forward pass, computed from the description alone."""
    values = images
    for layer in layers:
        values = KINDS[layer.kind](layer, values)
    return values


def description(model: Classifier) -> str:
    """What `unpackNetwork` in network.js reads: JSON with all weights as base64 of float32.

    The weights lie one after another, little-endian, each in C order.

    Args:
        model: on the CPU, in evaluation mode.

    Raises:
        UntoldError: as `layers_of`.
    """
    layers = layers_of(model)
    weights = [weight for layer in layers for weight in layer.weights.values()]
    raw = b"".join(each.contiguous().numpy().astype(np.dtype("<f4")).tobytes() for each in weights)
    shapes = [
        {**vars(layer), "weights": {name: each.shape for name, each in layer.weights.items()}}
        for layer in layers
    ]
    return json.dumps({"layers": shapes, "weights": base64.b64encode(raw).decode()})
