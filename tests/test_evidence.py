"""Intervals and verdicts: against scipy, statsmodels, published values, and by simulation."""

import re

import numpy as np
import pandas as pd
import pytest
from helpers import runs_of
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from utils.evidence.statistics import (
    EXPECTATIONS,
    Estimate,
    Verdict,
    _mean,
    control_false_discoveries,
    differences,
    judge,
    mean,
    p_value,
    paired_difference,
    proportion,
    proportion_difference,
)
from utils.evidence.table import LEADING, describe_runs, last_epoch, table
from utils.paths import CHAPTERS


def frame_of(scale="full", train_size=4_000, test_size=1_000, **arms):
    frame = runs_of("metric", scale, **arms)
    return frame.assign(train_size=train_size, test_size=test_size)


FIRST = [0.981, 0.984, 0.979, 0.990, 0.983]
SECOND = [0.975, 0.981, 0.980, 0.979, 0.974]


# Tables


def record_of(arm, seed, epochs, train_size=4_000):
    history = [{"loss": 1.0 / epoch} for epoch in range(1, epochs + 1)]
    sizes = {"train_size": train_size, "test_size": 1_000, "parameters": 7}
    return {"arm": arm, "seed": seed, "epochs": history, "measures": {"metric": 0.5}, **sizes}


def test_a_table_has_a_row_for_each_run_and_epoch_and_metrics_in_the_last():
    frame = table([record_of("a", 0, 2), record_of("b", 1, 1)], "x", "quick")
    assert frame[["arm", "seed", "epoch"]].to_numpy().tolist() == [
        ["a", 0, 1], ["a", 0, 2], ["b", 1, 1],
    ]  # fmt: skip
    assert frame["loss"].tolist() == [1.0, 0.5, 1.0]
    assert frame["metric"].fillna(-1).tolist() == [-1, 0.5, 0.5]
    assert set(frame["experiment"]) == {"x"} and set(frame["scale"]) == {"quick"}
    assert frame.columns[:8].tolist() == [*LEADING, "parameters"]
    assert table([], "x", "full").columns.tolist() == list(LEADING)


def test_of_joined_tables_the_last_epoch_of_each_run_is_kept():
    runs = [record_of("a", 0, 3), record_of("a", 1, 2)]
    joined = pd.concat(
        [table(runs, "x", "quick"), table(runs, "x", "full"), table(runs, "y", "full")]
    )
    last = last_epoch(joined)
    assert last["epoch"].tolist() == [3, 2] * 3
    assert last["experiment"].tolist() == ["x"] * 4 + ["y"] * 2


@pytest.mark.parametrize(
    "records, words",
    [
        ([], "no runs"),
        ([("a", 0, 1, 60_000)], "60,000 images, 1 epoch, 1 seed"),
        ([("a", seed, 5, 60_000) for seed in range(20)], "60,000 images, 5 epochs, 20 seeds"),
        # Arms that differ in all three; seeds are counted for each arm.
        ([("a", 0, 1, 960), ("a", 1, 1, 960), ("b", 7, 3, 4_000)],
         "960 to 4,000 images, 1 to 3 epochs, 1 to 2 seeds"),
    ],
)  # fmt: skip
def test_what_ran_is_said_in_words(records, words):
    assert describe_runs(table([record_of(*record) for record in records], "x", "full")) == words


@pytest.mark.parametrize(
    "scale, seeds, words", [("quick", (0, 1), "2 seeds"), ("quick", (8, 7), "2 seeds from 7"),
                            ("full", (8, 7), "2 seeds")],
)  # fmt: skip
def test_what_ran_says_where_quick_seeds_were_moved_to(scale, seeds, words):
    frame = table([record_of("a", seed, 1) for seed in seeds], "x", scale)
    assert describe_runs(frame) == f"4,000 images, 1 epoch, {words}"


def test_seeds_of_two_experiments_are_not_added_up():
    first, second = (table([record_of("a", n, 1)], "xy"[n], "full") for n in (0, 1))
    assert describe_runs(pd.concat([first, second])) == "4,000 images, 1 epoch, 1 seed"


