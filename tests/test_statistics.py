"""Intervals, tests and their words, against published tables, scipy's own tests and simulation."""

import itertools
import math
import re

import numpy as np
import pytest
from moderated import slow_comparisons
from scipy import stats

from mnist_lab.study.ranking import Ranking
from mnist_lab.study.statistics import Summary, difference, holm, summary
from mnist_lab.study.verdict import verdict

# Student (1908), Biometrika 6, p. 20: hours of sleep gained by ten patients with two drugs.
SLEEP_A = dict(enumerate([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]))
SLEEP_B = dict(enumerate([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]))


def runs(*values: float, first_seed: int = 0) -> dict[int, float]:
    return dict(enumerate(values, first_seed))


def ranked(
    groups: dict[str, dict[int, float]],
    *,
    baseline: str | None = None,
    higher_is_better: bool = True,
) -> Ranking:
    return Ranking.of(groups, baseline=baseline, higher_is_better=higher_is_better, level=0.95)


def most_allowed(num_trials: int, rate: float) -> float:
    """Events that a true rate exceeds once in a thousand."""
    return stats.binom.isf(0.001, num_trials, rate)


# --- one setting, two settings ---


def test_summary_equals_scipys_one_sample_interval():
    values = [0.9812, 0.9799, 0.9820, 0.9807, 0.9815]
    for level in (0.5, 0.95, 0.999):
        found = summary(values, level=level)
        expected = stats.ttest_1samp(values, 0).confidence_interval(level)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-12)
    assert (found.n, found.mean) == (5, pytest.approx(0.98106))
    assert found.sd == pytest.approx(math.sqrt(sum((v - 0.98106) ** 2 for v in values) / 4))


def test_summary_of_few_or_failed_runs():
    assert summary([0.98], level=0.95) == Summary(1, 0.98, None, None, None)
    assert summary([0.1, 0.1, 0.1], level=0.95).sd == 0  # their mean is off by one rounding
    failed = summary([0.98, math.nan], level=0.95)
    assert failed.n == 2
    assert math.isnan(failed.mean)
    assert failed.sd is failed.low is failed.high is None
    with pytest.raises(ValueError, match="at least one run"):
        summary([], level=0.95)
    with pytest.raises(ValueError, match=r"level=95: .* such as 0\.95"):
        summary([0.98], level=95)


def test_difference_gives_the_published_figures_for_students_sleep_data():
    # R's documentation of t.test and of the data set `sleep` prints the same.
    paired = difference(SLEEP_A, SLEEP_B, level=0.95)
    assert (paired.mean, paired.low, paired.high, paired.p) == pytest.approx(
        (-1.58, -2.4598858, -0.7001142, 0.002833), abs=5e-7
    )
    unpaired = difference(SLEEP_A, {seed + 10: b for seed, b in SLEEP_B.items()}, level=0.95)
    assert (unpaired.mean, unpaired.low, unpaired.high) == pytest.approx(
        (-1.58, -3.3654832, 0.2054832), abs=5e-8
    )
    assert unpaired.p == pytest.approx(0.07939, abs=5e-6)
    assert (paired.paired, unpaired.paired) == (True, False)


@pytest.mark.parametrize(("n_a", "n_b"), [(2, 2), (3, 2), (5, 40), (300, 300)])
def test_difference_equals_scipys_tests(n_a: int, n_b: int):
    rng = np.random.default_rng(n_a)
    first, second = rng.normal(0.97, 0.002, n_a), rng.normal(0.971, 0.0005, n_b)
    cases = [(runs(*second, first_seed=1000), stats.ttest_ind(first, second, equal_var=False))]
    if n_a == n_b:
        shuffled = dict(reversed(runs(*second).items()))  # pairs go by seed, not by position
        cases.append((shuffled, stats.ttest_rel(first, second)))
    for b, expected in cases:
        found = difference(runs(*first), b, level=0.9996)
        interval = expected.confidence_interval(0.9996)
        assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-9)
        assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
        assert (found.n_a, found.n_b) == (n_a, n_b)


