"""Checkpoints: written atomically and with a sum, read as plain data."""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO

from mnist_lab.run.config import stored_config
from mnist_lab.run.former import upgrade_checkpoint
from mnist_lab.settings.build import build, build_network
from mnist_lab.settings.schema import SCHEMA, taken_version
from mnist_lab.ui.errors import Failed, Refused, first_line
from mnist_lab.ui.files import read_bytes, write_atomically

if TYPE_CHECKING:
    from mnist_lab.models.classifier import Classifier

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"
MAX_BYTES = 8 << 30  # a network of 700 million weights, with two moments of each

# torch.save writes a zip archive. Its comment, the very end of the file, holds the SHA-256 of all
# bytes before; to torch.load it is a checkpoint like any other.
MARK = b"sha256:"
SEAL_BYTES = len(MARK) + 64


class Damaged(Refused):
    """A checkpoint that is not there, or whose bytes are not those that were written."""


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
        former = path.with_name(PREVIOUS) if path.name == LAST else None
        write_checkpoint(checkpoint, path, former=former)

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Any | None = None,
        weights_only: bool | None = None,  # noqa: ARG002
    ) -> dict[str, Any]:
        return read_checkpoint(Path(path), map_location=map_location)

    def remove_checkpoint(self, path: str | Path) -> None:
        Path(path).unlink(missing_ok=True)


def write_checkpoint(checkpoint: dict[str, Any], path: Path, *, former: Path | None = None) -> None:
    """Write a checkpoint, its schema version in it; `former` as in `write_atomically`."""
    buffer = io.BytesIO()  # torch.save to a file hides that the disk is full
    torch.save({"schema": SCHEMA, **checkpoint}, buffer)
    content = buffer.getbuffer()
    if content.nbytes > MAX_BYTES - SEAL_BYTES:
        raise Failed("size", f"a checkpoint of {content.nbytes:,} bytes could not be read.")
    content[-2:] = SEAL_BYTES.to_bytes(2, "little")  # the length of the archive's comment
    seal = MARK + hashlib.sha256(content).hexdigest().encode()
    write_atomically(path, lambda file: file.writelines((content, seal)), former=former)


def rewrite_former(run_dir: Path) -> None:
    """Make all checkpoints of a run of before schema versions ones of today, on disk.

    To be done before its config.yaml becomes one of today, which would no longer tell how old they
    are.
    """
    if "schema" in stored_config(run_dir):
        return
    for path in sorted((run_dir / "checkpoints").glob("*.ckpt")):
        with contextlib.suppress(Damaged):  # missed where it is needed
            write_checkpoint(read_checkpoint(path), path)


def read_checkpoint(path: Path, *, map_location: Any = None) -> dict[str, Any]:
    """Read a checkpoint with `weights_only=True`: tensors, numbers, strings, lists; no objects.

    Raises:
        Damaged: missing, or altered since it was written.
        Refused: too large, or holding anything else.
    """
    raw = intact(path)
    try:
        checkpoint = torch.load(io.BytesIO(raw), map_location=map_location, weights_only=True)
    except Exception as error:  # whatever a stranger put together
        found = re.search(r"GLOBAL ([\w.]+)", str(error))  # torch's own text tells how to trust it
        what = f"it names {found[1]}" if found else type(error).__name__
        raise Refused(f"{path}: not a checkpoint: holds more than plain data ({what}).") from None
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("state_dict"), dict):
        raise Refused(f"{path}: holds no state_dict.")
    if not taken_version(checkpoint, path):
        upgrade_checkpoint(checkpoint, path.parent.parent)
    return checkpoint


def intact(path: Path) -> bytes:
    """Read the bytes of a checkpoint: those that were written, as far as its sums can tell.

    Raises:
        Damaged, Refused: as `read_checkpoint`.
    """
    try:
        raw = read_bytes(path, max_bytes=MAX_BYTES)
    except FileNotFoundError:
        raise Damaged(f"{path}: no such checkpoint.") from None
    except (OSError, ValueError) as error:
        raise Refused(f"{path}: not a checkpoint that can be read ({error}).") from None
    seal = raw[-SEAL_BYTES:]
    sealed = seal.startswith(MARK)
    digest = hashlib.sha256(memoryview(raw)[:-SEAL_BYTES]).hexdigest() if sealed else ""
    if sealed and seal != MARK + digest.encode():
        raise Damaged(f"{path}: damaged; its bytes do not have the SHA-256 at its end.")
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            records = archive.infolist()
            packed = any(record.compress_type != zipfile.ZIP_STORED for record in records)
            if packed or sum(record.file_size for record in records) > len(raw):
                raise Refused(f"{path}: not a checkpoint: claims more bytes than it has.")
            # torch does not look at a record's CRC; one by torch.save itself has nothing else.
            damage = None if sealed else archive.testzip() or archive.comment.decode("latin-1")
    except Refused:
        raise
    except Exception as error:  # not a zip archive, or not in one piece: many kinds
        raise Damaged(f"{path}: not a checkpoint, or damaged ({reason(error)}).") from None
    if damage:
        raise Damaged(f"{path}: damaged; {damage!r} in it is not what was written.")
    return raw


