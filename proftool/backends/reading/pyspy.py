"""What py-spy wrote, as a profile; see proftool/backends/pyspy.py for what it means."""

from __future__ import annotations

import linecache
import os
from collections.abc import Sequence
from dataclasses import replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from proftool.backends import circumstances
from proftool.backends.pyspy import CONDENSED, DEFAULT_RATE_HZ, NAME, PART, package_version
from proftool.backends.reading.one_timeline import in_one
from proftool.backends.reading.pyspy_file import File, Frame, Thread, read_file
from proftool.backends.reading.sample_places import Places, Taken, passed_ns, placed
from proftool.backends.reading.thread_clocks import Clocks, ThreadClock, read_clocks
from proftool.contracts import Clock, Process, Recording, Segment
from proftool.errors import BackendFailed
from proftool.formats import native
from proftool.formats.identity import Identifier
from proftool.formats.waiting import is_waiting, line_waits
from proftool.launch import clocks, parts
from proftool.model.builder import ProfileBuilder
from proftool.model.check import checked
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
from proftool.model.within import persistence
from proftool.units import NS_PER_S

_BUSY_SHARE = 0.25
"""A thread that ran, or stood in line for a processor, for less than this part of the time around a sample is waiting."""

_RUNNING_SHARE = 0.5
"""The same for time on a processor alone, of a thread in a call that waits."""
_FEW = 0.05
"""So large a part of the samples may be those of threads that were too short to be looked at twice."""
_STRETCH = 4
"""Equal stacks in a row from which on the whole stretch is judged."""


def read(recording: Recording) -> Profile:
    """A lane for every thread; times from the threads' clocks. Segments follow each other in time."""
    segments = recording.segments or (
        Segment(folder=recording.folder, begun_ns=0, duration_ns=recording.duration_ns, rate_hz=_asked_hz(recording)),
    )
    found: list[Profile] = []
    problems: list[BackendFailed] = []
    if (before := recording.folder / CONDENSED).is_file():
        found.append(native.format.read(before))
    for segment in segments:
        if len(segments) == 1 or (segment.folder / PART).is_file():
            try:
                found.append(_read_segment(recording, segment))
            except BackendFailed as problem:
                problems.append(problem)
    if found and not recording.segments:
        problems.clear()  # what a killed proftool left: the last segment was never written
    if not found:
        raise problems[0] if problems else _nothing(recording, "it wrote no file")
    profile = found[0] if len(found) == 1 else in_one(found)
    passes = [one for part in found for one in part.meta.passes]
    notes = [f"a segment is missing: {problem.cause}" for problem in problems]
    if recording.options.children:
        notes += _not_sampled(recording, set(profile.lanes.pid.tolist()))
    own = circumstances.meta(recording, None, backend=NAME, version=package_version(), notes=notes).passes[0]
    kept_hz = sum(segment.rate_hz * segment.duration_ns for segment in segments) / max(sum(s.duration_ns for s in segments), 1)
    overheads = [segment.overhead_ns for segment in segments if segment.overhead_ns is not None]
    counted = [one.samples or 0 for one in passes]
    unweighed = sum(n for n, one in zip(counted, passes, strict=True) if not one.weighed_by_time)
    whole = replace(
        passes[-1],
        rate_achieved_hz=_mean([(one.rate_achieved_hz, one.duration_ns) for one in passes]),
        rate_kept_hz=kept_hz if len({segment.rate_hz for segment in segments}) > 1 else None,
        weighed_by_time=unweighed <= _FEW * sum(counted),
        samples=sum(counted),
        missed=sum(one.missed or 0 for one in passes),
        overhead_ns=sum(overheads) if overheads else None,
        started_ns=own.started_ns,
        duration_ns=own.duration_ns,
        cpu_ns=own.cpu_ns,
        exit_status=own.exit_status,
        collector=circumstances.collector(recording, circumstances.identifier(recording)),
        notes=(*own.notes, *(note for one in passes[:-1] for note in one.notes)),
        complete=not problems,
    )
    return profile.with_meta(replace(profile.meta, passes=(whole,)))


