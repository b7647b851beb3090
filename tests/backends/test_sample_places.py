"""When samples were taken, told by what their sampler read: placed within their spans, and each worth the time that passed there."""

from __future__ import annotations

import numpy as np
import pytest

from proftool.backends.reading.sample_places import blended, passed_ns, placed, taken
from proftool.model.within import persistence

MS = 1_000_000
TEN = np.arange(0, 101, 10) * MS
"""Looks at a tenth of a second."""
ONE = (np.array([0]), np.array([100 * MS]))
"""One thread, seen from first to last."""


def counted(*in_each: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """How many files were read by each look."""
    return np.cumsum([5, *in_each])


def test_samples_are_taken_where_their_sampler_read() -> None:
    """Two in the first 10 ms, none in 80, six in the last ten: evenly they would be 12 ms apart."""
    found = taken([(TEN, counted(2, 0, 0, 0, 0, 0, 0, 0, 0, 6))], *ONE, 8)
    assert found is not None
    places = placed(8, 0, 100 * MS, found)
    assert places.is_counted
    assert places.at_ns[:2] / MS == pytest.approx([2.5, 7.5])
    assert places.at_ns[2:] / MS == pytest.approx(90 + 10 * (np.arange(6) + 0.5) / 6)


def test_a_file_is_read_for_each_thread_that_there_is() -> None:
    """Three threads, two of them in the second half only: twelve reads there are four samples, as twelve of one were twelve."""
    firsts, lasts = np.array([0, 51, 51]) * MS, np.array([100, 100, 100]) * MS
    found = taken([(TEN, counted(2, 2, 2, 2, 2, 6, 6, 6, 6, 6))], firsts, lasts, 20)
    assert found is not None
    assert np.diff(found.count) == pytest.approx(np.full(10, 2.0))


def test_the_sampler_is_the_thread_whose_reads_fit() -> None:
    """py-spy's others read other files, and more of them; where none fits nothing is known."""
    search, sampler, idle = counted(*[90] * 10), counted(*[2] * 10), counted(*[0] * 10)
    found = taken([(TEN, search), (TEN, sampler), (TEN, idle)], *ONE, 19)
    assert found is not None
    assert found.count[-1] == 20
    assert taken([(TEN, search), (TEN, idle)], *ONE, 19) is None
    assert taken([], *ONE, 19) is None


def test_what_nobody_counted_lies_evenly() -> None:
    """As far off as the middle of a random walk, at the ends by a step."""
    places = placed(100, 0, 100 * MS, None)
    assert not places.is_counted
    assert places.at_ns / MS == pytest.approx(np.arange(100) + 0.5)
    assert places.off_ns(np.array([0.0, 50.0 * MS])) / MS == pytest.approx([1, 5])


def test_a_sample_stands_for_the_time_in_which_it_was_taken() -> None:
    """Four in 10 ms are 2.5 ms each, one in the next ten is all of them; an empty span is its neighbour's."""
    found = taken([(TEN, counted(4, 1, 0, 2, 2, 2, 2, 2, 2, 2))], *ONE, 19)
    assert found is not None
    places = placed(19, 0, 100 * MS, found)
    passed = passed_ns(places, np.arange(19), TEN, 1.0, 100 * MS)
    assert passed[:4] / MS == pytest.approx([2.5] * 4)
    assert passed[4] / MS in (pytest.approx(10), pytest.approx(20))
    assert passed.sum() == 100 * MS
    some = passed_ns(places, np.arange(4, 19), TEN, 1.0, 80 * MS)
    assert some.sum() == 80 * MS


def test_functions_that_take_turns_have_their_time_to_a_third_of_the_noise_of_counts() -> None:
    """Turns of 60 and 40 ms, sampled at random 200 times a second: what is shared out by looks against what is counted."""
    random, counts, shared = np.random.default_rng(3), list[float](), list[float]()
    looks = np.arange(0, 1001, 10) * MS
    for _ in range(200):
        at = np.sort(random.uniform(0, 1000 * MS, random.poisson(200))).astype(np.int64)
        is_first = at % (100 * MS) < 60 * MS
        found = taken([(looks, np.searchsorted(at, looks))], np.array([0]), looks[-1:], len(at))
        passed = passed_ns(placed(len(at), 0, 1000 * MS, found), np.arange(len(at)), looks, persistence(is_first.astype(np.int64)), 10**9)
        counts.append(is_first.mean())
        shared.append(passed[is_first].sum() / 1e9)
    assert np.mean(shared) == pytest.approx(0.6, abs=0.01)
    assert np.std(shared) < 0.55 * np.std(counts)


def test_functions_that_change_with_each_sample_have_no_more_noise_than_counts() -> None:
    """Drawn anew each time: short spans alone would add a quarter."""
    random, counts, shared, short = np.random.default_rng(4), list[float](), list[float](), list[float]()
    looks = np.arange(0, 1001, 10) * MS
    for _ in range(200):
        at = np.sort(random.uniform(0, 1000 * MS, random.poisson(200))).astype(np.int64)
        is_first = random.random(len(at)) < 0.6
        found = taken([(looks, np.searchsorted(at, looks))], np.array([0]), looks[-1:], len(at))
        places, label = placed(len(at), 0, 1000 * MS, found), is_first.astype(np.int64)
        for of, persistent in ((shared, persistence(label)), (short, 1.0)):
            of.append(passed_ns(places, np.arange(len(at)), looks, persistent, 10**9)[is_first].sum() / 1e9)
        counts.append(is_first.mean())
    assert np.std(shared) < 1.12 * np.std(counts) < np.std(short)


def test_a_blend_keeps_the_sum_to_the_unit() -> None:
    """However the parts are weighted."""
    random = np.random.default_rng(5)
    for _ in range(50):
        fine = random.integers(0, 10**7, 300)
        coarse = np.full(300, fine.sum() / 300)
        assert blended(fine, coarse, random.random()).sum() == fine.sum()
