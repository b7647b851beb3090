"""What each thread of a process family spent on a processor, watched from outside while an external profiler samples it.

An external profiler tells where a thread is, not whether it runs. The kernel knows: /proc/PID/task/TID/schedstat counts the ns that
a thread has run and those that it stood in line for a processor. A thread of proftool's own reads it at a modest rate and keeps
(time, pid, tid, ns run, ns in line, reads), all so far, from which a reader tells working from waiting, also on a busy machine, and
knows when a thread came and went. Under pid 0 stand the profiler's own threads, while which work the target stands still, and how often
they have read a file (/proc/PID/task/TID/io): py-spy reads one for each thread of each sample, so that tells when it sampled.
Linux only; elsewhere nothing is kept, and the reader falls back.
"""

from __future__ import annotations

import os
import threading
import time
from array import array
from contextlib import suppress
from pathlib import Path

PERIOD_S = 0.01
"""Between two looks. One at a thread and py-spy's five takes 0.2 to 0.4 ms, of a processor that the target does not run on where it can."""
REST = 10
"""Between two looks at very many threads, as a multiple of what a look takes."""
_FAMILY_EVERY_S = 0.1
"""Between two searches for new child processes."""
_HELD_MAX = 300
"""Files that are held open; those of further threads are opened for each look."""
FILE = "clocks"
COLUMNS = 6
"""Each a signed 64-bit number in this machine's order."""


class ThreadClocks:
    """Watches from `start` to `stop`; the rows go to a file in the recording's folder, in order of time."""

    def __init__(self, pid: int, folder: Path, *, children: bool, profiler_pid: int | None = None) -> None:
        self._pid, self._children, self._profiler_pid = pid, children, profiler_pid
        self._family, self._family_s = [pid], 0.0
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
        files = _Files()
        try:
            with self._file.open("wb", buffering=1 << 16) as out:
                while True:
                    begun_s = time.monotonic()
                    last = self._end.is_set()
                    self._look(files).tofile(out)
                    if last:
                        return
                    self._end.wait(max(PERIOD_S, REST * (time.monotonic() - begun_s)))
        except OSError as problem:
            self._problem = problem
        finally:
            files.close()

    def _look(self, files: _Files) -> array[int]:
        """A row a thread."""
        if self._children and (now_s := time.monotonic()) >= self._family_s:
            self._family, self._family_s = family(self._pid), now_s + _FAMILY_EVERY_S
            files.keep({*self._family, self._profiler_pid})
        self._stopped += files.is_traced(self._pid)
        self._looks += 1
        rows = array("q")
        for pid in self._family:
            files.look(pid, pid, rows, reads=False)
        if self._profiler_pid is not None:
            files.look(self._profiler_pid, 0, rows, reads=True)
        return rows


class _Files:
    """Files of /proc that are read again and again, held open: opened for each look they take four times as long."""

    def __init__(self) -> None:
        self._held: dict[str, int] = {}
        self._threads: dict[int, set[str]] = {}

    def look(self, pid: int, written: int, rows: array[int], *, reads: bool) -> None:
        """A row a thread of one process, under the PID to be `written`; none where it is gone."""
        try:
            tids = set(os.listdir(f"/proc/{pid}/task"))
        except OSError:
            tids = set[str]()
        self._forget(pid, self._threads.get(pid, set()) - tids)
        self._threads[pid] = tids
        for tid in tids:
            place = f"/proc/{pid}/task/{tid}/"
            try:
                run_ns, queued_ns = (int(word) for word in self._read(place + "schedstat").split()[:2])
            except (OSError, ValueError):
                continue  # it ended between the two reads
            n_reads = 0
            if reads:
                with suppress(OSError, ValueError):  # a kernel that does not count them
                    n_reads = int(self._read(place + "io").split()[5])
            rows.extend((time.monotonic_ns(), written, int(tid), run_ns, queued_ns, n_reads))

    def keep(self, pids: set[int | None]) -> None:
        """Let go of the files of all other processes."""
        for pid in self._threads.keys() - pids:
            self._forget(pid, self._threads.pop(pid))

    def is_traced(self, pid: int) -> bool:
        """Does its main thread stand still for a tracer now?"""
        try:
            return self._read(f"/proc/{pid}/stat").rpartition(b")")[2].split()[0] == b"t"
        except (OSError, IndexError):
            return False

    def close(self) -> None:
        """Let go of all files."""
        for path in list(self._held):
            self._drop(path)

    def _read(self, path: str) -> bytes:
        file = self._held.get(path)
        if file is not None:
            try:
                return os.pread(file, 4096, 0)
            except OSError:
                self._drop(path)  # it has ended; another may bear its number
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        if len(self._held) < _HELD_MAX:
            self._held[path] = file
            return os.pread(file, 4096, 0)
        try:
            return os.pread(file, 4096, 0)
        finally:
            os.close(file)

    def _forget(self, pid: int, tids: set[str]) -> None:
        for tid in tids:
            for name in ("schedstat", "io"):
                self._drop(f"/proc/{pid}/task/{tid}/{name}")

    def _drop(self, path: str) -> None:
        file = self._held.pop(path, None)
        if file is not None:
            os.close(file)


def family(pid: int) -> list[int]:
    """A process and all that descend from it, as far as they are still there; one that another's end hides is in the next answer."""
    if os.path.exists(f"/proc/self/task/{threading.get_native_id()}/children"):
        children = _children
    else:
        parents = _parents()

        def children(pid: int) -> list[int]:
            return parents.get(pid, [])

    found: list[int] = []
    waiting = [pid]
    while waiting:
        one = waiting.pop()
        found.append(one)
        waiting += children(one)
    return found


def _children(pid: int) -> list[int]:
    """Those of each thread, as a kernel with CONFIG_PROC_CHILDREN tells: 0.1 ms where a look at all processes takes 3 ms."""
    found: list[int] = []
    with suppress(OSError):
        for tid in os.listdir(f"/proc/{pid}/task"):
            with suppress(OSError), open(f"/proc/{pid}/task/{tid}/children", "rb") as file:
                found += map(int, file.read().split())
    return found


def _parents() -> dict[int, list[int]]:
    """The children of every process."""
    found: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    parent = int(file.read().rpartition(b")")[2].split()[1])
            except (OSError, IndexError, ValueError):
                continue
            found.setdefault(parent, []).append(int(name))
    return found
