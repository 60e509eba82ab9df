"""mnist-compare on run directories of every kind, its figures against scipy's."""

from __future__ import annotations

import csv
import functools
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from matplotlib.figure import Figure
from matplotlib.image import imread
from moderated import slow_comparisons
from processes import last_of_each
from scipy import stats

from mnist_lab.compare import compare_command, default_folder
from mnist_lab.run.config import load_yaml
from mnist_lab.run.directory import Run, read_epochs
from mnist_lab.settings.compose import checked, compose
from mnist_lab.study.comparison import Study, study
from mnist_lab.study.plots import cost_figure, curves_figure, effects_figure
from mnist_lab.study.report import csv_text, json_text, text
from mnist_lab.study.results import read_results
from mnist_lab.ui.errors import Refused
from mnist_lab.ui.files import write_json
from mnist_lab.ui.plotting import COLORS, GREY

DIGEST = "a" * 64


@functools.cache
def config_of(*overrides: str) -> dict[str, Any]:
    return checked(compose(last_of_each("data=mnist_5k", "trainer.max_epochs=5", *overrides)))


def write_run(
    path: Path,
    *overrides: str,
    seed: int = 0,
    state: str = "finished",
    metrics: dict[str, Any] | None = None,
    **status: Any,
) -> Run:
    """A run as the trainer leaves it; the caller holds its lock."""
    config = {**config_of(*overrides), "seed": seed}
    run = Run.claim(path)
    run.write_config(config)
    epochs = config["trainer"]["max_epochs"] if state == "finished" else 1
    final = {"val/acc": 0.9, "val/loss": 0.3, "test/acc": 0.88, "num_params": 1000, "seconds": 2.0}
    final |= metrics or {}
    final = {name: value for name, value in final.items() if value is not None}
    for epoch in range(1, epochs + 1):
        row = {"epoch": epoch, "train/acc": 0.5, "train/loss": 1.0}
        known = {name: final[name] for name in ("val/acc", "val/loss") if name in final}
        run.append_epoch(row | {name: value * epoch / epochs for name, value in known.items()})
    if state == "finished":
        write_json(path / "metrics.json", {"seed": seed, "data": "mnist_5k", **final})
    run.write_status(state, **{"epoch": epochs, "data_sha256": DIGEST, **status})
    return run


def finished(path: Path, *overrides: str, seed: int, **metrics: float) -> None:
    """A finished run; `val_acc=0.9` and the like give its figures."""
    named = {re.sub(r"^(val|test)_", r"\1/", name): value for name, value in metrics.items()}
    write_run(path, *overrides, seed=seed, metrics=named).release()