def condense(recording: Recording, segment: Segment) -> None:
    """
    Add a finished segment to what the earlier ones came to, in the recording's `condensed.proftool`, and remove its files.

    So a recording that is cut short leaves a whole profile of all but its last segment.
    """
    place = recording.folder / CONDENSED
    try:
        profile = _read_segment(recording, segment)
        if place.is_file():
            profile = in_one([native.format.read(place), profile])
        whole = replace(profile.meta.passes[-1], started_ns=recording.started_ns, duration_ns=segment.begun_ns + segment.duration_ns)
        new = place.with_suffix(".new")
        new.write_bytes(native.dumps(checked(profile.with_meta(replace(profile.meta, passes=(*profile.meta.passes[:-1], whole))))))
        os.replace(new, place)
    finally:
        for name in (PART, clocks.FILE):
            (segment.folder / name).unlink(missing_ok=True)


def _asked_hz(recording: Recording) -> float:
    return recording.options.rate_hz or DEFAULT_RATE_HZ


def _mean(rates: Sequence[tuple[float | None, int | None]]) -> float | None:
    """Of rates, by the time that each was kept."""
    known = [(rate, duration) for rate, duration in rates if rate is not None and duration]
    return sum(rate * duration for rate, duration in known) / sum(duration for _, duration in known) if known else None


def _read_segment(recording: Recording, segment: Segment) -> Profile:
    """One file of py-spy's, its times from the recording's start on."""
    part = segment.folder / PART
    try:
        told = read_file(part.read_bytes(), _first_pid(recording))
    except FileNotFoundError:
        raise _nothing(recording, "it wrote no file") from None
    except (msgspec.MsgspecError, OSError) as problem:
        raise _nothing(recording, f"its file cannot be read: {problem}") from problem
    who = circumstances.identifier(recording)
    reader = _Reader(recording, segment, who, told, read_clocks(segment.folder, segment.duration_ns, segment.overhead_ns))
    if not reader.n_samples:
        raise _nothing(recording, "the program ended before the first sample")
    unseen = ["native frames are not shown"] if not recording.options.native else []
    if not recording.options.children:
        unseen.append("child processes were not recorded")
    unseen += circumstances.tasks_unseen(frame.file or "" for frame in told.frames)
    meta = circumstances.meta(
        replace(recording, notes=(), processes=()),
        who,
        backend=NAME,
        version=package_version(),
        clock=str(Clock.WALL),
        rate_asked_hz=_asked_hz(recording),
        rate_achieved_hz=NS_PER_S / reader.period_ns,
        samples=reader.n_samples,
        features=tuple(name for name in ("children", "native") if getattr(recording.options, name)),
        unseen=unseen,
    )
    missed = max(round((segment.duration_ns / NS_PER_S) * segment.rate_hz) - reader.most_samples, 0)
    one = replace(
        meta.passes[0],
        weighed_by_time=reader.n_uncounted <= _FEW * reader.n_samples,
        missed=missed,
        complete=True,
        duration_ns=segment.duration_ns,
    )
    return reader.builder.build(replace(meta, passes=(one,)))


def _nothing(recording: Recording, why: str) -> BackendFailed:
    said = [line for line in recording.profiler_stderr.splitlines() if line.startswith("Error:")]
    told = f"{why}; py-spy said: {said[-1].strip()}" if said else why
    if recording.exit_status == 137:
        told = f"the target was killed (SIGKILL), and {why}"
    elif parts.is_full(recording.folder):
        told = f"the disk of {recording.folder.parent} is full, and {why}"
    return BackendFailed(
        "py-spy recorded nothing", cause=told, fix="record for longer, at a higher `--rate`, or with `--backend pyinstrument`"
    )


