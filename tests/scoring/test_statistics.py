"""Each number against a published value, scipy or statsmodels, or a count by hand.

Both are imported where they are asked: every process of `make test` reads this file, and one runs it.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cai.scoring import statistics as s


@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
@settings(max_examples=60, deadline=None)
def test_wilson_equals_statsmodels(case: tuple[int, int]) -> None:
    from statsmodels.stats.proportion import proportion_confint

    assert s.wilson(*case) == pytest.approx(proportion_confint(*case, method="wilson"), abs=1e-9)


def test_wilson_gives_the_seed_papers_intervals_and_the_rule_for_zero() -> None:
    assert s.wilson(213, 300) == pytest.approx((0.656, 0.758), abs=5e-4)
    assert s.wilson(126, 300) == pytest.approx((0.366, 0.477), abs=1e-3)
    assert s.wilson(0, 80)[1] == pytest.approx(0.046, abs=5e-4)
    assert s.wilson(0, 300)[1] == pytest.approx(0.0126, abs=5e-4)
    with pytest.raises(ValueError, match="0 of 0"):
        s.wilson(0, 0)


@given(st.integers(0, 200), st.integers(0, 200))
@settings(max_examples=60, deadline=None)
def test_exact_mcnemar_equals_statsmodels(b: int, c: int) -> None:
    from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar

    expected = reference_mcnemar([[0, b], [c, 0]], exact=True).pvalue if b + c else 1.0
    assert s.mcnemar(b, c) == pytest.approx(min(1.0, expected), rel=1e-9)


def test_mcnemar_stays_finite_for_thousands_of_pairs() -> None:
    import scipy.stats

    assert s.mcnemar(1000, 1200) == pytest.approx(scipy.stats.binomtest(1000, 2200).pvalue, rel=1e-6)


def test_the_exact_permutation_test_counts_every_sign() -> None:
    differences = [0.5, -1.0, 2.0, 3.5, -0.25, 1.0]
    observed = abs(sum(differences))
    hits = [
        abs(sum(x * sign for x, sign in zip(differences, signs, strict=True))) >= observed - 1e-12
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    assert s.paired_permutation(differences) == pytest.approx(sum(hits) / len(hits))
    assert s.paired_permutation([0.0, 0.0]) == 1.0
    assert s.paired_permutation([*differences, 0.0, 0.0]) == s.paired_permutation(differences)


def test_the_sampled_permutation_test_agrees_with_scipy_and_is_never_zero() -> None:
    import scipy.stats

    rng = np.random.default_rng(5)
    differences = rng.normal(0.35, 1.0, 60)
    expected = scipy.stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=20_000, rng=np.random.default_rng(1)
    ).pvalue
    assert s.paired_permutation(differences.tolist()) == pytest.approx(expected, abs=0.006)
    assert s.paired_permutation([1.0] * 60) == pytest.approx(1 / 10_001)
    assert s.paired_permutation(differences.tolist(), seed=3) == s.paired_permutation(differences.tolist(), seed=3)


def adjusted(p_values: list[float]) -> list[float | None]:
    return list(s.holm({str(i): p for i, p in enumerate(p_values)}).values())


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
@settings(max_examples=40, deadline=None)
def test_holm_rejects_exactly_what_stepping_down_rejects(p_values: list[float]) -> None:
    """By Holm's own procedure: compare the k-th smallest with level / (n - k), and stop at the first that is larger."""
    for level in (0.01, 0.05, 0.3):
        rejected: set[int] = set()
        for k, (p, at) in enumerate(sorted((p, at) for at, p in enumerate(p_values))):
            if p * (len(p_values) - k) > level:
                break
            rejected.add(at)
        assert {at for at, p in enumerate(adjusted(p_values)) if p is not None and p <= level} == rejected