ACCURACIES = {  # by optimizer and width, for seeds 0, 1, 2
    ("sgd", 32): (0.801, 0.812, 0.795),
    ("sgd", 128): (0.842, 0.851, 0.848),
    ("adam", 32): (0.931, 0.938, 0.927),
    ("adam", 128): (0.955, 0.957, 0.952),
}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two optimizers by two widths by three seeds; worst on test, best on validation."""
    folder = tmp_path_factory.mktemp("sweeps") / "2026-01-31_18-00-00"
    number = 0
    for (optimizer, width), accuracies in ACCURACIES.items():
        for seed, acc in enumerate(accuracies):
            finished(
                folder / f"{number}_optimizer={optimizer},width={width}",
                f"optimizer={optimizer}",
                f"model.width={width}",
                seed=seed,
                val_acc=acc,
                test_acc=1 - acc,
                num_params=795 * width + 10,
                seconds=2.0 + seed,
            )
            number += 1
    return folder


def studied(*folders: Path, **choices: Any) -> Study:
    return study(read_results(folders)[0], **choices)


def labels(found: Study) -> list[str]:
    return [group.label for group in found.groups]


# --- a table against scipy ---


def test_rows_are_ranked_with_scipys_figures(sweep: Path):
    found = studied(sweep)
    order = [("adam", 128), ("adam", 32), ("sgd", 128), ("sgd", 32)]
    assert labels(found) == [f"optimizer={o} width={w}" for o, w in order]
    rows = [*csv.DictReader(io.StringIO(csv_text(found)))]
    assert [*rows[0]] == [
        *("rank", "optimizer", "model.width", "n", "val/acc", "sd", "ci95_low", "ci95_high"),
        *("test/acc", "num_params", "seconds"),
    ]
    for rank, (row, key) in enumerate(zip(rows, order, strict=True), start=1):
        values = ACCURACIES[key]
        # The runs have not counted their images; 1,000 explain these accuracies.
        error = np.sqrt((np.var(values, ddof=1) + 1e-6 / 12) / 3)
        low, high = stats.t.interval(0.95, 2, np.mean(values), error)
        expected = {
            "rank": rank,
            "model.width": key[1],
            "n": 3,
            "val/acc": np.mean(values),
            "sd": np.std(values, ddof=1),
            "ci95_low": low,
            "ci95_high": high,
            "test/acc": 1 - np.mean(values),
            "num_params": 795 * key[1] + 10,
            "seconds": 3,
        }
        assert {name: float(row[name]) for name in expected} == pytest.approx(expected)
        assert row["optimizer"] == key[0]


def test_the_answer_is_in_percent_adjusted_and_against_the_first_job(sweep: Path):
    """Against a second, slow version of the test."""
    found = studied(sweep)
    names = {f"optimizer={o} width={w}": dict(enumerate(v)) for (o, w), v in ACCURACIES.items()}
    expected = slow_comparisons(names, kind="accuracy", num_images=1000)
    assert found.ranking.baseline == "optimizer=sgd width=32"
    for comparison in found.ranking.comparisons:
        gain = comparison.gain
        numbers = (gain.mean, gain.low, gain.high, comparison.p)
        assert numbers == pytest.approx(expected[comparison.other])
    _, low, high, _ = expected["optimizer=adam width=32"]
    assert found.verdict[0] == "optimizer=adam width=128 is best: val/acc 95.47 % (n=3)."
    assert found.verdict[1].startswith(
        "It beats the next, optimizer=adam width=32, by 2.27 "
        f"[{100 * low:.2f}, {100 * high:.2f}] points (by the spread of the whole sweep, Holm p = "
    )
    assert "the baseline, optimizer=sgd width=32" in found.verdict[2]
    assert studied(sweep, metric="val/loss").verdict[0].endswith("val/loss 0.3000 (n=3).")


def test_the_effect_of_a_setting_is_its_mean_over_the_others(sweep: Path):
    found = studied(sweep)
    means = {key: np.mean(values) for key, values in ACCURACIES.items()}
    assert [*found.effects] == ["optimizer", "model.width"]  # the larger effect first
    for name, place in (("optimizer", 0), ("model.width", 1)):
        for level, effect in found.effects[name].levels.items():
            expected = np.mean([mean for key, mean in means.items() if key[place] == level])
            assert effect.mean == pytest.approx(expected)
            assert effect.n == 6


def test_people_read_percent_and_one_line_a_row(sweep: Path):
    first, _, *lines = text(studied(sweep), []).splitlines()
    assert first == "data set: mnist_5k"
    assert lines[0].split() == [
        *("#", "optimizer", "width", "n", "val/acc", "%", "sd", "95", "%", "interval"),
        *("test/acc", "%", "params", "seconds"),
    ]
    assert lines[1].split()[:6] == ["1", "adam", "128", "3", "95.47", "0.25"]
    assert lines[1].split()[-3:] == ["4.53", "101,770", "3.0"]
    markdown = text(studied(sweep), [], markdown=True).splitlines()[2:]
    assert [len(line.split(" | ")) for line in markdown[:6]] == [10] * 6
    assert markdown[2].startswith("| 1 | adam | 128 | 3 | 95.47 |")


# --- what ranks ---


def test_validation_ranks_and_test_only_when_asked(sweep: Path):
    assert studied(sweep).notes == ()
    found = studied(sweep, metric="test/acc")
    assert labels(found)[0] == "optimizer=sgd width=32"
    assert "WARNING: ranked by test/acc, as asked" in text(found, [])


def test_which_way_is_better_is_known_or_said_and_never_guessed(tmp_path: Path):
    for width, value in ((16, 0.9), (64, 0.8)):
        for seed in range(3):
            metrics = {"val/balanced_acc": value + seed / 1000, "val/loss": value}
            finished(tmp_path / f"{width}_{seed}", f"model.width={width}", seed=seed, **metrics)
    for metric in ("val/balanced_acc", "val/balanced_acc:", "val/balanced_acc:up", "val/loss:up"):
        with pytest.raises(Refused, match=r"write val/\w+:max or val/\w+:min\.$"):
            studied(tmp_path, metric=metric)
    for metric, best in (
        ("val/balanced_acc:max", 16),
        ("val/balanced_acc:min", 64),
        ("val/loss", 64),
        ("val/loss:max", 16),
    ):
        found = studied(tmp_path, metric=metric)
        name, _, said = metric.partition(":")
        assert found.groups[0].settings == {"model.width": best}
        assert re.match(rf"width={best}( \(the baseline\))? is best: {name} 0\.", found.verdict[0])
        assert json.loads(json_text(found, []))["higher_is_better"] is (said == "max")
        figure = drawn(cost_figure(found))
        (frontier,) = (line for line in figure.axes[0].lines if line.get_linestyle() == "--")
        assert frontier.get_ydata()[-1] == pytest.approx(found.groups[0].mean(name))
    assert (
        studied(tmp_path, metric="test/acc:max").notes[0].startswith("WARNING: ranked by test/acc,")
    )


def test_losses_and_costs_rank_from_below(sweep: Path):
    assert [
        group.settings["model.width"] for group in studied(sweep, metric="num_params").groups
    ] == [*(32, 32, 128, 128)]


def test_without_validation_training_figures_rank_with_a_warning(tmp_path: Path):
    for width, acc in ((16, 0.97), (64, 0.99)):
        overrides = [f"model.width={width}", "data.val_fraction=0"]
        metrics = {"val/acc": None, "val/loss": None, "train/acc_eval": acc}
        write_run(tmp_path / f"{width}", *overrides, metrics=metrics).release()
    found = studied(tmp_path)
    assert (found.metric, labels(found)) == ("train/acc_eval", ["width=64", "width=16"])
    assert "WARNING: without a validation split" in found.notes[0]
    finished(tmp_path / "with", "model.width=32", seed=0, val_acc=0.5)
    found = studied(tmp_path)
    assert found.metric == "val/acc"
    assert labels(found) == ["val_fraction=0.16666666666666666 width=32"]
    assert "Not ranked, as no run of theirs has val/acc" in found.notes[-1]
    assert "train" not in found.notes[-1]  # nothing to rank by
    assert found.verdict == (
        "val_fraction=0.16666666666666666 width=32 is the only setting that can be ranked: "
        "val/acc 50.00 % (n=1).",
    )


def test_accuracies_stay_within_0_and_100_percent(tmp_path: Path):
    for seed, acc in enumerate((1.0, 0.9)):
        finished(tmp_path / f"{seed}", seed=seed, val_acc=acc)
    (row,) = csv.DictReader(io.StringIO(csv_text(studied(tmp_path))))
    # Uncounted: ten images explain the two accuracies, and are what they are rounded to.
    low = 0.95 - stats.t.isf(0.025, 1) * np.sqrt((0.005 + 0.1**2 / 12) / 2)
    assert float(row["ci95_low"]) == pytest.approx(low)
    assert float(row["ci95_high"]) == 1


def test_two_seeds_are_said_to_be_too_few(tmp_path: Path):
    for seed in range(3):
        for width in (32, 128):
            path = tmp_path / f"{seed}" / f"{width}"
            finished(
                path, f"model.width={width}", seed=seed, val_acc=0.9 + width / 9000 + seed / 100
            )
    two = [tmp_path / "0", tmp_path / "1"]
    assert "Two seeds are too few" in studied(*two).verdict[-1]
    assert not [line for line in studied(tmp_path).verdict if "too few" in line]


@pytest.mark.parametrize("counted", [True, False])
def test_one_image_makes_no_setting_the_best(tmp_path: Path, counted: bool):
    """Right answers that differ by one of 667 in each of two runs, as six decimals have them."""
    for width, right in ((32, (600, 605)), (128, (601, 606))):
        for seed, number in enumerate(right):
            metrics = {"val/acc": round(number / 667, 6)}
            if counted:
                metrics |= {"val/num_images": 667, "val/num_correct": number}
            path = tmp_path / f"{width}_{seed}"
            write_run(path, f"model.width={width}", seed=seed, metrics=metrics).release()
    found = studied(tmp_path)
    assert found.ranking.num_images == 667
    assert found.ranking.contenders == ("width=128", "width=32")
    assert found.ranking.against[0].p > 0.1


# --- what varies ---


def test_settings_that_only_some_runs_have_are_a_dash(tmp_path: Path):
    finished(tmp_path / "0", "model=mlp", "model.width=64", seed=0, val_acc=0.7)
    finished(tmp_path / "1", "model=mlp", "model.width=128", seed=0, val_acc=0.8)
    finished(tmp_path / "2", "model=linear", seed=0, val_acc=0.6)
    found = studied(tmp_path)
    assert found.names == ("model", "model.width")
    assert labels(found) == ["model=mlp width=128", "model=mlp width=64", "model=linear"]
    assert text(found, []).splitlines()[5].split()[:3] == ["3*", "linear", "-"]


def test_what_follows_from_a_choice_does_not_vary_by_itself(tmp_path: Path):
    for name, overrides in enumerate((["optimizer=adam"], ["optimizer=sgd"])):
        finished(tmp_path / f"{name}", *overrides, seed=0)
    assert studied(tmp_path).names == ("optimizer",)  # though lr, betas and eps differ
    finished(tmp_path / "2", "optimizer=adam", "optimizer.lr=0.01", seed=0)
    assert studied(tmp_path).names == ("optimizer", "optimizer.lr")
    recipes = tmp_path / "recipes"
    for name in ("mlp_100", "cnn_12_20"):
        finished(recipes / name, f"experiment={name}", seed=0)
    assert studied(recipes).names == ("experiment",)


def test_circumstances_make_no_other_setting(tmp_path: Path):
    for seed, overrides in enumerate((["threads=1"], ["trainer=cpu", "data.root=/elsewhere"])):
        finished(tmp_path / f"{seed}", *overrides, seed=seed, val_acc=0.8 + seed / 10)
    (group,) = studied(tmp_path).groups
    assert group.runs("val/acc") == {0: 0.8, 1: 0.9}
    assert studied(tmp_path).verdict == (
        "mlp is the only setting that can be ranked: val/acc 85.00 % (n=2).",
    )


def test_a_repeated_run_counts_once_and_other_images_are_told_apart(tmp_path: Path):
    for name, acc, updated in (("old", 0.5, "2026-01-01"), ("new", 0.9, "2026-01-02")):
        metrics = {"val/acc": acc}
        write_run(tmp_path / "a" / name, metrics=metrics, updated=updated).release()
    results, _ = read_results([tmp_path, tmp_path / "a", tmp_path / "a" / "old"])
    assert len(results) == 2
    found = study(results)
    assert found.groups[0].runs("val/acc") == {0: 0.9}
    assert found.notes == ("Runs that repeat a setting and seed: 1; only the newest counts.",)
    write_run(tmp_path / "b", data_sha256="b" * 64).release()
    found = studied(tmp_path)
    assert {group.settings["data"] for group in found.groups} == {
        "mnist_5k (aaaaaaaa)",
        "mnist_5k (bbbbbbbb)",
    }
    assert "WARNING: metrics of different data" in found.notes[0]


@pytest.mark.parametrize(
    ("first", "second", "names"),
    [
        (["data.split_seed=0"], ["data.split_seed=1"], "data.split_seed"),
        (["data.split_seed=0"], [], "data.split_seed"),  # an earlier run has the end of its split
        (["data.val_fraction=0.2"], ["data.val_fraction=0.3"], "data.val_fraction"),
        (
            ["data.shuffle_split=true"],
            ["data.shuffle_split=true"],
            "seed (data.shuffle_split=true)",
        ),
        (["data.split_seed=0"], ["data.split_seed=0"], None),  # whatever the seed
        ([], [], None),
    ],
)
def test_runs_that_were_validated_on_other_images_are_said_to_be(
    first: list[str], second: list[str], names: str | None, tmp_path: Path
):
    finished(tmp_path / "0", *first, seed=0)
    finished(tmp_path / "1", *second, seed=1)
    told = f"WARNING: the runs were validated on different images, as they differ in {names}."
    assert [note for note in studied(tmp_path).notes if "validated" in note] == [told][
        : bool(names)
    ]
    assert not [note for note in studied(tmp_path, metric="test/acc").notes if "validated" in note]


def test_one_seed_draws_the_same_validation_images(tmp_path: Path):
    for number in (0, 1):
        overrides = [
            "data.shuffle_split=true",
            f"data.split_seed={number}",
            f"model.width={number + 8}",
        ]
        finished(tmp_path / f"{number}", *overrides, seed=3)
    assert studied(tmp_path).notes == ()


def test_a_line_of_effects_fits_a_screen(tmp_path: Path):
    for number in range(40):
        overrides = [f"optimizer.lr={(number + 1) / 1000}", f"model.dropout={number % 2 / 10}"]
        finished(tmp_path / f"{number}", *overrides, seed=0, val_acc=0.5 + number / 100)
    lines = text(studied(tmp_path), []).splitlines()
    assert max(map(len, lines)) < 250
    overrides = ["optimizer.lr=0.001", "model.dropout=0.1"]
    many = tmp_path / "many"
    for number in range(40):
        overrides = [f"optimizer.lr={(number + 1) / 1000}"]
        finished(many / f"{number}", *overrides, seed=0, val_acc=0.5 + number / 100)
    (line,) = (x for x in text(studied(many), []).splitlines() if x.startswith("lr    "))
    assert re.findall(r"[\d.]+(?=: )|\.\.\.", line) == [
        *("0.001", "0.002", "...", "0.037", "0.038", "0.039", "0.04")
    ]


def test_config_files_that_are_traps_go_to_the_careful_reader():
    """libyaml's loader would take the process along."""
    for text_ in ("[" * 5000, "{a: " * 5000, "- " * 5000, "? " * 5000):
        with pytest.raises((RecursionError, yaml.YAMLError)):
            load_yaml(text_)
    assert load_yaml("a: {b: [1, 2.5, yes, null, 'x']}") == {"a": {"b": [1, 2.5, True, None, "x"]}}


