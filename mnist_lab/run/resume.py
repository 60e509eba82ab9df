"""A run that goes on from its last finished epoch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_lab.run.code import Code, own_code
from mnist_lab.run.config import read_config
from mnist_lab.run.device import asked_of
from mnist_lab.run.directory import Run, read_epochs, read_status
from mnist_lab.run.images import OtherImages, own_images
from mnist_lab.settings.check import check
from mnist_lab.settings.hyperparameters import hyperparameters
from mnist_lab.settings.overrides import parsed_overrides, refuse_repeated
from mnist_lab.settings.table import SETTINGS, leaves, nearest
from mnist_lab.ui.errors import Refused
from mnist_lab.ui.startup import import_lightning

if TYPE_CHECKING:
    from omegaconf import DictConfig

# May change between a run's two parts without the result being another experiment's.
FREE = ("trainer.max_epochs", "trainer.accelerator", "data.root")
# Never: the checkpoint would override them, or not fit them, or metrics.csv has other columns, or
# images that were trained on would become those of validation.
FIXED = ("model.", "optimizer.", "data.val_fraction", "data.split_seed", "data.shuffle_split")


def held_to_resume(
    path: Path, overrides: Sequence[str], *, allow_changes: bool
) -> tuple[Run, dict[str, Any]] | None:
    """Hold a run that has something left to do, with its settings; None where it has not.

    Raises:
        Refused: no run, in use, no data or other data than in its first part, or a change that
            would make another experiment of it.
    """
    path = path.absolute()
    config = read_config(path)
    planned = config["trainer"]["max_epochs"]
    changed = apply(config, overrides)
    refuse_changes(changed, allowed=allow_changes)
    status = read_status(path) if (path / "status.json").exists() else {}
    num_epochs = len(read_epochs(path))
    if status.get("state") == "finished" and not any(path.glob("checkpoints/*.ckpt")):
        raise Refused(f"{path}: finished, and its checkpoints were deleted: nothing to go on from.")
    patience = config["trainer"]["patience"]
    if patience and status.get("state") == "finished" and num_epochs < planned and changed:
        raise Refused(
            f"{path}: trainer.patience={patience} has ended it after {num_epochs} epochs; a longer "
            "run is a new one."
        )
    if "trainer.max_epochs" in changed:
        check_extension(config, num_epochs)
    elif status.get("state") == "finished":
        print(f"{path}: finished already, {num_epochs} epochs; trainer.max_epochs=N trains on.")
        return None
    try:
        config["data"] = own_images(
            config["data"],
            path,
            sha256=status.get("data_sha256"),
            given="data.root" in changed,
            otherwise="--allow-changes goes on with these",
        )
    except OtherImages:
        if not allow_changes:
            raise
        print(f"{path}: going on with other images than those of its first part.")
    return Run.hold(path), config


def gone_on(config: DictConfig, settings: dict[str, Any], overrides: Sequence[str]) -> bool:
    """Go on with the run in hydra.run.dir, or say that it is finished; False where there is none.

    Args:
        config, settings: as `begin.asked` returns them.
        overrides: what they come from; may name another device or folder of data than the first
            part's.

    Raises:
        Refused: the run there has other settings; or as `held_to_resume`.
    """
    path = Path(config.hydra.run.dir)
    if not (path / "config.yaml").exists():
        return False
    stored = read_config(path)
    former = {**stored, "trainer": {**stored["trainer"], **asked_of(stored)}}
    now, then = hyperparameters(settings), hyperparameters(former)
    names = [name for name in {**now, **then} if now.get(name) != then.get(name)]
    if others := [name for name in names if name not in FREE]:
        name = others[0]
        raise Refused(
            f"{path}: holds a run with {name}={then.get(name, 'null')}, not {now.get(name, 'null')}"
            "; name another directory."
        )
    typed = [text for text in overrides if text.partition("=")[0] in FREE]
    typed = [text for text in typed if not text.startswith("trainer.max_epochs=")]
    epochs = f"trainer.max_epochs={settings['trainer']['max_epochs']}"
    if held := held_to_resume(path, [*typed, epochs], allow_changes=False):
        run, first = held
        import_lightning()
        try:
            go_on(run, first)
        finally:
            run.release()
    return True


def go_on(
    run: Run,
    config: dict[str, Any],
    *,
    code: Code | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Train a held run from its last finished epoch, or from the beginning; return its metrics.

    Args:
        config: its settings, with `data` as `own_images` returns it.
        code: as `fit.train` takes it.
        quiet: write train.log only.

    Raises:
        Refused: no data, or a device that is not there.
        Failed, Interrupted: as `training.train`.
    """
    from rich.markup import escape

    from mnist_lab.run.checkpoints import LAST, newest_intact, refuse_unfit, rewrite_former
    from mnist_lab.run.fit import resolved, train
    from mnist_lab.ui.console import Console

    code = code or own_code()
    begun = (run.path / "status.json").exists()
    config = resolved(config)

    def warn(text: str) -> None:
        with Console(run.path / "train.log", quiet=quiet) as console:
            console.warn(escape(text))

    checkpoint, done = None, 0
    where = "no epoch was finished; starting from the beginning."
    if found := newest_intact(run.checkpoints, warn=warn):
        path, stored = found
        refuse_unfit(config, stored)
        checkpoint, done = run.checkpoints / LAST, stored["epoch"] + 1
        where = f"going on after epoch {done} of {config['trainer']['max_epochs']}."
        if path != checkpoint:
            path.replace(checkpoint)  # or the next one would keep the damaged one as the previous
    if begun and not quiet:
        print(f"{run.path}: {where}")
    if (run.path / "config.yaml").exists():  # a job's comes with its first training
        rewrite_former(run.path)
    run.keep_epochs(done)
    return train(config, run, checkpoint=checkpoint, code=code, quiet=quiet)


