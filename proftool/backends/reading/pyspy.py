"""What py-spy wrote, as a profile; see proftool/backends/pyspy.py for what it means."""

from __future__ import annotations

import linecache
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec

from proftool.backends import circumstances
from proftool.backends.pyspy import DEFAULT_RATE_HZ, NAME, PART, package_version
from proftool.backends.reading.thread_clocks import ThreadClock, read_clocks
from proftool.contracts import Clock, Process, Recording
from proftool.errors import BackendFailed
from proftool.formats.identity import Identifier
from proftool.formats.waiting import is_waiting, line_waits
from proftool.launch import parts
from proftool.model.builder import ProfileBuilder
from proftool.model.profile import (
    CPU_TIME,
    PREEMPTED_TIME,
    SAMPLES,
    UNKNOWN,
    WAITING_TIME,
    WALL_TIME,
    Category,
    Identified,
    Kind,
    Profile,
    Status,
)
from proftool.units import NS_PER_S

_THREAD = re.compile(r'(?:Process (\d+) )?Thread (\d+|0x[0-9a-f]+) "(.*)"', re.DOTALL)
_LABEL = re.compile(r'(?:process \d+:".*"|thread \(\d+\)(?:: .*)?)', re.DOTALL)
"""Frames that py-spy puts below a stack to say whose it is; here these are lanes."""
_BUSY_SHARE = 0.25
"""A thread that ran, or stood in line for a processor, for less than this part of the time around a sample is waiting."""

_RUNNING_SHARE = 0.5
"""The same for time on a processor alone, of a thread in a call that waits."""
_STRETCH = 4
"""Equal stacks in a row from which on the whole stretch is judged."""


class _Frame(msgspec.Struct):
    name: str
    file: str | None = None
    line: int | None = None


class _Shared(msgspec.Struct):
    frames: list[_Frame]


class _Thread(msgspec.Struct):
    name: str
    samples: list[list[int]]
    weights: list[float]


class _File(msgspec.Struct):
    shared: _Shared
    profiles: list[_Thread]


def read(recording: Recording) -> Profile:
    """A lane for every thread; times from the threads' clocks."""
    part = recording.folder / PART
    try:
        told = msgspec.json.decode(part.read_bytes(), type=_File)
    except FileNotFoundError:
        raise _nothing(recording, "it wrote no file") from None
    except (msgspec.MsgspecError, OSError) as problem:
        raise _nothing(recording, f"its file cannot be read: {problem}") from problem
    who = circumstances.identifier(recording)
    reader = _Reader(recording, who, told, read_clocks(recording.folder, recording.duration_ns))
    if not reader.n_samples:
        raise _nothing(recording, "the program ended before the first sample")
    asked_hz = recording.options.rate_hz or DEFAULT_RATE_HZ
    achieved_hz = NS_PER_S / reader.period_ns
    missed = max(round((recording.duration_ns / NS_PER_S) * asked_hz) - reader.most_samples, 0)
    unseen = ["native frames are not shown"] if not recording.options.native else []
    if not recording.options.children:
        unseen.append("child processes were not recorded")
    features = tuple(name for name in ("children", "native") if getattr(recording.options, name))
    meta = circumstances.meta(
        recording,
        who,
        backend=NAME,
        version=package_version(),
        clock=str(Clock.WALL),
        rate_asked_hz=asked_hz,
        rate_achieved_hz=achieved_hz,
        samples=reader.n_samples,
        features=features,
        unseen=unseen,
        notes=_not_sampled(recording, reader.pids) if recording.options.children else (),
    )
    one = replace(meta.passes[0], missed=missed, complete=True)
    return reader.builder.build(replace(meta, passes=(one,)))


def _nothing(recording: Recording, why: str) -> BackendFailed:
    said = [line for line in recording.profiler_stderr.splitlines() if line.strip() and "RUST_BACKTRACE" not in line]
    told = f"{why}; py-spy said: {said[-1].strip()}" if said else why
    if recording.exit_status == 137:
        told = f"the target was killed (SIGKILL), and {why}"
    elif parts.is_full(recording.folder):
        told = f"the disk of {recording.folder.parent} is full, and {why}"
    return BackendFailed(
        "py-spy recorded nothing", cause=told, fix="record for longer, at a higher `--rate`, or with `--backend pyinstrument`"
    )


