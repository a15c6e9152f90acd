"""Intervals against scipy, paired comparisons against cases worked out by hand."""

import numpy as np
import pytest
import scipy.stats

from model.eval.compare import difference, multi_bootstrap, spread
from model.eval.intervals import Interval, percentiles, student, student_probability, student_quantile, wilson


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 10, 61, 200])
def test_students_distribution(freedom):
    for t in (0.0, 0.3, 1.0, 2.7, 40.0):
        expected = scipy.stats.t.cdf(t, freedom) - scipy.stats.t.cdf(-t, freedom)
        assert student_probability(t, freedom) == pytest.approx(expected, abs=1e-12)
    for confidence in (0.5, 0.95, 0.999):
        expected = scipy.stats.t.ppf(0.5 + confidence / 2, freedom)
        assert student_quantile(freedom, confidence) == pytest.approx(expected, rel=1e-9)


def test_students_interval_of_a_mean():
    values = [0.31, 0.42, 0.28, 0.35]
    low, high = scipy.stats.t.interval(0.95, 3, loc=np.mean(values), scale=scipy.stats.sem(values))
    found = student(values)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9)
    assert student([0.3]) is None
    with pytest.raises(ValueError, match="degree of freedom"):
        student_quantile(0)


@pytest.mark.parametrize(("successes", "trials"), [(0, 1), (0, 12), (12, 12), (1, 3), (50, 200), (999, 1000)])
def test_wilsons_interval(successes, trials):
    expected = scipy.stats.binomtest(successes, trials).proportion_ci(method="wilson")
    found = wilson(successes, trials)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_a_share_needs_a_trial():
    with pytest.raises(ValueError, match="0 of 0 is not a share"):
        wilson(0, 0)


def test_percentiles_and_what_excludes_zero():
    found = percentiles(np.arange(1001.0), 0.9)
    assert (found.low, found.high) == pytest.approx((50.0, 950.0))
    assert Interval(0.1, 0.2).excludes_zero and Interval(-0.2, -0.1).excludes_zero
    assert not Interval(-0.1, 0.1).excludes_zero and not Interval(0.0, 0.1).excludes_zero


def test_losses_are_weighted_by_tokens():
    tokens = np.array([10.0, 30.0])
    found = spread(np.array([[20.0, 30.0], [40.0, 30.0]]), tokens)
    assert found.by_seed == (50 / 40, 70 / 40) and found.mean == 1.5
    assert found.deviation == pytest.approx(np.std([1.25, 1.75], ddof=1))
    assert spread(np.array([[20.0, 30.0]]), tokens).deviation is None


def test_what_both_arms_share_cancels():
    draws = np.random.default_rng(3)
    tokens = draws.integers(5, 50, 40).astype(float)
    hard = draws.normal(100, 40, (1, 40)) + draws.normal(0, 30, (3, 1))  # of the documents, and of the seeds
    found = difference(hard - 0.25 * tokens, hard, tokens)
    assert found.by_seed == pytest.approx((-0.25, -0.25, -0.25))
    for interval in (found.over_seeds, found.over_both):
        assert (interval.low, interval.high) == pytest.approx((-0.25, -0.25))
    assert found.is_told
    assert not difference(hard, hard, tokens).is_told


def test_one_seed_has_documents_only():
    tokens = np.full(30, 10.0)
    worse = 20 + np.random.default_rng(1).normal(5, 1, (1, 30))
    found = difference(worse, np.full((1, 30), 20.0), tokens)
    assert found.over_seeds is None and found.over_both.low > 0 and not found.is_told


def test_the_bootstrap_knows_both_kinds_of_spread():
    """Differences a + b of a seed's and a document's part: the variance of the mean is var(a)/S + var(b)/D, each as
    much as drawing shows of it, (n - 1)/n."""
    draws = np.random.default_rng(11)
    seeds, documents = draws.normal(0, 0.05, 5), draws.normal(0, 0.4, 60)
    paired = seeds[:, None] + documents
    replicates = multi_bootstrap(paired, np.ones(60), 17, 20_000)
    assert replicates.mean() == pytest.approx(paired.mean(), abs=2e-3)
    assert replicates.std() == pytest.approx(np.sqrt(seeds.var() / 5 + documents.var() / 60), rel=0.03)
    assert (replicates == multi_bootstrap(paired, np.ones(60), 17, 20_000)).all()


def test_the_bootstrap_agrees_with_scipys_over_documents():
    values = np.random.default_rng(4).exponential(1.0, 80)
    found = difference(values[None], np.zeros((1, 80)), np.ones(80), replicates=9999).over_both
    expected = scipy.stats.bootstrap((values,), np.mean, method="percentile", rng=np.random.default_rng(1))
    assert found.low == pytest.approx(expected.confidence_interval.low, abs=0.02)
    assert found.high == pytest.approx(expected.confidence_interval.high, abs=0.02)


def test_what_cannot_be_paired_is_refused():
    with pytest.raises(ValueError, match="cannot be paired"):
        difference(np.ones((2, 3)), np.ones((3, 3)), np.ones(3))
    with pytest.raises(ValueError, match="cannot be paired"):
        difference(np.ones((2, 3)), np.ones((2, 3)), np.zeros(3))
