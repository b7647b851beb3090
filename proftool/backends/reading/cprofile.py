"""What cProfile counted, as a profile; see proftool/backends/cprofile.py for what it means."""

from __future__ import annotations

import marshal
import re
from dataclasses import replace
from pathlib import Path
from typing import cast

from proftool.backends import circumstances
from proftool.backends.cprofile import NAME
from proftool.contracts import Clock, ProcessRecord, Recording
from proftool.errors import BackendFailed
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

_FORMAT = 2
_BUILTIN = re.compile(r"<(?:built-in method (?:[\w.]+\.)?(\w+)>|method '(\w+)' of '\w+\.)")
"""A function of a module, or a method of a type that a module brings: `str.join` is no thread's."""


def read(recording: Recording) -> Profile:
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
        unseen.append("since Python 3.12 cProfile does not tell threads apart, so their times are mixed; `--mode sample` keeps them apart")
    unseen += circumstances.tasks_unseen(key[0] for key in reader.functions)
    version = None if interpreter is None else ".".join(map(str, interpreter.version))
    features = ("children",) if recording.options.children else ()
    meta = circumstances.meta(
        recording, who, backend=NAME, version=version, clock=str(Clock.WALL), features=features, unseen=unseen, notes=notes
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
    """What part of its running time a thread stood in line; in which functions is not known, so all that run have the same part."""
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
