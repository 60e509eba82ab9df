"""The benchmarks' arithmetic, their refusals, and a small round of real competitors."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import images, quiet, ratios
from benchmarks.bench import Bench, arguments, sections
from benchmarks.networks import plain_network
from benchmarks.pace import Pace
from benchmarks.page import page
from benchmarks.process import ROOT
from benchmarks.recipes import PLANS, composed, work_of
from benchmarks.rounds import interleave, refuse_unequal
from benchmarks.work import EVAL_BATCH_SIZE
from mnist_lab.data import datamodule as data
from mnist_lab.run.fit import build_model

# Captured once; user nice system idle iowait irq softirq steal guest guest_nice.
STAT = "cpu  1000 20 300 90000 50 0 7 3 11 0\ncpu0 500 10 150 45000 25 0 3 1 5 0\n"
LATER = "cpu  1300 20 350 90100 70 0 7 3 11 0\n"


def test_an_epoch_is_the_pace_of_a_stretch_and_what_surrounds_it() -> None:
    reports = [
        {"steps": 10, "seconds": 99.0, "cpu_seconds": 99.0},  # warms up: left out
        {"steps": 10, "seconds": 1.0, "cpu_seconds": 0.5, "around": 77.0},  # likewise
        {"steps": 10, "seconds": 2.0, "cpu_seconds": 2.0},
        {"steps": 8, "seconds": 2.0, "cpu_seconds": 2.0, "around": 3.0},
        {"steps": 10, "seconds": 4.0, "cpu_seconds": 2.0},
        {"steps": 10, "seconds": 1.0, "cpu_seconds": 1.0, "around": 5.0},
    ]
    seconds = ratios.epoch_seconds(reports, 20)
    assert seconds == [2 + 3, 4 + 3, 5 + 3, 8 + 3, 2 + 3]  # 3: the quickest
    assert ratios.cores_used(reports) == 7.5 / 10


def test_ratios_are_taken_within_a_round() -> None:
    above, below = [2.0, 40.0, 6.0, 8.0, 10.0], [1.0, 10.0, 2.0, 1.0, 5.0]  # 2 4 3 8 2
    found = ratios.paired_ratio(above, below)
    assert (found["low"], found["median"], found["high"], found["n"]) == (2, 3, 4, 5)
    assert ratios.geometric_mean([1.0, 4.0, 2.0]) == pytest.approx(2.0)


def test_accuracies_agree_within_four_errors_of_their_difference() -> None:
    error = math.sqrt(2 * 0.98 * 0.02 / 10_000)
    assert ratios.accuracies_agree([0.98 - 1.9 * error, 0.98 + 1.9 * error], 10_000)
    assert not ratios.accuracies_agree([0.98 - 2.1 * error, 0.98, 0.98 + 2.1 * error], 10_000)


def test_busy_time_is_all_but_idle_and_waiting_for_disks() -> None:
    assert quiet.busy_seconds(LATER) - quiet.busy_seconds(STAT) == pytest.approx(350 / quiet.TICKS)


def test_a_process_with_parentheses_in_its_name_is_read() -> None:
    stat = "42 (a) (b) R 1 42 42 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 1 0 77 1 1"
    assert quiet.process_seconds(stat) == ("a) (b", 300 / quiet.TICKS)


def test_it_refuses_to_measure_beside_a_busy_process() -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        try:
            with pytest.raises(quiet.Busy, match=r"other processes use \d+\.\d\d cores"):
                quiet.refuse_if_busy(seconds=1.0)
        finally:
            busy.kill()


def test_the_busiest_process_is_named() -> None:
    before = {1: ("init", 5.0), 7: ("python3", 1.0)}
    after = {1: ("init", 5.1), 7: ("python3", 2.6), 9: ("cc", 0.5)}
    shown = quiet.busiest(before, after, 2.0)
    assert shown == "python3 (process 7) with 0.80 of a core"


class Answered:
    """A driver that says go at once."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    def receive(self) -> dict[str, Any]:
        return {}


def test_stretches_add_up_to_the_epoch(tmp_path: Path) -> None:
    work = work_of(["experiment=mlp_100"], tmp_path, num_images=32 * 9 + 1, plan=(2, 3))
    channel: Any = Answered()
    pace = Pace(channel, work)
    pace.begin(79_510)
    for _ in range(work.epochs):
        pace.steps_begin()
        for step in range(1, 11):
            pace.stepped(step)
        pace.epoch_ends()
    reports = channel.sent[1:]
    assert channel.sent[0] == {"num_params": 79_510}
    assert [report["steps"] for report in reports] == [3, 4, 3] * 2
    assert ["around" in report for report in reports] == [False, False, True] * 2


def test_an_epoch_with_a_step_too_few_is_an_error(tmp_path: Path) -> None:
    work = work_of(["experiment=mlp_100"], tmp_path, num_images=100, plan=(1, 1))
    channel: Any = Answered()
    pace = Pace(channel, work)
    pace.stepped(work.num_steps - 1)
    with pytest.raises(RuntimeError, match="an epoch of"):
        pace.epoch_ends()