# Means and differences


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.999])
def test_at_full_scale_the_interval_is_that_of_the_paired_t_test(confidence):
    estimate = paired_difference(frame_of(a=FIRST, b=SECOND), "metric", "a", "b")
    expected = stats.ttest_rel(FIRST, SECOND).confidence_interval(confidence)
    assert estimate.interval(confidence) == pytest.approx(tuple(expected), rel=1e-9)
    assert estimate.value == pytest.approx(np.mean(FIRST) - np.mean(SECOND))
    assert (estimate.runs, estimate.method) == (5, "paired t")
    assert (estimate.low, estimate.high) == estimate.interval(0.95)


@pytest.mark.parametrize("train_size, test_size", [(4_000, 1_000), (100, 1_000), (60_000, 10_000)])
def test_at_quick_scale_the_interval_is_corrected_for_shared_images(train_size, test_size):
    frame = frame_of("quick", train_size, test_size, a=FIRST, b=SECOND)
    estimate = paired_difference(frame, "metric", "a", "b")
    d = np.subtract(FIRST, SECOND)
    half = stats.t.ppf(0.975, 4) * np.sqrt((1 / 5 + test_size / train_size) * d.var(ddof=1))
    assert estimate.interval() == pytest.approx((d.mean() - half, d.mean() + half), rel=1e-9)
    assert estimate.method == "corrected resampled t"


def test_the_mean_of_one_arm_has_the_same_two_intervals():
    full, quick = (
        mean(frame_of(scale, a=FIRST, b=SECOND), "metric", "a") for scale in ("full", "quick")
    )
    expected = stats.ttest_1samp(FIRST, 0).confidence_interval()
    assert full.interval() == pytest.approx(tuple(expected), rel=1e-9)
    ratio = np.sqrt((1 / 5 + 1 / 4) / (1 / 5))
    assert quick.high - quick.value == pytest.approx(ratio * (full.high - full.value), rel=1e-9)


def test_runs_are_paired_by_seed_whatever_their_order_and_row_numbers():
    frame, joined = frame_of(a=FIRST, b=SECOND), pd.concat([frame_of(a=FIRST), frame_of(b=SECOND)])
    assert not joined.index.is_unique
    expected = paired_difference(frame, "metric", "a", "b").interval()
    turned = np.subtract(FIRST, SECOND)
    for mixed in (frame.sample(frac=1, random_state=1), joined):
        estimate = paired_difference(mixed, "metric", "a", "b")
        assert estimate.runs == 5 and estimate.interval() == pytest.approx(expected, rel=1e-9)
        np.testing.assert_allclose(differences(mixed, "metric", "a", "b"), turned)
        np.testing.assert_allclose(differences(mixed, "metric", "a", None), FIRST)
        np.testing.assert_allclose(differences(mixed, "metric", ("a", "b"), "b"), turned / 2)


def test_the_last_epoch_counts_and_not_the_best():
    frame = frame_of(a=[[value + 100, value + 100, value] for value in FIRST])
    frame["at_the_end"] = frame["metric"].where(frame["epoch"] == 3)
    for metric in ("metric", "at_the_end"):
        assert mean(frame, metric, "a").value == pytest.approx(np.mean(FIRST))


def test_another_arm_with_fewer_images_does_not_widen_the_interval():
    alone = frame_of("quick", a=FIRST, b=SECOND)
    joined = pd.concat([alone, frame_of("quick", train_size=100, c=FIRST)], ignore_index=True)
    for estimate in (
        lambda f: paired_difference(f, "metric", "a", "b"),
        lambda f: mean(f, "metric", "a"),
    ):
        assert estimate(joined).interval() == estimate(alone).interval()


def test_of_two_arms_with_different_numbers_of_images_the_smaller_decides():
    joined = pd.concat(
        [frame_of("quick", a=FIRST), frame_of("quick", train_size=1_000, b=SECOND)],
        ignore_index=True,
    )
    estimate = paired_difference(joined, "metric", "a", "b")
    d = np.subtract(FIRST, SECOND)
    half = stats.t.ppf(0.975, 4) * np.sqrt((1 / 5 + 1) * d.var(ddof=1))
    assert estimate.high - estimate.value == pytest.approx(half)


