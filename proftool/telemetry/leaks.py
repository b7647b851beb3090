"""Where the memory of a running service goes that never comes back.

`LeakWatch` looks at resident memory every second, which costs nothing. Only when that has grown steadily for a whole window does it trace
allocations with `tracemalloc`, for some seconds and with the innermost line alone, and sees which lines hold more and more. Where such a
line is a library's, the project's line that calls it is looked for in some bursts of a few milliseconds with whole stacks. These make every
allocation many times dearer: uvicorn's hello world answers 71 % fewer requests with one frame, 96 % fewer with sixteen (services.md).

What was allocated before is not traced, so nothing is paid until there is something to look for, and not again for ten minutes.
"""

from __future__ import annotations

import ast
import linecache
import os
import time
import tracemalloc
from collections import Counter, deque
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final

from proftool.contracts_telemetry import Finding
from proftool.telemetry.spans_writer import Writer
from proftool.telemetry.tags_code import here, is_own, is_project
from proftool.units import Unit, people

WINDOW_S, TRACE_S, AGAIN_S = 20.0, 10.0, 600.0
GROWTH_BYTES = 8 << 20
"""Of a window; less is what caches and warm-up take."""
PARTS = 4
"""In each part of a window memory has grown: what begins to be served takes a step, a leak takes stairs."""
MAX_LOOKS = 3
"""Allocations are traced for `TRACE_S`, and for two halves of it more where nothing was found at first."""
TOLD = 3
"""Lines of one search."""
STACK_FRAMES = 16
MAX_BURSTS = 10
CLEAR_BURSTS = 3
"""At least so many saw the line: a short one may have seen a single call, of whoever was on."""
BURST_CPU_S, BURST_S = 0.03, 0.5
"""A burst ends when the process has used so much processor time, or after so long; the second may use twice as much, later ones four times.

Who lets go of what it gets holds the last call's at every snapshot, for the GIL is handed over as a call into C returns: it takes
several calls within a burst until who keeps it holds more.
"""
Line = tuple[str, int]
"""File and line."""
_PAGE: Final = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