# --- runs that did not finish ---


def test_unfinished_and_damaged_runs_are_lines_of_their_own(sweep: Path, tmp_path: Path):
    folder = tmp_path / "sweep"
    shutil.copytree(sweep, folder)
    best = ["optimizer=adam", "model.width=256"]
    held = write_run(folder / "20_running", *best, state="running")
    write_run(folder / "21_crashed", *best, state="running").release()
    why = {"reason": "disk", "message": "No space left on device: x."}
    write_run(folder / "22_failed", *best, state="failed", **why).release()
    write_run(folder / "23_stopped", *best, state="interrupted", signal="SIGINT").release()
    unborn = Run.claim(folder / "24_early")
    unborn.write_status("failed", epoch=0, reason="error", message="ValueError: bad")
    unborn.release()
    write_run(folder / "25_cut").release()
    (folder / "25_cut" / "metrics.json").write_text('{"val/acc": 0.9')
    write_run(folder / "26_empty").release()
    (folder / "26_empty" / "metrics.json").unlink()
    (folder / "foreign").mkdir()
    (folder / "foreign" / "config.yaml").write_text("learning_rate: 3\n")
    write_run(folder / "27_edited").release()
    config = folder / "27_edited" / "config.yaml"
    config.write_text(config.read_text().replace("width: 512", "width: -1"))
    write_run(folder / "28_endless").release()
    (folder / "28_endless" / "config.yaml").write_text("&all\nmodel: *all\n")
    jobs = {"20_running": {}, "29_waiting": {}}
    (folder / "sweep.json").write_text(json.dumps({"jobs": jobs}))

    results, remarks = read_results([folder])
    held.release()
    found = study(results)
    assert labels(found) == labels(studied(sweep))
    lines = text(found, remarks).split("\n\n")[2].splitlines()
    starts = {line.partition(":")[0] for line in lines[:5]}
    assert starts == {
        *("running after epoch 1 of 5", "crashed after epoch 1 of 5", "failed after epoch 0"),
        *("failed after epoch 1 of 5", "interrupted after epoch 1 of 5"),
    }
    assert "22_failed (disk: No space left on device: x.)" in lines[2]
    files = [Path(line.partition(":")[0]) for line in (*lines[5:8], lines[9])]
    assert [file.relative_to(folder).as_posix() for file in files] == [
        *("25_cut/metrics.json", "26_empty/metrics.json"),
        *("27_edited/config.yaml", "foreign/status.json"),
    ]
    assert "model.width=-1: must be" in lines[7]
    assert lines[8].startswith(
        f"{folder / '28_endless' / 'config.yaml'}: cannot be read (it has al"
    )
    assert lines[10:] == [f"{folder}: 1 of 2 jobs have not begun."]


