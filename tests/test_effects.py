"""The effect of each setting: means on equal terms, intervals, what depends on what."""

import math

import pytest

from mnist_lab.study.effects import LevelMean, main_effects


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
