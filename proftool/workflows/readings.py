"""Stored series as a service would have read them of itself: cumulative sums at the end of each step of which something is known.

A stretch that begins after a gap has a reading at its begin too: what was counted in its first step was counted since then, and a window
has two ends. Series whose buckets differ count with those that hold most requests alone, as everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from proftool.telemetry.windows import Reading
from proftool.workflows.requests import is_failed

if TYPE_CHECKING:
    from proftool.contracts_telemetry import Series

NOTHING = float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """Of one metric, oldest first."""

    readings: tuple[Reading, ...]
    bounds: tuple[float, ...]
    """Of the buckets."""


def readings(series: Sequence[Series]) -> Readings:
    """All series summed; they have the same steps."""
    import numpy as np

    if not series:
        return Readings(readings=(), bounds=())
    times_ns = series[0].times_ns
    values = np.array([[NOTHING if value is None else value for value in one.values] for one in series], np.float64)
    known = ~np.isnan(values).all(axis=0)
    is_gauge = all(one.kind == "gauge" for one in series)
    sums = np.nansum(values, axis=0)
    edges = most_counted(series)
    grown = np.zeros((len(times_ns), len(edges) + 1 if edges else 0), np.int64)
    failed = np.zeros(len(times_ns), np.int64)
    none = (0,) * grown.shape[1]
    for one in series:
        if edges and one.edges == edges:
            counts = np.array([none if row is None else row for row in one.counts], np.int64)
            grown += counts
            failed += counts.sum(axis=1) * is_failed(one)
    if not is_gauge:
        sums, grown, failed = sums.cumsum(), grown.cumsum(axis=0), failed.cumsum()
    rows = list(zip(times_ns, known.tolist(), sums.tolist(), map(tuple, grown.tolist()), failed.tolist(), strict=True))
    found: list[Reading] = []
    before = (times_ns[0] - (times_ns[1] - times_ns[0]) if len(times_ns) > 1 else None, False, 0.0, none, 0)
    for (begun_ns, was_known, *past), (time_ns, is_known, *now) in pairwise((before, *rows)):
        if not is_known:
            continue
        if not was_known and not is_gauge and begun_ns is not None:
            found.append(Reading(begun_ns / 1e9, *past))
        found.append(Reading(time_ns / 1e9, *now))
    return Readings(readings=tuple(found), bounds=edges)


def most_counted(series: Sequence[Series]) -> tuple[float, ...]:
    """The bounds of the buckets that hold most measurements; empty where there are none."""
    held: dict[tuple[float, ...], int] = {}
    for one in series:
        if one.kind == "histogram":
            held[one.edges] = held.get(one.edges, 0) + sum(sum(counts) for counts in one.counts if counts)
    return max(held, key=lambda edges: held[edges]) if held else ()