def test_a_setting_that_diverged_is_never_ranked(tmp_path: Path):
    """By its own failure, or by a figure that is no number: above 0.99 all the same."""
    for seed in range(3):
        finished(tmp_path / f"good{seed}", "optimizer.lr=0.01", seed=seed, val_acc=0.9)
        metrics = {"val/acc": 0.99}
        write_run(tmp_path / f"nan{seed}", "optimizer.lr=0.1", seed=seed, metrics=metrics).release()
        if seed == 0:  # as an earlier lab could write it
            file = tmp_path / "nan0" / "metrics.json"
            file.write_text(file.read_text().replace("0.99", "NaN"))
        state = {"state": "finished"} if seed else {"state": "failed", "reason": "nan"}
        write_run(tmp_path / f"fail{seed}", "optimizer.lr=1", seed=seed, **state).release()
    found = studied(tmp_path)
    assert labels(found) == ["lr=0.01"]
    assert [group.label for group in found.unranked] == ["lr=1", "lr=0.1"]
    assert found.verdict[1:] == (
        "lr=1 (the baseline) is not ranked: 1 of 3 seeds have no finite val/acc.",
        "lr=0.1 is not ranked: 1 of 3 seeds have no finite val/acc.",
    )
    rows = text(found, []).splitlines()[2:]
    assert rows[2].split()[:4] == ["-", "1", "3", "diverged"]
    assert json.loads(json_text(found, []))["settings"][1]["mean"] is None
    assert [*csv.DictReader(io.StringIO(csv_text(found)))][1]["val/acc"] == "nan"


