"""Runs a record again, seed by seed, and says whether its mark holds.

`make record NAME=seconds_99` keeps each seed that has ended in outputs/records/NAME, so that a
second call goes on where the first one stopped; `ARGS=--publish` writes the runs into records/NAME
and draws the page anew.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.process import processor
from benchmarks.quiet import LIMIT, Busy, Watch, refuse_if_busy
from mnist_lab.ui.files import write_json
from records.claim import ALPHA, FOLDER, Claim, Verdict, claims, judge
from records.page import write_page

ROOT = FOLDER.parent
REFERENCE = ("experiment=mlp_512", "trainer.max_epochs=1", "threads=1")
REFERENCE_TIMES = 3  # the median counts


def main() -> int:
    known = claims()
    parser = argparse.ArgumentParser(prog="make record NAME=...", description=__doc__)
    parser.add_argument("name", choices=[*known, "all"], metavar="NAME", help=", ".join(known))
    parser.add_argument("--publish", action="store_true", help="write the runs into records/NAME")
    parser.add_argument(
        "--even-if-busy", action="store_true", help="measure beside other processes, and say so"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "records")
    args = parser.parse_args()
    chosen = known.values() if args.name == "all" else [known[args.name]]
    held = [
        record(claim, args.out, publish=args.publish, busy=args.even_if_busy) for claim in chosen
    ]
    return 0 if all(held) else 1


def record(claim: Claim, out: Path, *, publish: bool, busy: bool) -> bool:
    """Train what is not there yet and judge; True: the mark holds."""
    reference = reference_runs(out / claim.name, busy=busy)
    runs = []
    for seed in claim.seeds:
        runs.append(trained(claim.settings, out / claim.name / f"seed_{seed}", seed, busy=busy))
        print(run_line(claim, runs[-1]), flush=True)
    found = {
        "machine": machine(),
        "reference_seconds": [round(run["seconds"], 3) for run in reference],
        "runs": runs,
    }
    verdict = judge(claim, runs)
    print(verdict_line(claim, verdict))
    if publish:
        write_json(FOLDER / claim.name / "runs.json", found)
        write_page()
    return verdict.holds


def reference_runs(out: Path, *, busy: bool) -> list[dict[str, Any]]:
    """One epoch of mlp_512 on one thread: what seconds of this machine are to be compared with.

    Before each record anew: a machine is not the same all day.
    """
    return [
        trained(REFERENCE, out / "reference" / f"seed_{seed}", seed, busy=busy)
        for seed in range(REFERENCE_TIMES)
    ]


def trained(settings: Sequence[str], folder: Path, seed: int, *, busy: bool) -> dict[str, Any]:
    """The metrics.json of a run, trained unless it has ended before; with how many cores others
    used meanwhile, and the day.

    Raises:
        SystemExit: the run failed, or others use the machine.
    """
    metrics, around = folder / "metrics.json", folder / "around.json"
    if not (metrics.exists() and around.exists()):
        if not busy:
            try:
                refuse_if_busy()
            except Busy as error:
                raise SystemExit(str(error)) from None
        watch = Watch()
        train = [sys.executable, "-m", "mnist_lab.train", *settings, f"seed={seed}", "--resume"]
        done = subprocess.run(
            [*train, f"hydra.run.dir={folder}"], cwd=ROOT, stdout=subprocess.DEVNULL, check=False
        )
        if done.returncode:
            raise SystemExit(f"{folder}: ended with {done.returncode}; see train.log there")
        today = datetime.now(UTC).date().isoformat()
        write_json(around, {"others": round(watch.others(), 2), "date": today})
    return json.loads(metrics.read_text()) | json.loads(around.read_text())


def machine() -> str:
    """Processor, cores and versions, in one line."""
    import torch

    flags = Path("/proc/cpuinfo").read_text().split()
    has = [flag.replace("_", "-") for flag in ("avx512_bf16", "amx_bf16") if flag in flags]
    return (
        f"{os.cpu_count()} cores of {processor()} "
        f"({', '.join(has) or 'no bf16'}); Python {platform.python_version()}, "
        f"torch {torch.__version__}"
    )


def run_line(claim: Claim, run: dict[str, Any]) -> str:
    beside = f", beside {run['others']:.2f} cores of others" if run["others"] > LIMIT else ""
    return (
        f"{claim.name} seed {run['seed']}: test {100 * run['test/acc']:.2f} %, "
        f"{run['seconds']:.1f} s{beside}"
    )


def verdict_line(claim: Claim, verdict: Verdict) -> str:
    acc, seconds = verdict.acc, verdict.seconds
    parts = [
        f"{100 * acc.mean:.3f} +- {100 * acc.sd:.3f} % (n={acc.n}) against "
        f"{100 * claim.acc:.2f} %: p = {acc.p:.2g}",
        f"{seconds.mean:.1f} +- {seconds.sd:.1f} s",
        f"{verdict.num_params:,} parameters",
    ]
    if claim.seconds is not None:
        parts[1] += f" against {claim.seconds:g} s: p = {seconds.p:.2g}"
    if claim.num_params is not None:
        parts[2] += f" against {claim.num_params:,}"
    said = "holds" if verdict.holds else f"does not hold (each p must be below {ALPHA})"
    return f"{claim.name}: {'; '.join(parts)}: {said}"


if __name__ == "__main__":
    sys.exit(main())
