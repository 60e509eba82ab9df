"""Objects from the nodes of a configuration that name them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from mnist_lab.settings.check import BUILDABLE
from mnist_lab.ui.errors import Refused


def build(node: Mapping[str, Any], **kwargs: Any) -> Any:
    """Build the object that a configuration node names: the only place that instantiates.

    Raises:
        Refused: the name is not on the exact list of what this lab builds, or what is built
            refuses its settings.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    target = node.get("_target_")
    if not isinstance(target, str) or target not in BUILDABLE:
        raise Refused(f"_target_={target}: not a name that this lab builds.")
    try:
        built = instantiate(dict(node), _recursive_=False, _convert_="all", **kwargs)
    except InstantiationException as error:
        if isinstance(error.__cause__, Refused):
            raise error.__cause__ from None
        raise
    if node.get("_partial_"):
        # Hydra's partial checks its policy again at each call, 0.1 ms; a schedule is called a step.
        built = functools.partial(built.func, *built.args, **built.keywords)
    return built
