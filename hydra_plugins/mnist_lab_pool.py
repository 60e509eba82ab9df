"""Where Hydra finds the launcher of this lab; the work is done in mnist_lab.sweep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher

from mnist_lab.ui.errors import Refused


class PoolLauncher(Launcher):
    """hydra/launcher=pool, to Hydra a name only: the lab's sweeper runs the pool itself."""

    def __init__(self, **_: Any) -> None:
        pass

    def setup(self, **_: Any) -> NoReturn:
        raise Refused("hydra/launcher=pool: works with the lab's own hydra/sweeper=lab only.")

    def launch(
        self,
        job_overrides: Sequence[Sequence[str]],  # noqa: ARG002
        initial_job_idx: int,  # noqa: ARG002
    ) -> Sequence[JobReturn]:
        self.setup()  # by another sweeper, which will have been refused before