def test_before_any_run_has_finished_there_is_still_an_answer(tmp_path: Path, capsys: Any):
    write_run(tmp_path / "0", state="interrupted", signal="SIGTERM").release()
    compare_command([str(tmp_path)])
    output = capsys.readouterr()
    assert output.out.startswith(f"interrupted after epoch 1 of 5: {tmp_path / '0'} (SIGTERM)")
    assert "No run has finished yet." in output.out
    assert not (tmp_path / "comparison").exists()


# --- choosing ---


def test_by_averages_over_what_all_rows_have(sweep: Path, tmp_path: Path):
    found = studied(sweep, by=["optimizer"])
    assert labels(found) == ["optimizer=adam", "optimizer=sgd"]
    pairs = zip(ACCURACIES["adam", 32], ACCURACIES["adam", 128], strict=True)
    assert [*found.groups[0].runs("val/acc").values()] == pytest.approx([*map(np.mean, pairs)])
    assert found.ranking.comparisons[0].gain.paired
    folder = tmp_path / "sweep"
    shutil.copytree(sweep, folder)
    finished(folder / "alone", "optimizer=adam", "model.width=512", seed=0, val_acc=1.0)
    more = studied(folder, by=["optimizer"])
    assert more.groups[0].runs("val/acc") == found.groups[0].runs("val/acc")
    assert "Runs left out of the means: 1;" in more.notes[0]
    for optimizer, width in (("adam", 32), ("sgd", 128)):
        overrides = [f"optimizer={optimizer}", f"model.width={width}"]
        finished(tmp_path / "apart" / optimizer, *overrides, seed=0)
    with pytest.raises(Refused, match="no combination of width was run for every row"):
        studied(tmp_path / "apart", by=["optimizer"])