class _Reader:
    def __init__(self, recording: Recording, who: Identifier, told: _File, watched: Mapping[int, ThreadClock]) -> None:
        mode = str(recording.options.mode)
        metrics = [replace(metric, mode=mode) for metric in (WALL_TIME, WAITING_TIME, CPU_TIME, SAMPLES)]
        if watched:
            metrics.append(replace(PREEMPTED_TIME, mode=mode))
        self.builder = ProfileBuilder(metrics)
        self.frames, self.who = told.shared.frames, who
        self.watched = watched
        self.processes = {process.pid: process for process in recording.processes}
        self.first_pid = recording.processes[0].pid if recording.processes else _pid_of(recording)
        self.n_samples = self.most_samples = 0
        self.pids: set[int] = set()
        self._rows: dict[int, int] = {}
        self._waiting: dict[int, bool] = {}
        labels = {at for at, frame in enumerate(self.frames) if not frame.file and _LABEL.fullmatch(frame.name)}
        self._hidden = {at for at, frame in enumerate(self.frames) if _is_bootstrap(frame)}
        threads = [
            (
                _Thread(thread.name, [[f for f in stack if f not in labels] for stack in thread.samples], thread.weights),
                *_named(thread.name, self.first_pid),
            )
            for thread in told.profiles
        ]
        self.period_ns = self._period(recording, threads)
        for thread, pid, tid, name in threads:
            self._add(thread, pid, tid, name)

    def _period(self, recording: Recording, threads: Sequence[tuple[_Thread, int, int, str]]) -> int:
        """
        Measured ns between two samples.

        The first process's main thread is there from the gate to the end, so its number of samples over the time of the recording is
        the rate that was reached; nominal where it is not among the threads.
        """
        nominal = round(NS_PER_S / (recording.options.rate_hz or DEFAULT_RATE_HZ))
        counts = [self._n_kept(thread) for thread, pid, tid, _ in threads if pid == self.first_pid and tid == pid]
        n = max(counts, default=0)
        if n < 2:
            return nominal
        return max(round(recording.duration_ns / n), 1)

    def _n_kept(self, thread: _Thread) -> int:
        return sum(1 for stack in thread.samples if not self._hidden.intersection(stack))

    def _add(self, thread: _Thread, pid: int, tid: int, name: str) -> None:
        process = self.processes.get(pid)
        stacks = [stack for stack in thread.samples if stack and not self._hidden.intersection(stack)]
        if not stacks:
            return
        self.n_samples += len(stacks)
        self.pids.add(pid)
        self.most_samples = max(self.most_samples, len(stacks))
        clock = self.watched.get(tid)
        begin_ns = clock.time_ns[0] if clock else 0
        end_ns = clock.time_ns[-1] if clock else 0
        origin_ns = min((c.time_ns[0] for c in self.watched.values()), default=0)
        lane = self.builder.lane(
            pid=pid,
            ppid=UNKNOWN if process is None or process.ppid is None else process.ppid,
            tid=tid,
            process_name=process.name if process else "",
            thread_name=name or (process.thread_names.get(tid, "") if process else ""),
            is_main=tid == pid,
        )
        # The samples of a thread lie evenly over the time that it was seen for: py-spy writes their order, not their times.
        step = (end_ns - begin_ns) / len(stacks) if clock and end_ns > begin_ns else self.period_ns
        runs = _runs(stacks)
        in_line = clock.in_line_share(len(stacks)).tolist() if clock else None
        for at, stack in enumerate(stacks):
            node = self.builder.stack([self._frame(index) for index in stack])
            time_ns = int(begin_ns + (at + 0.5) * step)
            # While the same stack is seen many times over, what it does is judged by the whole stretch: the places of single samples
            # are known to one step or so only, and on a busy machine py-spy's own pace varies.
            first, last = runs[at] if runs[at][1] - runs[at][0] >= _STRETCH else (at, at + 1)
            shares = clock.shares(int(begin_ns + (first - 0.5) * step), int(begin_ns + (last + 0.5) * step)) if clock else None
            calls_wait = self._calls_wait(stack[-1])
            if shares is None:
                waits = calls_wait
            else:
                # py-spy stops a thread for each sample, so on a busy machine one that sleeps also stands in line, to be stopped and to go
                # back to sleep. Where the line that it is in calls something that waits, only time on a processor speaks against it.
                waits = shares[0] < _RUNNING_SHARE if calls_wait else shares[1] < _BUSY_SHARE
            self.builder.add(node, lane, 0, self.period_ns)
            if waits:
                self.builder.add(node, lane, 1, self.period_ns)
            elif in_line is None or shares is None:
                self.builder.add(node, lane, 2, self.period_ns)
            else:
                wanted_ns = self.period_ns * min(shares[1], 1.0)
                self.builder.add(node, lane, 2, round(wanted_ns * (1 - in_line[at])))
                self.builder.add(node, lane, 4, int(wanted_ns * in_line[at]))
            self.builder.add(node, lane, 3, 1)
            status = Status.WAITING if waits else Status.RUNNING
            self.builder.sample(max(time_ns - origin_ns, 0), lane, node, self.period_ns, int(status))

    def _calls_wait(self, index: int) -> bool:
        known = self._waiting.get(index)
        if known is None:
            frame = self.frames[index]
            path = self.who.place(frame.file).path if frame.file else None
            text = linecache.getline(path, frame.line) if path and frame.line else ""
            known = self._waiting[index] = is_waiting(frame.name, frame.file or "") or line_waits(text)
        return known

    def _frame(self, index: int) -> int:
        row = self._rows.get(index)
        if row is None:
            row = self._rows[index] = self._resolved(self.frames[index])
        return row

    def _resolved(self, frame: _Frame) -> int:
        file, line = frame.file or "", frame.line or 0
        if file and not file.endswith((".py", ".pyx", ".pyc")) and file[0] != "<" and self.who.place(file).category is not Category.PROJECT:
            return self.builder.frame(
                self.builder.function(frame.name, file=file, identified=Identified.TOOL, kind=Kind.NATIVE, category=Category.NATIVE), line
            )
        # py-spy puts the class of `self` before a method's name: right for people, but it is not where the method is defined, so it
        # counts only where the source is not looked into.
        bare = frame.name.rpartition(".")[2] if not frame.name.startswith("<") else frame.name
        known = None if self.who.place(file).category is Category.PROJECT else frame.name
        return self.builder.frame(
            circumstances.function(self.builder, self.who, file=file, name=bare, qualname=known, first_line=0, line=line), line
        )