def test_seeds_are_paired_when_all_but_one_or_two_are_common():
    a = runs(0.971, 0.980, 0.992, 0.985, 0.979)
    b = {**runs(0.964, 0.972, 0.981, 0.977), 9: 0.97}
    found = difference(a, b, level=0.95)
    expected = stats.ttest_rel([*a.values()][:4], [*b.values()][:4])
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.paired, found.n_a, found.n_b) == (True, 4, 4)
    for other in ({**b, 8: 0.97}, runs(0.964, 0.972, first_seed=3)):  # three are not; two are left
        assert not difference(a, other, level=0.95).paired


def test_pairs_never_contradict_the_order_of_the_means():
    a, b = runs(0.90, 0.91, 0.92, 0.99), runs(0.901, 0.912, 0.923, 0.90)
    b[7] = b.pop(3)
    found = difference(a, b, level=0.95)
    assert found.mean > 0
    assert not found.paired  # the three common seeds would say -0.002


@pytest.mark.parametrize("num_images", [667, 10_000])
def test_one_image_is_never_certain(num_images: int):
    """The same difference in two or three runs, and no spread at all: scipy's t is infinite."""
    for n in (2, 3):
        for first_seed in (0, 10):
            a = runs(*[600 / num_images] * n)
            b = runs(*[599 / num_images] * n, first_seed=first_seed)
            found = difference(a, b, level=0.95, num_images=num_images)
            assert found.p > 0.01
            # The sum of two uniform errors of one image's width has this variance.
            error = math.sqrt(2 / 12 / n) / num_images
            df = n - 1 if first_seed == 0 else 2 * (n - 1)
            assert found.p == pytest.approx(2 * stats.t.sf(1 / num_images / error, df))
    many = difference(runs(*[0.9] * 3), runs(*[0.8] * 3), level=0.95, num_images=num_images)
    assert many.p < 0.001
    assert summary([0.9] * 3, level=0.95, num_images=num_images).low < 0.9


def test_rounding_alone_rarely_makes_a_difference():
    """Equal settings whose runs differ by less than an image: of 667, in pairs of two runs."""
    rng = np.random.default_rng(5)
    num_trials, num_false = 2000, 0
    for _ in range(num_trials):
        a, b = np.round(rng.normal(0.95, 0.0003, (2, 2)) * 667) / 667
        found = difference(runs(*a), runs(*b), level=0.95, num_images=667)
        num_false += found.p < 0.05
    assert num_false <= most_allowed(num_trials, 0.05)


@pytest.mark.parametrize("first_seed", [0, 10])
def test_difference_without_noise(first_seed: int):
    """t is 0/0: scipy answers nan and warns of cancellation."""

    def found(a: tuple[float, ...], b: tuple[float, ...]) -> tuple[float | None, ...]:
        result = difference(runs(*a), runs(*b, first_seed=first_seed), level=0.95)
        return result.mean, result.low, result.high, result.p

    assert found((0.1,) * 3, (0.1,) * 3) == (0, 0, 0, 1)
    assert found((0.1,) * 2, (0.1,) * 2) == (0, 0, 0, 1)
    mean, low, high, p = found((0.3,) * 3, (0.1,) * 3)
    assert mean == low == high == pytest.approx(0.2)
    assert p == 0
    assert found((0.1,) * 3, (0.1,) * 5) == (0, 0, 0, 1)  # the means differ by one rounding
    assert found((0.75,) * 2, (0.5,) * 2) == (0.25, None, None, None)
    assert found((0.75,), (0.5,)) == (0.25, None, None, None)


def test_the_same_difference_in_every_run_has_an_interval_without_width():
    # In binary the three differences are not quite the same.
    found = difference(runs(0.3, 0.4, 0.9), runs(0.1, 0.2, 0.7), level=0.95)
    assert found.low == found.high == pytest.approx(0.2)
    assert found.p == 0


def test_difference_of_failed_or_missing_runs():
    found = difference(runs(0.9, math.inf), runs(0.9, 0.8), level=0.95)
    assert math.isnan(found.mean)
    assert found.low is found.high is found.p is None
    with pytest.raises(ValueError, match="each side needs at least one"):
        difference(runs(0.9), {}, level=0.95)