@pytest.mark.parametrize(
    ("conditions", "expected", "seeds"),
    [
        (["optimizer=sgd"], ["width=128", "width=32"], [0, 1, 2]),
        (["model.width=128.0,seed=0,2"], ["optimizer=adam", "optimizer=sgd"], [0, 2]),
        (["width=32", "optimizer=sgd"], ["mlp"], [0, 1, 2]),
    ],
)
def test_filter(sweep: Path, conditions: list[str], expected: list[str], seeds: list[int]):
    found = studied(sweep, where=conditions)
    assert labels(found) == expected
    assert all([*group.runs("val/acc")] == seeds for group in found.groups)


def test_baseline_is_the_row_that_is_named(sweep: Path):
    found = studied(sweep, baseline="optimizer=sgd,width=128")
    assert found.ranking.baseline == "optimizer=sgd width=128"
    assert [comparison.other for comparison in found.ranking.comparisons] == [
        *("optimizer=adam width=32", "optimizer=sgd width=128")
    ]


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"metric": "val/los"}, "--metric val/los: no finished run has it; did you mean val/loss?"),
        ({"by": ["widht"]}, "--by widht: no run has such a setting; did you mean width?"),
        (
            {"where": ["optimizer=adm"]},
            "--filter optimizer=adm: no run has that; did you mean adam?",
        ),
        ({"where": ["adam"]}, "--filter adam: write KEY=VALUE"),
        ({"where": ["width=32", "width=128"]}, "--filter width=128: no run has that"),
        ({"baseline": "width=32"}, "--baseline width=32: 2 settings match; say optimizer as well"),
    ],
)
def test_what_no_run_has_is_refused_with_the_nearest_name(
    sweep: Path, choices: dict[str, Any], message: str
):
    with pytest.raises(Refused) as refusal:
        studied(sweep, **choices)
    assert str(refusal.value).startswith(message)


