"""The statistics against an oracle and against their own promises."""

from __future__ import annotations

import numpy as np
import pytest
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
    found = s.compare_runs(values, 5)
    oracle = stats.permutation_test((values[0, 5:], values[0, :5]), lambda a, b: a.mean() - b.mean(), n_resamples=10_000)
    # |Δ| orders the splits of one function exactly as t does.
    assert np.isclose(found.q[0], oracle.pvalue)


MEAN = np.array([40.0, 25, 20, 15])


def seen_in(values: np.ndarray, *, shift: float = 0.0, sd: float = 0.35, noise: float = 1e-4) -> s.Witness:
    """The witness of two sides of one run."""
    return s.witness(values, 1, np.ones(len(values), bool), noise, shift, sd)


def test_the_function_that_changed_is_no_witness() -> None:
    """What all others do is the machine; what one does alone is its own."""
    values = np.stack([MEAN, MEAN * 1.2], axis=1)
    values[0, 1] *= 1.5
    seen = seen_in(values)
    assert np.isclose(seen.together, np.log(1.2))
    assert (seen.weight > 0.99).all()
    corrected, _ = s.relative(values, seen)
    assert np.allclose(corrected[1:, 0], corrected[1:, 1], rtol=0.02)
    assert corrected[0, 1] - corrected[0, 0] == pytest.approx(0.5 * MEAN[0], rel=0.15)


def test_a_function_that_one_side_lacks_has_no_say() -> None:
    """What is new or gone tells of the program and not of the machine."""
    values = np.stack([MEAN, MEAN * 1.2], axis=1)
    values[1, 0] = 0.0
    assert np.isclose(seen_in(values).together, np.log(1.2))


@pytest.mark.parametrize("factor", [1.65, 1 / 1.65])
def test_a_machine_as_slow_as_machines_get_is_believed(factor: float) -> None:
    """Measured: a shared processor ran 1.65 times slower for minutes."""
    seen = seen_in(np.stack([MEAN, MEAN * factor], axis=1))
    assert seen.together == pytest.approx(np.log(factor))
    assert (seen.weight > 0.9).all()


@pytest.mark.parametrize("factor", [3.0, 1 / 3])
def test_what_moves_further_than_any_machine_is_the_program(factor: float) -> None:
    """Where the rest of a program is three times slower and no probe says so, it is not taken for the machine."""
    seen = seen_in(np.stack([MEAN, MEAN * factor], axis=1))
    assert seen.together == 0.0
    assert (seen.weight == 0).all()


def test_a_probe_that_says_so_is_believed_beyond_that() -> None:
    """Three times slower by the functions and by the probe: that is the machine."""
    seen = seen_in(np.stack([MEAN, MEAN * 3], axis=1), shift=float(np.log(2.5)), sd=0.1)
    assert seen.together == pytest.approx(np.log(3))


def test_one_function_with_nearly_all_time_is_judged_by_the_probe() -> None:
    """Two percent of the time are no witness for the other 98."""
    values = np.stack([np.array([98.0, 2]), np.array([130.0, 2])], axis=1)
    assert seen_in(values, sd=0.05).weight[0] == 0.0


def test_a_dense_sampler_is_believed_more_than_the_probe() -> None:
    """The fewer samples a share rests on, the more the probe has to say."""
    values = np.stack([MEAN, MEAN], axis=1)
    dense, sparse = seen_in(values, sd=0.05, noise=1e-4), seen_in(values, sd=0.05, noise=1e-2)
    assert (dense.weight > 0.8).all()
    assert (sparse.weight == 0).all()


def test_p_of_the_largest_of_several_students_t_is_scipys() -> None:
    """The normal approximation of Student's t is good to a few percent where it decides."""
    t = np.array([2.0, 3.0, 4.0])
    oracle = 1 - (1 - 2 * stats.t.sf(t, 16)) ** 6
    assert np.allclose(s.family_p(t, 16, 6), oracle, rtol=0.03)


def test_intervals_cover_the_truth() -> None:
    """95 % intervals by bootstrap hold the true difference about that often, as scipy's do."""
    rng = np.random.default_rng(3)
    values = np.concatenate([rng.normal(100, 3, (400, 6)), rng.normal(104, 3, (400, 6))], axis=1)
    found = s.compare_runs(values, 6)
    covered = np.mean((found.low <= 4) & (found.high >= 4))
    assert 0.90 <= covered <= 0.99


def test_intervals_are_as_wide_as_scipys_bootstrap() -> None:
    """With many runs a side, where both agree, the width is that of scipy's BCa interval."""
    rng = np.random.default_rng(5)
    base, new = rng.normal(100, 3, 60), rng.normal(104, 3, 60)
    found = s.compare_runs(np.concatenate([base, new])[None], 60)
    oracle = stats.bootstrap((new, base), lambda a, b, axis: a.mean(axis=axis) - b.mean(axis=axis), rng=rng, n_resamples=2000)
    width = oracle.confidence_interval.high - oracle.confidence_interval.low
    assert np.isclose(found.high[0] - found.low[0], width, rtol=0.15)


def test_family_wise_error_is_held_for_independent_noise() -> None:
    """Sixty functions, five runs a side, 200 experiments: the largest q falls below 5 % about that often."""
    rng = np.random.default_rng(6)
    alarms = [s.compare_runs(rng.normal(100, 3, (60, 10)), 5).q.min() <= 0.05 for _ in range(200)]
    assert sum(alarms) <= 18  # binomial(200, 0.05): 18 or fewer in 99.3 %