@pytest.mark.parametrize(("n_b", "first_seed"), [(5, 0), (3, 10)])
def test_intervals_cover_the_true_difference_95_times_in_100(n_b: int, first_seed: int):
    """Paired with noise that the seeds share; unpaired with unequal spreads and sizes."""
    rng = np.random.default_rng(7)
    num_trials, missed = 4000, 0
    for _ in range(num_trials):
        shared = rng.normal(0, 0.003, 5) if first_seed == 0 else 0
        a, b = rng.normal(0.98, 0.002, 5) + shared, rng.normal(0.97, 0.001, 5) + shared
        found = difference(runs(*a), runs(*b[:n_b], first_seed=first_seed), level=0.95)
        missed += not found.low <= 0.01 <= found.high
    assert stats.binom.ppf(0.001, num_trials, 0.05) <= missed <= most_allowed(num_trials, 0.05)


# --- many settings ---


def test_holm_on_the_standard_example():
    # Four p values, often shown (R's p.adjust agrees): the first and the last are rejected at 5 %.
    adjusted, places = holm([0.01, 0.04, 0.03, 0.005])
    assert adjusted == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert places == [3, 2, 2, 4]  # 0.03 stops it, at the second place
    assert holm([]) == ([], [])


def test_holm_is_the_closed_bonferroni_test():
    """The definition that its proof rests on: the worst of all sets of hypotheses that hold it."""
    p_values = np.random.default_rng(3).uniform(0, 0.4, 7) ** 2
    sets = [s for size in range(1, 8) for s in itertools.combinations(range(7), size)]
    expected = [
        max(min(1, len(s) * min(p_values[list(s)])) for s in sets if i in s) for i in range(7)
    ]
    assert holm(p_values.tolist())[0] == pytest.approx(expected)


def test_a_ranking_never_lists_a_setting_with_a_failed_run():
    groups = {
        "low": runs(0.90, 0.91),
        "diverged": runs(0.99, math.nan),
        "never ran": {},
        "high": runs(0.92, 0.93),
    }
    assert ranked(groups).order == ("high", "low")
    assert ranked(groups, higher_is_better=False).order == ("low", "high")


def test_the_ranking_adjusts_for_every_other_setting():
    groups = {
        "a": runs(0.980, 0.982, 0.981, 0.984),
        "b": runs(0.970, 0.973, 0.969, 0.972),
        "c": runs(0.960, 0.961, 0.958, 0.965),
        "d": runs(0.979, 0.980, 0.982, 0.981),
    }
    expected = slow_comparisons(groups)
    ranking = ranked(groups, baseline="c")
    following, against_c = ranking.comparisons
    assert (following.best, following.other, following.separated) == ("a", "d", False)
    assert (against_c.best, against_c.other, against_c.separated) == ("a", "c", True)
    for comparison in ranking.against:
        gain = comparison.gain
        found = (gain.mean, gain.low, gain.high, comparison.p)
        assert found == pytest.approx(expected[comparison.other])
        assert comparison.num_comparisons == 3
    assert [c.place for c in ranking.against] == [1, 2, 3]
    assert ranking.contenders == ("a", "d")

    losses = {name: {seed: 1 - v for seed, v in values.items()} for name, values in groups.items()}
    mirrored = ranked(losses, baseline="c", higher_is_better=False).comparisons
    assert [(c.other, c.separated) for c in mirrored] == [("d", False), ("c", True)]
    assert mirrored[1].gain.low == pytest.approx(against_c.gain.low)
    with pytest.raises(ValueError, match="'e' is not among the settings: a, b, c, d"):
        ranked(groups, baseline="e")


def test_a_setting_with_one_run_takes_part():
    """By the spread of the others; it might have won as well."""
    groups = {"a": runs(0.98, 0.97, 0.99), "b": runs(0.92, 0.95, 0.95), "c": runs(0.90)}
    ranking = ranked(groups)
    expected = slow_comparisons(groups)
    for comparison in ranking.against:
        gain = comparison.gain
        found = (gain.mean, gain.low, gain.high, comparison.p)
        assert found == pytest.approx(expected[comparison.other])
    assert ranking.against[1].gain.n_b == 1
    assert ranking.against[1].gain.moderated


def test_where_there_is_no_spread_to_learn_from_nothing_is_claimed():
    groups = {"a": runs(0.98), "b": runs(0.92), "c": runs(0.90)}
    assert ranked(groups).contenders == ("a", "b", "c")
    assert ranked({**groups, "a": runs(0.98, 0.97)}).contenders == ("a", "b", "c")


