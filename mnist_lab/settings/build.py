"""Objects from the nodes of a configuration that name them."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from mnist_lab.settings.check import BUILDABLE
from mnist_lab.ui.errors import Refused, first_line


def build(node: Mapping[str, Any], **kwargs: Any) -> Any:
    """Build the object that a configuration node names: the only place that instantiates.

    Raises:
        Refused: the name is not on the exact list of what this lab builds.
        Exception: whatever is built raises its own, as when it does not take these settings.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    target = node.get("_target_")
    if not isinstance(target, str) or target not in BUILDABLE:
        raise Refused(f"_target_={target}: not a name that this lab builds.")
    try:
        built = instantiate(dict(node), _recursive_=False, _convert_="all", **kwargs)
    except InstantiationException as error:
        if error.__cause__ is not None:
            raise error.__cause__ from None  # Hydra's first line has no reason in it
        raise
    if node.get("_partial_"):
        # Hydra's partial checks its policy again at each call, 0.1 ms; a schedule is called a step.
        built = functools.partial(built.func, *built.args, **built.keywords)
    return built


class Rehearsal:
    """Builds what configurations name without the memory for it: on torch's meta device.

    The configurations of a sweep have most of their parts in common; each is built once.
    """

    def __init__(self) -> None:
        self.networks: dict[str, Any] = {}
        self.built: set[str] = set()

    def num_params(self, config: Mapping[str, Any]) -> int:
        """Build network, optimizer and schedule, pass an image through, and count the parameters.

        Args:
            config: checked.

        Raises:
            Refused: one of them does not take its settings, and why.
        """
        network = self.network(config)
        key = json.dumps([config["model"], config["optimizer"], config["schedule"]])
        if key not in self.built:
            with reasons(config, "optimizer"):
                network.optimizer = build(config["optimizer"])
                network.configure_optimizers()
            with reasons(config, "schedule"):
                build(config["schedule"])(1.0)
            self.built.add(key)
        return sum(weight.numel() for weight in network.parameters())

    def network(self, config: Mapping[str, Any]) -> Any:
        import torch

        key = json.dumps(config["model"])
        if key not in self.networks:
            with reasons(config, "model"), torch.device("meta"):
                network = build(config["model"]).eval()
                shape = tuple(network(torch.zeros(1, 1, 28, 28)).shape)
                if shape != (1, 10):
                    raise ValueError(f"gives {shape} for an image; must be (1, 10)")
            self.networks[key] = network
        return self.networks[key]


@contextlib.contextmanager
def reasons(config: Mapping[str, Any], group: str) -> Iterator[None]:
    """Refuse what cannot be built, with the reason that its own exception gives."""
    try:
        yield
    except Refused:
        raise
    except Exception as error:
        raise Refused(
            f"{group}={config['choices'][group]}: cannot be built: {first_line(error)}"
        ) from error