def test_unequal_work_is_an_error(tmp_path: Path) -> None:
    work = work_of([], tmp_path, num_images=100, plan=(1, 1))
    equal = {"num_params": 7, "reports": [{"steps": 1}]}
    refuse_unequal({"lab": equal, "floor": equal}, work)
    for other in ({**equal, "num_params": 8}, {**equal, "reports": [{"steps": 2}]}):
        with pytest.raises(RuntimeError, match="unequal work"):
            refuse_unequal({"lab": equal, "floor": other}, work)


@pytest.mark.parametrize("recipe", PLANS)
def test_competitors_train_the_networks_of_the_recipes(recipe: str, tmp_path: Path) -> None:
    settings = [f"experiment={recipe}"]
    work = work_of(settings, tmp_path, num_images=60_000)
    ours = [weight.shape for weight in build_model(composed(settings)).parameters()]
    assert [weight.shape for weight in plain_network(work).parameters()] == ours
    epochs, parts = PLANS[recipe]
    assert epochs * parts >= 16  # a warm-up and fifteen rounds


def test_all_evaluate_by_the_same_number_of_images() -> None:
    assert EVAL_BATCH_SIZE == data.EVAL_BATCH_SIZE


def test_the_page_holds_the_results_that_are_kept() -> None:
    kept = ROOT / "benchmarks" / "results.json"
    results = json.loads(kept.read_text()) if kept.exists() else {"sections": {}}
    assert (ROOT / "benchmarks" / "README.md").read_text() == page(results)


def test_images_are_read_as_they_were_staged(tmp_path: Path) -> None:
    arrays = stage_some(tmp_path)
    found = images.read(tmp_path)
    assert all(np.array_equal(found[name], arrays[name]) for name in images.NAMES)


def test_only_selects_kinds_and_recipes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench = Bench(folder=tmp_path, num_images=9, num_test=9, keras_python="python", quick=True)
    assert list(sections(bench, ["epoch", "mlp_100"], [1, 2])) == [
        "epoch/1/mlp_100",
        "epoch/2/mlp_100",
    ]
    assert list(sections(bench, ["mlp_512"], [1])) == ["epoch/1/mlp_512", "whole/1/mlp_512"]
    assert len(sections(bench, [], [1])) == 2 * len(PLANS) + 4
    with pytest.raises(SystemExit) as ended:
        arguments(["--only", "mlp_99"])
    assert ended.value.code == 2
    assert "mlp_99: must be one of epoch" in capsys.readouterr().err


def stage_some(folder: Path) -> dict[str, np.ndarray]:
    """Images that can be told apart: a bright square at a place for each label."""
    generator = np.random.default_rng(0)
    arrays = {}
    for split, size in (("train", 500), ("test", 200)):
        labels = generator.integers(0, 10, size).astype(np.uint8)
        pictures = generator.integers(0, 60, (size, 28, 28)).astype(np.uint8)
        for picture, label in zip(pictures, labels, strict=True):
            picture[2 * label : 2 * label + 8, 2 * label : 2 * label + 8] = 255
        arrays |= {f"{split}_images": pictures, f"{split}_labels": labels}
    images.stage(folder, arrays)
    return arrays


@pytest.mark.slow
def test_a_round_of_real_competitors_and_its_page(tmp_path: Path) -> None:
    stage_some(tmp_path)
    work = work_of(["experiment=mlp_25x2"], tmp_path, num_images=500, plan=(4, 1))
    commands = {
        name: [sys.executable, "-m", *module]
        for name, module in {
            "lab": ["benchmarks.lab"],
            "plain loop": ["benchmarks.lab", "plain"],
            "floor": ["benchmarks.floor"],
            "direct floor": ["benchmarks.floor", "direct"],
            "template": ["benchmarks.template"],
        }.items()
    }
    results = interleave(commands, work, cwd=tmp_path)
    for result in results.values():
        assert result["num_params"] == 20_535
        assert len(result["reports"]) == 4
        assert all(report["seconds"] > 0 and report["around"] > 0 for report in result["reports"])
        assert result["test_acc"] > 0.5
    kept = [json.loads(path.read_text()) for path in tmp_path.glob("outputs/runs/*/*/metrics.json")]
    logs = [path.read_text() for path in tmp_path.glob("outputs/runs/*/*/train.log")]
    assert len(kept) == 2
    assert kept[0]["test/loss"] == kept[1]["test/loss"]  # both loops end with the same weights
    assert sum("so this run takes Lightning's own" in log for log in logs) == 1
    # Keras and the second lab have Pythons and times of their own; the page needs their figures.
    results |= {"keras": results["template"], "lab again": results["lab"]}
    section = {"when": "2026-01-31 18:00", "commit": "c0ffee", "took": 60.0, "others": 0.5}
    section |= {"num_steps": work.num_steps, "num_test": 200, "epochs": 4, "competitors": results}
    text = page({"machine": "a laptop", "quick": False, "sections": {"epoch/1/mlp_25x2": section}})
    assert "DO NOT TRUST" in text
    (row,) = [line for line in text.splitlines() if line.startswith("| mlp_25x2 | 3 |")]
    assert "1.00 (1.00-1.00)" in row  # the lab to itself
