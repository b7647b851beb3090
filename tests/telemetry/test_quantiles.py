"""Quantiles of buckets agree with the sum beside them, and are what is known where more is known."""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proftool.telemetry.metrics import SECONDS
from proftool.telemetry.quantiles import quantile, quantiles

QS = (0.0, 0.5, 0.9, 0.95, 0.99, 1.0)


def bucketed(values: list[float]) -> tuple[int, ...]:
    counts = [0] * (len(SECONDS) + 1)
    for value in values:
        counts[bisect_left(SECONDS, value)] += 1
    return tuple(counts)


def test_one_measurement_is_its_sum() -> None:
    """Whatever is asked of it."""
    assert quantiles(SECONDS, bucketed([0.000459]), 0.000459, QS) == [pytest.approx(0.000459)] * len(QS)


def test_measurements_in_one_bucket_have_their_mean() -> None:
    """Half of the bucket's width is linear; a tenth is nearly exponential, whose quantiles are known."""
    counts = (1000, *[0] * len(SECONDS))
    assert quantiles(SECONDS, counts, 2.5, (0.5, 0.99)) == [pytest.approx(0.0025, rel=1e-3), pytest.approx(0.00495, rel=1e-3)]
    assert quantile(SECONDS, counts, 0.25, 0.5) == pytest.approx(0.00025 * math.log(2), rel=1e-3)
    assert quantile(SECONDS, counts, 4.75, 0.5) == pytest.approx(0.005 - 0.00025 * math.log(2), rel=1e-3)


@pytest.mark.parametrize("total", [None, math.nan, 0.0, 1e9, -1.0])
def test_without_a_sum_that_can_be_it_is_linear(total: float | None) -> None:
    """As Prometheus does it: a foreign histogram may have none."""
    assert quantile((1.0, 2.0), (10, 30, 0), None if total == 0.0 else total, 0.5) == pytest.approx(1 + 1 / 3)


def test_what_is_above_the_last_bound_is_given_as_that() -> None:
    """And takes of the sum at least so much."""
    assert quantiles((1.0, 2.0), (1, 0, 9), 300.0, (0.05, 0.5)) == [0.5, 2.0]
    assert quantile((1.0, 2.0), (10, 0, 1), 3.0, 1.0 / 11) == pytest.approx(0.1, abs=0.1)
    assert quantile((1.0,), (0, 0), 0.0, 0.5) is None


values = st.lists(st.floats(1e-6, 30.0), min_size=1, max_size=60)


@given(values)
def test_no_quantile_contradicts_count_and_sum(measured: list[float]) -> None:
    """In order, in their bucket, and not above what Markov's inequality leaves of the sum."""
    total = math.fsum(measured)
    found = quantiles(SECONDS, bucketed(measured), total, QS)
    assert None not in found
    numbers = [one for one in found if one is not None]
    assert all(a <= b * (1 + 1e-9) for a, b in pairwise(numbers))
    mean = total / len(measured)
    for q, value in zip(QS[:-1], numbers, strict=False):
        assert value <= mean / (1 - q) * (1 + 1e-6)


def test_it_is_nearer_than_lines_are() -> None:
    """Of a quick service, most of whose requests are in the first bucket."""
    drawn = random.Random(7)
    measured = sorted(drawn.lognormvariate(math.log(0.0005), 0.5) for _ in range(10_000))
    counts, total = bucketed(measured), math.fsum(measured)
    true = measured[5000]
    known, line = quantile(SECONDS, counts, total, 0.5), quantile(SECONDS, counts, None, 0.5)
    assert known is not None
    assert line is not None
    assert abs(known - true) < 0.3 * true < abs(line - true)