# --- what was read before ---


def seeds_added(folder: Path, seeds: range) -> None:
    for seed in seeds:
        for width in (32, 128):
            path = folder / f"{width}_{seed}"
            acc = 0.9 + 0.01 * (width == 128) + 0.001 * seed
            finished(path, f"model.width={width}", seed=seed, val_acc=acc)


def test_seeds_that_are_added_after_a_look_bring_a_warning(tmp_path: Path, capsys: Any):
    def warned(*more: str) -> bool:
        compare_command([str(tmp_path), *more])
        return "WARNING: seeds were added after" in capsys.readouterr().out

    seeds_added(tmp_path, range(3))
    jobs = {f"128_{seed}": {"overrides": ["model.width=128", f"seed={seed}"]} for seed in range(4)}
    (tmp_path / "sweep.json").write_text(json.dumps({"jobs": jobs}))
    assert not warned("--filter", "seed=0,1")  # a part is no look at the whole
    assert not warned("--metric", "val/loss")
    assert not warned()
    assert not warned()  # nothing has come since
    seeds_added(tmp_path, range(3, 4))
    assert not warned()  # this one was planned when it was looked at
    seeds_added(tmp_path, range(4, 6))
    assert warned()
    assert warned("--metric", "val/loss")
    assert not warned("--metric", "test/acc")
    looks = json.loads((tmp_path / "compared.json").read_text())["looks"]
    assert [(look["metric"], look["seeds"]) for look in looks[:2]] == [
        ("val/loss", [0, 1, 2, 3]),
        ("val/acc", [0, 1, 2, 3]),
    ]
    (tmp_path / "compared.json").write_text("damaged")
    assert not warned()


# --- formats and pictures ---


def test_json_and_csv_hold_the_same_as_fractions(sweep: Path):
    found = studied(sweep)
    whole = json.loads(json_text(found, ["a remark"]))
    rows = [*csv.DictReader(io.StringIO(csv_text(found)))]
    for row, entry in zip(rows, whole["settings"], strict=True):
        key = entry["settings"]["optimizer"], entry["settings"]["model.width"]
        assert (row["optimizer"], int(row["model.width"])) == key
        assert float(row["val/acc"]) == entry["mean"]
        assert [*entry["values"].values()] == list(ACCURACIES[key])
    assert whole["remarks"] == ["a remark"]
    assert [entry["rank"] for entry in whole["settings"]] == [1, 2, 3, 4]
    assert whole["comparisons"][0]["p_holm"] == found.ranking.comparisons[0].p
    assert whole["effects"]["optimizer"]["levels"][0]["level"] == "adam"


def epochs_of(found: Study) -> dict[Path, list[dict[str, float]]]:
    return {r.path: read_epochs(r.path) for group in found.groups for r in group.results}


def drawn(figure: Figure | None) -> Figure:
    assert figure is not None
    figure.canvas.draw()
    return figure


def test_curves_show_the_mean_of_the_seeds(sweep: Path, tmp_path: Path):
    found = studied(sweep)
    left, right = drawn(curves_figure(found, epochs_of(found))).axes
    curves = {line.get_color(): line for line in left.lines}
    assert [*curves] == [*reversed(COLORS[:4])]
    best = np.mean(ACCURACIES["adam", 128])
    assert curves[COLORS[0]].get_xydata() == pytest.approx(
        np.array([[epoch, best * epoch / 5] for epoch in range(1, 6)])
    )
    band = left.collections[-1].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((0.952 / 5, 0.957))
    assert len(right.lines) == 4
    for width in range(9):
        finished(tmp_path / f"{width}", f"model.width={8 + width}", seed=0, val_acc=0.1 * width)
    many = studied(tmp_path)
    axes = drawn(curves_figure(many, epochs_of(many))).axes[0]
    assert [line.get_color() for line in axes.lines] == [GREY, *reversed(COLORS)]
    grey = axes.lines[0].get_ydata()  # three curves of five epochs, each with a gap behind
    assert np.isnan(grey.reshape(3, 6)[:, 5]).all()
    assert grey.reshape(3, 6)[:, 4] == pytest.approx([0.2, 0.1, 0.0])
    assert [each.get_text() for each in axes.texts] == ["lower than this:\nwidth=8"]


