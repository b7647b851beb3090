"""Stored series as a service would have read them of itself: cumulative sums at the end of each step of which something is known.

A stretch that begins after a gap has a reading at its begin too: what was counted in its first step was counted since then, and a window
has two ends. Series whose buckets differ count with those that hold most requests alone, as everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proftool.contracts_telemetry import Series
from proftool.telemetry.windows import Reading
from proftool.workflows.requests import is_failed, most_counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """Of one metric, oldest first."""

    readings: tuple[Reading, ...]
    bounds: tuple[float, ...]
    """Of the buckets."""


def readings(series: Sequence[Series], now_ns: int | None = None) -> Readings:
    """All series summed; they have the same steps, of which one that is not over ends now."""
    if not series:
        return Readings(readings=(), bounds=())
    times_ns = series[0].times_ns if now_ns is None else tuple(min(time_ns, now_ns) for time_ns in series[0].times_ns)
    values = np.stack([one.numbers for one in series])
    known: NDArray[np.bool_] = np.any(~np.isnan(values), axis=0)
    is_gauge = all(one.kind == "gauge" for one in series)
    sums: NDArray[np.float64] = np.nansum(values, axis=0)
    edges = most_counted(series)
    grown: NDArray[np.int64] = np.zeros((len(times_ns), len(edges) + 1 if edges else 0), np.int64)
    failed: NDArray[np.int64] = np.zeros(len(times_ns), np.int64)
    none = (0,) * grown.shape[1]
    for one in series:
        if edges and one.edges == edges:
            grown += one.grown
            failed += one.grown.sum(axis=1) * is_failed(one)
    if not is_gauge:
        sums, grown, failed = sums.cumsum(), grown.cumsum(axis=0), failed.cumsum()
    columns = zip(times_ns, sums.tolist(), grown.tolist(), failed.tolist(), strict=True)
    ends = [Reading(time_ns / 1e9, value, tuple(counts), n_failed) for time_ns, value, counts, n_failed in columns]
    # One step knows nothing of how long it was.
    begin_s = ends[0].time_s - (ends[1].time_s - ends[0].time_s) if len(ends) > 1 else None
    found: list[Reading] = []
    last, was_known = Reading(begin_s or 0.0, 0.0, none, 0), False
    for end, is_known in zip(ends, known.tolist(), strict=True):
        if is_known:
            found += [last] if not was_known and not is_gauge and begin_s is not None else []
            found.append(end)
        last, was_known = end, is_known
    return Readings(readings=tuple(found), bounds=edges)