def test_without_any_spread_the_interval_is_a_point():
    estimate = paired_difference(frame_of(a=[3.0, 3.0], b=[1.0, 1.0]), "metric", "a", "b")
    assert estimate.interval() == (2.0, 2.0)


# Proportions


@pytest.mark.parametrize(
    "count, runs, low, high",
    # Newcombe, "Two-sided confidence intervals for the single proportion", Statistics in
    # Medicine 17, 857-872, 1998, Table I, method 3.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_intervals_are_the_published_ones(count, runs, low, high):
    frame = frame_of(a=[1.0] * count + [0.0] * (runs - count))
    estimate = proportion(frame, "metric", "a")
    assert estimate.interval() == pytest.approx((low, high), abs=5.1e-5)
    assert (estimate.value, estimate.runs, estimate.method) == (count / runs, runs, "Wilson")


def test_no_collapse_in_forty_runs_leaves_up_to_9_percent_as_the_method_page_says():
    page = (CHAPTERS / "method.md").read_text(encoding="utf-8")
    assert re.search(r"No collapse in forty runs .* up to 9 %", page, re.S)
    assert proportion(frame_of(a=[0.0] * 40), "metric", "a").high == pytest.approx(0.09, abs=0.005)


@pytest.mark.parametrize(
    "k, n, m, j, low, high",
    # Newcombe, "Interval estimation for the difference between independent proportions",
    # Statistics in Medicine 17, 873-890, 1998, Table II, method 10.
    [
        (56, 70, 48, 80, 0.0524, 0.3339), (9, 10, 3, 10, 0.1705, 0.8090),
        (6, 7, 2, 7, 0.0582, 0.8062), (5, 56, 0, 29, -0.0381, 0.1926),
        (0, 10, 0, 20, -0.1611, 0.2775), (0, 10, 0, 10, -0.2775, 0.2775),
        (10, 10, 0, 20, 0.6791, 1.0000), (10, 10, 0, 10, 0.6075, 1.0000),
    ],
)  # fmt: skip
def test_newcombe_intervals_are_the_published_ones(k, n, m, j, low, high):
    frame = frame_of(a=[1] * k + [0] * (n - k), b=[1] * m + [0] * (j - m))
    estimate = proportion_difference(frame, "metric", "a", "b")
    assert estimate.interval() == pytest.approx((low, high), abs=5.1e-5)
    assert estimate.value == pytest.approx(k / n - m / j)
    assert estimate.method == "Newcombe"


runs = st.lists(st.booleans(), min_size=1, max_size=20)


@given(runs, runs, st.floats(0.5, 0.999))
@settings(deadline=None)
def test_intervals_of_proportions_stay_in_range_and_hold_the_estimate(a, b, confidence):
    frame, k, n, m, j = frame_of(a=a, b=b), sum(a), len(a), sum(b), len(b)
    low, high = proportion(frame, "metric", "a").interval(confidence)
    assert -1e-12 <= low <= k / n + 1e-12 and k / n - 1e-12 <= high <= 1 + 1e-12
    low, high = proportion_difference(frame, "metric", "a", "b").interval(confidence)
    value = k / n - m / j
    assert -1 - 1e-9 <= low <= value + 1e-9 and value - 1e-9 <= high <= 1 + 1e-9


def test_a_column_of_true_and_false_is_a_proportion():
    assert proportion(frame_of(a=[True, False, True, True]), "metric", "a").value == 0.75


# Verdicts


def between(low, high):
    """Make an estimate whose interval is the same at every level."""
    return Estimate((low + high) / 2, 5, "fixed", lambda confidence: (low, high))


S, R, N, U = Verdict.SUPPORTED, Verdict.REFUTED, Verdict.NO_DIFFERENCE, Verdict.UNDECIDED


@pytest.mark.parametrize(
    "low, high, increase, decrease, no_difference",
    [
        # The margin, 1, itself is not beyond the margin, and not within it.
        *[(low, high, S, R, R) for low, high in ((2, 3), (1.0000001, 2))],
        *[(low, high, R, S, R) for low, high in ((-3, -2), (-2, -1.0000001))],
        *[
            (-a, b, N, N, S)
            for a, b in ((0.5, 0.5), (-0.2, 0.8), (0.8, -0.2), (0, 0), (0.99999,) * 2)
        ],
        *[(low, high, U, U, U) for low, high in ((0.5, 2), (1, 2), (-2, 2), (1, 1), (-1, 0.5))],
        *[(low, high, U, U, U) for low, high in ((-2, -0.5), (-2, 0.5), (-2, -1), (-0.5, 1))],
    ],
)
def test_each_place_of_the_interval_has_its_verdict(low, high, increase, decrease, no_difference):
    estimate = between(low, high)
    found = [judge(estimate, 1, expect) for expect in ("increase", "decrease", "no difference")]
    assert found == [increase, decrease, no_difference]


def test_a_verdict_depends_on_the_level_of_confidence():
    estimate = paired_difference(frame_of(a=FIRST, b=SECOND), "metric", "a", "b")
    assert judge(estimate, 0.0001, "increase", confidence=0.5) is Verdict.SUPPORTED
    assert judge(estimate, 0.0001, "increase", confidence=0.9999) is Verdict.UNDECIDED


@given(
    st.lists(st.floats(-3, 3), min_size=2, max_size=8),
    st.floats(0.01, 3),
    st.sampled_from(EXPECTATIONS),
    st.sampled_from(["quick", "full"]),
)
@settings(deadline=None)
def test_the_p_value_is_below_5_percent_exactly_when_the_verdict_is_decided(
    differences, margin, expect, scale
):
    frame = frame_of(scale, a=differences, b=[0.0] * len(differences))
    estimate = paired_difference(frame, "metric", "a", "b")
    p = p_value(estimate, margin, expect)
    assert 0 < p <= 1
    assert (p < 0.05) == (judge(estimate, margin, expect) is not Verdict.UNDECIDED)


@pytest.mark.parametrize("nudge", [1e-13, 1e-11, 1e-9, 1e-7, 1e-5])
@pytest.mark.parametrize("decided", [True, False])
def test_the_p_value_agrees_with_the_verdict_at_the_very_border(nudge, decided):
    estimate = mean(frame_of(a=FIRST), "metric", "a")
    margin = estimate.low * (1 - nudge if decided else 1 + nudge)
    assert (judge(estimate, margin, "increase") is Verdict.SUPPORTED) == decided
    assert (p_value(estimate, margin, "increase") < 0.05) == decided


def test_the_p_value_of_an_increase_is_that_of_the_t_test_against_the_margin():
    # The two-sided interval leaves α/2 on each side, so the one-sided p-value counts twice.
    estimate = mean(frame_of(a=FIRST), "metric", "a")
    for margin in (0.95, 0.975, 0.98):
        one_sided = stats.ttest_1samp(FIRST, margin, alternative="greater").pvalue
        assert p_value(estimate, margin, "increase") == pytest.approx(2 * one_sided, abs=1e-8)


def test_the_p_value_of_no_difference_is_that_of_two_one_sided_tests():
    differences, margin = [0.2, -0.1, 0.1, 0.0, 0.15], 0.3
    estimate = mean(frame_of(a=differences), "metric", "a")
    upper = stats.ttest_1samp(differences, margin, alternative="less").pvalue
    lower = stats.ttest_1samp(differences, -margin, alternative="greater").pvalue
    assert p_value(estimate, margin, "no difference") == pytest.approx(
        2 * max(upper, lower), abs=1e-8
    )


def test_p_values_at_both_ends():
    assert p_value(between(5, 5), 1, "increase") <= 1e-12
    assert p_value(between(-5, 5), 1, "increase") == 1.0


def test_false_discoveries_are_controlled_as_benjamini_and_yekutieli_say():
    # Benjamini and Hochberg, "Controlling the false discovery rate", Journal of the Royal
    # Statistical Society B 57, 289-300, 1995, section 3.2. Their procedure rejects the first four;
    # that of Benjamini and Yekutieli, at a rate lower by 1 + 1/2 + ... + 1/15, three of them.
    published = [
        0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262,
        0.5719, 0.6528, 0.7590, 1.0000,
    ]  # fmt: skip
    lower = 0.05 / sum(1 / number for number in range(1, 16))
    by_hand = [p <= (rank + 1) / 15 * lower for rank, p in enumerate(published)]
    assert by_hand == [True] * 3 + [False] * 12
    assert control_false_discoveries(published).tolist() == by_hand
    assert control_false_discoveries([]).tolist() == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0.01, 0.5))
