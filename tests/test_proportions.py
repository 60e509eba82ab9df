"""Intervals, tests and calibration of answers, against published tables and scipy."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from mnist_lab.evaluation.proportions import calibration, mcnemar, wilson


def test_wilson_gives_newcombes_table_and_scipys_interval():
    # Newcombe (1998), Statist. Med. 17, table I, row 3.
    table = {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0.0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }
    for (k, n), expected in table.items():
        assert wilson(k, n, level=0.95) == pytest.approx(expected, abs=5e-5)
    for k, n, level in [(9812, 10000, 0.95), (10000, 10000, 0.99), (3, 7, 0.5)]:
        expected = stats.binomtest(k, n).proportion_ci(level, method="wilson")
        assert wilson(k, n, level=level) == pytest.approx(tuple(expected), rel=1e-12)
    for n in range(1, 100):
        assert wilson(0, n, level=0.95)[0] == 0
        assert wilson(n, n, level=0.95)[1] == 1
    low, high = wilson(10**15 // 2, 10**15, level=0.95)
    assert high - low == pytest.approx(2 * 1.959964 * 0.5 / math.sqrt(1e15), rel=1e-6)
    for k, n in [(1, 0), (0, 0), (-1, 5), (6, 5)]:
        with pytest.raises(ValueError, match="expected 0 <= k <= n and at least one item"):
            wilson(k, n, level=0.95)


def test_mcnemar_is_the_exact_binomial_test_on_discordant_items():
    # Armitage & Berry (1994), p. 127: two media for tubercle bacilli, 12 against 2 discordant.
    assert mcnemar(12, 2) == pytest.approx(0.0129, abs=5e-5)
    for only_a, only_b in itertools.product(range(8), repeat=2):
        n, fewer = only_a + only_b, min(only_a, only_b)
        tail = Fraction(sum(math.comb(n, i) for i in range(fewer + 1)), 2**n)
        assert mcnemar(only_a, only_b) == pytest.approx(float(min(1, 2 * tail)), rel=1e-12)
    assert mcnemar(50_300, 49_700) == pytest.approx(
        stats.binomtest(50_300, 100_000).pvalue, rel=1e-9
    )
    with pytest.raises(ValueError, match="only_b=-1: counts are 0 or more"):
        mcnemar(3, -1)


def test_calibration_by_hand():
    # Bins of 0.2: two in (0.4, 0.6], an edge belongs to the bin below it, 1.0 to the last.
    found = calibration([0.5, 0.6, 0.7, 1.0, 0.0], [True, False, True, True, False], num_bins=5)
    assert [(b.count, b.confidence, b.accuracy) for b in found.bins] == [
        (1, 0.0, 0.0),
        (0, None, None),
        (2, pytest.approx(0.55), 0.5),
        (1, pytest.approx(0.7), 1.0),
        (1, 1.0, 1.0),
    ]
    assert [b.low for b in found.bins] == [0.0, 0.2, 0.4, 0.6, 0.8]
    assert [b.high for b in found.bins] == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert found.error == pytest.approx((2 * 0.05 + 1 * 0.3) / 5)


def test_calibration_equals_scipys_binned_means():
    rng = np.random.default_rng(5)
    confidence = rng.beta(8, 1, 5000).astype(np.float32)
    correct = rng.random(5000) < confidence**2
    found = calibration(confidence, correct, num_bins=15)
    means, _, _ = stats.binned_statistic(confidence, [confidence, correct], bins=15, range=(0, 1))
    counts, _, _ = stats.binned_statistic(confidence, None, "count", bins=15, range=(0, 1))
    for column, expected in zip(("confidence", "accuracy"), means, strict=True):
        values = np.array([getattr(b, column) for b in found.bins], dtype=np.float64)
        assert values == pytest.approx(expected, nan_ok=True)
    assert [b.count for b in found.bins] == counts.tolist()
    gaps = np.abs(means[1] - means[0])[counts > 0]
    assert found.error == pytest.approx(np.average(gaps, weights=counts[counts > 0]))


def test_calibration_edges_are_the_written_tenths():
    for tenth in range(1, 11):
        found = calibration([tenth / 10], [True], num_bins=10)
        assert [b.count for b in found.bins].index(1) == tenth - 1


@pytest.mark.parametrize(
    ("confidence", "correct", "num_bins", "message"),
    [
        ([0.5], [True], 0, "num_bins=0"),
        ([], [], 5, "expected the same"),
        ([0.5, 0.6], [True], 5, r"confidence \(2,\), correct \(1,\)"),
        ([[0.5]], [[True]], 5, "expected the same"),
        ([math.nan], [True], 5, "outside or NaN"),
        ([1.1], [True], 5, "outside or NaN"),
        ([-0.1], [True], 5, "outside or NaN"),
        ([0.5], [2], 5, "only true and false"),
    ],
)
def test_calibration_refuses(confidence, correct, num_bins: int, message: str):
    with pytest.raises(ValueError, match=message):
        calibration(confidence, correct, num_bins=num_bins)
    assert calibration([1.0000001], [True], num_bins=5).bins[-1].count == 1  # float32's softmax
