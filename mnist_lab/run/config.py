"""A run's config.yaml as it is read back: plain data, made one of today, every leaf checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mnist_lab.settings.check import check
from mnist_lab.settings.groups import GROUPS
from mnist_lab.settings.schema import taken_version, upgrade
from mnist_lab.settings.table import SETTINGS, leaves
from mnist_lab.ui.errors import Refused
from mnist_lab.ui.files import read_bytes, refuse_ways_out

MAX_CONFIG_BYTES = 256 << 10  # of a config.yaml, which has 3 kB
MAX_DEPTH = 1000  # levels of nested YAML at most that libyaml is given

# What every stored configuration has, whatever the choices of its run.
REQUIRED = {
    *(name for name in SETTINGS if name.startswith(("data.", "trainer.")) or "." not in name),
    *("data.md5", "data.sha256", "optimizer.lr"),
    *(f"{group}._target_" for group in ("data", "model", "optimizer", "schedule", "trainer")),
    *(f"choices.{group}" for group in GROUPS),
}


def read_config(path: Path, *, to_build: bool = True) -> dict[str, Any]:
    """Read a run's config.yaml as data, made one of today, every leaf checked.

    It may be a stranger's, and say where to download from what: that is never done unasked.

    Args:
        to_build: as `check` takes it.

    Raises:
        Refused: as `stored_config`; or a setting out of the table, or lacking what every run has.
    """
    config, file = stored_config(path), path / "config.yaml"
    version = taken_version(config, file)
    try:
        upgrade(config, version)
        check(config, to_build=to_build)
    except Refused as error:
        raise Refused(f"{file}: {error}") from None
    if missing := REQUIRED - set(leaves(config)):
        raise Refused(f"{file}: lacks {', '.join(sorted(missing))}.")
    config["data"]["download"] = False
    return config


def stored_config(path: Path) -> dict[str, Any]:
    """Read a run's config.yaml as it stands: safe YAML, nothing resolved.

    Raises:
        Refused: missing, not YAML, or holds an interpolation; or a link in the directory leads out
            of it.
    """
    import yaml

    refuse_ways_out(path)
    file = path / "config.yaml"
    try:
        text = read_bytes(file, max_bytes=MAX_CONFIG_BYTES).decode()
        events = yaml.parse(text, yaml.SafeLoader) if "&" in text else ()
        if any(isinstance(event, yaml.AliasEvent) for event in events):
            raise ValueError("it has aliases: a few lines of them can stand for billions")
        config = load_yaml(text)
    except FileNotFoundError:
        raise Refused(f"{path}: no run directory (it has no config.yaml).") from None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise Refused(f"{file}: cannot be read ({reason}).") from None
    if not isinstance(config, dict):
        raise Refused(f"{file}: holds no settings.")
    refuse_interpolations(config, file)
    return config


def load_yaml(text: str) -> Any:
    """Read safe YAML, by libyaml where it is there and the text is no trap: eight times as fast.

    libyaml's loader goes as deep as the text is nested, and a stack that is too deep kills the
    process where Python's own loader raises. A level takes a bracket or a column of a line.
    """
    import yaml

    deepest = text.count("[") + text.count("{") + max(map(len, text.splitlines()), default=0)
    trap = deepest > MAX_DEPTH or not yaml.__with_libyaml__
    loader = yaml.SafeLoader if trap else yaml.CSafeLoader
    reader = loader(text)
    try:
        return reader.get_single_data()
    finally:
        reader.dispose()


def refuse_interpolations(value: object, file: Path) -> None:
    """Refuse text that OmegaConf would resolve, wherever it stands in what was read from `file`."""
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list):
        for item in value:
            refuse_interpolations(item, file)
    elif isinstance(value, str) and "${" in value:
        raise Refused(f"{file}: holds an interpolation (${{...}}), which is never stored.")
