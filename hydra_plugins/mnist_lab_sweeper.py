"""Where Hydra finds the sweeper of this lab; its work is done in mnist_lab.sweep."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser


class LabSweeper(BasicSweeper):
    """Plans, checks and records a whole grid before its first job.

    Args:
        params: a grid, of which the command line's values replace those of the same name.
        plan: print the plan and stop.
        resume: go on with the sweep in this directory instead.
        retry_failed: its failed jobs, too.
    """

    def __init__(
        self, *, params: dict[str, str] | None, plan: bool, resume: str | None, retry_failed: bool
    ) -> None:
        super().__init__(max_batch_size=None, params=params)
        self.plan = plan
        self.resume = resume
        self.retry_failed = retry_failed

    def sweep(self, arguments: list[str]) -> Any:
        from mnist_lab.train import exit_code

        # Hydra itself would turn every exception into exit code 1 and a traceback.
        if code := exit_code(lambda: self.run(arguments)):
            sys.exit(code)

    def run(self, arguments: list[str]) -> None:
        from mnist_lab.sweep import begin, resume

        assert self.config is not None
        assert self.launcher is not None
        assert self.hydra_context is not None
        hydra_overrides = list(self.config.hydra.overrides.hydra)
        if self.resume is not None:
            resume.resume_sweep(
                Path(self.resume), self.launcher, hydra_overrides, retry_failed=self.retry_failed
            )
            return
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        (grid,) = self.split_arguments(overrides, None)
        begin.begin_sweep(
            grid,
            self.launcher,
            hydra_overrides,
            arguments=arguments,
            directory=self.given_directory(hydra_overrides),
            sweep=self.config.hydra.runtime.choices.get("sweep"),
            plan_only=self.plan,
        )

    def given_directory(self, hydra_overrides: list[str]) -> Path | None:
        assert self.config is not None
        given = any(text.lstrip("+").startswith("hydra.sweep.dir=") for text in hydra_overrides)
        return Path(self.config.hydra.sweep.dir).absolute() if given else None
