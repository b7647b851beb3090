"""What pyinstrument saw, as a profile; see proftool/backends/pyinstrument.py for what it means."""

from __future__ import annotations

import marshal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np

from proftool.backends import circumstances
from proftool.backends.pyinstrument import DEFAULT_RATE_HZ, NAME
from proftool.contracts import Clock, ProcessRecord, Recording
from proftool.errors import BackendFailed
from proftool.formats.identity import Identifier
from proftool.model.builder import ProfileBuilder, finish
from proftool.model.meta import Meta
from proftool.model.profile import (
    CPU_TIME,
    PREEMPTED_TIME,
    ROOT,
    SAMPLES,
    UNKNOWN,
    WAITING_TIME,
    WALL_TIME,
    Identified,
    Int64Array,
    Profile,
    Samples,
    Status,
)
from proftool.units import NS_PER_S

_FORMAT = 3
_BLOCKING = frozenset(
    (
        "sleep",
        "acquire",
        "wait",
        "wait_for",
        "select",
        "poll",
        "kqueue",
        "control",
        "recv",
        "recv_into",
        "recvfrom",
        "recvfrom_into",
        "recvmsg",
        "accept",
        "connect",
        "send",
        "sendall",
        "sendmsg",
        "read",
        "read1",
        "readinto",
        "readline",
        "readlines",
        "write",
        "flush",
        "get",
        "put",
        "join",
        "waitpid",
        "wait3",
        "wait4",
        "waitid",
        "sigwait",
        "sigwaitinfo",
        "sigtimedwait",
        "pause",
        "lockf",
        "flock",
        "fsync",
        "getaddrinfo",
        "gethostbyname",
        "do_handshake",
        "shutdown",
        "__enter__",
        "input",
    )
)
"""Last part of the names of builtins that wait for something outside the thread."""
_LONG_NS = 20_000_000


def read(recording: Recording) -> Profile:
    """Every part's threads as lanes of one profile, with the timeline where the clock is the wall's."""
    cpu, mode = recording.options.clock is Clock.CPU, str(recording.options.mode)
    who = circumstances.identifier(recording)
    parts: list[tuple[ProcessRecord, _Part]] = []
    notes: list[str] = []
    version = None
    for process in recording.processes:
        for file in process.parts:
            try:
                part = _load(file)
            except (EOFError, ValueError, TypeError, KeyError, OSError) as error:
                notes.append(f"the part of process {process.pid} cannot be read: {error}")
                continue
            version = part.version or version
            parts.append((process, part))
    metrics = (CPU_TIME, SAMPLES) if cpu else (WALL_TIME, WAITING_TIME, SAMPLES, CPU_TIME)
    queued = not cpu and all(thread.queued_ns is not None for _, part in parts for thread in part.threads)
    if queued:
        metrics += (PREEMPTED_TIME,)
    reader = _Reader(ProfileBuilder([replace(metric, mode=mode) for metric in metrics]), who, recording, cpu, queued)
    for process, part in parts:
        reader.add(process, part)
    if not reader.n_samples:
        told = [*notes, *(note for process in recording.processes for note in process.notes), *recording.notes]
        raise BackendFailed(
            "pyinstrument recorded no sample",
            cause=told[0] if told else "the program ended before the first sample was due",
            fix="sample faster with `--rate 10000`, or count calls with `--mode trace`"
            if not told
            else "run the program without proftool and see whether it works",
        )
    meta = circumstances.meta(
        recording,
        who,
        backend=NAME,
        version=version,
        clock=str(recording.options.clock),
        rate_asked_hz=recording.options.rate_hz or DEFAULT_RATE_HZ,
        rate_achieved_hz=reader.rate_achieved_hz(),
        samples=reader.n_samples,
        features=("children",) if recording.options.children else (),
        unseen=(
            "threads that were not started by Python's `threading`, and native frames, are not seen",
            *(("what an asyncio task waits for in `await` counts for its event loop, not for the task",) if reader.has_tasks else ()),
        ),
        notes=[
            *notes,
            *_shortened(parts),
            *(sentence for process, part in parts for sentence in (*_lowered(process, part), *_lost(process, part))),
        ],
    )
    overhead_ns = max((part.overhead_ns for _, part in parts), default=None)
    asked_hz = recording.options.rate_hz or DEFAULT_RATE_HZ
    kept_hz = min((low[4] for _, part in parts for low in part.lowered), default=None)
    one = replace(
        meta.passes[0],
        overhead_ns=overhead_ns,
        rate_kept_hz=None if kept_hz is None else min(kept_hz, asked_hz),
        visit_error_ns=round(NS_PER_S / min(kept_hz or asked_hz, asked_hz)),  # it looks at the first call or return that is due
    )
    return reader.build(meta=replace(meta, passes=(one,)))


