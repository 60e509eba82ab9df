"""The effect of each setting: means on equal terms, intervals, what depends on what."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from mnist_lab.study.effects import LevelMean, main_effects, shares


def test_main_effects_of_a_balanced_grid():
    rows = [
        ({"optimizer": o, "width": w, "epochs": 5}, 0.9 + 0.01 * (o == "adam") + w / 10000 + noise)
        for o in ("sgd", "adam")
        for w in (100, 200, 300)
        for noise in (-0.002, 0.002)
    ]
    effects = main_effects(rows)
    assert list(effects) == ["optimizer", "width"]  # epochs does not vary
    assert effects["optimizer"].levels == {
        "sgd": LevelMean(pytest.approx(0.92), 6),
        "adam": LevelMean(pytest.approx(0.93), 6),
    }
    assert [(w, m.mean, m.n) for w, m in effects["width"].levels.items()] == [
        (100, pytest.approx(0.915), 4),
        (200, pytest.approx(0.925), 4),
        (300, pytest.approx(0.935), 4),
    ]
    assert all(effect.balanced and not effect.num_left_out for effect in effects.values())


def test_main_effects_compare_levels_on_equal_terms():
    """Adam ran more often and at the better width: plain means would credit that to Adam."""
    rows = [
        ({"optimizer": "sgd", "width": 128}, 0.90),
        ({"optimizer": "sgd", "width": 512}, 0.94),
        ({"optimizer": "adam", "width": 128}, 0.91),
        ({"optimizer": "adam", "width": 512}, 0.94),
        ({"optimizer": "adam", "width": 512}, 0.96),
        ({"optimizer": "adam", "width": 512}, 0.95),
        ({"optimizer": "adam", "width": 2048}, 0.99),
    ]
    effects = main_effects(rows)
    assert effects["optimizer"].levels == {
        "sgd": LevelMean(pytest.approx(0.92), 2),
        "adam": LevelMean(pytest.approx(0.93), 4),
    }
    assert (effects["optimizer"].balanced, effects["optimizer"].num_left_out) == (False, 1)
    # sgd lacks width 2048, so only adam tells of the width.
    assert [m.mean for m in effects["width"].levels.values()] == pytest.approx([0.91, 0.95, 0.99])
    assert effects["width"].num_left_out == 2
    # As many runs at every level and none left out, but not in every cell.
    uneven = main_effects([*rows[:4], rows[0], rows[3]])
    assert not uneven["optimizer"].balanced
    assert uneven["optimizer"].num_left_out == 0


def test_main_effects_of_failed_runs_and_nested_factors():
    failed = main_effects(
        [
            ({"lr": 0.1, "model": "mlp"}, 0.97),
            ({"lr": 1.0, "model": "mlp"}, math.nan),
            ({"lr": 0.1, "model": "cnn"}, 0.99),
            ({"lr": 1.0, "model": "cnn"}, 0.98),
        ]
    )
    assert failed["lr"].levels == {0.1: LevelMean(0.99, 1), 1.0: LevelMean(0.98, 1)}
    assert (failed["lr"].balanced, failed["lr"].num_left_out) == (False, 2)
    nested = main_effects(
        [
            ({"model": "mlp", "width": 128}, 0.96),
            ({"model": "mlp", "width": 512}, 0.98),
            ({"model": "cnn"}, 0.99),
        ]
    )
    assert nested["width"].levels == {128: LevelMean(0.96, 1), 512: LevelMean(0.98, 1)}
    assert nested["width"].balanced
    assert nested["model"].levels == {"mlp": LevelMean(None, 0), "cnn": LevelMean(None, 0)}
    assert nested["model"].num_left_out == 3


# --- intervals and what depends on what ---


def grid(rng, *, gain, sds=0.001, seeds=4):
    """Rows of 2 optimizers x 2 widths x 2 dropouts; `gain(optimizer, width)` is dropout's."""
    rows, numbers = [], []
    settings = itertools.product(("sgd", "adam"), (128, 512), (0, 0.2))
    for (o, w, d), sd in zip(settings, np.broadcast_to(sds, 8), strict=True):
        for seed in range(seeds):
            mean = 0.9 + 0.05 * (o == "adam") + 0.01 * (w == 512) + (gain(o, w) if d else 0)
            rows.append(({"optimizer": o, "width": w, "dropout": d}, rng.normal(mean, sd)))
            numbers.append(seed)
    return rows, numbers


