"""`make bench`: measure what is asked for, one section at a time, and write the page.

The results are kept after each section, so what was measured before an interruption stays.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import images, memory, startup, sweep, whole
from benchmarks.page import page
from benchmarks.process import ROOT, environment, processor
from benchmarks.quiet import LIMIT, Busy, Watch, refuse_if_busy
from benchmarks.recipes import PLANS, composed, work_of
from benchmarks.rounds import interleave
from benchmarks.work import Work
from mnist_lab.data.source import Source
from mnist_lab.ui.errors import Refused

KINDS = ("epoch", "whole", "sweep", "startup", "memory")
WIDTHS = (32, 128)
WHOLE_ROUNDS, LONG_ROUNDS, STARTUP_ROUNDS, MEMORY_ROUNDS = 7, 3, 7, 3
LONG = "mlp_512x2_dropout"  # six minutes a round where the others take one or two
PAUSE_S = 1.0  # before a look at the load, so that what has just ended is not in it


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What all sections need.

    Attributes:
        folder: scratch; holds MNIST/raw/ and the runs.
        num_images, num_test: of the training and the test split.
        quick: single rounds and shortened work.
    """

    folder: Path
    num_images: int
    num_test: int
    keras_python: str
    quick: bool

    def work(self, *settings: str, **kwargs: Any) -> Work:
        return work_of(settings, self.folder, num_images=self.num_images, **kwargs)

    def epoch(self, recipe: str, threads: int) -> dict[str, Any]:
        epochs, parts = PLANS[recipe]
        plan = (2, parts) if self.quick else (epochs, parts)
        work = self.work(f"experiment={recipe}", threads=threads, plan=plan)
        commands = {
            "lab": [sys.executable, "-m", "benchmarks.lab"],
            "plain loop": [sys.executable, "-m", "benchmarks.lab", "plain"],
            "floor": [sys.executable, "-m", "benchmarks.floor"],
            "direct floor": [sys.executable, "-m", "benchmarks.floor", "direct"],
            "template": [sys.executable, "-m", "benchmarks.template"],
            "keras": [self.keras_python, "-m", "benchmarks.keras_"],
            "lab again": [sys.executable, "-m", "benchmarks.lab"],
        }
        return {
            "num_steps": work.num_steps,
            "num_test": self.num_test,
            "epochs": work.epochs,
            "competitors": interleave(commands, work, cwd=self.folder, progress=show),
        }

    def whole(self, recipe: str, threads: int) -> dict[str, Any]:
        rounds, plan = (LONG_ROUNDS if recipe == LONG else WHOLE_ROUNDS), None
        if self.quick:
            rounds, plan = 1, (1, 1)
        works = [
            self.work(f"experiment={recipe}", threads=threads, plan=plan, seed=seed)
            for seed in range(rounds)
        ]
        found = whole.measure(works, keras_python=self.keras_python, cwd=self.folder, progress=show)
        return {"competitors": found}

    def sweep(self, width: int) -> dict[str, Any]:
        base = self.work(f"model.width={width}", "model.dropout=0", plan=(5, 1))
        works = sweep.grid(base, seeds=range(1) if self.quick else sweep.SEEDS)
        found = sweep.measure(works, keras_python=self.keras_python, cwd=self.folder, progress=show)
        return {"competitors": found}

    def startup(self) -> dict[str, Any]:
        rounds = 2 if self.quick else STARTUP_ROUNDS
        default = self.work(plan=(1, 1))
        jobs = [self.work(f"model.width={width}", plan=(1, 1)) for width in WIDTHS]
        return startup.measure(
            default, jobs=[*jobs, default], rounds=rounds, cwd=self.folder, progress=show
        )

    def memory(self) -> dict[str, Any]:
        works = [self.work(f"experiment={recipe}", plan=(1, 1)) for recipe in PLANS]
        rounds = 1 if self.quick else MEMORY_ROUNDS
        return {"peaks": memory.measure(works, rounds=rounds, cwd=self.folder, progress=show)}


def show(text: str) -> None:
    print(f"{datetime.datetime.now():%H:%M:%S}  {text}", file=sys.stderr, flush=True)


def sections(
    bench: Bench, only: Sequence[str], threads: Sequence[int]
) -> dict[str, Callable[[], Any]]:
    """What to measure, by the key that it has in the results."""
    recipes = [word for word in only if word in PLANS] or list(PLANS)
    named = [word for word in only if word in KINDS]
    kinds = named or (["epoch", "whole"] if only else list(KINDS))
    todo: dict[str, Callable[[], Any]] = {}
    for kind in kinds:
        if kind in ("epoch", "whole"):
            method = getattr(bench, kind)
            for count in threads if kind == "epoch" else threads[:1]:
                for recipe in recipes:
                    todo[f"{kind}/{count}/{recipe}"] = bind(method, recipe, count)
        elif kind == "sweep":
            todo |= {f"sweep/{width}": bind(bench.sweep, width) for width in WIDTHS}
        else:
            todo[f"{kind}/1"] = getattr(bench, kind)
    return todo


