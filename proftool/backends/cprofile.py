"""cProfile: every call counted and timed, as caller-callee pairs; no stacks.

The parts are those of inside/cprofile.py: `_lsprof` statistics by thread. Each thread is a lane; self time and calls stand on one root
node a function, the pairs in `edges`. Totals are the ones that `pstats` prints for the same statistics (a test holds them to it).
"""

from __future__ import annotations

import marshal
import platform
import re
from dataclasses import replace
from pathlib import Path
from typing import cast

from proftool.backends import circumstances
from proftool.contracts import (
    Available,
    Capabilities,
    Clock,
    Inside,
    Interpreter,
    Mode,
    ProcessRecord,
    Program,
    Recording,
    RecordOptions,
    Target,
    Unavailable,
)
from proftool.errors import BackendFailed, BackendUnavailable
from proftool.formats.identity import Identifier
from proftool.formats.waiting import is_waiting
from proftool.model.builder import ProfileBuilder
from proftool.model.profile import CALLS, PREEMPTED_TIME, ROOT, UNKNOWN, WALL_TIME, Profile

Key = tuple[str, int, str, str]
"""(file, first line, qualified name, bare name); a builtin has no file."""
Callee = tuple[Key, int, int, int, int]
Entry = tuple[Key, int, int, int, int, list[Callee]]
Threads = list[tuple[int, int | None, list[Entry]]]
"""(native id, ns in line for a processor, entries)"""

RECORDER = Path(__file__).with_name("inside") / "cprofile.py"
_FORMAT = 2
_BUILTIN = re.compile(r"<(?:built-in method (?:[\w.]+\.)?(\w+)>|method '(\w+)' of '\w+\.)")
"""A function of a module, or a method of a type that a module brings: `str.join` is no thread's."""


class CProfile:
    """The backend; see the module."""

    name = "cprofile"
    summary = "exact calls and call times of Python functions, by caller and callee; slows calls down, records no stacks"
    capabilities = Capabilities(modes=frozenset({Mode.TRACE}), children=True, threads=True, stacks=False, in_process=True)

    def availability(self, interpreter: Interpreter | None = None) -> Available | Unavailable:
        """In the standard library of every CPython since 3.8."""
        if interpreter is None:
            return Available(version=platform.python_version())
        if interpreter.implementation != "CPython":
            return Unavailable(
                cause=f"cProfile belongs to CPython, and `{interpreter.executable}` is {interpreter.implementation}",
                fix="name a CPython with `--python PATH`, or sample with `--backend py-spy`",
            )
        return Available(version=".".join(map(str, interpreter.version)))

    def command(self, target: Target, options: RecordOptions, folder: Path) -> Inside:
        """Loaded by the bootstrap; options that it cannot honour are refused."""
        if not isinstance(target, Program):
            raise BackendUnavailable(
                "cProfile cannot attach to a running process",
                cause="it has to be started by the program itself",
                fix="attach with `--backend py-spy`",
            )
        if options.duration_ns is not None:
            raise BackendUnavailable(
                "cProfile records a program from its start to its end",
                cause="it cannot be stopped from outside",
                fix="leave out `--duration`",
            )
        if options.rate_hz is not None or options.clock is not Clock.WALL or options.native:
            raise BackendUnavailable(
                "cProfile takes no rate, no CPU clock and no native frames",
                cause="it times every call by the wall clock",
                fix="sample with `--mode sample`",
            )
        return Inside(recorder=RECORDER)

    def read(self, recording: Recording) -> Profile:
        """Every part's threads as lanes of one profile."""
        mode = str(recording.options.mode)
        who = circumstances.identifier(recording)
        notes: list[str] = []
        found: list[tuple[ProcessRecord, Threads]] = []
        for process in recording.processes:
            for part in process.parts:
                try:
                    threads = _load(part)
                except (EOFError, ValueError, TypeError, OSError) as error:
                    notes.append(f"the part of process {process.pid} cannot be read: {error}")
                    continue
                found.append((process, threads))
        # Since Python 3.12 one profile holds all threads, and the line that one of them stood in says little.
        queued = all(queued is not None for _, threads in found for _, queued, entries in threads if entries)
        if recording.interpreter is not None and recording.interpreter.version >= (3, 12):
            queued = queued and not any(len(p.thread_names) > 1 for p in recording.processes)
        metrics = (WALL_TIME, CALLS, PREEMPTED_TIME) if queued else (WALL_TIME, CALLS)
        builder = ProfileBuilder([replace(metric, mode=mode) for metric in metrics])
        reader = _Reader(builder, who)
        for process, threads in found:
            reader.add(process, threads, queued)
        if not reader.functions:
            raise BackendFailed(
                "cProfile recorded nothing",
                cause=_first(recording, notes) or "no Python function was called",
                fix="run the program without proftool and see whether it works",
            )
        interpreter = recording.interpreter
        unseen = ["cProfile records caller-callee pairs and not call stacks"]
        if interpreter is not None and interpreter.version >= (3, 12) and any(len(p.thread_names) > 1 for p in recording.processes):
            unseen.append(
                "since Python 3.12 cProfile does not tell threads apart, so their times are mixed; `--mode sample` keeps them apart"
            )
        version = None if interpreter is None else ".".join(map(str, interpreter.version))
        features = ("children",) if recording.options.children else ()
        meta = circumstances.meta(
            recording, who, backend=self.name, version=version, clock=str(Clock.WALL), features=features, unseen=unseen, notes=notes
        )
        return builder.build(meta)


