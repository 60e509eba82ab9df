"""Where Hydra finds the launcher of this lab; the work is done in mnist_lab.sweep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher

from mnist_lab.ui.errors import Refused


class PoolLauncher(Launcher):
    """hydra/launcher=pool, a name: the lab's sweeper hands its jobs to the pool by itself."""

    def __init__(self, **_: Any) -> None:
        pass

    def setup(self, **_: Any) -> None:
        raise Refused("hydra/launcher=pool: works with the lab's own hydra/sweeper=lab only.")

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        raise NotImplementedError