class _Reader:
    def __init__(self, recording: Recording, segment: Segment, who: Identifier, told: File, watched: Clocks) -> None:
        mode = str(recording.options.mode)
        metrics = [replace(metric, mode=mode) for metric in (WALL_TIME, WAITING_TIME, CPU_TIME, SAMPLES)]
        if watched.threads:
            metrics.append(replace(PREEMPTED_TIME, mode=mode))
        self.builder = ProfileBuilder(metrics)
        self.frames, self.stacks, self.who = told.frames, told.stacks, who
        self.watched = watched
        self.processes = {process.pid: process for process in recording.processes}
        self.n_samples = self.most_samples = self.n_uncounted = 0
        self.pids: set[int] = set()
        self._rows: dict[int, int] = {}
        self._waiting: dict[int, bool] = {}
        self._begun_ns = segment.begun_ns
        self._nodes: dict[int, int] = {}
        self.period_ns = _period_ns(segment, told.threads, _first_pid(recording))
        taken: dict[int, Taken | None] = {}
        for pid in {thread.pid for thread in told.threads}:
            taken[pid] = watched.taken(pid, max(len(thread.stacks) for thread in told.threads if thread.pid == pid))
        for thread in told.threads:
            self._add(thread, taken[thread.pid])

    def _node(self, number: int) -> int:
        node = self._nodes.get(number)
        if node is None:
            node = self._nodes[number] = self.builder.stack([self._frame(index) for index in self.stacks[number]])
        return node

    def _add(self, thread: Thread, taken: Taken | None) -> None:
        pid, tid, stacks = thread.pid, thread.tid, thread.kept
        process = self.processes.get(pid)
        if not stacks:
            return
        self.n_samples += len(stacks)
        self.pids.add(pid)
        self.most_samples = max(self.most_samples, len(stacks))
        lane = self.builder.lane(
            pid=pid,
            ppid=UNKNOWN if process is None or process.ppid is None else process.ppid,
            tid=tid,
            process_name=process.name if process else "",
            thread_name=thread.name or (process.thread_names.get(tid, "") if process else ""),
            is_main=tid == pid,
        )
        clock = self.watched.threads.get(tid)
        if clock is not None and clock.time_ns[-1] <= clock.time_ns[0]:
            clock = None  # seen once
        every = np.array(thread.stacks)
        kept = np.flatnonzero(every >= 0)
        begin_ns, end_ns = (clock.time_ns[0], clock.time_ns[-1]) if clock else (0, len(every) * self.period_ns)
        places = placed(len(every), begin_ns, end_ns, taken if clock else None)
        self.n_uncounted += 0 if places.is_counted else len(stacks)
        judged = self._judged(stacks, clock, places.of(kept))
        passed, cpu_ns, in_line = np.full(len(stacks), self.period_ns), None, None
        if clock:
            persistent = persistence(self._leaves(stacks))
            passed = passed_ns(places, kept, np.array(clock.time_ns), persistent, len(stacks) * self.period_ns)
            running, at_a_wait = every < 0, np.zeros(len(every), np.bool_)  # what is no program's takes what it ran with it
            running[kept], at_a_wait[kept] = [not waits for waits, _, _ in judged], [calls for _, calls, _ in judged]
            cpu_ns = clock.cpu_ns(places, running, at_a_wait, persistent)[kept].tolist()
            in_line = clock.in_line_share(places.of(kept)).tolist()
        origin_ns = min((c.time_ns[0] for c in self.watched.threads.values()), default=0)
        times_ns = places.at_ns[kept].tolist()
        for at, (stack, (waits, _, wanted), passed_of) in enumerate(zip(stacks, judged, passed.tolist(), strict=True)):
            node = self._node(stack)
            self.builder.add(node, lane, 0, passed_of)
            if waits:
                self.builder.add(node, lane, 1, passed_of)
            elif in_line is not None and wanted is not None:
                self.builder.add(node, lane, 4, int(passed_of * min(wanted, 1.0) * in_line[at]))
            if cpu_ns is not None:
                self.builder.add(node, lane, 2, cpu_ns[at])
            elif not waits:
                self.builder.add(node, lane, 2, passed_of)
            self.builder.add(node, lane, 3, 1)
            status = Status.WAITING if waits else Status.RUNNING
            self.builder.sample(self._begun_ns + max(int(times_ns[at]) - origin_ns, 0), lane, node, passed_of, int(status))

    def _leaves(self, stacks: Sequence[int]) -> NDArray[np.int64]:
        """The innermost function of each sample."""
        numbers: dict[tuple[str, str | None], int] = {}
        frames = (self.frames[stack[-1]] for stack in self.stacks)
        own = np.array([numbers.setdefault((frame.name, frame.file), len(numbers)) for frame in frames], np.int64)
        return own[np.array(stacks)]

    def _judged(self, stacks: Sequence[int], clock: ThreadClock | None, places: Places) -> list[tuple[bool, bool, float | None]]:
        """Of each sample: does the thread wait, does its line call what waits, and in which part of the time it ran or could not."""
        found: list[tuple[bool, bool, float | None]] = []
        runs, times_ns, step_ns = _runs(stacks), places.at_ns.tolist(), places.step_ns
        for at, stack in enumerate(stacks):
            # While the same stack is seen many times over, what it does is judged by the whole stretch: the kernel adds up what a thread
            # ran at its switches, and the places of single samples are known to a step or two.
            first, last = runs[at] if runs[at][1] - runs[at][0] >= _STRETCH else (at, at + 1)
            shares = clock.shares(int(times_ns[first] - step_ns), int(times_ns[last - 1] + step_ns)) if clock else None
            calls_wait = self._calls_wait(self.stacks[stack][-1])
            if shares is None:
                found.append((calls_wait, calls_wait, None))
            else:
                # py-spy stops a thread for each sample, so on a busy machine one that sleeps also stands in line, to be stopped and to go
                # back to sleep. Where the line that it is in calls something that waits, only time on a processor speaks against it.
                waits = shares[0] < _RUNNING_SHARE if calls_wait else shares[1] < _BUSY_SHARE
                found.append((waits, calls_wait, shares[1]))
        return found

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

    def _resolved(self, frame: Frame) -> int:
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


