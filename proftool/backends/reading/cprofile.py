"""What cProfile counted, as a profile; see proftool/backends/cprofile.py for what it means."""

from __future__ import annotations

import marshal
from dataclasses import replace
from pathlib import Path
from typing import cast

from proftool.backends import circumstances
from proftool.backends.cprofile import NAME
from proftool.contracts import Clock, ProcessRecord, Recording
from proftool.errors import BackendFailed
from proftool.formats.identity import Identifier
from proftool.model.builder import ProfileBuilder
from proftool.model.profile import CALLS, ROOT, UNKNOWN, WALL_TIME, Profile

Key = tuple[str, int, str, str]
"""(file, first line, qualified name, bare name); a builtin has no file."""
Callee = tuple[Key, int, int, int, int]
Entry = tuple[Key, int, int, int, int, list[Callee]]
Threads = list[tuple[int, list[Entry]]]

_FORMAT = 1


def read(recording: Recording) -> Profile:
    """Every part's threads as lanes of one profile."""
    mode = str(recording.options.mode)
    who = circumstances.identifier(recording)
    builder = ProfileBuilder([replace(WALL_TIME, mode=mode), replace(CALLS, mode=mode)])
    reader = _Reader(builder, who)
    notes: list[str] = []
    for process in recording.processes:
        for part in process.parts:
            try:
                threads = _load(part)
            except (EOFError, ValueError, TypeError, OSError) as error:
                notes.append(f"the part of process {process.pid} cannot be read: {error}")
                continue
            reader.add(process, threads)
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

    def add(self, process: ProcessRecord, threads: Threads) -> None:
        """The threads of one process as lanes; threads that called nothing leave none."""
        for tid, entries in threads:
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
            for key, calls, recursive, total_ns, self_ns, callees in entries:
                function = self.function(key)
                node = self.builder.node(ROOT, self.builder.frame(function, key[1]))
                self.builder.add(node, lane, 0, self_ns)
                # `callcount` counts the outermost calls and those with other functions between, `reccallcount` those
                # of the calls that are recursive: pstats prints ncalls = callcount, primitive = callcount - reccallcount.
                self.builder.add(node, lane, 1, calls)
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


def _load(part: Path) -> Threads:
    version, threads = marshal.loads(part.read_bytes())
    if version != _FORMAT:
        raise ValueError(f"its format {version} is not known")
    return cast(Threads, threads)


def _first(recording: Recording, notes: list[str]) -> str:
    told = [*notes, *(note for process in recording.processes for note in process.notes), *recording.notes]
    return told[0] if told else ""
