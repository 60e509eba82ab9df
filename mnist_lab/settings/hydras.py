"""Which of Hydra's own settings are obeyed, and what to do instead of the others. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mnist_lab.settings.groups import LAUNCHER
from mnist_lab.settings.table import nearest
from mnist_lab.ui.errors import Refused

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

RUN_DIR, SWEEP_DIR = "hydra.run.dir", "hydra.sweep.dir"
# What the verbs and Hydra tell our sweeper, as for --plan and -m; a command line must not.
OWN = ("hydra.sweeper.", "hydra.mode")
POOLS = [
    f"hydra.launcher.{name}"
    for name in ("devices", "slots", "threads", "jobs_per_device", "on_failure")
]
OBEYED = (RUN_DIR, SWEEP_DIR, LAUNCHER, "hydra.searchpath")

# What a setting of Hydra's is asked for, by the start of its name.
INSTEAD = {
    "hydra.sweep.subdir": f"jobs are named by what varies; {SWEEP_DIR}=DIR names their folder",
    "hydra.sweep": f"{SWEEP_DIR}=DIR names the folder of a sweep",
    "hydra.run": f"{RUN_DIR}=DIR names the folder of a run",
    "hydra.job.env": "set variables before the command, as in NAME=value mnist-train",
    "hydra.job.chdir": f"a run stays where it was started; {RUN_DIR}=DIR says where it writes",
    "hydra.mode": "-m makes a sweep",
    "hydra/sweeper": "the lab's own sweeper runs every combination; -m and the values are enough",
    "hydra.sweeper": "write the values themselves, as in -m model.width=1,2; --plan shows the jobs",
    "hydra.launcher": f"{LAUNCHER}=NAME chooses one, {LAUNCHER.replace('/', '.')}.SETTING sets it",
    "hydra.verbose": "train.log has all that is said, tracebacks included",
    "hydra.job_logging": "train.log has all that is said, tracebacks included",
    "hydra/job_logging": "train.log has all that is said, tracebacks included",
    "hydra.callbacks": "nothing is built but what the lab builds itself",
    "hydra.output_subdir": "settings are kept in config.yaml, the composition in .hydra",
}


def check_hydras(override: Override, launcher: str) -> None:
    """Refuse a setting of Hydra's that would be of no effect, or that a launcher has not.

    Args:
        launcher: the one chosen.
    """
    key, text = override.key_or_group, override.input_line
    if override.is_delete():
        raise Refused(f"{text}: Hydra needs all of its settings; none can be taken away.")
    if key in OBEYED and override.is_sweep_override():
        raise Refused(f"{text}: must be one value.")
    if key in (RUN_DIR, SWEEP_DIR) and not override.get_value_element_as_str():
        raise Refused(f"{text}: must name a folder.")
    if key.startswith("hydra.launcher."):
        if launcher == "basic":
            raise Refused(f"{text}: {LAUNCHER}=basic has no settings; name one, as {LAUNCHER}=pool")
        if launcher == "pool" and key not in POOLS:
            raise Refused(f"{text}: no setting of {LAUNCHER}=pool; {nearest(key, POOLS)}")
        return
    if key in OBEYED or key.startswith(OWN):
        return
    for start, advice in INSTEAD.items():
        if key.startswith(start):
            raise Refused(f"{text}: not obeyed here; {advice}.")
    raise Refused(f"{text}: not obeyed here; of Hydra's settings are: {', '.join(OBEYED[:3])}.")


def refuse_idle(overrides: Sequence[str], *, multirun: bool, resume: bool = False) -> None:
    """Refuse what a command line says to Hydra that is for the other kind: one run, or a sweep.

    Args:
        resume: --resume, which needs a directory that is the same each time.

    Raises:
        Refused: names the setting, and what it is for.
    """
    place = SWEEP_DIR if multirun else RUN_DIR
    if resume and not any(text.lstrip("+").startswith(f"{place}=") for text in overrides):
        raise Refused(f"--resume: needs a directory that is the same each time; add {place}=DIR.")
    for text in overrides:
        key = text.lstrip("+~").partition("=")[0]
        if key.startswith(OWN):
            advice = INSTEAD[OWN[1] if key == OWN[1] else OWN[0].rstrip(".")]
            raise Refused(f"{text}: not obeyed here; {advice}.")
        if multirun and key == RUN_DIR:
            raise Refused(f"{text}: for a single run; the folder of a sweep is {SWEEP_DIR}=DIR.")
        if not multirun and key == SWEEP_DIR:
            raise Refused(f"{text}: for a sweep; the folder of a single run is {RUN_DIR}=DIR.")
        if not multirun and key.startswith((LAUNCHER, "hydra.launcher")):
            raise Refused(f"{text}: for a sweep; add -m and values, or leave it out.")
