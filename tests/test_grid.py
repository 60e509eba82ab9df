"""Which jobs a command line asks for: combined, paired, conditional, drawn."""

import itertools
import math

import pytest
from scipy import stats

from mnist_lab.settings.overrides import parsed_overrides
from mnist_lab.settings.shape import pairs
from mnist_lab.sweep.composer import Composer
from mnist_lab.sweep.grid import Shape, grid

TRAIN = "mnist_lab.train"
SGD_ADAM = "optimizer:sgd+optimizer.lr:1e+0,optimizer:adam+optimizer.lr:0.001"


def rows(*overrides, **shape):
    found = grid(parsed_overrides(overrides, multirun=True), Composer(), Shape(**shape))
    return [" ".join(row) for row in found.rows]


def test_pairs_are_the_same_in_every_notation():
    expected = [
        {"optimizer": "sgd", "optimizer.lr": "1e+0", "model.channels": "[4,8]"},
        {"optimizer": "adam", "optimizer.lr": "0.001"},
    ]
    assert (
        pairs(
            "optimizer:sgd+optimizer.lr:1e+0+model.channels:[4,8],optimizer:adam+optimizer.lr:0.001"
        )
        == expected
    )
    lists = "[{optimizer:sgd,optimizer.lr:1.0,model.channels:[4,8]}"
    lists += ",{optimizer:adam,optimizer.lr:0.001}]"
    in_yaml = [
        {"optimizer": "sgd", "optimizer.lr": 1.0, "model.channels": [4, 8]},
        {"optimizer": "adam", "optimizer.lr": 0.001},
    ]
    expected[0]["optimizer.lr"] = "1.0"
    assert pairs(lists) == pairs(in_yaml) == expected


def test_a_pair_is_combined_with_the_rest():
    assert rows("seed=0,1", pair=SGD_ADAM) == [
        "optimizer=sgd optimizer.lr=1e+0 seed=0",
        "optimizer=sgd optimizer.lr=1e+0 seed=1",
        "optimizer=adam optimizer.lr=0.001 seed=0",
        "optimizer=adam optimizer.lr=0.001 seed=1",
    ]


def test_a_setting_applies_where_it_exists():
    assert rows("model=mlp,cnn", "model.depth=1,2") == [
        "model=mlp model.depth=1",
        "model=mlp model.depth=2",
        "model=cnn",
    ]
    assert rows("experiment=mlp_100,cnn_12_20", "model.depth=3", "seed=0,0") == [
        *["experiment=mlp_100 model.depth=3 seed=0"] * 2,  # which the plan tells as equal
        "experiment=cnn_12_20 seed=0",
    ]
    assert rows("model=cnn", "model.depth=1,2") == [
        "model=cnn model.depth=1",
        "model=cnn model.depth=2",
    ]


def test_drawn_settings_are_of_the_grid_each_once_with_all_seeds():
    typed = ("model.width=8,16,32", "model.dropout=0,0.2,0.5", "seed=3,1,2")
    every = set(itertools.product(typed[0][12:].split(","), typed[1][14:].split(",")))
    found = rows(*typed, sample=4, sample_seed=0)
    assert len(found) == len(set(found)) == 12
    for first in range(0, 12, 3):
        setting, *others = ({*row.split()[:2]} for row in found[first : first + 3])
        assert others == [setting, setting]
        assert [row.split()[2] for row in found[first : first + 3]] == [
            "seed=3",
            "seed=1",
            "seed=2",
        ]
    assert found == rows(*typed, sample=4, sample_seed=0)
    assert found != rows(*typed, sample=4, sample_seed=1)
    assert len(set(rows(*typed, sample=9))) == 3 * len(every)


