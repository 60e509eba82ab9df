"""mnist-resume: go on where a run or a sweep stopped."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mnist_lab.checks import check
from mnist_lab.config import parsed_overrides
from mnist_lab.errors import Refused
from mnist_lab.imports import import_lightning
from mnist_lab.runs import Run, is_held, read_config, read_epochs, read_status
from mnist_lab.settings import SETTINGS, leaves, nearest
from mnist_lab.signals import listen
from mnist_lab.train import train_job, with_hydra
from mnist_lab.verb import exit_code

EXAMPLES = """\
examples:
  mnist-resume outputs/runs/mlp/2026-01-31_18-00-00
  mnist-resume outputs/runs/mlp/2026-01-31_18-00-00 trainer.max_epochs=40    train on to 40 epochs
  mnist-resume outputs/sweeps/mlp/2026-01-31_18-00-00                        run what is not done
  mnist-resume outputs/sweeps/mlp/2026-01-31_18-00-00 --retry-failed hydra/launcher=pool

A run goes on from its last finished epoch, with the threads and the random numbers that it would
have had, and ends with the weights of a run that was never stopped.
"""

# May change between a run's two parts without the result being another experiment's.
FREE = ("trainer.max_epochs", "trainer.accelerator")
# Never: the checkpoint would override them, or not fit them, or metrics.csv has other columns.
FIXED = ("model.", "optimizer.", "data.val_fraction")


def main() -> None:
    listen()
    sys.exit(exit_code(lambda: resume_command(sys.argv[1:])))


def resume_command(args: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="mnist-resume",
        description="Go on with a run or a sweep that was stopped, killed or should train longer.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("directory", type=Path, help="a run's or a sweep's directory")
    parser.add_argument("overrides", nargs="*", metavar="SETTING=VALUE", help="what changes")
    parser.add_argument(
        "--allow-changes",
        action="store_true",
        help="let any setting, and the data, differ from the first part's",
    )
    parser.add_argument(
        "--retry-failed", action="store_true", help="of a sweep: start failed jobs afresh, too"
    )
    options = parser.parse_intermixed_args(args)
    if is_held(options.directory):
        Run.hold(options.directory).release()  # refuses, before seconds of imports
    if (options.directory / "sweep.json").exists():
        if options.allow_changes:
            raise Refused("--allow-changes: for a single run; the jobs of a sweep stay as planned.")
        from mnist_lab.sweep.resume import resume_arguments

        arguments = resume_arguments(
            options.directory, options.overrides, retry_failed=options.retry_failed
        )
        with_hydra(["-m", *arguments], train_job)
        return
    if options.retry_failed:
        raise Refused(f"--retry-failed: for a sweep, and {options.directory} is none.")
    resume_run(options.directory, options.overrides, allow_changes=options.allow_changes)


def resume_run(path: Path, overrides: Sequence[str], *, allow_changes: bool) -> None:
    path = path.absolute()
    config = read_config(path)
    changed = apply(config, overrides)
    refuse_changes(changed, allowed=allow_changes)
    status = read_status(path) if (path / "status.json").exists() else {}
    num_epochs = len(read_epochs(path))
    if "trainer.max_epochs" in changed:
        check_extension(config, num_epochs)
    elif status.get("state") == "finished":
        print(f"{path}: finished already, {num_epochs} epochs; trainer.max_epochs=N trains on.")
        return
    run = Run.hold(path)
    import_lightning()
    try:
        go_on(run, config, allow_changes=allow_changes)
    finally:
        run.release()


def go_on(
    run: Run, config: dict[str, Any], *, allow_changes: bool = False, quiet: bool = False
) -> dict[str, Any]:
    """Train a held run from its last finished epoch, or from the beginning; return its figures.

    Args:
        quiet: write train.log only.

    Raises:
        Refused: other data than in the first part, no data, or a device that is not there.
        Failed, Interrupted: as `training.train`.
    """
    from rich.markup import escape

    from mnist_lab.checkpoints import LAST, newest_intact, refuse_unfit
    from mnist_lab.console import Console
    from mnist_lab.training import resolved, train

    begun = (run.path / "status.json").exists()
    config = resolved(config)
    if begun and not allow_changes:
        refuse_other_data(config, read_status(run.path))

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
    run.keep_epochs(done)
    return train(config, run, checkpoint=checkpoint, quiet=quiet)


def apply(config: dict[str, Any], overrides: Sequence[str]) -> list[str]:
    """Change settings of a stored configuration in place; return the names of those that differ."""
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


def refuse_other_data(config: dict[str, Any], status: dict[str, Any]) -> None:
    from mnist_lab.sources import Source

    data, seen = config["data"], status.get("data_sha256")
    if seen not in (None, Source.of(data).read().sha256):
        raise Refused(
            f"data.root={data['root']}: these are not the images that the run began with "
            "(their SHA-256 differs); --allow-changes goes on with them."
        )


if __name__ == "__main__":
    main()
