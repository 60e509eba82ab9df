"""Where in the YAML files a setting stands, or a slip: file and line. Imports no torch."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path

import yaml

from mnist_lab.settings.groups import GROUPS, SWEEP
from mnist_lab.settings.table import as_typed, nearest
from mnist_lab.ui.errors import first_line
from mnist_lab.ui.files import shown_path

GLOBAL = "# @package _global_"
AT_ROOT = (
    "experiment",
    "debug",
    SWEEP,
)  # whose files hold settings of all groups, and begin with GLOBAL
KINDS = {yaml.SequenceNode: "a list", yaml.ScalarNode: "text"}

# What Hydra says of a defaults list; `file` is as in experiment/mine.
OVERRIDE = re.compile(r"In '(?P<file>[^']+)': Could not override '(?P<key>[^']+)'")
TWICE = re.compile(r"Multiple values for (?P<group>[^.]+)\. To override a value use")
MISSING = re.compile(r"Could not find '(?P<group>.+)/(?P<choice>[^/']+)'")
NO_LIST = re.compile(r"Invalid defaults list in '(?P<file>[^']+)'")


def chosen_files(folders: Iterable[Path], choices: Mapping[str, object]) -> list[Path]:
    """The files that choices name, and train.yaml; those of the groups that hold all come first."""
    names = [f"{group}/{choices.get(group)}" for group in (*AT_ROOT, *GROUPS)]
    files = [folder / f"{name}.yaml" for name in [*names, "train"] for folder in folders]
    return [file for file in dict.fromkeys(files) if file.is_file()]


def at(file: Path, line: int = 0) -> str:
    return f"{shown_path(file)}, line {line}" if line else f"{shown_path(file)}"


def unreadable(files: Sequence[Path]) -> str | None:
    """The first slip of YAML itself, where there is one."""
    for file in files:
        try:
            node = yaml.compose(file.read_text(encoding="utf-8"), yaml.SafeLoader)
        except UnicodeDecodeError as error:
            line = file.read_bytes()[: error.start].count(b"\n") + 1
            return f"{at(file, line)}: not UTF-8; save it as UTF-8."
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            tab = "; YAML is indented by spaces" if "\\t" in str(error.problem) else ""
            return f"{at(file, mark.line + 1 if mark else 0)}: {error.problem}{tab}."
        if node is not None and not isinstance(node, yaml.MappingNode):
            kind = KINDS[type(node)]
            return f"{at(file, 1)}: holds {kind}; must hold settings, as in `seed: 3` on a line."
    return None


def composition_problem(error: Exception, folders: Sequence[Path], files: Sequence[Path]) -> str:
    """Why a configuration cannot be composed, in a line or two.

    Args:
        folders: where configurations are looked for.
        files: those that the command line chooses.
    """
    if problem := unreadable(files):
        return problem
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:  # as of a key given twice
        mark = error.problem_mark
        return f"{at(Path(mark.name), mark.line + 1)}: {error.problem}."
    while not str(error) and isinstance(error.__context__, Exception):  # one of Hydra's own, empty
        error = error.__context__
    if key := getattr(error, "full_key", None):  # of OmegaConf's
        problem = f"{key}: {first_line(error)}"
        return f"{place}: {problem}" if (place := origin(problem, files)) else problem
    said = str(error)
    for problem in slips_of_defaults(said, folders, files):
        return problem
    problem = first_line(error)
    if problem == said and error.__context__:  # of whose words Hydra's has none
        problem += f"\n{first_line(error.__context__)}"
    return problem


def slips_of_defaults(said: str, folders: Sequence[Path], files: Sequence[Path]) -> Iterator[str]:
    """What may be meant in a list of defaults, from what Hydra says of it."""

    def named(name: str) -> list[Path]:
        return [file for folder in folders if (file := folder / f"{name}.yaml").is_file()]

    if found := OVERRIDE.search(said):
        key = found["key"].partition("@")[0].rpartition("/")[2]
        for file, line, text in lines(named(found["file"]), rf"override\s+/?{re.escape(key)}\b"):
            if needs_global(file):
                yield misplaced(file)
            elif key in GROUPS and "/" not in text:
                yield f"{at(file, line)}: write - override /{key}: NAME, with the slash."
            else:
                yield f"{at(file, line)}: {key}: no such group; {nearest(key, GROUPS)}"
    if found := TWICE.search(said):
        for file, line, text in lines(files, rf"^\s*-\s*/?{re.escape(found['group'])}\s*:"):
            if file.stem != "train":
                yield f"{at(file, line)}: write - override /{text.strip('- /')}"
    if found := MISSING.search(said):
        group, choice = found.groups()
        known = sorted(file.stem for folder in folders for file in (folder / group).glob("*.yaml"))
        for file, line, _ in lines(files, rf"\b{group}\s*:\s*{re.escape(choice)}\b"):
            yield f"{at(file, line)}: {group}={choice}: no such {group}; {nearest(choice, known)}"
    if found := NO_LIST.search(said):
        for file, line, _ in lines(named(found["file"]), r"^defaults\s*:"):
            yield f"{at(file, line)}: must be a list, as in `  - override /model: cnn`."


def lines(files: Iterable[Path], pattern: str) -> Iterator[tuple[Path, int, str]]:
    """Lines in which a pattern occurs, counted from 1, without their comments."""
    for file in files:
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            text = line.partition("#")[0].rstrip()
            if re.search(pattern, text):
                yield file, number, text


def needs_global(file: Path) -> bool:
    """Whether what a file sets is taken for settings of its own folder's name."""
    text = file.read_text(encoding="utf-8")
    head = takewhile(lambda line: line.startswith("#"), text.splitlines())
    return file.parent.name in AT_ROOT and GLOBAL not in map(str.strip, head)


def misplaced(file: Path) -> str:
    return f"{at(file, 1)}: must be {GLOBAL}, or its settings are none of a run's."


def origin(refused: str, files: Iterable[Path]) -> str | None:
    """File and line of a setting of which a message speaks; None where no file has it so."""
    name, equals, shown = refused.partition(": ")[0].partition("=")
    for file in files:
        line, value = places(file).get(name, (0, None))
        by_name = "no such setting" in refused or "${" in str(value)
        if line and (same(value, shown) if equals else by_name):  # else the command line's
            return at(file, line)
    return None


def same(value: object, shown: str) -> bool:
    """Whether a message shows this value of YAML, of which OmegaConf reads more as numbers."""
    with contextlib.suppress(TypeError, ValueError):
        return as_typed(value) == shown or float(str(value)) == float(shown)
    return False


def places(file: Path) -> dict[str, tuple[int, object]]:
    """The settings that a file gives, by their dotted names -> line from 1, and value."""
    root = file.stem == "train" or file.parent.name in AT_ROOT
    loader = yaml.SafeLoader(file.read_text(encoding="utf-8"))
    found: dict[str, tuple[int, object]] = {}

    def visit(node: yaml.Node | None, prefix: str) -> None:
        for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
            name = f"{prefix}{key.value}"
            found[name] = key.start_mark.line + 1, loader.construct_object(value, deep=True)
            visit(value, f"{name}.")

    visit(loader.get_single_node(), "" if root else f"{file.parent.name}.")
    return found
