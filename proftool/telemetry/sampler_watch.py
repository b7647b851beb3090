"""Watchers of a running service: what blocks an event loop, and where memory goes that never comes back.

`BlockingWatch` listens to the sampler: a loop says every 20 ms that it comes round (tags.Loop); where it does not for longer than a
limit, the line of the project that most samples of that time stood on is what blocks.

`LeakWatch` looks at resident memory every second. Only when that has grown steadily for a whole window does it turn on `tracemalloc`
for some seconds, and tells the line whose memory of these seconds is still held and still grows. What was allocated before is not
traced, so nothing is paid until there is something to look for.
"""

from __future__ import annotations

import ast
import linecache
import os
import time
import tracemalloc
from collections import Counter, deque
from pathlib import Path
from types import CodeType
from typing import Final

from proftool.contracts_telemetry import Finding
from proftool.telemetry import tags
from proftool.telemetry.sampler import Stack
from proftool.telemetry.sampler_slices import Lines, innermost_project
from proftool.telemetry.spans_writer import Writer
from proftool.telemetry.tags import Tag
from proftool.telemetry.tags_code import here, is_project, place
from proftool.units import NS_PER_S, Unit, people

BLOCKED_NS = 200_000_000
"""An event loop that stands still that long: every other request of the process waited."""
WINDOW_S, TRACE_S, AGAIN_S = 20.0, 10.0, 600.0
GROWTH_BYTES = 8 << 20
"""Of a window; less is what caches and warm-up take."""
TRACE_FRAMES = 16
MAX_LOOKS = 3
"""Allocations are traced for `TRACE_S`, and for two halves of it more where nothing was found at first."""
MAX_SEEN = 2000
"""Samples of one standstill; those of the first minute tell what it is."""
_PAGE: Final = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


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
                trace_id=f"{standing.tag.trace_id:032x}" if standing.tag else None,
                first_ns=now_ns,
                last_ns=now_ns,
            )
        )


class LeakWatch:
    """Called every second or so by the writer."""

    def __init__(
        self,
        writer: Writer,
        *,
        window_s: float = WINDOW_S,
        trace_s: float = TRACE_S,
        again_s: float = AGAIN_S,
        growth_bytes: int = GROWTH_BYTES,
    ) -> None:
        self._writer = writer
        self._window_s, self._trace_s, self._again_s, self._growth_bytes = window_s, trace_s, again_s, growth_bytes
        self._resident: deque[tuple[float, int]] = deque()
        self._tracing_since: float | None = None
        self._is_ours = False
        self._middle: dict[tuple[str, int], int] | None = None
        self._middle_s, self._due_s, self._looks = 0.0, 0.0, 0
        self._quiet_until = 0.0

    def beat(self) -> None:
        """Look at resident memory, or at what was traced."""
        now = time.monotonic()
        if self._tracing_since is not None:
            self._follow(now - self._tracing_since)
            return
        resident = resident_bytes()
        if resident is None:
            return
        self._resident.append((now, resident))
        while self._resident and self._resident[0][0] < now - self._window_s:
            self._resident.popleft()
        if now >= self._quiet_until and self.grows():
            self._is_ours = not tracemalloc.is_tracing()
            if self._is_ours:
                tracemalloc.start(TRACE_FRAMES)
            self._tracing_since, self._middle = now, None

    def grows(self) -> bool:
        """Has resident memory grown through the whole window?"""
        held = self._resident
        if len(held) < 6 or held[-1][0] - held[0][0] < 0.8 * self._window_s:
            return False
        values = [value for _, value in held]
        third = len(values) // 3
        return min(values[-third:]) - max(values[:third]) >= self._growth_bytes / 2 and values[-1] - values[0] >= self._growth_bytes

    def stop(self) -> None:
        """Trace no more."""
        if self._tracing_since is not None and self._is_ours:
            tracemalloc.stop()
        self._tracing_since = None

    def _follow(self, for_s: float) -> None:
        if not tracemalloc.is_tracing():
            self._tracing_since = None
            return
        if self._middle is None:
            if for_s >= self._trace_s / 2:
                self._middle, self._middle_s, self._looks = _held(), for_s, 0
                # Half the time after it, however late it was.
                self._due_s = for_s + self._trace_s / 2
            return
        if for_s < self._due_s:
            return
        self._looks += 1
        # A machine that was busy with something else, a pause of the callers: half as long again, and once more, before it is given up.
        if not self._tell(self._middle, _held(), for_s - self._middle_s) and self._looks < MAX_LOOKS:
            self._due_s = for_s + self._trace_s / 2
            return
        self.stop()
        self._resident.clear()
        self._quiet_until = time.monotonic() + self._again_s

    def _tell(self, middle: dict[tuple[str, int], int], end: dict[tuple[str, int], int], seconds: float) -> bool:
        # What the growth that began this would come to in these seconds; a leak is a good part of it.
        expected = self._growth_bytes * seconds / self._window_s
        grown = sorted(((size - middle.get(at, 0), at) for at, size in end.items()), reverse=True)
        now_ns, has_told = time.time_ns(), False
        for growth, (file, line) in grown[:3]:
            if growth < 0.25 * expected or end[file, line] < 1.5 * middle.get((file, line), 0):
                break
            text = linecache.getline(file, line).strip()
            told, has_told = people(growth, Unit.BYTES), True
            self._writer.found(
                Finding(
                    id="leak",
                    service=self._writer.service,
                    function=function_at(file, line),
                    file=file.removeprefix(here() + os.sep),
                    line=line,
                    confidence="medium",
                    evidence=f"{told} more were held after {seconds:.0f} s that this line allocated" + (f": `{text}`" if text else ""),
                    advice="find who keeps it: a module-level list or dict, a cache without a bound, a callback that is never removed",
                    first_ns=now_ns,
                    last_ns=now_ns,
                )
            )
        return has_told


def resident_bytes() -> int | None:
    """Resident memory of this process; None where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        import psutil

        return int(psutil.Process().memory_info().rss)


def _held() -> dict[tuple[str, int], int]:
    """Bytes that are held of what was traced, by the innermost line of the project that asked for them."""
    found: dict[tuple[str, int], int] = {}
    for trace in tracemalloc.take_snapshot().traces:
        for frame in reversed(trace.traceback):
            if is_project(frame.filename):
                at = (frame.filename, frame.lineno)
                found[at] = found.get(at, 0) + trace.size
                break
    return found


def function_at(file: str, line: int) -> str:
    """Qualified name of the innermost function around a line; `<module>` outside of all, or where there is no source."""
    try:
        tree = ast.parse(Path(file).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return "<module>"
    best = "<module>"
    todo: list[tuple[ast.AST, str]] = [(tree, "")]
    while todo:
        node, name = todo.pop()
        for child in ast.iter_child_nodes(node):
            inner = name
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                if not child.lineno <= line <= (child.end_lineno or child.lineno):
                    continue
                inner = f"{name}{child.name}"
                if isinstance(child, ast.ClassDef):
                    inner += "."
                else:
                    best = inner
                    inner += ".<locals>."
            todo.append((child, inner))
    return best
