"""Checkpoints: written atomically, read as plain data."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO

from mnist_lab.config import build
from mnist_lab.errors import Refused
from mnist_lab.files import write_atomically
from mnist_lab.runs import checkpoint_path, read_config

if TYPE_CHECKING:
    from mnist_lab.models.classifier import Classifier


class AtomicCheckpointIO(CheckpointIO):
    """What the Trainer saves and loads with: whole files or none, and never any code in them."""

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | Path,
        storage_options: Any | None = None,  # noqa: ARG002
    ) -> None:
        path = Path(path)
        path.parent.mkdir(exist_ok=True)
        buffer = io.BytesIO()  # torch.save to a file hides that the disk is full
        torch.save(checkpoint, buffer)
        write_atomically(path, lambda file: file.write(buffer.getbuffer()))

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Any | None = None,
        weights_only: bool | None = None,  # noqa: ARG002
    ) -> dict[str, Any]:
        return read_checkpoint(Path(path), map_location=map_location)

    def remove_checkpoint(self, path: str | Path) -> None:
        Path(path).unlink(missing_ok=True)


def read_checkpoint(path: Path, *, map_location: Any = None) -> dict[str, Any]:
    """Read a checkpoint with `weights_only=True`: tensors, numbers, strings, lists; no objects.

    Raises:
        Refused: missing, damaged, or holding anything else.
    """
    try:
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except FileNotFoundError:
        raise Refused(f"{path}: no such checkpoint.") from None
    except Exception as error:  # damaged bytes surface as many kinds
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Refused(f"{path}: not a checkpoint that can be read ({reason[:160]}).") from None
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise Refused(f"{path}: holds no state_dict.")
    return checkpoint


def non_finite(checkpoint: dict[str, Any]) -> str | None:
    """Name the first weight that holds a nan or an infinity."""
    for name, tensor in checkpoint["state_dict"].items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            return str(name)
    return None


def load_model(run_dir: Path, *, checkpoint: str = "last") -> Classifier:
    """Build a run's network with its stored weights, in evaluation mode, on the CPU.

    Args:
        checkpoint: `last`, of the last finished epoch, or `best`, of the best in validation.

    Raises:
        Refused: no run, no such checkpoint, or weights of another network than the run's.
    """
    return restore_model(read_config(run_dir), read_run_checkpoint(run_dir, checkpoint))


def read_run_checkpoint(run_dir: Path, checkpoint: str) -> dict[str, Any]:
    """Read a run's `last` or `best` checkpoint; its `epoch` counts from 0."""
    path = checkpoint_path(run_dir, checkpoint)
    stored = read_checkpoint(path, map_location="cpu")
    if not isinstance(stored.get("epoch"), int):
        raise Refused(f"{path}: does not say after which epoch it was written.")
    return stored


def restore_model(config: dict[str, Any], checkpoint: dict[str, Any]) -> Classifier:
    """Build the network of a run's configuration and give it a checkpoint's weights.

    Raises:
        Refused: it cannot be built, or the weights' names, shapes or types are not its own.
    """
    from hydra.errors import HydraException

    node = config["model"]
    try:
        with torch.device("meta"):  # shapes without memory: a false width is refused, not allocated
            expected = build(node).state_dict()
    except HydraException as error:
        raise Refused(f"config.yaml: its model cannot be built ({reason(error)}).") from None
    refuse_other_weights(checkpoint["state_dict"], expected)
    model: Classifier = build(node)
    model.load_state_dict(checkpoint["state_dict"])
    return model.eval()


def refuse_other_weights(weights: object, expected: dict[str, torch.Tensor]) -> None:
    """Compare stored weights with those of the network that config.yaml describes."""
    if not isinstance(weights, dict):
        raise Refused("the checkpoint's state_dict is no table of weights.")
    for name in [*expected, *weights]:
        if name not in weights:
            raise Refused(f"the checkpoint lacks {name}, which the network of config.yaml has.")
        if name not in expected:
            raise Refused(f"the checkpoint has {name}, which the network of config.yaml lacks.")
        found, wanted = describe(weights[name]), describe(expected[name])
        if found != wanted:
            raise Refused(f"{name} is {found} in the checkpoint, {wanted} in config.yaml.")
        if not weights[name].isfinite().all():
            raise Refused(f"{name} holds values that are not finite.")


def describe(weight: object) -> str:
    if not isinstance(weight, torch.Tensor) or weight.layout != torch.strided:
        return "no tensor"
    return f"{str(weight.dtype).removeprefix('torch.')} {tuple(weight.shape)}"


def reason(error: Exception) -> str:
    return str(error).splitlines()[0][:160]