def test_curves_below_the_plotted_range_are_named(tmp_path: Path):
    for width in range(6):
        finished(tmp_path / f"{width}", f"model.width={8 + width}", seed=0, val_acc=0.9)
    for number in range(5):
        overrides = ["optimizer=sgd", f"model.width={8 + number}"]
        finished(tmp_path / f"low{number}", *overrides, seed=0, val_acc=0.01 * number)
    found = studied(tmp_path)
    (named,) = drawn(curves_figure(found, epochs_of(found))).axes[0].texts
    below = [f"optimizer=sgd width={width}" for width in (12, 11, 10)]
    assert named.get_text().split("\n") == ["lower than this:", *below, "2 more"]


def test_effects_and_costs_show_the_studys_figures(sweep: Path):
    found = studied(sweep)
    panels = drawn(effects_figure(found)).axes
    for axes, effect in zip(panels, found.effects.values(), strict=True):
        (line,) = (line for line in axes.lines if line.get_color() == COLORS[0])
        means = sorted(level.mean for level in effect.levels.values())
        assert sorted(line.get_ydata()) == pytest.approx(means)
    for axes, x in zip(drawn(cost_figure(found)).axes, (101_770, 3.0), strict=True):
        points = [line for line in axes.lines if line.get_marker() in ("o", "s")]
        assert (points[0].get_xdata()[0], points[0].get_ydata()[0]) == pytest.approx(
            (x, np.mean(ACCURACIES["adam", 128]))
        )
        low, high = axes.get_ylim()
        assert low < min(ACCURACIES["sgd", 32])  # every seed is within the axes
        assert high > max(ACCURACIES["adam", 128])


def test_the_verb_as_a_process(sweep: Path, tmp_path: Path):
    """It answers, draws, and imports no torch."""
    folder = tmp_path / "sweep"
    shutil.copytree(sweep, folder)
    command = [sys.executable, "-X", "importtime", "-m", "mnist_lab.compare", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "optimizer=adam width=128 is best: val/acc 95.47 % (n=3)." in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "matplotlib.figure" in imported
    assert not imported & {"torch", "lightning", "hydra", "matplotlib.pyplot"}
    plots = sorted((folder / "comparison").iterdir())
    assert [plot.name for plot in plots] == ["cost.png", "effects.png", "learning_curves.png"]
    for plot in plots:
        image = imread(plot)
        assert min(image.shape[:2]) > 400
        assert np.unique(image.reshape(-1, image.shape[2]), axis=0).shape[0] > 100
    command = [sys.executable, "-m", "mnist_lab.compare", str(tmp_path / "nothing")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


def test_plots_go_beside_one_folder_for_people_only(sweep: Path, tmp_path: Path, capsys: Any):
    assert default_folder([sweep], "table") == sweep / "comparison"
    assert default_folder([sweep, sweep], "table") is None
    assert default_folder([sweep], "csv") is None
    assert default_folder([next(sweep.glob("0_*"))], "table") is None
    folder = tmp_path / "sweep"
    shutil.copytree(sweep, folder)
    (folder / "comparison").write_text("a file stands in the way")
    compare_command([str(folder)])
    assert "No plots" in capsys.readouterr().err
    with pytest.raises(Refused, match="comparison: cannot be written"):
        compare_command([str(folder), "--out", str(folder / "comparison")])
    (folder / "comparison").unlink()
    (tmp_path / "elsewhere").mkdir()
    (folder / "comparison").symlink_to(tmp_path / "elsewhere")
    compare_command([str(folder)])
    assert "a symbolic link" in capsys.readouterr().err
    assert not [*(tmp_path / "elsewhere").iterdir()]
    compare_command([str(folder), "--format", "csv", "--out", str(tmp_path / "plots")])
    assert (tmp_path / "plots" / "cost.png").exists()
    assert capsys.readouterr().out.startswith("rank,optimizer,model.width,n,val/acc,")
    with pytest.raises(Refused, match="no run lies in it"):
        compare_command([str(tmp_path / "plots")])
    with pytest.raises(Refused, match="invalid choice: 'tabel'"):
        compare_command([str(folder), "--format", "tabel"])
