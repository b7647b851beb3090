"""An event loop that stands still: a task waits without `await`, and no other task runs meanwhile.

Sleep, sockets, locks or a subprocess below the loop's `Handle._run` are waits that the loop does not know of; its own wait is in `select`.
"""

from __future__ import annotations

from collections.abc import Sequence

from proftool.insights.view import MIN_NS, view
from proftool.model.insight import Confidence, Insight
from proftool.model.profile import ROOT, Profile
from proftool.units import Unit, people


class BlockedLoop:
    """Speaks of every line under an event loop that waits for at least 20 ms in all."""

    id = "blocked-loop"

    def look(self, profile: Profile) -> Sequence[Insight]:
        """One insight a line, the longest wait first."""
        seen = view(profile)
        if seen.is_edges or not profile.has_metric("waiting_time"):
            return []
        running = seen.functions(lambda module, name: (module, name) in {("asyncio.events", "Handle._run"), ("uvloop.loop", "Handle._run")})
        # Charged to the line of the project that waits, not to the one that started the loop.
        below = seen.below(running)
        waits = seen.waiting * below
        sums: dict[tuple[int, int], int] = {}
        frames = profile.frames
        for node in waits.nonzero()[0].tolist():
            at = int(seen.near[node])
            if at != ROOT and below[at]:
                frame = int(profile.nodes.frame[at])
                key = (int(frames.function[frame]), int(frames.line[frame]))
                sums[key] = sums.get(key, 0) + int(waits[node])
        whole = int((seen.waiting + seen.working).sum())
        found: list[Insight] = []
        f = profile.functions
        for (function, line), value in sorted(sums.items(), key=lambda item: -item[1]):
            if value < MIN_NS:
                break
            found.append(
                Insight(
                    id=self.id,
                    function=profile.text(int(f.qualname[function])),
                    file=profile.text(int(f.file[function])) or None,
                    line=line or int(f.first_line[function]) or None,
                    confidence=Confidence.HIGH,
                    share=value / whole,
                    evidence=f"the event loop stood still for {people(value, Unit.NANOSECONDS)} while this line waited without `await`",
                    advice="use the async form of the call, or hand it to a thread: `await asyncio.to_thread(…)`",
                    link="https://docs.python.org/3/library/asyncio-dev.html#running-blocking-code",
                    metric="waiting_time",
                )
            )
        return found


rule = BlockedLoop()