def _named(text: str, first_pid: int) -> tuple[int, int, str]:
    """(pid, tid, thread name) of a thread's title: `Process 7 Thread 9 "worker"`, the process only where there are several."""
    found = _THREAD.search(text)
    if not found:
        return first_pid, UNKNOWN, text
    return int(found[1] or first_pid), int(found[2], 0), found[3]


def _not_sampled(recording: Recording, seen: set[int]) -> list[str]:
    """py-spy looks for new processes every now and then, and takes a moment to read each: a short one may be over before."""
    missed = [process for process in recording.processes if process.pid not in seen]
    return [
        f"process {process.pid}{f' ({process.name})' if process.name else ''} was not sampled: it ended before py-spy had found it"
        for process in missed
    ]


def _runs(stacks: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    """For each sample the stretch of equal stacks around it, as first and after-last place."""
    found: list[tuple[int, int]] = []
    start = 0
    for at in range(1, len(stacks) + 1):
        if at == len(stacks) or stacks[at] != stacks[start]:
            found += [(start, at)] * (at - start)
            start = at
    return found


def _is_bootstrap(frame: _Frame) -> bool:
    file = frame.file or ""
    return file.endswith(("/launch/_child.py", "/launch/_blind.py")) or (file.endswith("/sitecustomize.py") and "/hook/" in file)


def _pid_of(recording: Recording) -> int:
    return recording.target.pid if isinstance(recording.target, Process) else UNKNOWN