def bind(method: Callable[..., Any], *args: Any) -> Callable[[], Any]:
    return lambda: method(*args)


def machine(keras_python: str) -> str:
    """Processor, cores and versions, in one line."""
    code = (
        "import importlib.metadata as m, platform; print(platform.python_version(), "
        "*(m.version(p) for p in {}))"
    )
    ours = answer(sys.executable, code.format(("torch", "lightning")))
    theirs = answer(keras_python, code.format(("keras",)))
    tensorflow = answer(
        keras_python,
        "import importlib.metadata as m; print(next(d.version for d in m.distributions() "
        "if d.name.lower().replace('_', '-') in ('tensorflow', 'tensorflow-cpu')))",
    )
    return (
        f"{os.cpu_count()} cores of {processor()}; Python {ours[0]}, torch {ours[1]}, "
        f"lightning {ours[2]}; Python {theirs[0]}, keras {theirs[1]}, tensorflow {tensorflow[0]}"
    )


def answer(python: str, code: str) -> list[str]:
    command = [python, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
    return done.stdout.split()


def commit() -> str:
    command = ["git", "-C", str(ROOT), "describe", "--always", "--abbrev=10", "--dirty=+"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make bench", description="Time the lab beside what a user would take instead."
    )
    words = ", ".join([*KINDS, *PLANS])
    parser.add_argument("--only", default="", metavar="WORD,...", help=f"any of: {words}")
    parser.add_argument("--threads", default="1", metavar="N,...", help="threads of all; default 1")
    parser.add_argument("--quick", action="store_true", help="a look in minutes, not kept")
    parser.add_argument("--even-if-busy", action="store_true", help="measure, and say so loudly")
    default = ROOT / ".venv-bench" / "bin" / "python"
    parser.add_argument("--keras-python", default=str(default), metavar="PATH")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where page and results go")
    args = parser.parse_args(argv)
    args.only = [word for word in args.only.split(",") if word]
    for word in args.only:
        if word not in (*KINDS, *PLANS):
            parser.error(f"--only {word}: must be one of {words}")
    if not args.threads.replace(",", "").isdigit():
        parser.error(f"--threads {args.threads}: must be numbers, as in 1,2")
    args.threads = [int(text) for text in args.threads.split(",")]
    if not Path(args.keras_python).exists():
        parser.error(f"{args.keras_python}: no Keras there; make bench installs it")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """0 all measured, 1 a section failed, 2 refused."""
    args = arguments(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that `with` and `finally` clean up
    out = args.out or (None if args.quick else ROOT / "benchmarks")
    results: dict[str, Any] = {"sections": {}}
    if out and (out / "results.json").exists():
        results = json.loads((out / "results.json").read_text())
    results |= {"machine": machine(args.keras_python), "quick": args.quick}
    failed = 0
    try:
        splits = Source.of(composed([])["data"]).find().read()
        with tempfile.TemporaryDirectory(prefix="mnist_lab_bench_") as scratch:
            arrays = {name: getattr(splits, name) for name in images.NAMES}
            images.stage(Path(scratch), arrays)
            bench = Bench(
                folder=Path(scratch),
                num_images=len(splits.train_images),
                num_test=len(splits.test_images),
                keras_python=args.keras_python,
                quick=args.quick,
            )
            for key, measure in sections(bench, args.only, args.threads).items():
                time.sleep(PAUSE_S)
                if not args.even_if_busy:
                    refuse_if_busy()
                try:
                    results["sections"][key] = section(key, measure)
                except RuntimeError as error:
                    show(f"{key} FAILED: {error}")
                    failed += 1
                if out:
                    keep(results, out)
    except (Busy, Refused) as error:
        print(error, file=sys.stderr)
        return 2
    print(page(results))
    return min(failed, 1)


def section(key: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Measure, and say when, of which commit, how long, and beside what load."""
    watch, started = Watch(), time.monotonic()
    when = f"{datetime.datetime.now():%Y-%m-%d %H:%M}"
    found = measure()
    took, others = time.monotonic() - started, watch.others()
    loud = f"; OTHERS USED {others:.2f} CORES" if others > LIMIT else ""
    show(f"{key}: {took:.0f} s{loud}")
    return {"when": when, "commit": commit(), "took": took, "others": others, **found}


def keep(results: dict[str, Any], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (out / "README.md").write_text(page(results))


if __name__ == "__main__":
    sys.exit(main())
