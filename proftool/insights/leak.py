"""Memory that is taken all along the run and never given back: a cache without a bound, a list that nobody empties."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from proftool.insights.bytes_by_line import insight, node_frames
from proftool.model.insight import Confidence, Insight
from proftool.model.profile import UNKNOWN, Profile
from proftool.units import Unit, people

_SLICES = 10
_MIN_SLICES = 8
"""A table that is filled once and kept fills one or two tenths of the run; a leak fills nearly all."""
_MIN_BYTES = 1_000_000


class Leak:
    """Speaks of a line whose memory was still held at the end and came in at least 8 of 10 equal parts of the run, 1 MB or more."""

    id = "leak"

    def look(self, profile: Profile) -> Sequence[Insight]:
        """One insight a line, the most bytes first; nothing where no life of allocations was recorded."""
        spans = profile.intervals
        kept = np.flatnonzero(spans.end_ns == UNKNOWN)
        duration = int(max(spans.start_ns.max(), spans.end_ns.max())) if len(spans) else 0
        if not len(kept) or duration <= 0:
            return []
        frame = node_frames(profile, spans.node[kept].astype(np.int64))
        part = np.minimum(spans.start_ns[kept] * _SLICES // (duration + 1), _SLICES - 1)
        held = np.zeros((len(profile.frames), _SLICES), np.int64)
        known = frame >= 0
        np.add.at(held, (frame[known], part[known]), spans.bytes[kept][known])
        whole = int(spans.bytes[kept].sum())
        total = held.sum(axis=1)
        found: list[Insight] = []
        for at in np.argsort(-total, kind="stable").tolist():
            value = int(total[at])
            if value < _MIN_BYTES:
                break
            # A part counts when it brought at least a third of an even share.
            if int((held[at] * 3 * _SLICES >= value).sum()) < _MIN_SLICES:
                continue
            told = f"took {people(value, Unit.BYTES)} all along the run and gave none of it back"
            advice = "bound the cache (`functools.lru_cache(maxsize=…)`), empty the list, or hold what must not be kept by `weakref`"
            link = "https://docs.python.org/3/library/functools.html#functools.lru_cache"
            found.append(insight(profile, self.id, "leaked_bytes", at, value / whole, Confidence.MEDIUM, told, advice, link))
        return found


rule = Leak()
