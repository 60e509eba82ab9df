"""mnist-resume: go on where a run or a sweep stopped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mnist_lab.run.directory import Run, is_held
from mnist_lab.run.resume import go_on, held_to_resume
from mnist_lab.settings import own
from mnist_lab.settings.flags import multirun
from mnist_lab.ui.errors import Refused
from mnist_lab.ui.startup import import_lightning
from mnist_lab.ui.verb import Parser, verb

EXAMPLES = """\
examples:
  mnist-resume outputs/runs/mlp/2026-01-31_18-00-00
  mnist-resume outputs/runs/mlp/2026-01-31_18-00-00 trainer.max_epochs=40    train on to 40 epochs
  mnist-resume outputs/sweeps/mlp/2026-01-31_18-00-00                        run what is not done
  mnist-resume outputs/sweeps/mlp/2026-01-31_18-00-00 --retry-failed hydra/launcher=pool
  mnist-resume DIRECTORY data.root=/path/to/data         its images are there now

A run goes on from its last finished epoch, with the threads and the random numbers that it would
have had, and ends with the weights of a run that was never stopped.
"""


def main() -> None:
    verb(resume_command)


def resume_command(args: Sequence[str]) -> None:
    parser = Parser(
        "mnist-resume",
        "Go on with a run or a sweep that was stopped, killed or should train longer.",
        examples=EXAMPLES,
    )
    parser.add_argument("directory", type=Path, help="a run's or a sweep's directory")
    parser.add_argument("overrides", nargs="*", metavar="SETTING=VALUE", help="what changes")
    parser.add_argument(
        "--allow-changes",
        action="store_true",
        help="let any setting, and the data, differ from the first part's",
    )
    parser.add_argument(
        "--retry-failed", action="store_true", help="of a sweep: start failed jobs afresh, too"
    )
    own.add_config_dir(parser)
    options = parser.parsed(args)
    own.name_folders(options.config_dir)
    if is_held(options.directory):
        Run.hold(options.directory).release()  # refuses, before seconds of imports
    if (options.directory / "sweep.json").exists():
        if options.allow_changes:
            raise Refused("--allow-changes: for a single run; the jobs of a sweep stay as planned.")
        from mnist_lab.sweep.job import train_job
        from mnist_lab.sweep.resume import resume_arguments

        arguments = resume_arguments(
            options.directory, options.overrides, retry_failed=options.retry_failed
        )
        multirun(arguments, train_job)
        return
    if options.retry_failed:
        raise Refused(f"--retry-failed: for a sweep, and {options.directory} is none.")
    allow_changes = options.allow_changes
    held = held_to_resume(options.directory, options.overrides, allow_changes=allow_changes)
    if held is None:
        return
    import_lightning()
    run, config = held
    try:
        go_on(run, config)
    finally:
        run.release()


if __name__ == "__main__":
    main()