@dataclass(slots=True)
class _Growing:
    """A line that holds more and more, and which lines of the project it was asked by."""

    at: Line
    growth_bytes: int
    seconds: float
    callers: Counter[Line] = field(default_factory=Counter[Line])
    """By the bytes that they got and that were still held."""
    bursts: int = 0
    """That saw it."""

    @property
    def is_clear(self) -> bool:
        """Has one of them far more than the others? What is under way just then is held too."""
        first = self.callers.most_common(2)
        return self.bursts >= CLEAR_BURSTS and (len(first) == 1 or first[0][1] >= 2 * first[1][1])


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
        self._middle: dict[Line, int] | None = None
        self._middle_s, self._due_s, self._looks = 0.0, 0.0, 0
        self._growing: list[_Growing] = []
        self._bursts = 0
        self._quiet_until = 0.0

    def beat(self) -> None:
        """Look at resident memory, or at what was traced."""
        now = time.monotonic()
        if self._growing:
            self._look_for_callers()
        elif self._tracing_since is not None:
            self._follow(now - self._tracing_since)
        elif (resident := resident_bytes()) is not None:
            self._resident.append((now, resident))
            while self._resident[0][0] < now - self._window_s:
                self._resident.popleft()
            if now >= self._quiet_until and self.grows():
                self._is_ours = not tracemalloc.is_tracing()
                if self._is_ours:
                    tracemalloc.start(1)
                self._tracing_since, self._middle = now, None

    def grows(self) -> bool:
        """Has resident memory grown through the whole window, in each part of it?"""
        held = self._resident
        if len(held) < 2 * PARTS or held[-1][0] - held[0][0] < 0.8 * self._window_s:
            return False
        values = [value for _, value in held]
        # What is not garbage that waits for its collection.
        floors = [min(values[len(values) * part // PARTS : len(values) * (part + 1) // PARTS]) for part in range(PARTS)]
        least = self._growth_bytes / (2 * PARTS)
        return values[-1] - values[0] >= self._growth_bytes and all(later - former >= least for former, later in pairwise(floors))

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
                self._middle, self._middle_s, self._looks = held_by_line(), for_s, 0
                # Half the time after it, however late it was.
                self._due_s = for_s + self._trace_s / 2
            return
        if for_s < self._due_s:
            return
        self._looks += 1
        found = self._grown(self._middle, held_by_line(), for_s - self._middle_s)
        # A machine that was busy with something else, a pause of the callers: half as long again, and once more, before it is given up.
        if not found and self._looks < MAX_LOOKS:
            self._due_s = for_s + self._trace_s / 2
            return
        self.stop()
        self._growing, self._bursts = found, 0
        if all(is_project(one.at[0]) for one in found):
            self._end()

    def _grown(self, middle: dict[Line, int], end: dict[Line, int], seconds: float) -> list[_Growing]:
        # What the growth that began this would come to in these seconds; a leak is a good part of it, though tracing slows down who leaks.
        expected = self._growth_bytes * seconds / self._window_s
        found = sorted((_Growing(at, size - middle.get(at, 0), seconds) for at, size in end.items()), key=lambda one: -one.growth_bytes)
        return [one for one in found[:TOLD] if one.growth_bytes >= 0.25 * expected and end[one.at] >= 1.5 * middle.get(one.at, 0)]

    def _look_for_callers(self) -> None:
        """One more burst; tells when the callers of every library's line are known, or are not to be found."""
        wanted, seen = {one.at: one for one in self._growing if not is_project(one.at[0])}, set[Line]()
        for trace in _burst(STACK_FRAMES, BURST_CPU_S * min(2**self._bursts, 4), starts=self._is_ours):
            frames = list(trace.traceback)
            one = wanted.get((frames[-1].filename, frames[-1].lineno))
            caller = next((frame for frame in reversed(frames) if is_project(frame.filename)), None)
            if one is not None and caller is not None:
                one.callers[caller.filename, caller.lineno] += trace.size
                seen.add(one.at)
        for at in seen:
            wanted[at].bursts += 1
        self._bursts += 1
        if self._bursts >= MAX_BURSTS or all(one.is_clear for one in wanted.values()):
            self._end()

    def _end(self) -> None:
        for one in self._growing:
            self._tell(one)
        self._growing = []
        self._resident.clear()
        self._quiet_until = time.monotonic() + self._again_s

    def _tell(self, one: _Growing) -> None:
        (file, line), through = one.at, ""
        if one.callers:
            through = f", through {one.at[0].rpartition(os.sep)[2]}:{one.at[1]}"
            (file, line), _ = one.callers.most_common(1)[0]
        now_ns, text = time.time_ns(), linecache.getline(file, line).strip()
        held = f"{people(one.growth_bytes, Unit.BYTES)} more were held after {one.seconds:.0f} s"
        self._writer.found(
            Finding(
                id="leak",
                service=self._writer.service,
                function=function_at(file, line),
                file=file.removeprefix(here() + os.sep),
                line=line,
                confidence="medium" if is_project(file) else "low",
                evidence=f"{held} that this line allocated{through}" + (f": `{text}`" if text else ""),
                advice="find who keeps it: a module-level list or dict, a cache without a bound, a callback that is never removed",
                first_ns=now_ns,
                last_ns=now_ns,
            )
        )


def resident_bytes() -> int | None:
    """Resident memory of this process; None where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        import psutil

        return int(psutil.Process().memory_info().rss)


def held_by_line() -> dict[Line, int]:
    """Bytes that are held of what was traced, by the innermost line that asked for them; proftool's own are left out."""
    found: dict[Line, int] = {}
    for one in tracemalloc.take_snapshot().statistics("lineno"):
        frame = one.traceback[-1]
        if not is_own(frame.filename):
            found[frame.filename, frame.lineno] = one.size
    return found


def _burst(frames: int, cpu_s: float, *, starts: bool) -> list[tracemalloc.Trace]:
    """What is allocated now, with its stacks; who traces already is left alone, and gives the frames that it keeps."""
    if starts:
        tracemalloc.start(frames)
    begin, end = time.process_time(), time.monotonic() + BURST_S
    while time.process_time() - begin < cpu_s and time.monotonic() < end:
        time.sleep(0.005)
    try:
        return list(tracemalloc.take_snapshot().traces)
    except RuntimeError:  # somebody stopped it meanwhile
        return []
    finally:
        if starts:
            tracemalloc.stop()


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