def _shortened(parts: Sequence[tuple[ProcessRecord, _Part]]) -> list[str]:
    n = sum(int(thread.folded[:, 4].sum()) for _, part in parts for thread in part.threads)
    return [f"the timeline holds the latest samples of each thread: {n} earlier ones count in the totals alone"] if n else []


def _lowered(process: ProcessRecord, part: _Part) -> list[str]:
    """A sentence for each thread that was sampled more rarely to spare it."""
    found: list[str] = []
    for tid in dict.fromkeys(row[0] for row in part.lowered):
        rows = [row for row in part.lowered if row[0] == tid]
        name = process.thread_names.get(tid, "") or str(tid)
        found.append(
            f"sampling took {100 * rows[0][2]:.0f} % of the time of the thread {name} at {rows[0][3]:.0f} Hz, far beyond the overhead "
            f"budget: after {rows[0][1]:.1f} s its rate was lowered to {rows[-1][4]:.0f} Hz"
        )
    return found


def _lost(process: ProcessRecord, part: _Part) -> list[str]:
    """A sentence for each thread that was sampled no more after an exception had passed through the sampler."""
    return [
        f"the thread {process.thread_names.get(tid, '') or tid} was not sampled to its end: "
        f"an exception came while a sample was taken ({why})"
        for tid, why in part.lost
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Thread:
    tid: int
    offset_ns: int
    stacks: Int64Array
    wall_ns: Int64Array
    cpu_ns: Int64Array
    queued_ns: Int64Array | None
    folded: Int64Array
    """A row for each kind of older samples: stack, task, little CPU, next to none for long, n, wall, CPU and queued ns."""
    tasks: Int64Array
    """At each sample the number of the task that ran, from 1, 0 = none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    version: str
    started_ns: int
    own: frozenset[str]
    frames: Sequence[str]
    qualnames: Mapping[tuple[str, int, str], str]
    stacks: Sequence[tuple[int, ...]]
    tasks: Sequence[str]
    overhead_ns: int
    lowered: Sequence[tuple[int, float, float, float, float]]
    """(tid, second, share of the thread's time, Hz before, Hz after)"""
    lost: Sequence[tuple[int, str]]
    """(tid, why it was sampled no more)"""
    threads: Sequence[_Thread]


class _Reader:
    def __init__(self, builder: ProfileBuilder, who: Identifier, recording: Recording, cpu: bool, queued: bool) -> None:
        self.builder, self.who, self.recording, self.cpu, self.queued = builder, who, recording, cpu, queued
        self.n_samples = 0
        self.has_tasks = False
        self._busy_ns = self._n_busy = 0
        self._samples: list[tuple[Int64Array, ...]] = []

    def add(self, process: ProcessRecord, part: _Part) -> None:
        """The threads of one process's part as lanes."""
        frames = [self._frame(text, part.own, part.qualnames) for text in part.frames]
        nodes = np.array([self.builder.stack(f for f in (frames[i] for i in stack) if f is not None) for stack in part.stacks], np.int64)
        blocking = np.array([bool(stack) and _blocks(part.frames[stack[-1]]) for stack in part.stacks], bool)
        for thread in part.threads:
            if not len(thread.stacks):
                continue
            lanes = np.zeros(len(part.tasks) + 1, np.int64)
            for task in np.unique(np.concatenate([thread.tasks, thread.folded[:, 1]])).tolist():
                lanes[task] = self.builder.lane(
                    pid=process.pid,
                    ppid=UNKNOWN if process.ppid is None else process.ppid,
                    tid=thread.tid,
                    process_name=process.name,
                    thread_name=process.thread_names.get(thread.tid, ""),
                    task=part.tasks[int(task) - 1] if task else "",
                    is_main=thread.tid == process.main_tid,
                    start_ns=part.started_ns + thread.offset_ns,
                    end_ns=UNKNOWN if process.ended_ns is None else process.ended_ns,
                )
            self._add_thread(part, thread, lanes[thread.tasks], nodes[thread.stacks], blocking[thread.stacks])
            self._add_folded(thread, lanes, nodes, blocking)
            self.has_tasks = self.has_tasks or bool(thread.tasks.any())

    def _add_thread(
        self, part: _Part, thread: _Thread, lane: Int64Array, node: Int64Array, blocking: np.ndarray[tuple[int], np.dtype[np.bool_]]
    ) -> None:
        known = node != ROOT
        wall, cpu = thread.wall_ns, thread.cpu_ns
        # A thread that stands in line for a processor is not waiting for anything of its own.
        room = wall - np.minimum(cpu, wall)
        queued = _fitted(thread.queued_ns, room) if thread.queued_ns is not None else np.zeros(len(wall), np.int64)
        own = wall - queued
        waits = (blocking & (cpu * 2 < own)) | ((own > _LONG_NS) & (cpu * 50 < own))
        ones = np.ones(len(node), np.int64)
        columns: tuple[Int64Array, ...] = (wall, ones)
        if not self.cpu:
            used = np.minimum(cpu, wall)
            columns = (wall, np.where(waits, wall, 0), ones, used)
            if self.queued:
                columns += (np.where(waits, 0, queued),)
        for one in np.unique(lane).tolist():
            chosen = known & (lane == one)
            unique, where = np.unique(node[chosen], return_inverse=True)
            for metric, values in enumerate(columns):
                sums = np.zeros(len(unique), np.int64)
                np.add.at(sums, where, values[chosen])
                for row, value in zip(unique.tolist(), sums.tolist(), strict=True):
                    self.builder.add(row, one, metric, value)
        self.n_samples += int(known.sum())
        running = known & ~waits
        self._busy_ns += int(wall[running].sum())
        self._n_busy += int(running.sum())
        if not self.cpu:
            start = part.started_ns - self.recording.started_ns + thread.offset_ns + int(thread.folded[:, 5].sum())
            times = np.maximum(start + np.cumsum(wall) - wall, 0)
            status = np.where(waits, int(Status.WAITING), int(Status.RUNNING))
            self._samples.append((times[known], lane[known], node[known], wall[known], status[known]))

    def _add_folded(
        self, thread: _Thread, lanes: Int64Array, nodes: Int64Array, blocking: np.ndarray[tuple[int], np.dtype[np.bool_]]
    ) -> None:
        """Samples that the timeline does not hold."""
        for stack, task, little, none_for_long, n, wall, cpu, queued in thread.folded.tolist():
            node, lane = int(nodes[stack]), int(lanes[task])
            if node == ROOT:
                continue
            waits = bool((blocking[stack] and little) or none_for_long)
            values = (wall, n) if self.cpu else (wall, wall if waits else 0, n, cpu)
            if self.queued:
                values += (0 if waits else queued,)
            for metric, value in enumerate(values):
                self.builder.add(node, lane, metric, value)
            self.n_samples += n
            if not waits:
                self._busy_ns += wall
                self._n_busy += n

    def rate_achieved_hz(self) -> float | None:
        """Samples a second while threads ran; a waiting thread is sampled once, when it wakes."""
        return self._n_busy * NS_PER_S / self._busy_ns if self._busy_ns else None

    def build(self, meta: Meta) -> Profile:
        """The profile, its timeline sorted by time."""
        profile = self.builder.build(meta)
        if not self._samples:
            return profile
        time_ns, lane, node, weight, status = (np.concatenate(column) for column in zip(*self._samples, strict=True))
        order = np.argsort(time_ns, kind="stable")
        table = Samples(
            time_ns=time_ns[order],
            lane=lane[order].astype(np.int32),
            node=node[order].astype(np.int32),
            weight=weight[order],
            status=status[order].astype(np.uint8),
        )
        return finish(replace(profile, samples=table))

    def _frame(self, text: str, own: frozenset[str], qualnames: Mapping[tuple[str, int, str], str]) -> int | None:
        """Row of a frame text (`name NUL file NUL first line`, then `SOH letter value` attributes); None for the recording's own."""
        identity, *attributes = text.split("\x01")
        name, file, first = identity.split("\0")
        if file in own:
            return None
        if file == "<built-in>":
            return self.builder.frame(self.who.function(self.builder, file=file, line=None, name=name))
        line, holder = int(first), ""
        for attribute in attributes:
            if attribute[:1] == "l":
                line = int(attribute[1:])
            elif attribute[:1] == "c":
                holder = attribute[1:]
        qualname = qualnames.get((file, int(first), name))
        if qualname is None and holder:
            # The class is that of `self`, perhaps a subclass of the one that defines the method: the source knows better.
            found = self.who.identify(file=file, line=line, name=name, first_line=int(first))
            qualname = f"{holder}.{name}" if found.identified is Identified.BARE else None
        function = circumstances.function(self.builder, self.who, file=file, name=name, qualname=qualname, first_line=int(first), line=line)
        return self.builder.frame(function, line)


def _fitted(queued: Int64Array, room: Int64Array) -> Int64Array:
    """
    Time in line at each sample, no more than the sample has room for; the rest goes to those after it.

    A thread that loses its processor while the sampler works is told so at once, but the time is that of the next sample.
    """
    if (queued <= room).all():
        return queued
    found: list[int] = []
    over = 0
    for wanted, space in zip(queued.tolist(), room.tolist(), strict=True):
        now = min(wanted + over, space)
        over += wanted - now
        found.append(now)
    return np.array(found, np.int64)


def _blocks(text: str) -> bool:
    name, _, file = text.partition("\x01")[0].partition("\0")
    return file.startswith("<built-in>") and name.rpartition(".")[2] in _BLOCKING


def _load(file: Path) -> _Part:
    data = cast(Mapping[str, object], marshal.loads(file.read_bytes()))
    if data["format"] != _FORMAT:
        raise ValueError(f"its format {data['format']} is not known")
    threads = [
        _Thread(
            tid=cast(int, thread["tid"]),
            offset_ns=cast(int, thread["offset_ns"]),
            stacks=np.frombuffer(cast(bytes, thread["stacks"]), np.int64),
            wall_ns=np.frombuffer(cast(bytes, thread["wall_ns"]), np.int64),
            folded=np.array(cast(Sequence[tuple[int, ...]], thread["folded"]), np.int64).reshape(-1, 8),
            tasks=np.frombuffer(cast(bytes, thread["tasks"]), np.int64),
            cpu_ns=np.frombuffer(cast(bytes, thread["cpu_ns"]), np.int64),
            queued_ns=None if thread["queued_ns"] is None else np.frombuffer(cast(bytes, thread["queued_ns"]), np.int64),
        )
        for thread in cast(Sequence[Mapping[str, object]], data["threads"])
    ]
    return _Part(
        version=str(data["version"]),
        started_ns=cast(int, data["started_ns"]),
        own=frozenset(cast(Sequence[str], data["own"])),
        frames=cast(Sequence[str], data["frames"]),
        qualnames=cast(Mapping[tuple[str, int, str], str], data["qualnames"]),
        stacks=cast(Sequence[tuple[int, ...]], data["stacks"]),
        tasks=cast(Sequence[str], data["tasks"]),
        overhead_ns=cast(int, data["overhead_ns"]),
        lowered=cast(Sequence[tuple[int, float, float, float, float]], data["lowered"]),
        lost=cast(Sequence[tuple[int, str]], data["lost"]),
        threads=threads,
    )
