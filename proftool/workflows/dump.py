"""Every thread's stack of a running process, now: py-spy's dump, read and not shown as it is.

A thread is *running* where py-spy found it on a processor or about to be, else *waiting*. Frames are innermost first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from proftool.backends import pyspy
from proftool.contracts import Process, Unavailable
from proftool.errors import BackendFailed, BackendUnavailable, PermissionNeeded
from proftool.launch import preflight
from proftool.launch.ask import ask
from proftool.workflows.attach import command_line, stand

_LIMIT_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One call: `source` is the text of the executing line, empty where the file cannot be read."""

    name: str
    file: str
    line: int
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    """One thread."""

    pid: int
    tid: int
    name: str
    running: bool
    holds_gil: bool
    frames: tuple[Frame, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dump:
    """A process, and where it is."""

    pid: int
    command: str
    python: str
    threads: tuple[Thread, ...]


class _Frame(msgspec.Struct):
    name: str
    filename: str
    line: int = 0


class _Thread(msgspec.Struct):
    pid: int
    thread_id: int
    frames: list[_Frame]
    active: bool = False
    owns_gil: bool = False
    thread_name: str | None = None
    os_thread_id: int | None = None


def dump(pid: int, *, native: bool = False, children: bool = False) -> Dump:
    """Where every thread is.

    Raises TargetError, BackendUnavailable or PermissionNeeded where that cannot be seen, BackendFailed where py-spy fails.
    """
    with stand(pid) as process:
        there = pyspy.backend.preflight(process)
        if isinstance(there, Unavailable):
            kind = PermissionNeeded if there.exit_code == PermissionNeeded.exit_code else BackendUnavailable
            raise kind(f"process {pid} cannot be read", cause=there.cause, fix=there.fix)
        threads = _ask(process, native=native, children=children)
        sources: dict[str, tuple[str, ...]] = {}
        found = tuple(_thread(thread, process, sources) for thread in threads)
        interpreter = preflight.facts(pid).interpreter
        python = f"{interpreter.implementation} {'.'.join(map(str, interpreter.version))}" if interpreter else "Python"
        return Dump(pid=pid, command=command_line(pid), python=python, threads=found)


def _ask(process: Process, *, native: bool, children: bool) -> list[_Thread]:
    argv = pyspy.dump_argv(process, native=native, children=children)
    told = ask(argv, within_s=_LIMIT_S)
    if told.status is None:
        raise _failed(process.pid, f"py-spy: {told.problem}")
    try:
        return msgspec.json.decode(told.out, type=list[_Thread])
    except msgspec.MsgspecError:
        preflight.facts(process.pid)  # it may have ended meanwhile
        said = (line.strip().removeprefix("Error: ") for line in told.err.decode(errors="replace").splitlines())
        lines = (line for line in said if line and "RUST_BACKTRACE" not in line and "panicked" not in line)
        raise _failed(process.pid, next(lines, "py-spy said nothing")) from None


def _failed(pid: int, cause: str) -> BackendFailed:
    return BackendFailed(
        f"process {pid} could not be read", cause=cause, fix="try again; `proftool attach --check` says what is in the way"
    )


def _thread(thread: _Thread, process: Process, sources: dict[str, tuple[str, ...]]) -> Thread:
    return Thread(
        pid=thread.pid,
        tid=thread.os_thread_id or thread.thread_id,
        name=thread.thread_name or "",
        running=thread.active,
        holds_gil=thread.owns_gil,
        frames=tuple(
            Frame(name=frame.name, file=frame.filename, line=frame.line, source=_source(frame, process, sources)) for frame in thread.frames
        ),
    )


def _source(frame: _Frame, process: Process, sources: dict[str, tuple[str, ...]]) -> str:
    lines = sources.get(frame.filename)
    if lines is None:
        lines = sources[frame.filename] = _lines(frame.filename, process)
    return lines[frame.line - 1].strip() if 0 < frame.line <= len(lines) else ""


def _lines(file: str, process: Process) -> tuple[str, ...]:
    """A Python source, as the process sees it; nothing where there is none."""
    import linecache

    if not file.endswith(".py"):
        return ()
    path = Path(file) if file.startswith("/") or process.cwd is None else process.cwd / file
    return tuple(linecache.getlines(str(path if process.root == Path("/") else process.root / path.relative_to("/"))))


def document(dumped: Dump) -> Mapping[str, object]:
    """What `dump --json` prints."""
    return {"schema": "proftool.dump/1", **msgspec.to_builtins(dumped)}
