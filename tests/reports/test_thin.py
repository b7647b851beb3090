"""reports/thin.py: fewer rows, the same sums."""

from __future__ import annotations

import numpy as np

from proftool.model.builder import ProfileBuilder
from proftool.model.check import checked
from proftool.model.meta import Meta
from proftool.model.profile import PEAK_BYTES, WALL_TIME, Profile, Status
from proftool.reports.thin import n_rows, thin


def long(n: int) -> Profile:
    """n samples of three stacks on two lanes, n intervals of which a third are never freed, n points of a counter."""
    b = ProfileBuilder((WALL_TIME, PEAK_BYTES), Meta(command=("x",)))
    lanes, nodes = [b.lane(), b.lane()], [b.stack([b.frame(b.function(name))]) for name in "abc"]
    for k in range(n):
        b.sample(k * 1000, lanes[k % 2], nodes[k * 7 % 3], 1000 + k % 5, Status.WAITING if k % 7 == 0 else Status.RUNNING)
        b.interval(nodes[k % 3], lanes[0], k * 1000, -1 if k % 3 == 0 else k * 1000 + 500_000, 8 + k % 64, 1)
        b.counter("resident_bytes", k * 1000, 1_000_000 + k * 37 % 5000)
    return b.build()


def test_a_thinned_timeline_holds_every_sum() -> None:
    """Time by node, lane and state; bytes and allocations by node; the highest value of a counter."""
    whole = long(30_000)
    small, step = thin(whole, 6_000)
    checked(small)
    assert n_rows(small) <= 6_000
    assert 1000 < step <= 30_000_000
    for column in ("node", "lane", "status"):
        sums = [np.bincount(getattr(p.samples, column), p.samples.weight).tolist() for p in (whole, small)]
        assert sums[0] == sums[1]
    for value in ("bytes", "count"):
        sums = [np.bincount(p.intervals.node, getattr(p.intervals, value)).tolist() for p in (whole, small)]
        assert sums[0] == sums[1]
    kept = [int(p.intervals.bytes[p.intervals.end_ns < 0].sum()) for p in (whole, small)]
    assert kept[0] == kept[1]
    assert whole.counters.value.max() == small.counters.value.max()


def test_the_time_of_a_row_is_wrong_by_less_than_a_step() -> None:
    """What happened until a moment is known to a step."""
    whole = long(10_000)
    small, step = thin(whole, 3_000)
    for moment in range(0, 10_000_000, 1_234_567):
        exact, low, high = (
            int(p.samples.weight[p.samples.time_ns <= t].sum()) for p, t in ((whole, moment), (small, moment - step), (small, moment))
        )
        assert low <= exact <= high


def test_a_timeline_that_fits_is_only_put_in_steps_once_asked() -> None:
    """Room for all rows: all rows."""
    whole = long(100)
    assert n_rows(thin(whole, 1000)[0]) == n_rows(whole) == 300
