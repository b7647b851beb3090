"""A run from what a killed proftool left: its finished segments or parts, read by the backend that was recording.

Each recording's folder holds `asked`, a Python literal written before the target runs, that says what was being recorded.
"""

from __future__ import annotations

import time
from ast import literal_eval
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from proftool import registry
from proftool.contracts import Clock, Inside, Mode, Process, Program, Recording, RecordOptions, Target
from proftool.contracts_store import Run
from proftool.errors import BackendFailed
from proftool.launch import parts
from proftool.store.runs import SqlRunStore
from proftool.workflows.choose import Choice

FILE = "asked"
_NOTE = "proftool was killed while it recorded: this is what it had saved until then"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What the file holds."""

    backend: str
    mode: str
    clock: str
    rate_hz: float | None
    native: bool
    children: bool
    python: str | None
    script: str | None
    module: str | None
    code: str | None
    argv: tuple[str, ...]
    pid: int | None
    label: str | None
    started_ns: int


def note(folder: Path, target: Target, choice: Choice, label: str | None) -> None:
    """Write down what is going to be recorded into the folder; without it, only the parts that explain themselves can be recovered."""
    program = target if isinstance(target, Program) else None
    options = choice.options
    asked = {
        "backend": choice.backend.name,
        "mode": str(options.mode),
        "clock": str(options.clock),
        "rate_hz": options.rate_hz,
        "native": options.native,
        "children": options.children,
        "python": str(program.python) if program else None,
        "script": program.script if program else None,
        "module": program.module if program else None,
        "code": program.code if program else None,
        "argv": program.typed if program else target.argv,
        "pid": target.pid if isinstance(target, Process) else None,
        "label": label,
        "started_ns": time.time_ns(),
    }
    try:
        (folder / FILE).write_text(ascii(asked), encoding="ascii")
    except OSError:
        return  # a full disk; the recording itself will say so


def recover(folder: Path, store: SqlRunStore) -> Run:
    """The run; BackendFailed where nothing is usable."""
    from proftool.model.check import checked
    from proftool.model.quality import judge

    try:
        asked = _Asked(**cast(dict[str, object], literal_eval((folder / FILE).read_text(encoding="ascii"))))  # pyright: ignore[reportArgumentType]
        backend = registry.backend(asked.backend)
        options = RecordOptions(
            mode=Mode(asked.mode), clock=Clock(asked.clock), rate_hz=asked.rate_hz, native=asked.native, children=asked.children
        )
    except (OSError, ValueError, SyntaxError, TypeError) as problem:
        raise BackendFailed("what was recorded cannot be read", cause="it does not say what it is of", fix="record again") from problem
    target: Target
    if asked.pid is not None:
        target = Process(pid=asked.pid, argv=asked.argv)
    else:
        target = Program(python=Path(str(asked.python)), script=asked.script, module=asked.module, code=asked.code, typed=asked.argv)
    inside = isinstance(backend.command(target, options, folder), Inside)
    processes = parts.collect(folder, 0, recorded=inside, status=None)
    last_ns = max((file.stat().st_mtime_ns for file in folder.rglob("*")), default=asked.started_ns)
    recording = Recording(
        folder=folder,
        target=target,
        options=options,
        processes=tuple(sorted(processes, key=lambda process: process.started_ns or 0)),
        exit_status=None,
        started_ns=asked.started_ns,
        duration_ns=max(last_ns - asked.started_ns, 0),
        cpu_ns=None,
        notes=(_NOTE,),
    )
    profile = backend.read(recording)
    passes = tuple(replace(one, complete=False) for one in profile.meta.passes)
    profile = checked(profile.with_meta(replace(profile.meta, passes=passes)))
    profile = profile.with_meta(replace(profile.meta, quality=judge(profile)))
    return store.add(profile, label=asked.label)
