"""Polling: a loop that sleeps a little and looks again wakes the processor, and still notices late."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from proftool.insights.view import view
from proftool.model.insight import Confidence, Insight
from proftool.model.profile import ROOT, Category, Profile
from proftool.units import Unit, people

_MIN_CALLS = 40
_LONGEST_NS = 50_000_000


class Polling:
    """Speaks of a function of the project with many short `time.sleep` calls; needs counted calls (trace)."""

    id = "busy-polling"

    def look(self, profile: Profile) -> Sequence[Insight]:
        """One insight a function, the most calls first."""
        seen, edges, f = view(profile), profile.edges, profile.functions
        if not seen.is_edges:
            return []
        sleep = seen.functions(lambda module, name: (module, name) in {("time", "sleep"), ("", "sleep"), ("builtins", "sleep")})
        found: list[tuple[int, Insight]] = []
        for row in np.flatnonzero(sleep[edges.callee] & (edges.caller != ROOT)).tolist():
            caller, n, total = int(edges.caller[row]), int(edges.calls[row]), int(edges.total_ns[row])
            if f.category[caller] != Category.PROJECT or n < _MIN_CALLS or total > n * _LONGEST_NS:
                continue
            each, per_run = people(total // n, Unit.NANOSECONDS), profile.meta.duration_ns or total
            found.append(
                (
                    n,
                    Insight(
                        id=self.id,
                        function=profile.text(int(f.qualname[caller])),
                        file=profile.text(int(f.file[caller])) or None,
                        line=int(f.first_line[caller]) or None,
                        confidence=Confidence.MEDIUM,
                        share=min(total / max(per_run, 1), 1.0),
                        evidence=f"slept {n:,} times for {each} each",
                        advice="wait for the event itself: `threading.Event.wait`, `queue.get`, `selectors` or the library's own wait",
                        link="https://docs.python.org/3/library/threading.html#event-objects",
                        metric="wall_time",
                    ),
                )
            )
        return [insight for _, insight in sorted(found, key=lambda pair: -pair[0])]


rule = Polling()
