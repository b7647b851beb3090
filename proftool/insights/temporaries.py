"""Memory that is given back at once: the allocator and the collector work for nothing that stays."""

from __future__ import annotations

from collections.abc import Sequence

from proftool.insights.bytes_by_line import by_line, insight
from proftool.model.insight import Confidence, Insight
from proftool.model.profile import Profile
from proftool.units import percent

_MIN_SHARE = 0.3
_MIN_COUNT = 20_000
_EACH_NS = 100
"""What an allocation that is freed at once takes at least, the object around it included."""
_MIN_TIME_SHARE = 0.03


class Temporaries:
    """Speaks of a line with a third of the run's allocations that are freed at once, if at 100 ns each they are 3 % of its CPU time."""

    id = "temporaries"

    def look(self, profile: Profile) -> Sequence[Insight]:
        """One insight a line, the most first."""
        lines, _ = by_line(profile, "temporary_allocations")
        _, whole = by_line(profile, "allocations")
        found: list[Insight] = []
        took_ns = sum(one.cpu_ns or one.duration_ns or 0 for one in profile.meta.passes if one.mode == "memory")
        least = max(_MIN_COUNT, whole * _MIN_SHARE, took_ns * _MIN_TIME_SHARE / _EACH_NS)
        for frame, value in sorted(lines.items(), key=lambda item: -item[1]):
            if value < least:
                break
            told = f"made {value:,} allocations that were freed at once, {percent(value, whole)} of all"
            advice = "reuse one buffer, use the in-place form (`out=`, `+=`), or do it for many items in one call"
            link = "https://bloomberg.github.io/memray/temporary_allocations.html"
            found.append(insight(profile, self.id, "temporary_allocations", frame, value / whole, Confidence.LOW, told, advice, link))
        return found


rule = Temporaries()
