"""The always-on sampler: a thread that looks at every other thread some ten to a hundred times a second, and knows whom each works for.

One sample is (thread, stack, tag): stacks are tuples of code ids and instructions, names and lines are found out when a slice is
built (sampler_slices.py). A thread that used no processor time since the last look cannot have moved, so its stack is not walked again:
forty idle workers cost what one costs. Weight of a sample is the time since the last look; it is *running* where the thread's own
clock says so.

The rate follows a budget: the share of its time that a service loses by being looked at. That is what a look takes while nobody else
has the GIL, and handing the GIL over twice, which no look can be without: 40 µs on an idle machine, and milliseconds where other
processes want the processors, for the service has let go and the sampler is not on yet. Both are measured. The rate begins in the middle,
goes down to what the budget pays for, and up while it costs less than half. What was achieved stands in the slice's meta.
Looking from another thread needs the GIL: a call into C that holds it is seen at its end, and its time is counted there.

A look finds nothing of what it needs in its processor's caches, so what can be found out later is (sampler_slices.py).
"""

from __future__ import annotations

import asyncio
import random
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import NamedTuple

from proftool.telemetry import forked, tags
from proftool.telemetry import request as requests
from proftool.telemetry.tags import Tag
from proftool.units import NS_PER_S

MIN_HZ, START_HZ, MAX_HZ = 10.0, 50.0, 100.0
FLOOR_HZ = 1.0
"""Where even `MIN_HZ` is above the budget: the budget is the promise."""
BUDGET = 0.01
HANDOVER_NS = 40_000
"""What two hand-overs of the GIL take a thread that computes, at the least: docs/pages/explanation/services.md."""
MAX_DEPTH = 256
MAX_STACKS = 20_000
"""Different (thread, route, stack) of one slice; beyond, samples are counted as missed."""
RECENT_MAX = 50_000
"""Tagged samples that wait for their trace to be kept; longer requests lose their first ones beyond it."""

Stack = tuple[int, ...]
"""Ids of the code objects, innermost first; then their instructions, in the same order."""
_DEPTHS = range(MAX_DEPTH)


@dataclass(slots=True)
class Seen:
    """What was seen of one thread, route and stack."""

    wall_ns: int = 0
    cpu_ns: int = 0
    waiting_ns: int = 0
    samples: int = 0


class Tagged(NamedTuple):
    """One sample of a trace."""

    at_ns: int
    thread: int
    stack: Stack
    trace_id: int
    span_id: int
    weight_ns: int
    cpu_ns: int | None


class _Thread:
    """The last look at a thread."""

    __slots__ = ("clock", "cpu_ns", "name", "native_id", "stack", "tag")

    def __init__(self, native_id: int | None, name: str) -> None:
        self.native_id = native_id
        self.name = name
        self.clock = thread_clock(native_id)
        self.cpu_ns = -1
        self.stack: Stack | None = None
        self.tag: Tag | None = None


def thread_clock(native_id: int | None) -> int | None:
    """The processor clock of a thread, None where there is none."""
    # Linux makes the id of a thread's clock of the thread's own id (CPUCLOCK_PERTHREAD_MASK | CPUCLOCK_SCHED). Asking
    # pthread_getcpuclockid of a thread that has ended is undefined; a clock of this kind just says EINVAL.
    return None if native_id is None or sys.platform != "linux" else (~native_id << 3) | 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """All that one slice is built from."""

    started_ns: int
    """Since the epoch."""
    duration_ns: int
    seen: dict[tuple[int, str | None, Stack], Seen]
    codes: dict[int, CodeType]
    names: dict[int, tuple[int | None, str]]
    """Thread ident -> native id and name."""
    samples: int
    missed: int
    cpu_ns: int
    """What the sampler itself took."""


Watch = Callable[[int, int, Stack, dict[int, CodeType], "Tag | None"], None]
"""Called for each look at a thread that runs an event loop: time, thread, stack, the code objects by their ids, tag."""


