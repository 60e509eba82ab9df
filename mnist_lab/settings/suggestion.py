"""What may have been meant by the name of a setting that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

# What other programs call a setting -> what it is called here.
SYNONYMS = {
    "learning_rate": "optimizer.lr",
    "epochs": "trainer.max_epochs",
    "num_epochs": "trainer.max_epochs",
    "hidden_size": "model.width",
    "device": "trainer.accelerator",
}
SHORT = 3  # letters of a word of which one too few leaves too little to go by
CLOSE = 0.75  # of 1: two names that can stand for each other; max_steps and max_epochs have 0.74


def last_part(name: str) -> str:
    return name.rpartition(".")[2]


def no_such_setting(name: str, names: Iterable[str]) -> str:
    """Suggest by the last part of a name, which is what people remember; else list its group's.

    Args:
        names: settings and groups that there are.
    """
    hydras = name.startswith("hydra.")
    names = sorted(other for other in names if other.startswith("hydra.") == hydras)
    group, _, last = name.rpartition(".")
    mates = [other for other in names if group and other.startswith(f"{group}.")]
    meant = [other for other in names if last_part(other) == last] or (
        [SYNONYMS[last]] if SYNONYMS.get(last) in names else []
    )
    if not meant:
        by_last = {last_part(other): other for other in mates or names}
        close = difflib.get_close_matches(last, by_last, n=1, cutoff=CLOSE)
        meant = [by_last[word] for word in close]
    if not meant and len(last) <= SHORT:
        meant = difflib.get_close_matches(name, mates, n=1, cutoff=CLOSE)
    if not meant and not mates:
        meant = difflib.get_close_matches(name, names, n=1)
    if meant:
        return f"did you mean {' or '.join(meant)}?"
    if mates:
        return f"{group} has: {', '.join(map(last_part, mates))}"
    groups = sorted({other.partition(".")[0] for other in names})
    return f"there are {', '.join(groups)}; mnist-train --help lists what they have."
