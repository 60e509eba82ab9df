"""Objects from the nodes of a configuration that name them."""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mnist_lab.settings import own
from mnist_lab.settings.check import is_own
from mnist_lab.settings.parameters import constructor_arguments, located
from mnist_lab.ui.errors import Refused, first_line


def build(node: Mapping[str, Any], **kwargs: Any) -> Any:
    """Build the object that a configuration node names: the only place that instantiates.

    Raises:
        Refused: the name is neither the lab's own nor named by the user on this command line.
        Exception: whatever is built raises its own, as when it does not take these settings.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    target = node.get("_target_")
    if not isinstance(target, str) or not (is_own(target) or target in own.named):
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


def build_network(config: Mapping[str, Any], **parts: Any) -> Any:
    """Build the network of a checked configuration: its last layer has a unit for each class.

    Raises:
        Refused: as `build`.
    """
    return build(config["model"], num_classes=len(config["data"]["class_names"]), **parts)


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
        num_classes = len(config["data"]["class_names"])
        key = json.dumps([config["model"], num_classes, config["optimizer"], config["schedule"]])
        if key not in self.built:
            with reasons(config, "optimizer"):
                network.optimizer = build(config["optimizer"])
                optimizer = network.configure_optimizers()
                refuse_other("optimizer", type(optimizer))
            with reasons(config, "schedule"):
                schedule = build(config["schedule"])
                schedule(optimizer if isinstance(schedule.func, type) else 1.0)
            self.built.add(key)
        build_extras(config)
        return sum(weight.numel() for weight in network.parameters())

    def network(self, config: Mapping[str, Any]) -> Any:
        import torch

        num_classes = len(config["data"]["class_names"])
        key = json.dumps([config["model"], num_classes])
        if key not in self.networks:
            with reasons(config, "model"), torch.device("meta"):
                refuse_other("model", located(config["model"]["_target_"]))
                network = build_network(config).eval()
                shape = tuple(network(torch.zeros(1, 1, 28, 28)).shape)
                if shape != (1, num_classes):
                    raise ValueError(f"gives {shape} for an image; must be (1, {num_classes})")
            self.networks[key] = network
        return self.networks[key]


# What a node of each group must build: module and name, imported where there is such a node.
KINDS = {
    "model": ("mnist_lab.models.classifier", "Classifier"),
    "optimizer": ("torch.optim", "Optimizer"),
    "metrics": ("torchmetrics", "Metric"),
    "callbacks": ("lightning.pytorch", "Callback"),
    "logger": ("lightning.pytorch.loggers", "Logger"),
}


def refuse_other(group: str, kind: object) -> None:
    module, name = KINDS[group]
    if not (isinstance(kind, type) and issubclass(kind, kind_of(group))):
        raise ValueError(f"is {getattr(kind, '__name__', kind)}; must be a {module}.{name}")


def kind_of(group: str) -> type:
    module, name = KINDS[group]
    kind: type = getattr(importlib.import_module(module), name)
    return kind


def build_extras(
    config: Mapping[str, Any], *, save_dir: Path | None = None
) -> dict[str, dict[str, Any]]:
    """Build the metrics, callbacks and loggers of a configuration: group -> name -> object.

    Args:
        save_dir: where loggers write; None: they are not built, since some write at once.

    Raises:
        Refused: one that cannot be built, is something else, or cannot be used here.
    """
    extras: dict[str, dict[str, Any]] = {group: {} for group in ("metrics", "callbacks", "logger")}
    given = {"num_classes": len(config["data"]["class_names"]), "save_dir": str(save_dir)}
    for group, built in extras.items():
        for name, node in (config.get(group) or {}).items():
            with reasons(config, group):
                if not isinstance(node, Mapping) or "_target_" not in node:
                    raise ValueError(f"{name}: must name a class with _target_")
                refuse_other(group, located(node["_target_"]))
                if group == "logger" and save_dir is None:
                    built[name] = None
                    continue
                taken = set(constructor_arguments(node["_target_"])) - set(node)
                built[name] = build(node, **{k: v for k, v in given.items() if k in taken})
                if group == "metrics" and built[name].higher_is_better is None:
                    raise ValueError(f"{name}: has no direction; set higher_is_better in its class")
    waiting = [name for name, one in extras["callbacks"].items() if needs_logger(one)]
    if waiting and not extras["logger"]:
        raise Refused(f"callbacks.{waiting[0]}: writes to loggers, and there is none; logger=csv.")
    return extras


def needs_logger(callback: object) -> bool:
    from lightning.pytorch.callbacks import LearningRateMonitor

    return isinstance(callback, LearningRateMonitor)


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