@settings(deadline=None)
def test_false_discovery_control_keeps_no_more_than_the_single_verdicts(p_values, rate):
    stands = control_false_discoveries(p_values, rate)
    assert stands.tolist() == multipletests(p_values, rate, "fdr_by")[0].tolist()
    assert not np.any(stands & (np.array(p_values) > rate))


# Simulations: does a 95 % interval hold the truth 95 times in 100?


def coverage(draws, scale):
    """Say how often the interval holds 0 when the true difference is 0.

    One table is made and its values left aside: `paired_difference` looks at the sizes in it.
    """
    frame = frame_of(scale, a=[0.0])
    estimates = [_mean(differences, frame) for differences in draws]
    return np.mean([estimate.low <= 0 <= estimate.high for estimate in estimates])


@pytest.mark.parametrize("seeds", [3, 10])
def test_the_ordinary_interval_covers_independent_differences(seeds):
    rng = np.random.default_rng(1)
    # 95 % ± 4 standard errors of a simulation with 2,000 repeats.
    assert 0.93 <= coverage(rng.normal(size=(2_000, seeds)), "full") <= 0.97


@pytest.mark.parametrize("seeds", [3, 10])
def test_the_corrected_interval_covers_correlated_differences_and_the_ordinary_one_fails(seeds):
    # As correlated as Nadeau and Bengio assume of re-splits into 4,000 and 1,000 images.
    rho = 1_000 / (4_000 + 1_000)
    rng = np.random.default_rng(2)
    shared, own = rng.normal(size=(2_000, 1)), rng.normal(size=(2_000, seeds))
    draws = np.sqrt(rho) * shared + np.sqrt(1 - rho) * own
    assert 0.93 <= coverage(draws, "quick") <= 0.97
    # The plain statistic is Student's t, times what is missing under its root.
    reach = stats.t.ppf(0.975, seeds - 1) / np.sqrt(1 + seeds * rho / (1 - rho))
    failing = 1 - 2 * stats.t.sf(reach, seeds - 1)
    assert failing < (0.92 if seeds == 3 else 0.75)
    assert coverage(draws, "full") == pytest.approx(failing, abs=0.04)


