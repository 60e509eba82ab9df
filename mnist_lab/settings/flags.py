"""Hydra's own command line, where a verb leaves the work to it: its flags, and its main."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from mnist_lab.settings import own
from mnist_lab.settings.compose import hydra_apart
from mnist_lab.settings.groups import conf_dir
from mnist_lab.settings.overrides import parsed_overrides
from mnist_lab.ui.errors import Refused

SEARCH_PATH = "hydra.searchpath"


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
    for name in ("config-path", "config-name", "package"):
        if getattr(flags, name.replace("-", "_")) is not None:
            raise Refused(f"--{name}: there is one configuration, conf/; change its settings.")
    own.name_folders(own_folders(flags))
    return flags


def own_folders(flags: argparse.Namespace) -> list[str]:
    """The folders beside conf/ of a command line; takes `hydra.searchpath` out of the overrides."""
    given = [text for text in flags.overrides if text.lstrip("+").startswith(f"{SEARCH_PATH}=")]
    flags.overrides = [text for text in flags.overrides if text not in given]
    folders = [flags.config_dir or os.environ.get(own.VARIABLE)]
    for override in parsed_overrides(given):
        value: Any = override.value()
        for path in value if isinstance(value, list) else [value]:
            if str(path).startswith("pkg:"):
                raise Refused(f"{override.input_line}: must be folders, as in [file://my_conf].")
            folders.append(str(path).removeprefix("file://"))
    return [folder for folder in folders if folder]


class Ended(BaseException):
    """Carries what ended a sweep through Hydra, which would print any Exception and exit with 1."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error


def hydra_command(args: Sequence[str], task: Any) -> None:
    """Have Hydra read these arguments and call `task`, or its sweeper, with what it composes.

    It may be called any number of times in a process, also beside a Hydra of the user's own:
    nothing of it is left behind.

    Raises:
        Refused, Failed, Interrupted: what the sweeper raised.
    """
    import hydra

    main = hydra.main(config_path=str(conf_dir()), config_name="train", version_base="1.3")
    argv = sys.argv
    sys.argv = [argv[0], *args]
    try:
        with hydra_apart():
            main(task)()
    except Ended as ended:
        raise ended.error from None
    finally:
        sys.argv = argv
