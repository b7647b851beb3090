"""What blocks an event loop of a running service.

`BlockingWatch` listens to the sampler: a loop says every 20 ms that it comes round (tags.Loop); where it does not for longer than a
limit, the line of the project that most samples of that time stood on is what blocks.
"""

from __future__ import annotations

import linecache
import time
from collections import Counter
from types import CodeType

from proftool.contracts_telemetry import Finding
from proftool.telemetry import tags, tracing
from proftool.telemetry.sampler import Stack
from proftool.telemetry.sampler_slices import Lines, innermost_project
from proftool.telemetry.spans import LocalTrace, Span
from proftool.telemetry.spans_writer import Writer
from proftool.telemetry.tags import Tag
from proftool.telemetry.tags_code import place
from proftool.units import NS_PER_S

BLOCKED_NS = 200_000_000
"""An event loop that stands still that long: every other request of the process waited."""
MAX_SEEN = 2000
"""Samples of one standstill; those of the first minute tell what it is."""


class _Standstill:
    """Since when a loop has not come round, and what its thread was seen at."""

    __slots__ = ("beats", "codes", "seen", "since_ns", "tag")

    def __init__(self, beats: int, now_ns: int) -> None:
        self.beats, self.since_ns = beats, now_ns
        self.seen: list[Stack] = []
        self.codes: dict[int, CodeType] = {}
        self.tag: Tag | None = None


class BlockingWatch:
    """A watch of the sampler; `sampler.loop_watches.append(BlockingWatch(writer).look)`."""

    def __init__(self, writer: Writer, *, limit_ns: int = BLOCKED_NS) -> None:
        self._writer, self._limit_ns = writer, limit_ns
        self._lines = Lines()
        self._standing: dict[int, _Standstill] = {}

    def look(self, now_ns: int, thread: int, stack: Stack, codes: dict[int, CodeType], tag: Tag | None) -> None:
        """One sample of a thread with a loop."""
        watched = tags.LOOPS.get(thread)
        if watched is None:
            return
        standing = self._standing.get(thread)
        if standing is None or standing.beats != watched.beats:
            if standing is not None and now_ns - standing.since_ns >= self._limit_ns:
                self._tell(standing, now_ns - standing.since_ns)
            standing = self._standing[thread] = _Standstill(watched.beats, now_ns)
        # Where the project stands in them is found out when it matters: almost always the loop is round again at the next look.
        if len(standing.seen) < MAX_SEEN:
            standing.seen.append(stack)
            standing.codes, standing.tag = codes, tag or standing.tag

    def _tell(self, standing: _Standstill, stood_ns: int) -> None:
        found = (innermost_project(stack, standing.codes, self._lines) for stack in standing.seen)
        places = Counter(place for place in found if place is not None)
        if not places:
            return
        (code, line), seen = places.most_common(1)[0]
        if seen < 2:
            return
        at, request, now_ns = place(code, line), standing.tag.request if standing.tag else None, time.time_ns()
        text = linecache.getline(code.co_filename, line).strip()
        self._writer.found(
            Finding(
                id="blocking-call",
                service=self._writer.service,
                function=at.function,
                file=at.file,
                line=at.line,
                confidence="high" if seen >= 5 else "medium",
                evidence=f"the event loop stood still for {stood_ns / NS_PER_S:.2f} s while this line ran"
                + (f": `{text}`" if text else ""),
                advice="await an asynchronous version of it, or move it off the loop: `await asyncio.to_thread(…)`",
                route=f"{request.method} {request.route_now() or '(no route)'}" if request else None,
                trace_id=self._writer.examples.trace_id(("blocking-call", at.file, at.line), _local_of(standing.tag)),
                first_ns=now_ns,
                last_ns=now_ns,
            )
        )


def _local_of(tag: Tag | None) -> LocalTrace | None:
    """The trace that a sample belongs to; of a request that has no span yet it is made now, safe from another thread."""
    request = tag.request if tag is not None else None
    if tag is None or request is None:
        return None
    span = request.span
    if span is None and request.ended_ns is None and request.trace_id_drawn == tag.trace_id:
        span = tracing.span_of(request)
    return span.local if isinstance(span, Span) and span.local.trace_id == tag.trace_id else None