def newest_intact(
    folder: Path, *, warn: Callable[[str], object]
) -> tuple[Path, dict[str, Any]] | None:
    """Read last.ckpt or, where that is damaged, previous.ckpt, with a warning that names both.

    Returns:
        Which it is, and its content; None where there is neither.

    Raises:
        Refused: neither is good.
    """
    last, previous = folder / LAST, folder / PREVIOUS
    if not last.exists() and not previous.exists():
        return None
    try:
        return last, read_run_checkpoint(last)
    except Damaged as error:
        if not previous.exists():
            raise
        damage = error
    try:
        found = previous, read_run_checkpoint(previous)
    except Refused as error:
        raise Refused(f"{damage}\n{error}") from None
    warn(f"{damage} Going on from {previous}.")
    return found


def read_run_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint that a run wrote; its `epoch` counts from 0."""
    stored = read_checkpoint(path, map_location="cpu")
    epoch = stored.get("epoch")
    if not isinstance(epoch, int) or epoch < 0:
        raise Refused(f"{path}: does not say after which epoch it was written.")
    return stored


def restore_model(config: dict[str, Any], checkpoint: dict[str, Any]) -> Classifier:
    """Build the network of a run's configuration with a checkpoint's weights, on the CPU.

    Raises:
        Refused: it cannot be built, or the weights' names, shapes or types are not its own.
    """
    refuse_other_weights(checkpoint["state_dict"], network_without_memory(config).state_dict())
    model: Classifier = build_network(config)  # of 32 bits, whatever it was trained with
    model.load_state_dict(checkpoint["state_dict"])
    return model.eval()


def network_without_memory(config: dict[str, Any], **parts: Any) -> Classifier:
    """Build the network of a configuration as names and shapes: a false width costs nothing."""
    try:
        with torch.device("meta"):
            model: Classifier = build_network(config, **parts)
    except Refused:
        raise
    except Exception as error:
        raise Refused(f"config.yaml: its model cannot be built ({reason(error)}).") from None
    return model.double() if config["trainer"]["precision"] == "64-true" else model


def refuse_unfit(config: dict[str, Any], checkpoint: dict[str, Any]) -> None:
    """Refuse to train on from what does not fit the run's network, before anything is written.

    Raises:
        Refused: weights or an optimizer's moments of another network, or none.
    """
    model = network_without_memory(config, optimizer=build(config["optimizer"]))
    refuse_other_weights(checkpoint["state_dict"], model.state_dict())
    own = state_after_a_step(model)
    try:
        (stored,) = checkpoint["optimizer_states"]
        groups = [list(group["params"]) for group in stored["param_groups"]]
        fits = groups == [group["params"] for group in own["param_groups"]] and all(
            index in itertools.chain(*groups)
            and shape(value) == shape(own["state"].get(index, {}).get(name))
            for index, state in stored["state"].items()
            for name, value in state.items()
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        fits = False
    if not fits:
        raise Refused(
            "the checkpoint's optimizer_states do not fit the network and optimizer of config.yaml."
        )


def state_after_a_step(model: Classifier) -> dict[str, Any]:
    """What the optimizer of a network without memory keeps, in its own groups."""
    model.to_empty(device="cpu")  # the kernels know no meta tensors
    optimizer = model.configure_optimizers()
    for weight in model.parameters():
        weight.data.zero_()
        weight.grad = torch.zeros_like(weight)
    optimizer.step(lambda: torch.zeros(()))
    state: dict[str, Any] = optimizer.state_dict()
    return state


def shape(value: object) -> tuple[int, ...]:
    return tuple(value.shape) if isinstance(value, torch.Tensor) else ()


def refuse_other_weights(weights: dict[str, Any], expected: dict[str, torch.Tensor]) -> None:
    """Compare stored weights with those of the network that config.yaml describes."""
    for name in [*expected, *weights]:
        if name not in weights:
            raise Refused(f"the checkpoint lacks {name}, which the network of config.yaml has.")
        if name not in expected:
            raise Refused(f"the checkpoint has {name}, which the network of config.yaml lacks.")
        found, wanted = form(weights[name]), form(expected[name])
        if found != wanted:
            raise Refused(f"{name} is {found} in the checkpoint, {wanted} in config.yaml.")
        if not weights[name].isfinite().all():
            raise Refused(f"{name} holds values that are not finite.")


def form(weight: object) -> str:
    if not isinstance(weight, torch.Tensor) or weight.layout != torch.strided:
        return "no tensor"
    return f"{str(weight.dtype).removeprefix('torch.')} {tuple(weight.shape)}"


def reason(error: Exception) -> str:
    return first_line(error)[:160]
