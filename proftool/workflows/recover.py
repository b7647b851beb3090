"""A recording read without its end: a run from what a killed proftool left, or the profile so far of one under way.

Each recording's folder holds `asked`, a Python literal written before the target runs, that says what is being recorded. The backend that
records reads what there is: finished segments or parts, or what the recorder wrote because somebody looks.
"""

from __future__ import annotations

import time
from ast import literal_eval
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from proftool import registry
from proftool.contracts import Backend, Clock, Inside, Mode, Process, Program, Recording, RecordOptions, Target
from proftool.contracts_store import Run
from proftool.errors import BackendFailed
from proftool.launch import parts
from proftool.store.runs import SqlRunStore
from proftool.workflows.choose import Choice

if TYPE_CHECKING:
    from proftool.model.profile import Profile

FILE = "asked"
_NOTE = "proftool was killed while it recorded: this is what it had saved until then"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
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
    run: str | None = None
    """The id that the run gets."""


def note(folder: Path, target: Target, choice: Choice, label: str | None, run: str | None = None) -> None:
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
        "run": run,
    }
    try:
        (folder / FILE).write_text(ascii(asked), encoding="ascii")
    except OSError:
        return  # a full disk; the recording itself will say so


def recover(folder: Path, store: SqlRunStore) -> Run:
    """The run; BackendFailed where nothing is usable."""
    from proftool.model.check import checked
    from proftool.model.quality import judge

    told = asked(folder)
    profile = _read(folder, told, notes=(_NOTE,))
    passes = tuple(replace(one, complete=False) for one in profile.meta.passes)
    profile = checked(profile.with_meta(replace(profile.meta, passes=passes)))
    profile = profile.with_meta(replace(profile.meta, quality=judge(profile)))
    return store.add(profile, label=told.label, id=told.run)


def so_far(folder: Path, told: Asked) -> Profile:
    """What a recording under way has seen; BackendFailed where that is nothing yet."""
    from proftool.model.check import checked

    return checked(_read(folder, told, so_far=True))


def asked(folder: Path) -> Asked:
    """What is recorded there; BackendFailed where it does not say."""
    try:
        return Asked(**cast(dict[str, object], literal_eval((folder / FILE).read_text(encoding="ascii"))))  # pyright: ignore[reportArgumentType]
    except (OSError, ValueError, SyntaxError, TypeError) as problem:
        raise BackendFailed("what was recorded cannot be read", cause="it does not say what it is of", fix="record again") from problem


def _read(folder: Path, told: Asked, *, notes: tuple[str, ...] = (), so_far: bool = False) -> Profile:
    backend, options, target = _request(told)
    inside = isinstance(backend.command(target, options, folder), Inside)
    processes = parts.collect(folder, 0, recorded=inside, status=None, so_far=so_far)
    last_ns = max((file.stat().st_mtime_ns for file in folder.rglob("*")), default=told.started_ns)
    recording = Recording(
        folder=folder,
        target=target,
        options=options,
        processes=tuple(sorted(processes, key=lambda process: process.started_ns or 0)),
        exit_status=None,
        started_ns=told.started_ns,
        duration_ns=max(last_ns - told.started_ns, 0),
        cpu_ns=None,
        notes=notes,
    )
    return backend.read(recording)


def _request(told: Asked) -> tuple[Backend, RecordOptions, Target]:
    try:
        backend = registry.backend(told.backend)
        options = RecordOptions(
            mode=Mode(told.mode), clock=Clock(told.clock), rate_hz=told.rate_hz, native=told.native, children=told.children
        )
    except ValueError as problem:
        raise BackendFailed("what was recorded cannot be read", cause="it does not say what it is of", fix="record again") from problem
    if told.pid is not None:
        return backend, options, Process(pid=told.pid, argv=told.argv)
    program = Program(python=Path(str(told.python)), script=told.script, module=told.module, code=told.code, typed=told.argv)
    return backend, options, program
