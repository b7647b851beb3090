"""What is read of stored series is what the service would have read of itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from proftool.contracts_telemetry import Series
from proftool.telemetry.windows import History, Reading
from proftool.workflows.readings import readings

S = 1_000_000_000
UNKNOWN = np.nan
ONE = Series(
    service="shop",
    name="took",
    kind="histogram",
    unit="s",
    labels=(),
    edges=(0.1,),
    times_ns=(10 * S, 20 * S, 30 * S, 40 * S),
    numbers=np.array([1.0, UNKNOWN, UNKNOWN, 4.0]),
    grown=np.array([(2, 0), (0, 0), (0, 0), (3, 1)]),
)
FAILED = replace(
    ONE,
    labels=(("http.response.status_code", "500"),),
    numbers=np.array([UNKNOWN, UNKNOWN, UNKNOWN, 0.5]),
    grown=np.array([(0, 0), (0, 0), (0, 0), (0, 5)]),
)


def test_a_stretch_begins_with_what_was_known_before_it() -> None:
    """So that the first step after a gap is a window of its own; a step of which nothing is known is none."""
    found = readings([ONE, FAILED])
    assert found.bounds == (0.1,)
    assert found.readings == (
        Reading(0.0, 0.0, (0, 0), 0),
        Reading(10.0, 1.0, (2, 0), 0),
        Reading(30.0, 1.0, (2, 0), 0),
        Reading(40.0, 5.5, (5, 6), 5),
    )


def test_a_gauge_is_what_it_was_and_never_a_sum_over_time() -> None:
    """Of the lines that are known; no reading of the time before."""
    gauge = replace(ONE, kind="gauge", edges=(), grown=np.zeros((4, 0), int))
    found = readings([gauge, replace(gauge, numbers=np.array([2.0, UNKNOWN, UNKNOWN, UNKNOWN]))])
    assert found.readings == (Reading(10.0, 3.0, (), 0), Reading(40.0, 4.0, (), 0))


def test_buckets_that_differ_are_left_to_those_that_hold_most() -> None:
    """Of a service whose processes were measured in two ways."""
    other = replace(ONE, edges=(0.1, 1.0), grown=np.array([(9, 9, 9), (0, 0, 0), (0, 0, 0), (1, 1, 1)]),
                    numbers=np.array([1.0, UNKNOWN, UNKNOWN, 1.0]))  # fmt: skip
    found = readings([ONE, other])
    assert found.bounds == (0.1, 1.0)
    assert found.readings[-1] == Reading(40.0, 7.0, (10, 10, 10), 0)


def test_nothing_is_no_reading() -> None:
    """Nor is a series without steps of which something is known."""
    assert readings([]).readings == ()
    assert readings([replace(ONE, numbers=np.full(4, UNKNOWN), grown=np.zeros((4, 2), int))]).readings == ()


def test_a_service_that_began_anew_with_other_buckets_counts_from_zero() -> None:
    """A window between readings that cannot be subtracted is of the newer one alone."""
    history = History(60.0)
    history.add(Reading(0.0, 5.0, (9, 9), 3), (0.1,))
    history.add(Reading(10.0, 7.0, (1, 2, 30), 1), (0.1, 1.0))
    window = history.window(60.0)
    assert window is not None
    assert (window.value, window.counts, window.failed) == (7.0, (1, 2, 30), 1)
