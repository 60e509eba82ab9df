"""mnist-train: one run, or with -m a sweep. Torch is imported once there is something to train."""

from __future__ import annotations

import argparse
import errno
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_lab.config import (
    GROUPS,
    LAUNCHER,
    SWEEP,
    checked,
    choices,
    compose,
    conf_dir,
    sweep_arguments,
)
from mnist_lab.errors import Failed, Refused
from mnist_lab.imports import import_lightning
from mnist_lab.runs import Run
from mnist_lab.settings import SETTINGS
from mnist_lab.signals import Interrupted, listen, signals

if TYPE_CHECKING:
    from omegaconf import DictConfig

HELP = """\
Train a network on MNIST: mnist-train [SETTING=VALUE ...]

  mnist-train                                         one hidden layer of 512, dropout, 15 epochs
  mnist-train experiment=mlp_512x2_dropout seed=3     a published recipe
  mnist-train model=cnn optimizer.lr=3e-3 trainer.max_epochs=4
  mnist-train -m model.width=128,512 model.dropout=0,0.2 seed=0,1,2    a sweep: every combination
  mnist-train -m ... hydra/launcher=pool              its jobs in parallel, on all cores or all GPUs
  mnist-train sweep=published --plan                  a ready grid; only say what would run

Each run gets a directory of its own below outputs/: figures in metrics.json and metrics.csv,
weights in checkpoints/, curves in tensorboard/ (tensorboard --logdir outputs).

Flags:  -m, --multirun  every combination of the values given     --cfg job  print the settings
        --plan          print the jobs of a sweep and stop        --help     this page
        --hydra-help    Hydra's own flags
"""


def main() -> None:
    listen()
    sys.exit(exit_code(lambda: train_command(sys.argv[1:])))


def exit_code(command: Any) -> int:
    """Run a verb; say in a line or two what ended it. 0 well, 1 failed, 2 refused, 128 + signal."""
    try:
        command()
    except Refused as error:
        print(error, file=sys.stderr)
        return 2
    except Failed as error:
        print(f"failed ({error.reason}): {error}", file=sys.stderr)
        return 1
    except Interrupted as error:
        print(f"interrupted by {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        print(f"{str(error.filename)[:80]}...: {error.strerror}.", file=sys.stderr)
        return 2
    return 0


def parsed_flags(args: Sequence[str]) -> argparse.Namespace:
    """Parse Hydra's flags and ours.

    Raises:
        Refused: an unknown flag, or one that would be of no effect here.
    """
    from hydra._internal.utils import get_args_parser

    parser = get_args_parser()
    parser.add_argument("--plan", action="store_true")
    parser.exit_on_error = False
    try:
        flags, unknown = parser.parse_known_intermixed_args(list(args))
    except argparse.ArgumentError as error:
        raise Refused(f"{error}.") from None
    if unknown:
        raise Refused(f"{unknown[0]}: no such flag; mnist-train --help lists them.")
    for name in ("config-path", "config-name", "config-dir", "package"):
        if getattr(flags, name.replace("-", "_")) is not None:
            raise Refused(f"--{name}: there is one configuration, conf/; change its settings.")
    return flags


def train_command(args: Sequence[str]) -> None:
    flags = parsed_flags(args)
    ready_grid = any(text.startswith(f"{SWEEP}=") for text in {*flags.overrides} - {"sweep=null"})
    if flags.help:
        print(help_page(), end="")
    elif flags.hydra_help or flags.shell_completion or flags.info:
        with_hydra(args, lambda _: None)
    elif flags.experimental_rerun:
        raise Refused("--experimental-rerun: reads a pickle, which may hold any code; not allowed.")
    elif flags.cfg:
        checked(compose(flags.overrides))
        with_hydra(args, lambda _: None)
    elif flags.multirun or ready_grid:
        arguments = sweep_arguments(flags.overrides)
        with_hydra(["-m", *arguments, f"hydra.sweeper.plan={flags.plan}"], train_job)
    elif flags.plan:
        raise Refused("--plan: shows the jobs of a sweep; add -m and values, or sweep=NAME.")
    else:
        train_one(flags.overrides)


def train_one(overrides: Sequence[str]) -> None:
    """Claim a directory once nothing can be refused any more, and let Hydra run the job in it."""
    config = compose(overrides)
    settings = checked(config)
    from mnist_lab.console import show_download
    from mnist_lab.sources import Source

    Source.of(settings["data"]).find(progress=show_download).read()
    import_lightning()
    from mnist_lab.training import resolved, train

    settings = resolved(settings)
    ended: list[BaseException] = []

    def job(_: DictConfig) -> None:
        try:
            train(settings, run)
        except (Failed, Interrupted) as error:
            ended.append(error)

    with signals.defer():  # whatever stops a claimed run is written into its status
        if any(text.lstrip("+").startswith("hydra.run.dir=") for text in overrides):
            run = Run.claim(Path(config.hydra.run.dir).absolute())
        else:
            name = settings["choices"]["experiment"] or settings["choices"]["model"]
            run = Run.claim_new(Path("outputs/runs").absolute() / name)
        run.write_config(settings)  # from here on it can be resumed
        path = str(run.path).replace("\\", "\\\\").replace("'", "\\'")
        with_hydra([*overrides, f"hydra.run.dir='{path}'"], job)
    if ended:
        raise ended[0]


def train_job(_: DictConfig) -> dict[str, Any]:
    """One job of a sweep, in the directory that Hydra made for it; the sweep knows its settings."""
    from hydra.core.hydra_config import HydraConfig

    from mnist_lab.sweep.job import run_job

    return run_job(Path(HydraConfig.get().runtime.output_dir))


def with_hydra(args: Sequence[str], task: Any) -> None:
    import hydra

    sys.argv = [sys.argv[0], *args]
    hydra.main(config_path=str(conf_dir()), config_name="train", version_base="1.3")(task)()


def help_page() -> str:
    """The examples, then every choice and setting with its meaning and range."""
    lines = [HELP, "Choices (GROUP=NAME):"]
    for group in (*GROUPS, SWEEP, LAUNCHER):
        lines.append(f"  {group:14} {', '.join(choices(group))}")
    lines.append("\nSettings (SETTING=VALUE); which of them a choice has, --cfg job shows:")
    for name, setting in SETTINGS.items():
        lines += [f"  {name:24} {setting.meaning}", f"  {'':24}   {setting.allowed}"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