class _Reader:
    def __init__(self, builder: ProfileBuilder, who: Identifier) -> None:
        self.builder, self.who = builder, who
        self.functions: dict[Key, int] = {}

    def add(self, process: ProcessRecord, threads: Threads, with_queued: bool) -> None:
        """The threads of one process as lanes; threads that called nothing leave none."""
        for tid, queued_ns, entries in threads:
            if not entries:
                continue
            lane = self.builder.lane(
                pid=process.pid,
                ppid=UNKNOWN if process.ppid is None else process.ppid,
                tid=tid,
                process_name=process.name,
                thread_name=process.thread_names.get(tid, ""),
                is_main=tid == process.main_tid,
                start_ns=UNKNOWN if process.started_ns is None else process.started_ns,
                end_ns=UNKNOWN if process.ended_ns is None else process.ended_ns,
            )
            in_line = _in_line_share(queued_ns, entries) if with_queued and queued_ns else 0.0
            for key, calls, recursive, total_ns, self_ns, callees in entries:
                function = self.function(key)
                node = self.builder.node(ROOT, self.builder.frame(function, key[1]))
                self.builder.add(node, lane, 0, self_ns)
                # `callcount` counts the outermost calls and those with other functions between, `reccallcount` those
                # of the calls that are recursive: pstats prints ncalls = callcount, primitive = callcount - reccallcount.
                self.builder.add(node, lane, 1, calls)
                if in_line and not _waits(key):
                    self.builder.add(node, lane, 2, int(self_ns * in_line))
                self.builder.edge(ROOT, function, lane, calls=calls, primitive_calls=calls - recursive, self_ns=self_ns, total_ns=total_ns)
                for callee, c_calls, c_recursive, c_total_ns, c_self_ns in callees:
                    self.builder.edge(
                        function,
                        self.function(callee),
                        lane,
                        calls=c_calls,
                        primitive_calls=c_calls - c_recursive,
                        self_ns=c_self_ns,
                        total_ns=c_total_ns,
                    )

    def function(self, key: Key) -> int:
        """Row of a function."""
        row = self.functions.get(key)
        if row is None:
            file, line, qualname, name = key
            known = qualname if file and qualname else None
            row = circumstances.function(self.builder, self.who, file=file, name=name, qualname=known, first_line=line)
            self.functions[key] = row
        return row


def _waits(key: Key) -> bool:
    """Is it a builtin that waits for something outside the thread?"""
    found = None if key[0] else _BUILTIN.match(key[2])
    return found is not None and is_waiting(found[1] or found[2], "")


def _in_line_share(queued_ns: int, entries: list[Entry]) -> float:
    """What part of its running time a thread stood in line; which functions it did so in is not known, so all that run have the same part."""
    running_ns = sum(entry[4] for entry in entries if not _waits(entry[0]))
    return min(queued_ns / running_ns, 1.0) if running_ns > 0 else 0.0


def _load(part: Path) -> Threads:
    version, threads = marshal.loads(part.read_bytes())
    if version != _FORMAT:
        raise ValueError(f"its format {version} is not known")
    return cast(Threads, threads)


def _first(recording: Recording, notes: list[str]) -> str:
    told = [*notes, *(note for process in recording.processes for note in process.notes), *recording.notes]
    return told[0] if told else ""


backend = CProfile()
