"""py-spy: samples every thread of a process family from outside, without touching the program.

It is attached by PID and writes speedscope's format, the only one of its formats that keeps every sample in order for every thread
of every process (raw adds equal stacks up; the Chrome trace drops repeated stacks, so that a thread that ended looks as if it went on, and
mixes a fork with its parent). It says which stack, not when or whether the thread ran: those come from the threads' clocks that the
launcher keeps beside it (launch/clocks.py). A sample weighs the measured time between two samples of its process, not the nominal one.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from proftool.backends import circumstances
from proftool.backends.thread_clocks import ThreadClock, read_clocks
from proftool.contracts import (
    Available,
    Capabilities,
    Clock,
    Interpreter,
    Mode,
    Outside,
    Process,
    Recording,
    RecordOptions,
    Target,
    Unavailable,
)
from proftool.errors import BackendFailed
from proftool.formats.identity import Identifier
from proftool.formats.waiting import is_waiting
from proftool.model.builder import ProfileBuilder
from proftool.model.profile import CPU_TIME, PREEMPTED_TIME, SAMPLES, UNKNOWN, WAITING_TIME, WALL_TIME, Category, Identified, Kind, Profile, Status
from proftool.units import NS_PER_S

DEFAULT_RATE_HZ = 200.0
PART = "part.speedscope.json"
_THREAD = re.compile(r'(?:Process (\d+) )?Thread (\d+|0x[0-9a-f]+) "(.*)"', re.DOTALL)
_LABEL = re.compile(r'(?:process \d+:".*"|thread \(\d+\)(?:: .*)?)', re.DOTALL)
"""Frames that py-spy puts below a stack to say whose it is; here these are lanes."""
_BUSY_SHARE = 0.25
"""A thread that ran, or stood in line for a processor, for less than this part of the time around a sample is waiting."""

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


class PySpy:
    """The backend; see the module."""

    name = "py-spy"
    summary = "where the time goes, in every thread and child process, from outside the program; attaches to running ones"
    capabilities = Capabilities(
        modes=frozenset({Mode.SAMPLE}),
        clocks=frozenset({Clock.WALL}),
        attach=True,
        rate=True,
        native=True,
        children=True,
        threads=True,
    )

    def availability(self, interpreter: Interpreter | None = None) -> Available | Unavailable:
        """The program is installed and knows the target's Python."""
        if executable() is None:
            return Unavailable(cause="the program `py-spy` is not installed beside proftool", fix="`pip install py-spy`")
        if interpreter is not None:
            if interpreter.implementation != "CPython":
                return Unavailable(
                    cause=f"py-spy reads CPython, and `{interpreter.executable}` is {interpreter.implementation}",
                    fix="sample with `--backend pyinstrument`",
                )
            if interpreter.version >= (3, 14):
                return Unavailable(cause="py-spy reads Python up to 3.13", fix="sample with `--backend pyinstrument`")
        return Available(version=_version())

    def preflight(self, process: Process) -> Available | Unavailable:
        """May this process be read?"""
        from proftool.launch import preflight

        facts = preflight.facts(process.pid)
        refusal = preflight.may_trace(facts)
        return refusal or self.availability(facts.interpreter)

    def command(self, target: Target, options: RecordOptions, folder: Path) -> Outside:
        """Attach to the process that waits, all threads, idle ones too."""
        argv = [executable() or "py-spy", "record", "--pid", "{pid}", "--format", "speedscope", "--output", str(folder / PART)]
        argv += ["--rate", str(round(options.rate_hz or DEFAULT_RATE_HZ)), "--idle", "--threads", "--full-filenames"]
        if options.children:
            argv.append("--subprocesses")
        if options.native:
            argv.append("--native")
        return Outside(argv=tuple(argv), ready="Sampling process")

    def read(self, recording: Recording) -> Profile:
        """A lane for every thread; times from the threads' clocks."""
        part = recording.folder / PART
        try:
            told = msgspec.json.decode(part.read_bytes(), type=_File)
        except FileNotFoundError:
            raise self._nothing(recording, "it wrote no file") from None
        except (msgspec.MsgspecError, OSError) as problem:
            raise self._nothing(recording, f"its file cannot be read: {problem}") from problem
        who = circumstances.identifier(recording)
        reader = _Reader(recording, who, told, read_clocks(recording.folder, recording.duration_ns))
        if not reader.n_samples:
            raise self._nothing(recording, "the program ended before the first sample")
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
            backend=self.name,
            version=_version(),
            clock=str(Clock.WALL),
            rate_asked_hz=asked_hz,
            rate_achieved_hz=achieved_hz,
            samples=reader.n_samples,
            features=features,
            unseen=unseen,
        )
        one = replace(meta.passes[0], missed=missed, complete=True)
        return reader.builder.build(replace(meta, passes=(one,)))

    def _nothing(self, recording: Recording, why: str) -> BackendFailed:
        said = [line for line in recording.profiler_stderr.splitlines() if line.strip() and "RUST_BACKTRACE" not in line]
        told = f"{why}; py-spy said: {said[-1].strip()}" if said else why
        if recording.exit_status == 137:
            told = f"the target was killed (SIGKILL), and {why}"
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
        self._rows: dict[int, int] = {}
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
            leaf = self.frames[stack[-1]]
            waits = shares[1] < _BUSY_SHARE if shares is not None else is_waiting(leaf.name, leaf.file or "")
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


def executable() -> str | None:
    """The program that was installed with proftool, else one on PATH."""
    beside = Path(sys.executable).with_name("py-spy")
    return str(beside) if beside.exists() else shutil.which("py-spy")


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("py-spy")
    except PackageNotFoundError:
        return "unknown"


backend = PySpy()
