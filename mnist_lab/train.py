"""mnist-train: one run, or with -m a sweep. Torch is imported once there is something to train."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

from mnist_lab.run.begin import asked, begin
from mnist_lab.run.resume import gone_on
from mnist_lab.settings import own
from mnist_lab.settings.check import OPEN
from mnist_lab.settings.compose import compose, hydra_session, shown, sweep_arguments
from mnist_lab.settings.flags import hydra_command, multirun, parsed_flags
from mnist_lab.settings.groups import GROUPS, LAUNCHER, SWEEP, choices
from mnist_lab.settings.parameters import parameters
from mnist_lab.settings.shape import SHAPES
from mnist_lab.settings.table import SETTINGS
from mnist_lab.ui.errors import Refused
from mnist_lab.ui.startup import import_lightning
from mnist_lab.ui.verb import verb

HELP = """\
Train a network on MNIST: mnist-train [SETTING=VALUE ...]

  mnist-train                                         one hidden layer of 512, dropout, 15 epochs
  mnist-train experiment=mlp_512x2_dropout seed=3     a published recipe
  mnist-train model=cnn optimizer.lr=3e-3 trainer.max_epochs=4
  mnist-train -m model.width=128,512 model.dropout=0,0.2 seed=0,1,2    a sweep: every combination
  mnist-train -m ... hydra/launcher=pool              its jobs in parallel, on all cores or all GPUs
  mnist-train sweep=published --plan                  a ready grid; only say what would run

Each run gets a directory of its own below outputs/: metrics in metrics.json and metrics.csv,
weights in checkpoints/, curves for TensorBoard (tensorboard --logdir outputs).

Flags:  -m, --multirun  every combination of the values given     --cfg job  print the settings
        --plan          print the jobs of a sweep and stop        --help     this page
        --hydra-help    Hydra's own flags
        --resume        in the directory that hydra.run.dir=DIR or hydra.sweep.dir=DIR names, start,
                        go on or say that all is done
        --config-dir FOLDER   configuration and code of your own, laid out like conf/
"""


def main() -> None:
    verb(train_command)


def train_command(args: Sequence[str]) -> None:
    flags = parsed_flags(args)
    ready_grid = any(text.startswith(f"{SWEEP}=") for text in {*flags.overrides} - {"sweep=null"})
    if flags.help:
        print(help_page(), end="")
    elif flags.hydra_help or flags.shell_completion:
        hydra_command(args)
    elif flags.info:
        compose(flags.overrides)
        with hydra_session() as session:
            session.show_info(flags.info, config_name="train", overrides=flags.overrides)
    elif flags.experimental_rerun:
        raise Refused("--experimental-rerun: reads a pickle, which may hold any code; not allowed.")
    elif flags.cfg and flags.multirun:
        raise Refused("--cfg: shows the settings of one run; --plan shows the jobs of a sweep.")
    elif flags.cfg:
        print(shown(flags.overrides, part=flags.cfg, resolve=flags.resolve), end="")
    elif flags.multirun or ready_grid:
        from mnist_lab.sweep.job import train_job

        arguments = sweep_arguments(flags.overrides, resume=flags.resume)
        actions = (f"hydra.sweeper.plan={flags.plan}", f"hydra.sweeper.go_on={flags.resume}")
        multirun([*arguments, *actions], train_job)
    elif flags.plan:
        raise Refused("--plan: shows the jobs of a sweep; add -m and values, or sweep=NAME.")
    else:
        config, settings = asked(flags.overrides, resume=flags.resume)
        if not (flags.resume and gone_on(config, settings, flags.overrides)):
            import_lightning()
            begin(config, settings)


def help_page() -> str:
    """The examples, then every choice and setting with its meaning and range."""
    lines = [HELP, "Choices (GROUP=NAME):"]
    for group in (*GROUPS, SWEEP, LAUNCHER):
        lines.append(f"  {group:14} {', '.join(choices(group))}")
    lines.append("\nSettings (SETTING=VALUE); which of them a choice has, --cfg job shows:")
    for name, setting in SETTINGS.items():
        lines += [f"  {name:24} {setting.meaning}", f"  {'':24}   {setting.allowed}"]
    lines.append("\nWhat shapes a sweep (with -m):")
    for name, setting in SHAPES.items():
        lines += [f"  {name:24} {setting.meaning}", f"  {'':24}   {setting.allowed}"]
    lines += own_rows()
    return "\n".join(lines) + "\n"


def own_rows() -> list[str]:
    """The settings of the classes that the user's own files name."""
    lines = []
    for folder in own.folders:
        for group in OPEN:
            for file in sorted((folder / group).glob("*.yaml")):
                for target in own.TARGET.findall(file.read_text()):
                    lines.append(f"\nSettings of {group}={file.stem} ({target}):")
                    for name, (setting, default) in parameters(target).items():
                        shown = "" if default is inspect.Parameter.empty else f" ({default})"
                        lines.append(f"  {f'{group}.{name}':24} {setting.allowed}{shown}")
    return lines


if __name__ == "__main__":
    main()
