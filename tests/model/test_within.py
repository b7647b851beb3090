"""How noisy one run is, told by the run itself: visits, phases, and what it stood in line."""

from __future__ import annotations

import numpy as np
import pytest

from proftool.model.within import count_variance, over_dispersion, persistence, persistence_of, visit_variance


def test_counts_at_random_times_vary_as_counts_do() -> None:
    """A sampler with exponential gaps: the variance of a count is the count, within what 300 runs can tell."""
    rng = np.random.default_rng(4)
    said, counts = [], []
    for _ in range(300):
        times = np.cumsum(rng.exponential(1.0, 400))
        function = ((times[times < 300] % 10) < 4).astype(np.int32)
        fresh = np.diff(function, prepend=-1) != 0
        said.append(count_variance(function, fresh, 2)[1])
        counts.append(function.sum())
    assert 0.7 <= np.mean(said) / np.var(counts) <= 1.5


def test_counts_at_even_times_vary_only_at_the_ends_of_visits() -> None:
    """A sampler with even gaps over long visits knows their share far better than counts would."""
    function = (np.arange(1000) % 100 < 40).astype(np.int32)
    fresh = np.diff(function, prepend=-1) != 0
    assert count_variance(function, fresh, 2)[1] == 10  # visits, against 400 samples


def test_a_heavy_sample_at_a_return_tells_the_whole_visit() -> None:
    """Three visits of 70 ms and three of 10 to 30, whose ends are off by a millisecond: as sure as their lengths are alike."""
    ms = 1_000_000
    function = np.array([0, 1, 0, 1, 0, 1], np.int32)
    weight = np.array([70, 10, 70, 20, 70, 30], np.int64) * ms
    alike, different = visit_variance(function, np.ones(6, bool), weight, 2, ms) / ms**2
    assert alike == 3
    assert different == 3 * 100 + 3  # three times the variance of a length


def test_a_clump_is_one_event() -> None:
    """Forty samples in a row, all but four of them in line: the count may as well be four."""
    function = np.repeat(np.array([0, 1, 0], np.int32), (60, 40, 60))
    fresh = np.diff(function, prepend=-1) != 0
    assert count_variance(function, fresh, 2)[1] == 1
    assert count_variance(function, fresh, 2, in_line=0.9, clump=50)[1] == 0.9 * 40 * 40


def test_a_long_visit_stood_in_line_many_times() -> None:
    """Of 4,000 samples in one function half are in line, 50 at a time: forty clumps, known to within a seventh."""
    visit = np.zeros(4000, np.int32)
    assert count_variance(visit, np.arange(4000) == 0, 1, in_line=0.5, clump=50)[0] == 0.5 * 4000 * 50


def test_one_slow_phase_is_no_over_dispersion() -> None:
    """A program that does one thing first and another then has phases, not noise."""
    times = np.arange(2400, dtype=np.int64)
    assert over_dispersion(times, (times >= 1200).astype(np.int32)) == 1.0


@pytest.mark.parametrize(
    ("labels", "low", "high"),
    [([1] * 50, 1, 1), ([1, 2] * 25, 0, 0), ([1] * 25 + [2] * 25, 0.9, 1), ([1], 0, 0), ([1, 1, 2, 2, 3, 3] * 10, 0.2, 0.4)],
)
def test_persistence_is_what_is_beyond_chance(labels: list[int], low: float, high: float) -> None:
    """One stack for good is 1, a new one each time 0."""
    assert low - 1e-9 <= persistence(np.array(labels)) <= high


def test_persistence_of_a_function_is_against_the_chance_of_its_own_lane() -> None:
    """A lane of one function is as persistent as can be; two that are drawn anew in another lane are not, however rare they are in all."""
    random = np.random.default_rng(6)
    mixed = (random.random(4000) < 0.9).astype(np.int32)
    function = np.concatenate([mixed, np.full(4000, 2, np.int32)])
    lane = np.repeat(np.array([0, 1], np.int32), 4000)
    fresh = np.ones(8000, bool)
    fresh[1:] = (function[1:] != function[:-1]) | (lane[1:] != lane[:-1])
    found = persistence_of(function, lane, fresh, 4)
    assert found[:2] == pytest.approx([0, 0], abs=0.06)
    assert found[2] == 0  # it cannot be told from chance where it is all there is
    turns = np.tile(np.repeat(np.array([0, 1], np.int32), 20), 50)
    fresh = np.diff(turns, prepend=-1) != 0
    assert persistence_of(turns, np.zeros(2000, np.int32), fresh, 2) == pytest.approx([0.9, 0.9])