def test_ranges_are_drawn_evenly_learning_rates_by_their_logarithm():
    typed = ("optimizer.lr=interval(1e-4,1e-1)", "model.dropout=interval(0.1,0.6)")
    found = [row.split() for row in rows(*typed, sample=2000, sample_seed=5)]
    rates, dropouts = ([float(row[i].partition("=")[2]) for row in found] for i in (0, 1))
    logs = [(math.log10(rate) + 4) / 3 for rate in rates]
    assert stats.kstest(logs, "uniform").pvalue > 0.001
    assert stats.kstest([(one - 0.1) / 0.5 for one in dropouts], "uniform").pvalue > 0.001
    assert stats.kstest([rate / 0.1 for rate in rates], "uniform").pvalue < 1e-9
    widths = rows("model.width=interval(8,11)", sample=4)
    assert sorted(widths) == [f"model.width={n}" for n in (10, 11, 8, 9)]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["pair=optimizer:sgd+optimizer:adam"], "pair: optimizer is given 2 times in one of them"),
        (["pair=[{optimizer:sgd,optimizer:adam}]"], "optimizer is given 2 times in one of them"),
        (["pair=optimizer:sgd,seed"], "pair: optimizer=sgd,seed: must be one value"),
        (["pair=sgd,adam"], "pair=sgd,adam: cannot be read; write pair=optimizer:sgd+"),
        (["pair=" + SGD_ADAM, "optimizer.lr=1"], "optimizer.lr: stands in pair and by itself, too"),
        (["pair=optimizr:sgd,optimizer:adam"], "optimizr=sgd: no such setting"),
        (["sample=0", "model.width=1,2"], "sample=0: must be a whole number from 1"),
        (
            ["sample=3", "model.width=1,2", "seed=0,1"],
            "sample=3: there are 2 settings to draw from",
        ),
        (["sample=5", "model.width=interval(1,3)"], "sample=5: the ranges have no more than 3"),
        (["sample_seed=1", "seed=0,1"], "sample_seed=1: nothing is drawn; add sample=N"),
        (["optimizer.lr=interval(0.1,0.1)", "sample=2"], "is empty; must go up"),
        (["optimizer.lr=interval(0,0.1)", "sample=2"], "0 must be a number above 0"),
        (["optimizer.lr=interval(0.01,0.1)"], "from a range settings are drawn; add sample=N"),
        (["smple=3", "seed=0,1"], "smple=3: no such setting; did you mean sample?"),
    ],
    ids=str,
)
def test_bad_shapes_are_refused(args, said, light_verbs, tmp_path):
    done = light_verbs.run(TRAIN, "-m", *args, cwd=tmp_path)
    assert (done.code, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) <= 2
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_ready_grid_of_ones_own_may_hold_pairs(verbs, tmp_path):
    (tmp_path / "mine/sweep").mkdir(parents=True)
    (tmp_path / "mine/sweep/both.yaml").write_text(
        "# @package _global_\nhydra:\n  mode: MULTIRUN\n  sweeper:\n    pair:\n"
        "      - {model: mlp, model.depth: 2}\n      - {model: cnn}\n    params:\n      seed: 0,1\n"
    )
    args = ("sweep=both", "model.width=8,16", "--config-dir", "mine", "--plan")
    done = verbs.run(TRAIN, *args, cwd=tmp_path)
    assert done.code == 0, done
    _, _, table = done.stdout.partition("\n\n")
    header, *found = (line.split() for line in table.splitlines() if line.strip())
    assert header[:5] == ["job", "model", "depth", "seed", "width"]
    assert [row[1:5] for row in found] == [
        [*pair, seed, width]
        for pair in (("mlp", "2"), ("cnn", "-"))
        for seed in "01"
        for width in ("8", "16")
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_the_plan_tells_what_applies_where(verbs, tmp_path):
    done = verbs.run(TRAIN, "-m", "model=mlp,cnn", "model.depth=1,2", "--plan", cwd=tmp_path)
    assert done.code == 0, done
    assert "3 jobs in" in done.stdout
    assert "model.depth applies where it exists, not with model=cnn" in done.stdout


def test_a_single_run_has_no_shape(light_verbs, tmp_path):
    done = light_verbs.run(TRAIN, "sample=3", cwd=tmp_path)
    assert (done.code, "sample=3: shapes a sweep; write sample=..., with -m" in done.stderr) == (
        2,
        True,
    )
    help_ = light_verbs.run(TRAIN, "--help", cwd=tmp_path).stdout
    assert all(f"\n  {name} " in help_ for name in ("pair", "sample", "sample_seed"))
