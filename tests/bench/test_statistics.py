"""The paired statistics: against scipy as oracle, and by their promises on simulated pairs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from proftool.bench.statistics import (
    Verdict,
    alpha_spent,
    estimate,
    hodges_lehmann,
    holm,
    interval,
    judge,
    minimum_detectable,
    obvious,
    obvious_p,
    sign_flip_p,
    student_p,
)


@pytest.mark.parametrize("n", [5, 9, 12])
def test_sign_flip_p_is_the_exact_signed_rank_test(n: int) -> None:
    """Enumerating every sign pattern gives scipy's exact Wilcoxon p."""
    values = np.random.default_rng(n).normal(0.3, 1.0, n)
    assert sign_flip_p(values) == pytest.approx(stats.wilcoxon(values, method="exact").pvalue)


def test_sign_flip_p_of_many_pairs_is_near_the_exact_one_and_never_zero() -> None:
    """Beyond the enumerable, drawn patterns come near scipy's exact p; the smallest p is one over their number."""
    values = np.random.default_rng(3).normal(0.35, 1.0, 30)
    assert sign_flip_p(values) == pytest.approx(stats.wilcoxon(values, method="exact").pvalue, abs=0.02)
    assert 0 < sign_flip_p(np.linspace(1, 2, 30)) < 1e-3


def test_tied_pairs_share_their_ranks() -> None:
    """Equal differences neither crash nor count as evidence of their own."""
    assert sign_flip_p(np.array([1.0, 1.0, -1.0, -1.0])) == 1.0
    assert sign_flip_p(np.zeros(6)) == 1.0
    assert sign_flip_p(np.zeros(0)) == 1.0


def test_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Over 400 simulated measurements a 95 % interval misses the true shift in about 5 %."""
    rng = np.random.default_rng(11)
    missed = 0
    for _ in range(400):
        low, high = interval(rng.standard_t(3, 16) * 0.05 + 0.1)
        missed += not low <= 0.1 <= high
    # Binomial(400, 0.05): 99.9 % of draws lie in 8..36.
    assert 8 <= missed <= 36


def test_interval_of_few_pairs_is_their_whole_range() -> None:
    """Three pairs cannot give 95 %: nothing narrower than the range is claimed."""
    assert interval(np.array([0.1, 0.2, 0.4])) == (pytest.approx(0.1), pytest.approx(0.4))


def test_one_disturbed_pair_hardly_moves_the_estimate() -> None:
    """The Hodges–Lehmann shift of nine quiet pairs and one that met a busy machine stays near the quiet ones."""
    quiet = np.full(9, 0.02) + np.linspace(-0.002, 0.002, 9)
    assert hodges_lehmann(np.append(quiet, 3.0)) == pytest.approx(0.02, abs=0.003)


def test_holm_is_at_least_p_and_keeps_order() -> None:
    """Adjusted p are monotone, bounded by 1, and the smallest is multiplied by their number."""
    adjusted = holm(np.array([0.04, 0.001, 0.5]))
    assert adjusted == pytest.approx([0.08, 0.003, 0.5])


def test_alpha_is_spent_rising_and_whole_at_the_end() -> None:
    """Nothing is spent before the first pair, everything at the last, never more."""
    shares = [alpha_spent(share, 0.01) for share in (0, 0.1, 0.5, 1, 2)]
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert shares[-1] == pytest.approx(0.01)


def test_verdicts_need_significance_and_size() -> None:
    """A tiny certain effect is the same, a large certain one slower, a wide interval undecided."""
    rng = np.random.default_rng(5)
    tiny = estimate(np.log(1.002) + rng.normal(0, 1e-4, 12))
    large = estimate(np.log(1.2) + rng.normal(0, 0.01, 12))
    wide = estimate(rng.normal(0, 0.5, 12))
    assert judge(tiny, tiny.p, 0.01, 0.01) is Verdict.SAME
    assert judge(large, large.p, 0.01, 0.01) is Verdict.SLOWER
    assert judge(estimate(-np.log(1.2) + rng.normal(0, 0.01, 12)), 0.001, 0.01, 0.01) is Verdict.FASTER
    assert judge(wide, wide.p, 0.01, 0.01) is Verdict.INCONCLUSIVE


def test_minimum_detectable_shrinks_with_pairs() -> None:
    """Four times the pairs halve the effect that would have been found."""
    noise = np.random.default_rng(2).normal(0, 0.05, 400)
    assert minimum_detectable(noise[:100], 0.01) == pytest.approx(2 * minimum_detectable(noise, 0.01), rel=0.35)
    assert minimum_detectable(noise[:1], 0.01) == float("inf")


def test_one_disturbed_pair_does_not_hide_what_is_obvious() -> None:
    """Five pairs at +60 % and one far off decide; a pair of the other sign, two far off, or a small change do not."""
    clear = [0.46, 0.47, 0.48, 0.47, 0.46]
    assert obvious(np.array([*clear, 0.95])) is Verdict.SLOWER
    assert obvious(-np.array([*clear, 0.95])) is Verdict.FASTER
    assert obvious(np.array([*clear, -0.02])) is Verdict.INCONCLUSIVE
    assert obvious(np.array([*clear[:4], 0.95, 0.9])) is Verdict.INCONCLUSIVE
    assert obvious(np.array(clear[:4])) is Verdict.INCONCLUSIVE
    assert obvious(np.array(clear * 3)) is Verdict.SLOWER
    assert obvious(np.array([0.08, 0.081, 0.079, 0.08, 0.08, 0.08])) is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("n_pairs", [5, 6])
def test_what_is_obvious_is_hardly_ever_seen_in_pairs_of_one_program(n_pairs: int) -> None:
    """Of 80,000 draws of equals, whose pairs vary by a quarter or have heavy tails, at most ten pass (their own p: 2.4e-5)."""
    rng = np.random.default_rng(0)
    for values in (rng.normal(0, 0.25, (40_000, n_pairs)), rng.standard_t(2, (40_000, n_pairs)) * 0.1):
        assert sum(obvious(row) is not Verdict.INCONCLUSIVE for row in values if (row > 0).all() or (row < 0).all()) <= 5


@pytest.mark.parametrize(("t", "freedom"), [(22.0, 4), (-77.0, 3), (15.0, 5), (0.3, 1), (2.5, 2), (1.1, 11)])
def test_student_p_is_that_of_the_distribution(t: float, freedom: int) -> None:
    """Two-sided p by the finite series is scipy's."""
    assert student_p(t, freedom) == pytest.approx(2 * stats.t.sf(abs(t), freedom), rel=1e-6)


@pytest.mark.parametrize("n_pairs", [5, 6])
def test_the_p_of_what_is_obvious_is_that_of_its_rule(n_pairs: int) -> None:
    """Whatever passes has a p of about 1e-4 at most, where the sign-flip p of so few pairs is 0.03 or more."""
    passed = [row for row in np.random.default_rng(1).normal(0.5, 0.03, (2000, n_pairs)) if obvious(row) is not Verdict.INCONCLUSIVE]
    assert len(passed) > 100
    assert max(obvious_p(row) for row in passed) < 1.1e-4
    assert min(sign_flip_p(row) for row in passed) > 0.03
    assert obvious_p(np.array([0.2, 0.1, 0.3, 0.2, 0.1, 0.2][:n_pairs])) > 1e-3
