"""What a recording tells about itself, the same for every backend: the one pass of a profile's meta, and who its functions are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from proftool.contracts import Process, Program, Recording
from proftool.formats.identity import Identifier
from proftool.model.builder import ProfileBuilder
from proftool.model.circumstances import collected
from proftool.model.meta import Collector, Meta, Pass
from proftool.model.profile import Category, Identified
from proftool.settings import project_of


def identifier(recording: Recording) -> Identifier:
    """Resolves the recording's functions from the sources of the project that the target belongs to."""
    cwd, target = _cwd(recording), recording.target
    texts = {"<string>": target.code} if isinstance(target, Program) and target.code is not None else {}
    root = target.root if isinstance(target, Process) else Path("/")
    return Identifier(project_root(recording, cwd), cwd=cwd, root=root, texts=texts)


def function(
    builder: ProfileBuilder, who: Identifier, *, file: str, name: str, qualname: str | None, first_line: int, line: int | None = None
) -> int:
    """Row of a function. `qualname` is the interpreter's own (Python 3.11 and later), None where only a bare name is known.

    Sources of other people's code are opened only for what the interpreter did not tell: parsing sixty files of the standard library
    for a short script takes longer than the script.
    """
    if qualname is not None and file:
        place = who.place(file)
        if place.category is not Category.PROJECT:
            return builder.function(
                qualname,
                module=place.module,
                file=place.file,
                first_line=first_line,
                name=name,
                identified=Identified.TOOL,
                category=place.category,
            )
    known = qualname if qualname is not None and name != "<module>" else None
    return who.function(builder, file=file, line=line, name=name, qualname=known, first_line=first_line)


def project_root(recording: Recording, cwd: Path) -> Path:
    """The nearest folder with a `pyproject.toml` or `.git` around the working folder, or around the script if that lies elsewhere."""
    target = recording.target
    root = project_of(cwd, root=target.root if isinstance(target, Process) else Path("/")) or cwd
    if isinstance(target, Program) and target.script not in (None, "-"):
        script = (cwd / str(target.script)).resolve()
        if not script.is_relative_to(root) and not any(part in ("site-packages", "dist-packages", "bin") for part in script.parts):
            return project_of(script.parent) or script.parent
    return root


def tasks_unseen(files: Iterable[str]) -> tuple[str, ...]:
    """What to say where the program ran an event loop and the backend does not tell its tasks apart."""
    has_loop = any(file.endswith("asyncio/base_events.py") or "/uvloop/" in file for file in files)
    return ("asyncio tasks are not told apart, `--backend pyinstrument` does",) if has_loop else ()


def _cwd(recording: Recording) -> Path:
    """Where the target stood."""
    target = recording.target
    return target.cwd if isinstance(target, Process) and target.cwd is not None else Path.cwd()


def collector(recording: Recording, who: Identifier) -> Collector | None:
    """What the garbage collector took of all processes, files as the profile names them."""
    found = collected([process.collector for process in recording.processes if process.collector is not None])
    if found is None:
        return None
    return replace(found, lines=tuple((who.place(file).file, *rest) for file, *rest in found.lines))


def meta(
    recording: Recording,
    who: Identifier | None,
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
        collector=None if who is None else collector(recording, who),
    )
    cwd = _cwd(recording)
    return Meta(
        passes=(one,),
        command=(target.typed if isinstance(target, Program) else target.argv) or None,
        cwd=str(cwd),
        project_root=str(project_root(recording, cwd)),
        python=python,
        sources=() if who is None else who.embed_sources(),
    )
