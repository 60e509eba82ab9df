"""The folder conf/: its groups, and the choices in them. Imports neither torch nor Hydra."""

from __future__ import annotations

from pathlib import Path

from mnist_lab.settings import own

# Config groups whose choice says what a run is; kept with the run as `choices`.
GROUPS = (
    *("data", "model", "optimizer", "schedule", "trainer", "experiment"),
    *("metrics", "callbacks", "logger", "debug"),
)

# Config groups that say which runs there are, and who launches them.
SWEEP = "sweep"
LAUNCHER = "hydra/launcher"

# Launchers that come with an optional extra of this package, and the module that it brings.
EXTRAS = {
    "slurm": "hydra_plugins.hydra_submitit_launcher",
    "ray": "hydra_plugins.hydra_ray_launcher",
}


def conf_dir() -> Path:
    """The folder of the YAML files: inside an installed package, beside an editable one."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def choices(group: str) -> list[str]:
    folders = [conf_dir(), *own.folders]
    return sorted({path.stem for folder in folders for path in (folder / group).glob("*.yaml")})