def nearest_centroid_accuracy(x, y, train, test):
    """Train on some rows and say the accuracy on others."""
    center_0, center_1 = (x[train][y[train] == label].mean(axis=0) for label in (0, 1))
    direction = center_1 - center_0
    found = (x[test] - (center_0 + center_1) / 2) @ direction > 0
    return (found == y[test]).mean()


def test_the_corrected_interval_covers_real_re_splits_of_one_data_set():
    """Two classifiers that are equally good by symmetry, each on features of its own."""
    rng = np.random.default_rng(3)
    size, seeds, repeats = 250, 10, 400
    draws = np.empty((repeats, seeds))
    for repeat in range(repeats):
        y = rng.permutation(np.arange(size) % 2)
        x = rng.normal(size=(size, 10)) + 0.4 * y[:, None]
        for seed in range(seeds):
            order = rng.permutation(size)
            train, test = order[: size * 4 // 5], order[size * 4 // 5 :]
            first, second = (
                nearest_centroid_accuracy(x[:, columns], y, train, test)
                for columns in (slice(0, 5), slice(5, 10))
            )
            draws[repeat, seed] = first - second
    corrected, plain = coverage(draws, "quick"), coverage(draws, "full")
    print(f"coverage over {repeats} data sets: corrected {corrected:.3f}, plain {plain:.3f}")
    assert 0.92 <= corrected <= 0.99
    assert plain < 0.85
