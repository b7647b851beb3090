"""What each thread of a process family spent on a processor, watched from outside while an external profiler samples it.

An external profiler tells where a thread is, not whether it runs. The kernel knows: /proc/PID/task/TID/schedstat counts the ns that
a thread has run and those that it stood in line for a processor. A thread of proftool's own reads it at a modest rate and keeps
(time, pid, tid, ns run, ns in line; pid 0 for the profiler's own threads, while which work the target stands still), from which a
reader tells working from waiting, also on a busy machine, and knows when a thread came and went. Linux only; elsewhere nothing is
kept, and the reader falls back.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from pathlib import Path

PERIOD_S = 0.02
"""Between two looks. Four threads cost 0.2 ms a look: 1 % of one core."""
_FAMILY_EVERY = 5
"""Looks between two searches for new child processes."""
FILE = "clocks"


class ThreadClocks:
    """Watches from `start` to `stop`; the rows go to a file in the recording's folder, one line each, in order of time."""

    def __init__(self, pid: int, folder: Path, *, children: bool, profiler_pid: int | None = None) -> None:
        self._pid, self._children, self._profiler_pid = pid, children, profiler_pid
        self._family = [pid]
        self._end = threading.Event()
        self._file = folder / FILE
        self._thread = threading.Thread(target=self._watch, name="proftool-clocks", daemon=True)
        self._problem: OSError | None = None
        self._looks = self._stopped = 0

    def counts(self) -> tuple[int, int]:
        """How often it has looked, and how often it found the first process's main thread stopped by a tracer."""
        return self._looks, self._stopped

    def start(self) -> None:
        """Begin to watch, where the kernel tells."""
        if os.path.exists(f"/proc/{self._pid}/task"):
            self._thread.start()

    def stop(self) -> tuple[str, ...]:
        """Take a last look and close the file; what kept it from being kept, as notes of the recording."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._problem is None:
            return ()
        why = self._problem.strerror or str(self._problem)
        return (f"the threads' clocks could not be kept ({why.lower()}): waiting is told by the innermost function alone",)

    def _watch(self) -> None:
        if hasattr(os, "setpriority"):
            with suppress(OSError):  # a late look sees less: first in line where that is allowed
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), -15)
        try:
            with self._file.open("w", encoding="ascii", buffering=1 << 16) as out:
                looks = 0
                while True:
                    last = self._end.is_set()
                    if self._children and looks % _FAMILY_EVERY == 0:
                        self._family = family(self._pid)
                    looks += 1
                    self._stopped += _is_traced(self._pid)
                    self._looks = looks
                    for pid in self._family:
                        out.writelines(_look(pid, pid))
                    if self._profiler_pid is not None:
                        out.writelines(_look(self._profiler_pid, 0))
                    if last:
                        return
                    self._end.wait(PERIOD_S)
        except OSError as problem:
            self._problem = problem


def _is_traced(pid: int) -> bool:
    """Does its main thread stand still for a tracer now?"""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] == b"t"
    except (OSError, IndexError):
        return False


def _look(pid: int, written: int) -> list[str]:
    """A row a thread of one process, under the PID to be `written`; none where it is gone."""
    try:
        tids = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    rows: list[str] = []
    for tid in tids:
        try:
            with open(f"/proc/{pid}/task/{tid}/schedstat", "rb") as file:
                run_ns, queued_ns = (int(word) for word in file.read().split()[:2])
        except (OSError, ValueError):
            continue  # it ended between the two reads
        rows.append(f"{time.monotonic_ns()} {written} {tid} {run_ns} {queued_ns}\n")
    return rows


def family(pid: int) -> list[int]:
    """A process and all that descend from it, as far as they are still there."""
    parents: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    parent = int(file.read().rpartition(b")")[2].split()[1])
            except (OSError, IndexError, ValueError):
                continue
            parents.setdefault(parent, []).append(int(name))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        one = waiting.pop()
        found.append(one)
        waiting += parents.get(one, [])
    return found
