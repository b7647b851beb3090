"""A peak that stands alone: for a moment the program needs many times what it needs otherwise, and so must its machine have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from proftool.insights.bytes_by_line import insight, node_frames
from proftool.model.insight import Confidence, Insight
from proftool.model.profile import UNKNOWN, Profile
from proftool.units import Unit, people, percent

_MIN_BYTES = 30_000_000
_TIMES = 3
"""A program that only grows has a peak of twice its median."""
_MIN_SHARE = 0.5


class BriefPeak:
    """Speaks where memory was over half of the peak for less than a quarter of the run: a peak of three medians and of 30 MB at least."""

    id = "brief-peak"

    def look(self, profile: Profile) -> Sequence[Insight]:
        """At most one: the line that held most of the peak; nothing where no life of allocations was recorded."""
        spans = profile.intervals
        if not len(spans):
            return []
        whole_ns = int(max(spans.start_ns.max(), spans.end_ns.max()))
        end = np.where(spans.end_ns == UNKNOWN, whole_ns, spans.end_ns)
        times, place = np.unique(np.concatenate((spans.start_ns, end)), return_inverse=True)
        change = np.zeros(len(times), np.int64)
        np.add.at(change, place, np.concatenate((spans.bytes, -spans.bytes)))
        live = np.cumsum(change)[:-1]
        lasts = np.diff(times)
        if not len(live) or not lasts.sum():
            return []
        at = int(np.argmax(live))
        peak, order = int(live[at]), np.argsort(live, kind="stable")
        median = int(live[order[np.searchsorted(np.cumsum(lasts[order]), lasts.sum() / 2)]])
        high = float(lasts[live > peak / 2].sum() / lasts.sum())
        if peak < max(_MIN_BYTES, _TIMES * median) or high > 0.25:
            return []
        then = np.flatnonzero((spans.start_ns <= times[at]) & (end > times[at]))
        frame = node_frames(profile, spans.node[then].astype(np.int64))
        held = np.zeros(len(profile.frames), np.int64)
        np.add.at(held, frame[frame >= 0], spans.bytes[then][frame >= 0])
        dearest = int(np.argmax(held)) if len(held) else 0
        if not len(held) or held[dearest] < peak * _MIN_SHARE:
            return []
        told = (
            f"memory rose to {people(peak, Unit.BYTES)} and was over half of that for {percent(high, 1)} of the run; half of the time "
            f"{people(median, Unit.BYTES)} were enough; this line held {people(int(held[dearest]), Unit.BYTES)} of the peak"
        )
        advice = "take the work in pieces (iterate, chunk, stream), so that no moment needs much more than the others"
        link = "https://bloomberg.github.io/memray/memory.html"
        share = int(held[dearest]) / peak
        return [insight(profile, self.id, "peak_bytes", dearest, share, Confidence.MEDIUM, told, advice, link)]


rule = BriefPeak()