def apply(config: dict[str, Any], overrides: Sequence[str]) -> list[str]:
    """Change settings of a stored configuration in place; return the names of those that differ."""
    refuse_repeated(overrides)
    known = leaves(config)
    changed = []
    for text in overrides:
        name = text.partition("=")[0]
        if name not in known or name not in SETTINGS:
            names = [leaf for leaf in known if leaf in SETTINGS]
            raise Refused(f"{text}: not a setting of this run; {nearest(name, names)}")
        group, _, leaf = name.rpartition(".")
        node = config[group] if group else config
        (override,) = parsed_overrides([text])
        if override.is_sweep_override() or "${" in text:
            raise Refused(f"{text}: must be one plain value.")
        node[leaf] = override.value()
        if node[leaf] != known[name]:
            changed.append(name)
    check(config)
    return changed


def refuse_changes(names: Sequence[str], *, allowed: bool) -> None:
    if fixed := [name for name in names if name.startswith(FIXED)]:
        raise Refused(f"{', '.join(fixed)}: cannot change within a run; start a new one.")
    if others := [name for name in names if name not in FREE and not allowed]:
        raise Refused(
            f"{', '.join(others)}: would make the second part another experiment than the first; "
            f"free to change are {', '.join(FREE)}. --allow-changes does it all the same."
        )


def check_extension(config: dict[str, Any], num_epochs: int) -> None:
    max_epochs = config["trainer"]["max_epochs"]
    if config["trainer"]["fast_dev_run"]:
        raise Refused(f"trainer.max_epochs={max_epochs}: a fast_dev_run has one epoch.")
    if max_epochs < num_epochs:
        raise Refused(f"trainer.max_epochs={max_epochs}: {num_epochs} epochs are done already.")
    if config["choices"]["schedule"] != "constant":
        raise Refused(
            f"trainer.max_epochs={max_epochs}: schedule={config['choices']['schedule']} was made "
            "for another number of epochs; only a constant learning rate can be extended."
        )
