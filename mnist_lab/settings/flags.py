"""Where the work is left to Hydra: its flags on a command line, its own commands, its multirun."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mnist_lab.settings import own
from mnist_lab.settings.compose import hydra_apart, hydra_session
from mnist_lab.settings.groups import conf_dir
from mnist_lab.settings.overrides import parsed_overrides
from mnist_lab.ui.errors import Refused

if TYPE_CHECKING:
    from hydra.types import TaskFunction

SEARCH_PATH = "hydra.searchpath"


def parsed_flags(args: Sequence[str]) -> argparse.Namespace:
    """Parse Hydra's flags and ours.

    Raises:
        Refused: an unknown flag, or one that would be of no effect here.
    """
    from hydra._internal.utils import get_args_parser

    parser = get_args_parser()
    parser.add_argument("--plan", action="store_true")
    parser.add_argument("--resume", action="store_true")
    parser.exit_on_error = False
    try:
        flags, unknown = parser.parse_known_intermixed_args(list(args))
    except argparse.ArgumentError as error:
        raise Refused(f"{error}.") from None
    if unknown:
        raise Refused(f"{unknown[0]}: no such flag; mnist-train --help lists them.")
    for name in ("config-path", "config-name", "package"):
        if getattr(flags, name.replace("-", "_")) is not None:
            raise Refused(f"--{name}: there is one configuration, conf/; change its settings.")
    flags.overrides, folders = own_folders(flags.overrides)
    given = flags.config_dir or os.environ.get(own.VARIABLE)
    own.name_folders([given, *folders] if given else folders)
    return flags


def own_folders(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """Overrides without `hydra.searchpath`, and the folders that it names."""
    given = [text for text in overrides if text.lstrip("+").startswith(f"{SEARCH_PATH}=")]
    folders: list[str] = []
    for override in parsed_overrides(given):
        value: Any = override.value()
        for path in value if isinstance(value, list) else [value]:
            if str(path).startswith("pkg:"):
                raise Refused(f"{override.input_line}: must be folders, as in [file://my_conf].")
            folders.append(str(path).removeprefix("file://"))
    return [text for text in overrides if text not in given], folders


def hydra_command(args: Sequence[str]) -> None:
    """Have Hydra answer its own flags, which it reads from `sys.argv` alone."""
    import hydra

    main = hydra.main(config_path=str(conf_dir()), config_name="train", version_base="1.3")
    argv = sys.argv
    sys.argv = [argv[0], *args]
    try:
        with hydra_apart():
            main(lambda _: None)()
    finally:
        sys.argv = argv


def multirun(arguments: Sequence[str], task: TaskFunction) -> Any:
    """Have Hydra compose these arguments and hand them to the sweeper, whose jobs `task` does.

    It may be called any number of times in a process, also beside a Hydra of the user's own:
    nothing of it is left behind.

    Returns:
        What the sweeper returned.

    Raises:
        Refused, Failed, Interrupted: what the sweeper raised.
    """
    with hydra_apart(), hydra_session() as session:
        return session.multirun("train", task, [*arguments, "hydra.mode=MULTIRUN"])
