"""Record a process that runs already: until the time is up, Ctrl-C or SIGTERM, or its end, each of which keeps what there is.

The target is not ours: it is never signalled, its status is not known, and it lives on. An external profiler reads it from outside; an
in-process one is brought in by inject.py and leaves again. Layout of the folder as in start.py, without `hook/`.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType

from proftool.contracts import Command, Inside, Process, ProcessRecord, Recording, RecordOptions, Segment
from proftool.launch import clocks, parts, preflight
from proftool.launch.inject import Injected
from proftool.launch.segments import Segments
from proftool.launch.signals import die_with_parent

_LOOK_S = 0.02
_FAMILY_S = 0.5
"""Between two looks at which children there are."""


def attach(process: Process, command: Command, options: RecordOptions, folder: Path, stop: threading.Event | None = None) -> Recording:
    """Record the process into `folder` (which exists, is empty and is the caller's) until it is to end.

    `stop` ends it from another thread. Raises BackendFailed or PermissionNeeded where the profiler could not attach; the target is then
    as it was.
    """
    known = preflight.facts(process.pid)
    family = _Family(process.pid, children=options.children)
    stop = stop or threading.Event()
    names: Mapping[int, str] = {}
    notes: tuple[str, ...] = ()
    part: Path | None = None
    segments: tuple[Segment, ...] = ()
    chatter, complete = "", True
    begun_cpu_ns = cpu_ns = started_ns = begun = 0

    def told(records: Mapping[int, ProcessRecord], duration_ns: int) -> Recording:
        first = replace(
            records[process.pid],
            argv=known.argv,
            thread_names=names,
            main_tid=process.pid,
            parts=(part,) if part is not None else (),
            complete=complete,
            notes=notes,
        )
        others = tuple(record for pid, record in records.items() if pid != process.pid)
        return Recording(
            folder=folder,
            target=process,
            options=options,
            processes=(first, *others) if not isinstance(command, Inside) else (first,),
            exit_status=None,
            started_ns=started_ns,
            duration_ns=duration_ns,
            cpu_ns=max(cpu_ns - begun_cpu_ns, 0),
            profiler_stderr=chatter,
            interrupted=interrupted.is_set(),
            interpreter=known.interpreter,
            segments=segments,
            notes=("the process ended while it was recorded",) if family.has_ended() else (),
        )

    with interrupts(stop) as interrupted:
        begun_cpu_ns = family.cpu_ns()
        if isinstance(command, Inside):
            injected = Injected(process.pid, command, folder, stop)
            started_ns, begun = time.time_ns(), time.monotonic_ns()
            _wait(family, options, begun, stop, injected.has_ended)
            duration_ns = time.monotonic_ns() - begun
            left = injected.end()
            names, notes, part, complete = left.thread_names, left.notes, left.part, left.complete
        else:
            profiler = Segments(
                command,
                process.pid,
                folder,
                _before_exec(os.getpid()),
                children=options.children,
                budget=options.overhead_budget,
                so_far=lambda: told(family.records(), time.monotonic_ns() - begun),
            )
            try:
                profiler.await_ready(family.has_ended, time.sleep)
                started_ns, begun = time.time_ns(), time.monotonic_ns()
                _wait(family, options, begun, stop, profiler.has_ended)
                duration_ns = time.monotonic_ns() - begun
            except BaseException:
                profiler.kill()
                raise
            profiler.interrupt()
            segments, chatter, notes = profiler.end(begun + duration_ns)
        cpu_ns = family.cpu_ns()
    return told(family.records(), duration_ns)


class _Family:
    """The process and, where they are wanted, its descendants: all that were ever seen."""

    def __init__(self, pid: int, *, children: bool) -> None:
        self._pid, self._children = pid, children
        self._seen: dict[int, ProcessRecord] = {}
        self._cpu_ns: dict[int, int] = {}
        self.look()

    def look(self) -> None:
        for pid in clocks.family(self._pid) if self._children else [self._pid]:
            words = preflight.read(pid, "stat").rpartition(")")[2].split()
            if len(words) > 12:
                self._cpu_ns[pid] = (int(words[11]) + int(words[12])) * 10**9 // os.sysconf("SC_CLK_TCK")
                argv = tuple(preflight.read(pid, "cmdline").rstrip("\0").split("\0"))
                if pid not in self._seen:
                    self._seen[pid] = ProcessRecord(pid=pid, ppid=int(words[1]), name=_name(argv), argv=argv, main_tid=pid, complete=True)

    def cpu_ns(self) -> int:
        """CPU time of all of them so far."""
        self.look()
        return sum(self._cpu_ns.values())

    def has_ended(self) -> bool:
        return parts.state(self._pid) in ("", "Z", "X")

    def records(self) -> dict[int, ProcessRecord]:
        """By PID; the first always among them."""
        return {self._pid: ProcessRecord(pid=self._pid)} | self._seen


def _name(argv: tuple[str, ...]) -> str:
    """The script, the module, or the program: `worker.py`, `gunicorn`."""
    words = list(argv[1:])
    while words:
        word = words.pop(0)
        if word in ("-m", "-c"):
            return words[0] if word == "-m" and words else word
        if word in ("-X", "-W"):
            words = words[1:]
        elif not word.startswith("-"):
            return os.path.basename(word)
    return os.path.basename(argv[0]) if argv else ""


def _wait(family: _Family, options: RecordOptions, begun: int, stop: threading.Event, has_ended: Callable[[], bool]) -> None:
    """Until the time is up, `stop` is set, or the process or the profiler has ended."""
    deadline = None if options.duration_ns is None else begun + options.duration_ns
    looked = begun
    while not (family.has_ended() or has_ended()):
        now = time.monotonic_ns()
        if deadline is not None and now >= deadline:
            return
        if now - looked > _FAMILY_S * 1e9:
            looked = now
            family.look()
        if stop.wait(_LOOK_S if deadline is None else min(_LOOK_S, (deadline - now) / 1e9)):
            return


@contextmanager
def interrupts(stop: threading.Event) -> Generator[threading.Event]:
    """Let Ctrl-C, SIGTERM and SIGHUP set `stop`; a second one while what was recorded is written changes nothing."""
    seen = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield seen
        return

    def handler(_number: int, _frame: FrameType | None) -> None:
        seen.set()
        stop.set()

    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield seen
    finally:
        for number, action in before.items():
            signal.signal(number, action)


def _before_exec(parent_pid: int) -> Callable[[], None]:
    return lambda: die_with_parent(parent_pid)