def test_an_interval_of_an_effect_is_the_paired_one_of_the_seeds_means():
    rows, seeds = grid(np.random.default_rng(1), gain=lambda *_: 0.002)
    found = main_effects(rows, seeds=seeds)["dropout"]
    values = np.array([value for _, value in rows]).reshape(4, 2, 4)  # cells, dropouts, seeds
    of_seed = dict(zip((0, 0.2), values.mean(axis=0), strict=True))
    interval = stats.ttest_rel(of_seed[0.2], of_seed[0]).confidence_interval()
    gain = found.levels[0.2].gain
    assert (gain.low, gain.high) == pytest.approx((interval.low, interval.high))
    assert found.levels[0].gain is None  # the others are held against it
    assert main_effects(rows)["dropout"].levels[0.2].gain is None  # seeds unknown


def test_intervals_of_effects_cover_95_times_in_100():
    rng = np.random.default_rng(2)
    num_trials, held = 1000, 0
    for _ in range(num_trials):
        rows, seeds = grid(rng, gain=lambda *_: 0.002, sds=0.002, seeds=3)
        gain = main_effects(rows, seeds=seeds)["dropout"].levels[0.2].gain
        held += gain.low <= 0.002 <= gain.high
    assert (
        stats.binom.ppf(0.001, num_trials, 0.95) <= held <= stats.binom.ppf(0.999, num_trials, 0.95)
    )


def residual_squares(columns, values):
    fitted = columns @ np.linalg.lstsq(columns, values, rcond=None)[0]
    return float(((values - fitted) ** 2).sum())


def test_the_f_test_is_that_of_two_linear_models_with_boxs_degrees_of_freedom():
    """With and without the interaction of dropout and cell, fitted by least squares."""
    rows, seeds = grid(np.random.default_rng(3), gain=lambda o, _: 0.004 * (o == "adam"))
    found = main_effects(rows, seeds=seeds)["dropout"].depends
    values = np.array([value for _, value in rows])
    cell = np.array([(s["optimizer"] == "adam") + 2 * (s["width"] == 512) for s, _ in rows])
    cells = np.eye(4)[cell]
    with_dropout = np.array([[float(s["dropout"] > 0)] for s, _ in rows])
    small = np.hstack([cells, with_dropout])
    large = np.hstack([cells, cells * with_dropout])
    rss = residual_squares(small, values), residual_squares(large, values)
    ratio = (rss[0] - rss[1]) / 3 / (rss[1] / (len(values) - 8))
    variances = values.reshape(8, 4).var(axis=1, ddof=1)
    projection = np.kron(np.eye(4) - 1 / 4, np.eye(2) - 1 / 2)
    product = projection @ np.diag(variances)
    df = np.trace(product) ** 2 / np.trace(product @ product)
    error_df = variances.sum() ** 2 / (variances**2 / 3).sum()
    assert found.p == pytest.approx(stats.f.sf(ratio, df, error_df))
    assert found.on == ("optimizer",)


def test_an_effect_that_turns_is_told_with_its_range():
    def gain(optimizer, width):
        return {"sgd": -0.01, "adam": 0.02}[optimizer] + (0.005 if width == 512 else 0)

    rows, seeds = grid(np.random.default_rng(4), gain=gain, sds=0.0005)
    found = main_effects(rows, seeds=seeds)["dropout"].depends
    assert (found.level, found.other, found.on) == (0.2, 0, ("optimizer", "width"))
    assert found.lowest == (pytest.approx(-0.01, abs=0.002), {"optimizer": "sgd", "width": 128})
    assert found.highest == (pytest.approx(0.025, abs=0.002), {"optimizer": "adam", "width": 512})


@pytest.mark.parametrize("sds", [0.001, np.geomspace(0.0005, 0.004, 8)])
def test_an_effect_that_is_the_same_everywhere_is_rarely_said_to_depend(sds):
    rng = np.random.default_rng(5)
    num_trials, num_false = 1000, 0
    for _ in range(num_trials):
        rows, seeds = grid(rng, gain=lambda *_: 0.002, seeds=3, sds=sds)
        num_false += main_effects(rows, seeds=seeds)["dropout"].depends is not None
    assert num_false <= stats.binom.isf(0.001, num_trials, 0.05)


def test_shares_of_the_variance_are_those_of_an_analysis_by_hand():
    rows, _ = grid(np.random.default_rng(6), gain=lambda o, _: 0.01 * (o == "adam"))
    found = shares(rows)
    values = np.array([value for _, value in rows]).reshape(2, 2, 2, 4)
    total = ((values - values.mean()) ** 2).sum()
    for axis, name in enumerate(("optimizer", "width", "dropout")):
        means = values.mean(axis=tuple({0, 1, 2, 3} - {axis}))
        assert found[name] == pytest.approx(16 * ((means - values.mean()) ** 2).sum() / total)
    within = ((values - values.mean(axis=3, keepdims=True)) ** 2).sum() / total
    assert found["seeds"] == pytest.approx(within)
    assert sum(found.values()) == pytest.approx(1)
    assert shares(rows[4:]) == {}  # the grid lacks a setting
    assert shares([*rows[:-1], (rows[-1][0], math.nan)]) == {}
