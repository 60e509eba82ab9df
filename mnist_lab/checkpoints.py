"""Checkpoints: written atomically, read as plain data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO

from mnist_lab.errors import Refused
from mnist_lab.files import write_atomically


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
        write_atomically(path, lambda file: torch.save(checkpoint, file))

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