# Few cases: statsmodels takes a tenth of a second for each.
@pytest.mark.parametrize("p_values", [[0.4], [0.01, 0.04, 0.03, 0.005], [0.02, 0.02, 0.9, 0.0, 0.3], [1.0, 0.6, 0.6]])
def test_holm_equals_statsmodels(p_values: list[float]) -> None:
    from statsmodels.stats.multitest import multipletests

    assert adjusted(p_values) == pytest.approx(multipletests(p_values, method="holm")[1].tolist())


def test_holm_does_not_count_a_missing_measure() -> None:
    assert s.holm({"a": 0.02, "b": None}) == {"a": 0.02, "b": None}


def test_the_bootstrap_interval_agrees_with_scipy() -> None:
    import scipy.stats

    values = np.random.default_rng(2).gamma(2.0, 2.0, 120)
    ours = s.mean(values.tolist())
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=10_000, rng=1
    ).confidence_interval
    assert ours.value == pytest.approx(values.mean())
    assert ours.interval == pytest.approx((theirs.low, theirs.high), abs=0.06)


def test_a_cluster_counts_once_however_many_rows_it_has() -> None:
    values = [1.0] * 50 + [5.0, 9.0]
    clusters = ["talkative"] * 50 + ["a", "b"]
    found = s.mean(values, clusters)
    assert (found.value, found.n) == (5.0, 3)
    rows_as_if_independent = s.mean(values)
    assert rows_as_if_independent.interval is not None
    assert found.interval is not None
    wide = found.interval[1] - found.interval[0]
    assert wide > 2 * (rows_as_if_independent.interval[1] - rows_as_if_independent.interval[0])


def test_units_that_are_all_alike_have_an_interval_with_a_width() -> None:
    from statsmodels.stats.proportion import proportion_confint

    for value in (0.0, 1.0):
        found = s.mean([value] * 32, list(range(32)), unit="share")
        assert found.interval == pytest.approx(proportion_confint(int(32 * value), 32, method="wilson"), abs=1e-9)
    same = {str(i): float(i % 2) for i in range(32)}
    found = s.paired_difference(same, same, binary=True, unit="share").difference
    upper = proportion_confint(0, 32, method="wilson")[1]
    assert found.interval == pytest.approx((-upper, upper))
    none, every = {str(i): 0.0 for i in range(32)}, {str(i): 1.0 for i in range(32)}
    fall = s.paired_difference(every, none, binary=True, unit="share").difference
    assert fall.interval == pytest.approx((-1.0, -(1 - upper)))
    # A score that never varies is no share: nothing is known of its spread.
    assert s.mean([6.0] * 32).interval == (6.0, 6.0)


def test_missing_values_are_counted_and_never_a_number() -> None:
    found = s.mean([None, None, 4.0, None], ["q1", "q1", "q2", "q2"])
    assert (found.value, found.n, found.n_missing) == (4.0, 1, 1)
    nothing = s.mean([None], unit="score")
    assert nothing.value is None
    assert nothing.reason == "no row to measure"
    assert nothing.n_missing == 1
    assert s.share([None, None]).as_dict()["value"] is None


def test_a_measure_without_value_needs_a_reason_and_the_reverse() -> None:
    with pytest.raises(ValueError, match="a value or a reason"):
        s.Measure(None, 0)
    with pytest.raises(ValueError, match="a value or a reason"):
        s.Measure(0.5, 2, reason="why")
    with pytest.raises(ValueError, match="finite"):
        s.Measure(float("nan"), 2)


def test_the_bootstrap_is_the_same_for_the_same_seed_and_in_chunks() -> None:
    values = np.arange(50.0)
    first = s.bootstrap_means(values, draws=500, seed=7)
    assert np.array_equal(first, s.bootstrap_means(values, draws=500, seed=7))
    assert not np.array_equal(first, s.bootstrap_means(values, draws=500, seed=8))
    assert s.bootstrap_means(np.column_stack([values, values]), draws=100).shape == (100, 2)


