"""Where Hydra finds the sweeper of this lab; its work is done in mnist_lab.sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
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
        go_on: go on with the sweep in hydra.sweep.dir if it is there, and is of these jobs.
        retry_failed: its failed jobs, too.
        moved: where its images are now, as `data.root=DIR`.
        shape: as `grid.Shape` takes it.
    """

    def __init__(
        self,
        *,
        params: dict[str, str] | None,
        plan: bool,
        resume: str | None,
        go_on: bool,
        retry_failed: bool,
        moved: list[str],
        **shape: Any,
    ) -> None:
        super().__init__(max_batch_size=None, params=params)
        self.plan = plan
        self.resume = resume
        self.go_on = go_on
        self.retry_failed = retry_failed
        self.moved = moved
        self.shape = shape

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

    def sweep(self, arguments: list[str]) -> Path | None:
        """Run the sweep; return its directory, None where it was only planned."""
        from mnist_lab.settings.overrides import parsed_overrides
        from mnist_lab.sweep.composer import Composer
        from mnist_lab.sweep.conduct import begin_sweep, print_plan
        from mnist_lab.sweep.grid import Shape, grid
        from mnist_lab.sweep.plan import plan
        from mnist_lab.sweep.race import raced
        from mnist_lab.sweep.resume import refuse_other_jobs, resume_sweep
        from mnist_lab.sweep.search import searched
        from mnist_lab.sweep.stored import FILE

        assert self.config is not None
        assert self.hydra_context is not None
        config, launcher_at = self.config, self.launcher_at
        composer = Composer(list(config.hydra.overrides.hydra))
        if self.resume is not None:
            path = Path(self.resume)
            resume_sweep(
                path,
                composer,
                config,
                launcher_at,
                retry_failed=self.retry_failed,
                moved=self.moved,
            )
            return path
        overrides = [*self._parse_config(), *arguments]
        parsed = parsed_overrides(overrides, self.hydra_context.config_loader, multirun=True)
        shape = Shape(**self.shape)
        name = config.hydra.runtime.choices.get("sweep")
        if shape.search:
            planned = searched(parsed, composer, shape, sweep=name)
        else:
            found = grid(parsed, composer, shape)
            planned = plan(found.rows, composer, sweep=name, remarks=found.remarks)
        planned = raced(planned) if shape.race else planned
        if self.plan:
            print_plan(planned)
            return None
        directory = Path(config.hydra.sweep.dir)
        if self.go_on and (directory / FILE).exists():
            refuse_other_jobs(directory, planned)
            resume_sweep(directory, composer, config, launcher_at, retry_failed=False)
            return directory
        return begin_sweep(planned, composer, config, launcher_at, arguments=arguments)