def test_two_equal_settings_are_separated_one_time_in_20():
    rng = np.random.default_rng(12)
    num_trials, num_false = 4000, 0
    for _ in range(num_trials):
        groups = {name: runs(*rng.normal(0.1, 0.02, 4)) for name in "ab"}
        (found,) = ranked(groups, higher_is_better=False).comparisons
        num_false += found.separated
    assert stats.binom.ppf(0.001, num_trials, 0.05) <= num_false <= most_allowed(num_trials, 0.05)


def test_intervals_against_the_next_and_the_baseline_hold_together():
    """The best is picked by the same noise, which makes it look better than it is."""
    rng = np.random.default_rng(13)
    means = dict(zip("abcdef", (0.9800, 0.9798, 0.9796, 0.9780, 0.9780, 0.9700), strict=True))
    num_trials, num_missed = 1500, 0
    for _ in range(num_trials):
        groups = {name: runs(*rng.normal(mean, 0.001, 3)) for name, mean in means.items()}
        found = ranked(groups, baseline="d").comparisons
        num_missed += any(
            not c.gain.low <= means[c.best] - means[c.other] <= c.gain.high for c in found
        )
    assert num_missed <= most_allowed(num_trials, 0.05)


# --- in words ---

ADAM = runs(0.9812, 0.9815, 0.9809, 0.9811, 0.9813)
RMSPROP = runs(0.9781, 0.9786, 0.9779, 0.9782, 0.9780)
SGD = runs(0.9512, 0.9520, 0.9508, 0.9515, 0.9511)


def words(
    groups: dict[str, dict[int, float]],
    *,
    metric: str = "val/acc",
    baseline: str | None = None,
    higher_is_better: bool = True,
) -> list[str]:
    """The verdict, but for what it says of more seeds."""
    ranking = ranked(groups, baseline=baseline, higher_is_better=higher_is_better)
    lines = verdict(ranking, metric=metric)
    return [line for line in lines if not line.startswith(("With ", "To separate"))]


def test_verdict_names_a_clear_winner():
    groups = {"sgd": SGD, "adam": ADAM, "rmsprop": RMSPROP}
    expected = slow_comparisons(groups)
    near, far = (
        f"{expected[name][0]:.4f} [{expected[name][1]:.4f}, {expected[name][2]:.4f}]"
        for name in ("rmsprop", "sgd")
    )
    how = "paired by seed, Holm p < 0.0001"
    assert words(groups, baseline="sgd") == [
        "adam is best: val/acc 0.9812 (n=5).",
        f"It beats the next, rmsprop, by {near} ({how}).",
        f"It beats the baseline, sgd, by {far} ({how}).",
        "Intervals: 95 %, each at its place among 2 comparisons with the best (Holm).",
        "The best row's own interval is too good: the same runs made it the best.",
    ]


def test_verdict_says_when_the_data_do_not_separate():
    groups = {
        "w512": runs(0.9812, 0.9799, 0.9820),
        "w128": runs(0.9810, 0.9806, 0.9804),
        "w32": runs(0.9601, 0.9588, 0.9611),
    }
    _, low, high, _ = slow_comparisons(groups)["w128"]
    assert words(groups, baseline="w128") == [
        "w512 has the highest mean: val/acc 0.9810 (n=3).",
        "The data do not separate it from the next and baseline, w128: difference 0.0004 "
        f"[{low:.4f}, {high:.4f}] (by the spread of the whole sweep).",
        "2 of the 3 settings may be the best.",
        "Intervals: 95 %, each at its place among 2 comparisons with the best (Holm).",
        "The best row's own interval is too good: the same runs made it the best.",
    ]


def test_verdict_calls_best_only_what_beats_all():
    """It beats the next and the noisy third may still be better; p is shown with two digits."""
    groups = {
        "a": runs(0.9751, 0.9770, 0.9742),
        "b": runs(0.9651, 0.9669, 0.9643),
        "noisy": runs(0.999, 0.920, 0.960),
    }
    _, low, high, p = slow_comparisons(groups)["b"]
    assert words(groups) == [
        "a has the highest mean: val/acc 0.9754 (n=3).",
        f"It beats the next, b, by 0.0100 [{low:.4f}, {high:.4f}] "
        f"(paired by seed, Holm p = {p:.2g}).",
        "2 of the 3 settings may be the best.",
        "Intervals: 95 %, each at its place among 2 comparisons with the best (Holm).",
        "The best row's own interval is too good: the same runs made it the best.",
    ]


