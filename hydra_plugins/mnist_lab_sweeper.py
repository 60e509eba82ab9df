"""Where Hydra finds the sweeper of this lab; its work is done in mnist_lab.sweep."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class LabSweeper(BasicSweeper):
    """Plans, checks and records a whole grid before its first job.

    Args:
        params: a grid, of which the command line's values replace those of the same name.
        plan: print the plan and stop.
        resume: go on with the sweep in this directory instead.
        retry_failed: its failed jobs, too.
        moved: where its images are now, as `data.root=DIR`.
    """

    def __init__(
        self,
        *,
        params: dict[str, str] | None,
        plan: bool,
        resume: str | None,
        retry_failed: bool,
        moved: list[str],
    ) -> None:
        super().__init__(max_batch_size=None, params=params)
        self.plan = plan
        self.resume = resume
        self.retry_failed = retry_failed
        self.moved = moved

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config

    def launcher_at(self, directory: Path) -> Launcher:
        """The launcher, once the sweep has its directory: some put files of their own there."""
        assert self.config is not None
        assert self.hydra_context is not None
        self.config.hydra.sweep.dir = str(directory)
        return Plugins.instance().instantiate_launcher(
            hydra_context=self.hydra_context, task_function=self.task_function, config=self.config
        )

    def sweep(self, arguments: list[str]) -> Any:
        from mnist_lab.ui.verb import exit_code

        # Hydra itself would turn every exception into exit code 1 and a traceback.
        if code := exit_code(lambda: self.run(arguments)):
            sys.exit(code)

    def run(self, arguments: list[str]) -> None:
        from mnist_lab.sweep.begin import begin_sweep, print_plan
        from mnist_lab.sweep.compose import Composer
        from mnist_lab.sweep.plan import plan
        from mnist_lab.sweep.resume import resume_sweep

        assert self.config is not None
        assert self.hydra_context is not None
        if self.resume is not None:
            resume_sweep(
                Path(self.resume),
                self.config,
                self.launcher_at,
                retry_failed=self.retry_failed,
                moved=self.moved,
            )
            return
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        (grid,) = self.split_arguments(overrides, None)
        composer = Composer(list(self.config.hydra.overrides.hydra))
        ready_grid = self.config.hydra.runtime.choices.get("sweep")
        planned = plan(grid, composer, sweep=ready_grid)
        if self.plan:
            print_plan(planned)
        else:
            begin_sweep(planned, composer, self.config, self.launcher_at, arguments=arguments)
