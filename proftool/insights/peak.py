"""One line that holds most of the memory at the moment of the peak."""

from __future__ import annotations

from collections.abc import Sequence

from proftool.insights.bytes_by_line import by_line, insight
from proftool.model.insight import Confidence, Insight
from proftool.model.profile import Profile
from proftool.units import Unit, people, percent

_MIN_SHARE = 0.5
_MIN_BYTES = 20_000_000


class Peak:
    """Speaks of a line with half of the peak and at least 20 MB."""

    id = "peak"

    def look(self, profile: Profile) -> Sequence[Insight]:
        """At most one."""
        lines, whole = by_line(profile, "peak_bytes")
        frame, value = max(lines.items(), key=lambda item: item[1], default=(0, 0))
        if value < max(_MIN_BYTES, whole * _MIN_SHARE):
            return []
        told = f"holds {people(value, Unit.BYTES)} of the peak of {people(whole, Unit.BYTES)} ({percent(value, whole)})"
        advice = "read and work in pieces (iterate, chunk, stream), keep less of each item, or drop what is done before the next is made"
        link = "https://bloomberg.github.io/memray/memory.html"
        return [insight(profile, self.id, "peak_bytes", frame, value / whole, Confidence.MEDIUM, told, advice, link)]


rule = Peak()