def test_verdict_on_losses_with_seeds_that_differ():
    lines = words(
        {"deep": runs(0.071, 0.068, 0.070), "flat": runs(0.262, 0.259, 0.266, first_seed=5)},
        metric="val/loss",
        baseline="deep",
        higher_is_better=False,
    )
    interval = stats.ttest_ind(
        [0.262, 0.259, 0.266], [0.071, 0.068, 0.070], equal_var=False
    ).confidence_interval()
    assert lines == [
        "deep (the baseline) is best: val/loss 0.0697 (n=3).",
        f"It beats the next, flat, by 0.1927 [{interval.low:.4f}, {interval.high:.4f}] "
        "(unpaired, as the seeds differ, Holm p < 0.0001).",
        "Intervals: 95 %.",
    ]


def test_verdict_on_too_few_runs():
    assert words({"a": runs(0.98), "b": runs(0.97), "c": runs(0.5)}, baseline="c") == [
        "a has the highest mean: val/acc 0.9800 (n=1).",
        "It leads the next, b, by 0.0100, but one run cannot tell that from noise.",
        "It leads the baseline, c, by 0.4800, but one run cannot tell that from noise.",
        "3 of the 3 settings may be the best.",
    ]
    assert words({"a": runs(0.75, 0.875), "b": runs(0.5, 0.625)})[1] == (
        "It leads the next, b, by 0.2500, but two runs without any spread cannot tell that from "
        "noise."
    )


def test_verdict_without_noise():
    groups = {"a": runs(0.75, 0.875, 0.75), "b": runs(0.5, 0.625, 0.5)}
    assert words(groups)[1] == (
        "It beats the next, b, by 0.2500 [0.2500, 0.2500] "
        "(paired by seed, without any spread, Holm p < 0.0001)."
    )
    assert words({"a": groups["a"], "b": groups["a"]})[1] == (
        "The data do not separate it from the next, b: difference 0.0000 [0.0000, 0.0000] "
        "(paired by seed, without any spread)."
    )


def test_verdict_reports_settings_that_cannot_be_ranked():
    groups = {
        "lr=1": runs(0.99, math.nan, math.inf),
        "lr=0.1": runs(0.97, 0.98, 0.98),
        "lr=10": {},
    }
    failed = [
        "lr=1 (the baseline) is not ranked: 2 of 3 seeds have no finite val/acc.",
        "lr=10 is not ranked: no runs.",
    ]
    assert words(groups, baseline="lr=1") == [
        "lr=0.1 is the only setting that can be ranked: val/acc 0.9767 (n=3).",
        *failed,
    ]
    del groups["lr=0.1"]
    assert words(groups, baseline="lr=1") == failed
    with pytest.raises(ValueError, match="no settings to compare"):
        words({})


@pytest.mark.parametrize("scale", [0.01, 1e-7])
def test_words_interval_and_p_never_contradict_each_other(scale: float):
    """As printed: beside "beats" the interval leaves out 0 and p is below 5 %, else it holds 0."""
    rng = np.random.default_rng(17)
    seen = {"beats": 0, "separate": 0}
    for _ in range(400):
        k, n = int(rng.integers(2, 6)), int(rng.integers(2, 6))
        table = rng.normal(
            rng.normal(0, 3 * scale, (k, 1)), scale * rng.uniform(0, 1, (k, 1)), (k, n)
        )
        groups = {f"s{i}": runs(*row) for i, row in enumerate(table)}
        for line in words(groups, baseline="s0", higher_is_better=bool(n % 2)):
            if found := re.search(
                r"(beats|separate) .* (-?[\d.]+) \[(-?[\d.]+), (-?[\d.]+)\]", line
            ):
                word, mean, low, high = found[1], *map(float, found.groups()[1:])
                seen[word] += 1
                assert low <= mean <= high
                assert (low > 0) == (word == "beats")
                p = re.search(r"Holm p [=<] ([\d.e-]+)", line)
                assert (p is not None and float(p[1]) <= 0.05) == (word == "beats")
    assert min(seen.values()) > 50
