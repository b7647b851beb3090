"""The statistics against an oracle and against their own promises."""

from __future__ import annotations

import numpy as np
from scipy import stats

from proftool.model import significance as s


def test_statistic_without_shrinkage_is_students() -> None:
    """With a prior as large as the pooled variance, t is Student's t of scipy."""
    rng = np.random.default_rng(1)
    values = rng.normal(10, 1, (6, 11))
    labels = np.arange(11)[None] >= 5
    base, new = values[:, :5], values[:, 5:]
    pooled = (base.var(axis=1, ddof=1) * 4 + new.var(axis=1, ddof=1) * 5) / 9
    delta, se = s.statistics(values, labels, pooled)
    assert np.allclose(delta[0] / se[0], stats.ttest_ind(new, base, axis=1).statistic)


def test_every_relabelling_is_there_once() -> None:
    """Five against five has 252 splits, the one at hand first."""
    labels = s.splits(5, 5, 0)
    assert labels.shape == (252, 10)
    assert labels[0].tolist() == [False] * 5 + [True] * 5
    assert len({tuple(row) for row in labels.tolist()}) == 252
    assert (labels.sum(axis=1) == 5).all()


def test_relabellings_of_many_runs_are_drawn_by_seed() -> None:
    """Twenty against twenty are drawn, alike for the same seed."""
    assert np.array_equal(s.splits(20, 20, 3), s.splits(20, 20, 3))
    assert not np.array_equal(s.splits(20, 20, 3), s.splits(20, 20, 4))


def test_p_of_one_function_is_scipys_permutation_test() -> None:
    """max-T over one function is the permutation test of its own statistic."""
    rng = np.random.default_rng(2)
    values = np.concatenate([rng.normal(10, 1, 5), rng.normal(11.5, 1, 5)])[None]
    found = s.compare_runs(values, 5, factor=np.ones((1, 10)))
    oracle = stats.permutation_test((values[0, 5:], values[0, :5]), lambda a, b: a.mean() - b.mean(), n_resamples=10_000)
    # |Δ| orders the splits of one function exactly as t does.
    assert np.isclose(found.q[0], oracle.pvalue)


def test_common_factor_leaves_the_function_itself_out() -> None:
    """What all others do is the machine; what one does alone is its own."""
    mean = np.array([40.0, 25, 20, 15])
    values = np.stack([mean, mean * 1.2], axis=1)
    values[0, 1] *= 1.5
    factor = s.common_factor(values)
    ratio = factor[:, 1] / factor[:, 0]
    assert np.allclose(ratio[0], 1.2)
    assert np.allclose(ratio[1:], 1.2)


def test_intervals_cover_the_truth() -> None:
    """95 % intervals by bootstrap hold the true difference about that often, as scipy's do."""
    rng = np.random.default_rng(3)
    values = np.concatenate([rng.normal(100, 3, (400, 6)), rng.normal(104, 3, (400, 6))], axis=1)
    found = s.compare_runs(values, 6, factor=np.ones(values.shape))
    covered = np.mean((found.low <= 4) & (found.high >= 4))
    assert 0.90 <= covered <= 0.99


def test_intervals_are_as_wide_as_scipys_bootstrap() -> None:
    """With many runs a side, where both agree, the width is that of scipy's BCa interval."""
    rng = np.random.default_rng(5)
    base, new = rng.normal(100, 3, 60), rng.normal(104, 3, 60)
    found = s.compare_runs(np.concatenate([base, new])[None], 60, factor=np.ones((1, 120)))
    oracle = stats.bootstrap((new, base), lambda a, b, axis: a.mean(axis=axis) - b.mean(axis=axis), rng=rng, n_resamples=2000)
    width = oracle.confidence_interval.high - oracle.confidence_interval.low
    assert np.isclose(found.high[0] - found.low[0], width, rtol=0.15)


def test_family_wise_error_is_held_for_independent_noise() -> None:
    """Sixty functions, five runs a side, 200 experiments: the largest q falls below 5 % about that often."""
    rng = np.random.default_rng(6)
    alarms = [s.compare_runs(rng.normal(100, 3, (60, 10)), 5, factor=np.ones((60, 10))).q.min() <= 0.05 for _ in range(200)]
    assert sum(alarms) <= 18  # binomial(200, 0.05): 18 or fewer in 99.3 %
