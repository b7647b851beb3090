"""The process and its runtime: CPU, memory, threads, descriptors, garbage collector, and how late the event loop is.

Names are the semantic conventions' (`process.*`, `cpython.gc.*`); they know no metric for the loop, ours is
`asyncio.eventloop.delay`. Read from /proc where there is one (20 µs), else through psutil. Sums of what workers used outlive them;
what a worker has now is kept apart by `process.pid` and goes with it.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
import weakref
from dataclasses import dataclass

from proftool.telemetry.metrics import Counter, Gauge, Histogram, counter, gauge, histogram

LAG_PERIOD_S = 0.1
LAG_BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(slots=True)
class _Process:
    cpu: Counter
    memory: Gauge
    virtual: Gauge
    threads: Gauge
    descriptors: Gauge
    uptime: Gauge
    collections: Counter
    collected: Counter
    uncollectable: Counter
    pid: int
    """Of the process that `last` is of: a forked child begins anew."""
    last: dict[str, float]


_found: _Process | None = None


def _process() -> _Process:
    global _found
    if _found is None:
        _found = _Process(
            cpu=counter("process.cpu.time", unit="s", description="CPU time of all workers, ended ones included"),
            memory=gauge("process.memory.usage", unit="By", description="Resident memory", combine="each"),
            virtual=gauge("process.memory.virtual", unit="By", description="Committed virtual memory", combine="each"),
            threads=gauge("process.thread.count", unit="{thread}", description="Threads", combine="each"),
            descriptors=gauge("process.unix.file_descriptor.count", unit="{file_descriptor}", description="Open files", combine="each"),
            uptime=gauge("process.uptime", unit="s", description="Time since the process started to measure", combine="each"),
            collections=counter("cpython.gc.collections", unit="{collection}", description="Runs of the garbage collector"),
            collected=counter("cpython.gc.collected_objects", unit="{object}", description="Objects that it freed"),
            uncollectable=counter("cpython.gc.uncollectable_objects", unit="{object}", description="Objects that it could not free"),
            pid=os.getpid(),
            last={"started": time.monotonic()},
        )
    if _found.pid != os.getpid():
        # What the parent did before the fork stands in its own file; the collector's counts go on from there.
        _found.pid = os.getpid()
        _found.last = {"started": time.monotonic()} | {
            f"{name}{generation}": stats[name] for generation, stats in enumerate(gc.get_stats()) for name in stats
        }
    return _found


_lock = threading.Lock()


def collect() -> None:
    """Set the process metrics to what they are now."""
    global _lock
    found = _found
    if found is not None and found.pid != os.getpid():
        _lock = threading.Lock()  # a fork may have copied it held
    with _lock:
        _collect(_process())


def _collect(of: _Process) -> None:
    used = os.times()
    _grow(of, of.cpu, "user", used.user, {"cpu.mode": "user"})
    _grow(of, of.cpu, "system", used.system, {"cpu.mode": "system"})
    resident, virtual, threads, descriptors = _sizes()
    of.memory.set(resident)
    of.virtual.set(virtual)
    of.threads.set(threads)
    if descriptors is not None:
        of.descriptors.set(descriptors)
    of.uptime.set(time.monotonic() - of.last["started"])
    for generation, stats in enumerate(gc.get_stats()):
        labels: dict[str, object] = {"cpython.gc.generation": generation}
        for instrument, name in ((of.collections, "collections"), (of.collected, "collected"), (of.uncollectable, "uncollectable")):
            _grow(of, instrument, f"{name}{generation}", stats[name], labels, name=name)


def _grow(of: _Process, instrument: Counter, key: str, total: float, labels: dict[str, object], name: str = "") -> None:
    grown = total - of.last.get(key, 0)
    if grown > 0 or key not in of.last:
        instrument.add(max(grown, 0), **labels)
        of.last[key] = total


def _sizes() -> tuple[int, int, int, int | None]:
    """Resident bytes, virtual bytes, threads, open descriptors."""
    try:
        with open("/proc/self/statm", "rb") as file:
            virtual, resident, *_ = file.read().split()
        page = os.sysconf("SC_PAGESIZE")
        # As the system counts them: those that profilers and C libraries started too.
        return int(resident) * page, int(virtual) * page, len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd")) - 1
    except OSError:
        import psutil

        process = psutil.Process()
        memory = process.memory_info()
        return memory.rss, memory.vms, process.num_threads(), process.num_fds() if hasattr(process, "num_fds") else None


# --- event loop -------------------------------------------------------------------------------------------------------------

_lag: Histogram | None = None
_WATCHED: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()


def watch_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Measure from now on how much later than asked this loop calls back, ten times a second; again changes nothing."""
    global _lag
    if loop in _WATCHED:
        return
    if _lag is None:
        _lag = histogram("asyncio.eventloop.delay", unit="s", description="How late the event loop calls back", buckets=LAG_BOUNDS_S)
    _WATCHED.add(loop)
    delays, reference = _lag.series({}), weakref.ref(loop)

    def late(due: float) -> None:
        now = loop_time()
        delays.record(max(0.0, now - due))
        found = reference()
        if found is not None and not found.is_closed():
            found.call_at(now + LAG_PERIOD_S, late, now + LAG_PERIOD_S)

    loop_time = loop.time
    loop.call_at(loop.time() + LAG_PERIOD_S, late, loop.time() + LAG_PERIOD_S)
