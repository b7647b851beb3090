"""An external profiler over a recording of any length: in segments, each of bounded size, at a rate whose cost is watched.

A profiler that keeps its samples in memory until it is asked for them grows with the recording, and one that stops the target to read
it costs what the target's stacks make it cost. So a supervising thread looks once a second: when the segment is old or the profiler
has grown, it is asked for its file and the next one is attached (what lies between is a gap, and is told); when the target was found
stopped for more than the budget, the next one samples more slowly. A finished segment is condensed while the next one is recorded, so
that the disk holds one segment and what came of those before.

The cost is measured, not taken from a table: the share of the looks of launch/clocks.py that found the target's main thread stopped by
a tracer. Measured with py-spy 0.4.3 at 200 Hz on a stack 900 deep: more than nine tenths of the time.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from proftool.contracts import Outside, Recording, Segment
from proftool.errors import ProftoolError
from proftool.launch import parts
from proftool.launch.clocks import ThreadClocks
from proftool.launch.profiler import ExternalProfiler

_TICK_S = 0.5
SEGMENT_S = 300.0
"""A recording cut short loses this much at most."""
GROWN_BYTES = 32 << 20
"""py-spy keeps 8 bytes a frame of every sample: so much memory is a file of some 20 MB."""
_RATE_MIN_HZ = 5.0
_LOOKS_MIN = 40
_ROOM = 0.8
"""The new rate aims at this part of the budget, or the next look might find it passed again."""


class Segments:
    """The profiler of one recording, from `await_ready` to `end` or `kill`."""

    def __init__(
        self,
        command: Outside,
        pid: int,
        folder: Path,
        before_exec: Callable[[], None],
        *,
        children: bool,
        budget: float,
        so_far: Callable[[], Recording],
    ) -> None:
        """Start the profiler; BackendFailed where its program is not there. `so_far` is the recording as it stands."""
        self._command, self._pid, self._folder, self._before_exec = command, pid, folder, before_exec
        self._children, self._budget, self._so_far = children, budget, so_far
        self._rate_hz = command.rate_hz
        self._done: list[Segment] = []
        self._notes: list[str] = []
        self._gap_ns = self._begun_ns = self._segment_ns = self._rss_bytes = self._interrupted_ns = 0
        self._broken = False
        self._lock = threading.Lock()
        self._stop, self._over = threading.Event(), threading.Event()
        self._place, self._profiler = folder, self._start(folder)
        self._watch = self._clocks(folder)
        self._thread = threading.Thread(target=self._supervise, name="proftool-segments", daemon=True)

    def await_ready(self, target_has_ended: Callable[[], bool], pause: Callable[[float], None]) -> None:
        """Until it is attached, or the target has ended; then it is watched. BackendFailed or PermissionNeeded where it gives up."""
        self._profiler.await_ready(target_has_ended, pause)
        self._begin(time.monotonic_ns())
        self._begun_ns = self._segment_ns
        self._thread.start()

    def has_ended(self) -> bool:
        """Is it gone for good?"""
        return self._broken or (not self._lock.locked() and self._profiler.has_ended())

    def interrupt(self) -> None:
        """Stop sampling now; what there is is kept."""
        self._stop.set()
        with self._lock:
            self._interrupted_ns = time.monotonic_ns()
            self._profiler.interrupt()

    def end(self, ended_ns: int) -> tuple[tuple[Segment, ...], str, tuple[str, ...]]:
        """Wait for its end; the segments in order, the profiler's last chatter, notes. `ended_ns`: when the target did, monotonic."""
        self._stop.set()
        with self._lock:
            watched = self._watch.stop()
            chatter = self._profiler.end()
            if not self._broken:
                self._close(min(ended_ns, self._interrupted_ns or ended_ns))
        self._leave()
        if self._gap_ns:
            self._notes.append(
                f"recorded in {len(self._done)} segments: {self._gap_ns / 1e9:.2f} s between them, of "
                f"{(ended_ns - self._begun_ns) / 1e9:.1f} s, were not sampled"
            )
        return tuple(self._done), chatter, (*watched, *self._notes)

    def kill(self) -> None:
        """At once."""
        self._stop.set()
        with self._lock:
            if self._begun_ns:
                self._watch.stop()
            self._profiler.kill()
        self._leave()

    def _leave(self) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def _start(self, folder: Path) -> ExternalProfiler:
        words = {"{rate}": str(max(round(self._rate_hz), 1)), "{folder}": str(folder)}
        argv = list(self._command.argv)
        for mark, word in words.items():
            argv = [text.replace(mark, word) for text in argv]
        return ExternalProfiler(replace(self._command, argv=tuple(argv)), self._pid, folder, self._before_exec)

    def _clocks(self, folder: Path) -> ThreadClocks:
        return ThreadClocks(self._pid, folder, children=self._children, profiler_pid=self._profiler.pid)

    def _begin(self, now_ns: int) -> None:
        self._segment_ns, self._rss_bytes = now_ns, _rss_bytes(self._profiler.pid)
        self._watch.start()

    def _close(self, ended_ns: int) -> None:
        """Note the segment that ends."""
        duration_ns = max(ended_ns - self._segment_ns, 0)
        looks, stopped = self._watch.counts()
        self._done.append(
            Segment(
                folder=self._place,
                begun_ns=self._segment_ns - self._begun_ns,
                duration_ns=duration_ns,
                rate_hz=self._rate_hz,
                overhead_ns=duration_ns * stopped // looks if looks else None,
            )
        )

    def _supervise(self) -> None:
        # The kernel ends a profiler with the thread that started it, so this one stays until the last has ended.
        while not self._stop.wait(_TICK_S):
            lower_hz = self._lower()
            if lower_hz is None and not self._is_full():
                continue
            with self._lock:
                if self._stop.is_set() or self._target_has_ended() or self._profiler.has_ended():
                    break
                self._change(self._rate_hz if lower_hz is None else lower_hz)
                if self._broken:
                    break
            self._condense(self._done[-1])
        self._over.wait()

    def _lower(self) -> float | None:
        """The rate that keeps the budget, where this one surely does not."""
        looks, stopped = self._watch.counts()
        if looks < _LOOKS_MIN or self._rate_hz <= _RATE_MIN_HZ:
            return None
        share = stopped / looks
        surely = share - 2 * (share * (1 - share) / looks) ** 0.5
        return max(self._rate_hz * self._budget / share * _ROOM, _RATE_MIN_HZ) if surely > self._budget else None

    def _is_full(self) -> bool:
        return time.monotonic_ns() - self._segment_ns > SEGMENT_S * 1e9 or _rss_bytes(self._profiler.pid) > self._rss_bytes + GROWN_BYTES

    def _change(self, rate_hz: float) -> None:
        """The next profiler in the place of this one, which writes its file meanwhile."""
        old, begun_ns, from_hz = self._profiler, time.monotonic_ns(), self._rate_hz
        self._notes += self._watch.stop()
        old.interrupt()
        self._close(begun_ns)
        share = (self._done[-1].overhead_ns or 0) / max(self._done[-1].duration_ns, 1)
        self._rate_hz = rate_hz
        self._place = self._folder / f"segment-{len(self._done)}"
        try:
            self._place.mkdir(mode=0o700)
            self._profiler = self._start(self._place)
            self._watch = self._clocks(self._place)
            self._profiler.await_ready(self._target_has_ended, time.sleep)
        except (ProftoolError, OSError) as problem:
            self._broken = True
            why = problem.cause if isinstance(problem, ProftoolError) else problem.strerror or str(problem)
            self._notes.append(f"sampling ended after {(begun_ns - self._begun_ns) / 1e9:.1f} s of the recording: {why}")
        finally:
            old.end()
        if self._broken:
            return
        ready_ns = time.monotonic_ns()
        self._begin(ready_ns)
        self._gap_ns += ready_ns - begun_ns
        if rate_hz < from_hz:
            after_s = (begun_ns - self._begun_ns) / 1e9
            lasting = ", which may still pass it" if rate_hz <= _RATE_MIN_HZ else ""
            self._notes.append(
                f"sampling stopped the program for {100 * share:.0f} % of the time at {from_hz:.0f} Hz, beyond the overhead budget of "
                f"{100 * self._budget:g} %: after {after_s:.1f} s the rate was lowered to {rate_hz:.0f} Hz{lasting}"
            )

    def _condense(self, segment: Segment) -> None:
        if not self._command.condense:
            return
        module, _, function = self._command.condense.partition(":")
        try:
            getattr(import_module(module), function)(self._so_far(), segment)
        except (ProftoolError, OSError) as problem:
            why = problem.cause if isinstance(problem, ProftoolError) else problem.strerror or str(problem)
            self._notes.append(f"the segment of {segment.duration_ns / 1e9:.0f} s at {segment.begun_ns / 1e9:.0f} s was lost: {why}")

    def _target_has_ended(self) -> bool:
        return parts.state(self._pid) in ("", "Z", "X")


def _rss_bytes(pid: int) -> int:
    """Resident memory, 0 where it is not told."""
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
