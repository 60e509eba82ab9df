"""The recipes' networks in plain PyTorch, for the competitors that know nothing of the lab."""

from __future__ import annotations

from torch import nn

from benchmarks.work import Work


def plain_network(work: Work) -> nn.Sequential:
    """Build the network of a piece of work with its first weights: images in, logits out."""
    model = work.model
    layers: list[nn.Module] = []
    if work.is_cnn:
        for num_inputs, num_outputs in zip(
            [1, *model["channels"]], model["channels"], strict=False
        ):
            layers += [nn.Conv2d(num_inputs, num_outputs, 3), nn.ReLU()]
        side = 28 - 2 * len(model["channels"])
        num_units, depth = model["channels"][-1] * side * side, 1
    else:
        num_units, depth = 784, model["depth"]
    layers.append(nn.Flatten())
    for _ in range(depth):
        layers += [nn.Linear(num_units, model["width"]), nn.ReLU()]
        if model["dropout"]:
            layers.append(nn.Dropout(model["dropout"]))
        num_units = model["width"]
    network = nn.Sequential(*layers, nn.Linear(num_units, 10))
    for layer in network:
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            if model["init"] == "glorot":
                nn.init.xavier_uniform_(layer.weight)
            else:
                nn.init.uniform_(layer.weight, -0.05, 0.05)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    return network


def count_params(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())