@pytest.mark.parametrize(("discordant", "pairs"), [(0.12, 92), (0.15, 116), (0.20, 155), (0.30, 234), (0.40, 312)])
def test_pairs_needed_for_ten_points_are_the_published_ones(discordant: float, pairs: int) -> None:
    assert s.n_paired(0.10, discordant) == pairs


@pytest.mark.parametrize(
    ("first", "second", "n"), [(0.71, 0.61, 352), (0.55, 0.45, 392), (0.42, 0.32, 365), (0.02, 0.12, 102)]
)
def test_prompts_per_arm_are_the_published_ones(first: float, second: float, n: int) -> None:
    assert s.n_unpaired(first, second) == n


def test_the_detectable_difference_inverts_the_sample_size() -> None:
    assert s.detectable_paired(300, 0.30) == pytest.approx(0.088, abs=5e-4)
    assert s.detectable_paired(300, 0.20) == pytest.approx(0.072, abs=5e-4)
    assert s.detectable_paired(80, 0.30) == pytest.approx(0.17, abs=5e-3)
    assert s.detectable_mean(80, 2.59) == pytest.approx(0.81, abs=5e-3)
    gap = s.detectable_unpaired(352, 0.71)
    assert gap == pytest.approx(0.10, abs=1e-3)
    assert s.detectable_paired(5, 0.1) is None
    assert s.detectable_unpaired(3, 0.5) is None


def test_a_paired_difference_reports_what_disagreed_and_what_was_lost() -> None:
    a = {f"p{i}": float(i < 6) for i in range(40)} | {"only_a": 1.0, "lost": None}
    b = {f"p{i}": 0.0 for i in range(40)} | {"lost": 1.0}
    found = s.paired_difference(a, b, binary=True, unit="share")
    assert found.difference.value == pytest.approx(-0.15)
    assert (found.difference.n, found.difference.n_missing) == (40, 2)
    assert (found.n_only_a, found.n_only_b, found.p_value) == (6, 0, 0.03125)
    assert found.difference.interval is not None
    assert found.difference.interval[1] < 0


def test_krippendorff_gives_the_published_values() -> None:
    # Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", section C: four observers, twelve units.
    n = None
    ratings = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, n, n, n],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, n, 3],
        [n, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, n],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, n],
    ]
    assert s.krippendorff_alpha(ratings, "nominal") == pytest.approx(0.743, abs=5e-4)
    assert s.krippendorff_alpha(ratings, "ordinal") == pytest.approx(0.815, abs=5e-4)
    assert s.krippendorff_alpha(ratings, "interval") == pytest.approx(0.849, abs=5e-4)
    assert s.krippendorff_alpha([[1, 1], [1, 1]]) is None


def test_rogan_gladen_corrects_the_published_example_and_stays_within_bounds() -> None:
    # Apparent .71 and .42 under sensitivity .95, specificity .85 become .70 and .34.
    found = s.rogan_gladen(71, 100, true_positive=95, n_positive=100, true_negative=85, n_negative=100)
    assert found.value == pytest.approx(0.70, abs=0.005)
    low = s.rogan_gladen(42, 100, true_positive=95, n_positive=100, true_negative=85, n_negative=100)
    assert low.value == pytest.approx(0.3375)
    assert low.interval is not None
    assert low.interval[0] < s.wilson(34, 100)[0] + 0.02
    assert s.rogan_gladen(1, 100, true_positive=9, n_positive=10, true_negative=8, n_negative=10).value == 0.0
    assert s.rogan_gladen(5, 9, true_positive=5, n_positive=10, true_negative=5, n_negative=10).value is None
    assert s.rogan_gladen(5, 9, true_positive=0, n_positive=0, true_negative=5, n_negative=10).value is None


def test_the_interval_does_not_depend_on_whether_resamples_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    units = np.array([0.0, 1.0, 4.0, 2.5, 0.25, 7.0])
    kept = s.bootstrap_means(units, draws=500, seed=3)
    monkeypatch.setattr(s, "_CELLS", 600)
    assert s.bootstrap_means(units, draws=500, seed=3) == pytest.approx(kept)