class Sampler:
    """The sampler of this process; `start` again after a fork is done by itself."""

    def __init__(self, *, budget: float = BUDGET, min_hz: float = MIN_HZ, max_hz: float = MAX_HZ, start_hz: float | None = None) -> None:
        self.budget, self.min_hz, self.max_hz = budget, min_hz, max_hz
        self.rate_hz = start_hz or min(max(START_HZ, min_hz), max_hz)
        self.loop_watches: list[Watch] = []
        self.ignored: set[int] = set()
        """Idents of proftool's own threads."""
        self._begin()
        forked.follow(self)

    def _begin(self) -> None:
        self._thread: threading.Thread | None = None
        # Held while the thread shall run. `Event.wait` takes the GIL six times a look, a lock twice.
        self._running = threading.Lock()
        self._known: dict[int, _Thread] = {}
        self._codes: dict[int, CodeType] = {}
        self._recent: deque[Tagged] = deque(maxlen=RECENT_MAX)
        self._burst: tuple[float, float] | None = None
        self._lock = threading.Lock()
        self._clear()

    def _clear(self) -> None:
        self._seen: dict[tuple[int, str | None, Stack], Seen] = {}
        self._samples = self._missed = self._cpu_ns = 0
        self._since_ns, self._began_ns = time.time_ns(), time.perf_counter_ns()

    def after_fork(self) -> None:
        """Looks again in the child, where it looked in the parent."""
        was_on = self._thread is not None
        self._begin()
        tags.LOOPS.clear()
        if was_on:
            self.start()

    def start(self) -> None:
        """Begin to look; again changes nothing."""
        if self._thread is None:
            tags.follow_more(1)
            self._running.acquire()
            self._thread = threading.Thread(target=self._run, args=(self._running,), name="proftool-sampler", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        requests.forget(tags.follow)
        thread, self._thread = self._thread, None
        if thread is not None:
            self._running.release()
            self._running = threading.Lock()
            if thread is not threading.current_thread():
                thread.join(5)
        tags.stop()

    def burst(self, rate_hz: float, seconds: float) -> None:
        """Look faster for a while, whatever the budget says."""
        self._burst = (rate_hz, time.monotonic() + seconds)

    # --- the thread -----------------------------------------------------------------------------------------------------

    def _run(self, running: threading.Lock) -> None:
        own = threading.get_ident()
        jitter = random.Random()
        now = time.perf_counter_ns
        last_ns = checked_ns = now()
        cpu_ns = time.thread_time_ns()
        held_ns = hung_ns = 0
        hurried_from_s: float | None = None
        while True:
            burst = self._burst
            if burst is not None and time.monotonic() >= burst[1]:
                burst = self._burst = None
            # Who computes lets go of the GIL an interval after it was asked to: 5 ms are 200 looks a second, whatever a burst asks for.
            if burst is not None and hurried_from_s is None:
                hurried_from_s = sys.getswitchinterval()
                sys.setswitchinterval(min(hurried_from_s, 0.5 / burst[0]))
            elif burst is None and hurried_from_s is not None:
                sys.setswitchinterval(hurried_from_s)
                hurried_from_s = None
            # Not in step with anything that the service does at regular times.
            wait_ns = int(jitter.uniform(0.8, 1.2) * NS_PER_S / (burst[0] if burst else self.rate_hz))
            asleep_ns = now()
            if running.acquire(timeout=wait_ns / NS_PER_S):
                running.release()
                if hurried_from_s is not None:
                    sys.setswitchinterval(hurried_from_s)
                return
            now_ns = now()
            with self._lock:
                self._look(own, now_ns, now_ns - last_ns)
            last_ns = now_ns
            held_ns += now() - now_ns + HANDOVER_NS
            # Beyond the interval after which who computes lets go of the GIL, and a hand-over as it should be.
            hung_ns += max(now_ns - asleep_ns - wait_ns - int(sys.getswitchinterval() * NS_PER_S) - HANDOVER_NS, 0)
            if now_ns - checked_ns >= NS_PER_S:
                self._cpu_ns += time.thread_time_ns() - cpu_ns
                if not burst:
                    self._adapt(held_ns / (now_ns - checked_ns), hung_ns / (now_ns - checked_ns))
                tags.follow_more(1)  # a new loop is known by a request of its
                checked_ns, cpu_ns, held_ns, hung_ns = now_ns, time.thread_time_ns(), 0, 0

    def _adapt(self, held: float, hung: float = 0.0) -> None:
        share = held + hung
        if share > self.budget:
            # A hand-over hangs where the machine has too much to do: that brings the rate down to the least that finds anything.
            alone = self.rate_hz * self.budget / held if held else self.min_hz
            self.rate_hz = max(self.rate_hz * self.budget / share, min(alone, self.min_hz), FLOOR_HZ)
        elif share < self.budget / 2:
            self.rate_hz = min(max(self.rate_hz * 1.25, self.min_hz), self.max_hz)

    def _look(self, own: int, now_ns: int, weight_ns: int) -> None:
        # A look is not atomic: a sampler that the system takes off its processor for longer than the switch interval loses the GIL in the
        # midst of it. What a loop's thread did is believed where the same task is there before and after.
        tasks = {thread: tags.task_of(thread) for thread in tuple(tags.LOOPS)}
        frames = sys._current_frames()  # pyright: ignore[reportPrivateUsage]
        known, ignored = self._known, self.ignored
        for thread, frame in frames.items():
            if thread == own or thread in ignored:
                continue
            last = known.get(thread)
            if last is None:
                last = self._meet(thread)
                if thread in ignored:
                    continue
                known[thread] = last
            self._see(thread, last, frame, tasks.get(thread), now_ns, weight_ns)
        if len(known) > len(frames) + 64:
            for thread in [thread for thread in known if thread not in frames]:
                del known[thread]

    def _meet(self, ident: int) -> _Thread:
        for thread in threading.enumerate():
            if thread.ident == ident:
                if thread.name.startswith("proftool-"):
                    self.ignored.add(ident)  # until the next slice: idents are given again
                return _Thread(thread.native_id, thread.name)
        return _Thread(None, "")

    def _see(self, thread: int, last: _Thread, frame: FrameType, task: asyncio.Task[object] | None, now_ns: int, weight_ns: int) -> None:
        cpu_ns: int | None = None
        if last.clock is not None:
            try:
                clock_ns = time.clock_gettime_ns(last.clock)
            except OSError:
                # It has ended, and its ident was given to another one.
                del self._known[thread]
                return
            cpu_ns, last.cpu_ns = (clock_ns - last.cpu_ns if last.cpu_ns >= 0 else 0), clock_ns
        if cpu_ns == 0 and last.stack is not None:
            stack, tag = last.stack, last.tag
        else:
            stack = self._walk(frame)
            if task is not tags.task_of(thread):
                last.stack = None
                self._missed += 1
                return
            if task is not None:
                tag = tags.of_task(task)
            elif thread in tags.LOOPS:
                tag = None
            else:
                tag = tags.of_thread(thread) or tags.of_worker(frame)
            last.stack, last.tag = stack, tag
        if thread in tags.LOOPS:
            for watch in self.loop_watches:
                watch(now_ns, thread, stack, self._codes, tag)
        route = None
        if tag is not None:
            request = tag.request
            route = f"{request.method} {request.route_now() or '(no route)'}" if request is not None else None
            self._recent.append(Tagged(now_ns, thread, stack, tag.trace_id, tag.span_id, weight_ns, cpu_ns))
        key = (thread, route, stack)
        seen = self._seen.get(key)
        if seen is None:
            if len(self._seen) >= MAX_STACKS:
                self._missed += 1
                return
            seen = self._seen[key] = Seen()
        seen.samples += 1
        seen.wall_ns += weight_ns
        if cpu_ns is not None:
            seen.cpu_ns += cpu_ns
            # Off the processor for most of the time since the last look: it waited, or stood in line for the GIL.
            if cpu_ns * 10 < weight_ns:
                seen.waiting_ns += weight_ns
        self._samples += 1

    def _walk(self, frame: FrameType) -> Stack:
        codes: list[CodeType] = []
        instructions: list[int] = []
        inner: FrameType | None = frame
        for _ in _DEPTHS:
            codes.append(inner.f_code)
            instructions.append(inner.f_lasti)
            inner = inner.f_back
            if inner is None:
                break
        ids = tuple(map(id, codes))
        # Held, so that the ids stay their own.
        self._codes.update(zip(ids, codes, strict=True))
        return (*ids, *instructions)

    # --- what was seen ----------------------------------------------------------------------------------------------------

    def take(self) -> Gathered:
        """What was seen since the last time, and begin anew."""
        with self._lock:
            gathered = Gathered(
                started_ns=self._since_ns,
                duration_ns=time.perf_counter_ns() - self._began_ns,
                seen=self._seen,
                codes=self._codes,
                names={thread: (last.native_id, last.name) for thread, last in self._known.items()},
                samples=self._samples,
                missed=self._missed,
                cpu_ns=self._cpu_ns,
            )
            self._clear()
            self.ignored.clear()
            if len(self._codes) > 4 * MAX_STACKS:
                # Code that is made anew all the time (`exec`, templates) would be held for ever.
                self._codes = {}
                self._recent.clear()
                for last in self._known.values():
                    last.stack = None
            return gathered

    def of_trace(self, trace_id: int) -> tuple[list[Tagged], dict[int, CodeType], dict[int, tuple[int | None, str]]]:
        """The recent samples of one trace, with what their stacks and threads are."""
        with self._lock:
            found = [sample for sample in self._recent if sample.trace_id == trace_id]
            return found, self._codes, {thread: (last.native_id, last.name) for thread, last in self._known.items()}
