"""What a recording tells about itself, as the one pass of a profile's meta: the same for every backend."""

from __future__ import annotations

from collections.abc import Iterable

from proftool.contracts import Program, Recording
from proftool.model.meta import Meta, Pass


def meta(
    recording: Recording,
    *,
    backend: str,
    version: str | None,
    clock: str | None = None,
    rate_asked_hz: float | None = None,
    rate_achieved_hz: float | None = None,
    samples: int | None = None,
    features: Iterable[str] = (),
    unseen: Iterable[str] = (),
    notes: Iterable[str] = (),
) -> Meta:
    """Command, Python and one pass; what the launcher noted of each process joins the backend's own notes."""
    target = recording.target
    told = [*recording.notes, *(note for process in recording.processes for note in process.notes), *notes]
    interpreter = recording.interpreter
    python = None if interpreter is None else f"{interpreter.implementation} {'.'.join(map(str, interpreter.version))}"
    one = Pass(
        mode=str(recording.options.mode),
        backend=backend,
        backend_version=version,
        clock=clock,
        rate_asked_hz=rate_asked_hz,
        rate_achieved_hz=rate_achieved_hz,
        samples=samples,
        started_ns=recording.started_ns,
        duration_ns=recording.duration_ns,
        cpu_ns=recording.cpu_ns,
        exit_status=recording.exit_status,
        features=tuple(features),
        unseen=tuple(dict.fromkeys(unseen)),
        notes=tuple(dict.fromkeys(told)),
        complete=bool(recording.processes) and all(process.complete for process in recording.processes),
        attached=not isinstance(target, Program),
    )
    return Meta(passes=(one,), command=target.typed or None if isinstance(target, Program) else None, python=python)