def _period_ns(segment: Segment, threads: Sequence[Thread], first_pid: int) -> int:
    """
    Measured ns between two samples.

    The first process's main thread is there from the gate to the end, so its number of samples over the time of the recording is
    the rate that was reached; nominal where it is not among the threads.
    """
    n = max((len(thread.kept) for thread in threads if thread.pid == first_pid and thread.tid == thread.pid), default=0)
    return round(NS_PER_S / segment.rate_hz) if n < 2 else max(round(segment.duration_ns / n), 1)


def _not_sampled(recording: Recording, seen: set[int]) -> list[str]:
    """py-spy looks for new processes every now and then, and takes a moment to read each: a short one may be over before."""
    missed = [process for process in recording.processes if process.pid not in seen]
    return [
        f"process {process.pid}{f' ({process.name})' if process.name else ''} was not sampled: it ended before py-spy had found it"
        for process in missed
    ]


def _runs(stacks: Sequence[int]) -> list[tuple[int, int]]:
    """For each sample the stretch of equal stacks around it, as first and after-last place."""
    found: list[tuple[int, int]] = []
    start = 0
    for at in range(1, len(stacks) + 1):
        if at == len(stacks) or stacks[at] != stacks[start]:
            found += [(start, at)] * (at - start)
            start = at
    return found


def _first_pid(recording: Recording) -> int:
    if recording.processes:
        return recording.processes[0].pid
    return recording.target.pid if isinstance(recording.target, Process) else UNKNOWN
