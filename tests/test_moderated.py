"""Spreads that settings lend each other: against a slow version, and by short simulations.

The long ones, of which docs/statistics.md has the figures, are benchmarks/statistics.py.
"""

import numpy as np
import pytest
from moderated import slow_comparisons, slow_spreads
from scipy import special, stats

from benchmarks import statistics as simulated
from mnist_lab.study.moderation import inverse_trigamma, moderated
from mnist_lab.study.ranking import Ranking


def most_allowed(num_trials, percent):
    """In percent, what a true rate exceeds once in a thousand."""
    return 100 * stats.binom.isf(0.001, num_trials, percent / 100) / num_trials


@pytest.mark.parametrize("value", [1e-4, 0.01, 0.5, 3.0, 1000.0])
def test_inverse_trigamma(value):
    assert special.polygamma(1, inverse_trigamma(value)) == pytest.approx(value, rel=1e-8)


@pytest.mark.parametrize(
    ("kind", "num_images"), [("accuracy", 500), ("loss", None), ("other", None)]
)
@pytest.mark.parametrize("scatter", [0.0, 1.5])
def test_spreads_against_the_slow_version(kind, num_images, scatter):
    """Settings of one to six runs, whose spreads are the same, or not at all."""
    rng = np.random.default_rng(3)
    for _ in range(20):
        table = [
            rng.normal(rng.uniform(0.6, 0.95), 0.005 * np.exp(scatter * rng.normal()), size)
            for size in (1, 2, 3, 3, 5, 6)
        ]
        groups = {str(i): dict(enumerate(row)) for i, row in enumerate(table)}
        found = moderated(groups, kind=kind, num_images=num_images)
        expected = slow_spreads(table, kind=kind, num_images=num_images)
        numbers = [x for spread in found.values() for x in (spread.variance, spread.df)]
        assert numbers == pytest.approx([x for row in expected for x in row], rel=1e-6)


def test_a_spread_is_never_smaller_than_its_own_runs_show():
    table = np.random.default_rng(4).normal(0, [[1], [1], [1], [9]], (4, 5))
    groups = {str(i): dict(enumerate(row)) for i, row in enumerate(table)}
    found = moderated(groups, kind="other")
    assert all(found[str(i)].variance >= row.var(ddof=1) for i, row in enumerate(table))


def test_what_is_out_of_the_race_informs_it_still():
    rng = np.random.default_rng(5)
    groups = {str(i): dict(enumerate(rng.normal(i == 0, 1, 3 + i % 2))) for i in range(8)}
    choices = {"higher_is_better": True, "level": 0.95}
    whole = Ranking.of(groups, **choices)
    part = Ranking.of(groups, out={"5", "6", "7"}, **choices)
    assert part.spreads == whole.spreads
    assert not {"5", "6", "7"} & {*part.order}
    assert {c.num_comparisons for c in part.against} == {4}


def test_comparisons_against_the_slow_version():
    rng = np.random.default_rng(6)
    for _ in range(40):
        table = rng.normal(rng.normal(0.9, 0.005, (6, 1)), 0.003, (6, 4))
        groups = {str(i): dict(enumerate(row)) for i, row in enumerate(table)}
        ranking = Ranking.of(
            groups, higher_is_better=True, level=0.95, kind="accuracy", num_images=1000
        )
        expected = slow_comparisons(groups, kind="accuracy", num_images=1000)
        for c in ranking.against:
            found = (c.gain.mean, c.gain.low, c.gain.high, c.p)
            assert found == pytest.approx(expected[c.other], rel=1e-6, abs=1e-12)
            assert c.separated == (c.p < 0.05) == (c.gain.low > 0)


# --- short forms of the simulations ---


@pytest.mark.parametrize(
    ("case", "most"),
    [
        ("12 settings x 5 seeds, sds equal", 2),
        ("12 x 5, README's sds", 2),
        ("12 x 5, one setting five times as noisy", 2),
        ("12 x 5, the real sweep's covariance", 5),
        ("12 x 2, one five times as noisy", 5.5),
        ("3 x 2, one five times as noisy", 5.5),
        ("2 x 5", 5),
    ],
)
def test_false_claims_are_as_rare_as_promised(case, most):
    claims, lost = simulated.false_claims(simulated.FALSE[case], trials=600)
    assert max(claims, lost) <= most_allowed(600, most)


def test_a_lead_of_0_3_points_is_found():
    """More often than by the paired runs alone with Bonferroni's intervals."""
    for n, least in ((2, 5), (3, 16), (5, 50)):
        found, alone, _ = simulated.power(simulated.SDS, simulated.MEANS, n, lead=0.3, trials=300)
        assert found >= least - 6  # 300 sweeps: two standard errors
        assert found >= alone


def test_intervals_against_the_next_and_the_baseline_cover_together():
    held, best_row = simulated.interval_coverage(5, trials=400)
    assert held >= 100 - most_allowed(400, 5.6)
    assert best_row < 90  # the winner's curse, of which the verdict warns


@pytest.mark.parametrize("n", [3, 20])
def test_intervals_for_new_images_cover_on_the_real_sweep(n):
    held, over_seeds = simulated.image_coverage(simulated.right_answers(), n, trials=400)
    assert 100 - most_allowed(400, 6) <= held <= 98.5
    assert over_seeds < 93


def test_the_difference_that_is_said_to_be_found_is_found_four_times_in_five():
    size, found = simulated.more_seeds(5, trials=300)
    assert 0.2 < size < 0.3  # points, where the spread of a run is 0.1
    assert 70 <= found <= 92


def test_a_race_loses_the_best_rarely_and_runs_less():
    means = simulated.MEANS.copy()
    means[0] += 0.3
    num_runs, lost, alone = simulated.race(means, simulated.SDS, last=5, trials=200)
    assert num_runs < 40  # of 60
    assert lost <= most_allowed(200, 2.6)
    assert alone > 35
