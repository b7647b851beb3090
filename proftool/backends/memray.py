"""memray: every allocation of every thread, with its stack: peak, leaked, temporary and total bytes.

Runs inside the target (inside/memray.py); the parts are memray's own files, read by formats/memray.py.
"""

from __future__ import annotations

import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from proftool.backends import circumstances
from proftool.contracts import (
    Available,
    Capabilities,
    Inside,
    Interpreter,
    Mode,
    Process,
    Recording,
    RecordOptions,
    Target,
    Unavailable,
)
from proftool.errors import BackendFailed, BackendUnavailable, CorruptProfile
from proftool.model.builder import ProfileBuilder
from proftool.model.profile import UNKNOWN, Profile

RECORDER = Path(__file__).with_name("inside") / "memray.py"
_BOOTSTRAP = ("/launch/_child.py", "/launch/_blind.py", "/inside/memray.py", "/hook/sitecustomize.py")
"""Files of proftool's own, whose frames do not show."""
_INJECTED = ("_memray_attach_hook.py",)
"""What memray calls the script that it was brought in with: all that was allocated below is the profiler's own."""


class Memray:
    """The backend; see the module."""

    name = "memray"
    summary = "where the memory goes: peak, leaks and temporary allocations by stack, in every thread and child process"
    capabilities = Capabilities(modes=frozenset({Mode.MEMORY}), native=True, children=True, threads=True, attach=True, in_process=True)

    def availability(self, interpreter: Interpreter | None = None) -> Available | Unavailable:
        """Is there a memray that the target's interpreter can load, its own or proftool's?"""
        if sys.platform == "win32":
            return Unavailable(cause="memray has no build for Windows", fix="record on Linux or macOS")
        version = _version()
        if version is None:
            return Unavailable(cause="memray is not installed beside proftool", fix="`pip install memray`")
        if interpreter is None or interpreter.executable == Path(sys.executable):
            return Available(version=version)
        tag = f"cpython-{interpreter.version[0]}{interpreter.version[1]}"
        if interpreter.implementation != "CPython":
            return Unavailable(
                cause=f"memray needs CPython, and `{interpreter.executable}` is not", fix="name a CPython with `--python PATH`"
            )
        for folder in (_own_packages(), *interpreter.site_packages):
            if any(tag in file.name for file in (folder / "memray").glob("_memray.*")):
                return Available(version=version)
        wanted = ".".join(map(str, interpreter.version[:2]))
        return Unavailable(
            cause=f"memray is an extension module, and none for Python {wanted} is installed",
            fix=f"`{interpreter.executable} -m pip install memray`",
        )

    def preflight(self, process: Process) -> Available | Unavailable:
        """May gdb bring it into that process, and would it find itself at home there?"""
        import os
        import shutil

        from proftool.launch import inject, preflight

        known = preflight.facts(process.pid)
        if (refusal := preflight.may_trace(known)) is not None:
            return refusal
        there = self.availability(known.interpreter)
        if isinstance(there, Unavailable):
            return there
        if known.interpreter is None:
            return Unavailable(cause="which Python it runs cannot be told", fix="attach with `--backend py-spy`")
        if shutil.which("gdb") is None:
            return Unavailable(cause="memray attaches through gdb, which is not installed", fix="`sudo apt install gdb`")
        if inject.injector() is None:
            return Unavailable(cause="this build of memray has no injector", fix="`pip install --upgrade memray`")
        apart = {"mnt": "file system", "net": "network", "pid": "process numbers"}
        if own := [apart[name] for name in apart if name in known.foreign]:
            return Unavailable(
                cause=f"it lives in a container with its own {' and '.join(own)}, where it cannot reach proftool",
                fix="run proftool inside the container (`docker exec …`, `kubectl exec …`), or attach with `--backend py-spy`",
            )
        if known.uid not in (None, os.geteuid()) and os.geteuid():
            return Unavailable(
                cause="it belongs to another user, who could not write the recording",
                fix="run proftool as that user or as root",
                exit_code=4,
            )
        return there

    def command(self, target: Target, options: RecordOptions, folder: Path) -> Inside:
        """Loaded by the bootstrap; options that it cannot honour are refused."""
        if options.rate_hz is not None:
            raise BackendUnavailable(
                "memray takes no rate",
                cause="it records every allocation and samples nothing",
                fix="leave `--rate` out, or `--mode sample`",
            )
        return Inside(recorder=RECORDER, options={"native": options.native}, library_paths=(_own_packages(),))

    def read(self, recording: Recording) -> Profile:
        """Every process's threads as lanes of one profile."""
        from proftool.formats import memray as recordings

        who = circumstances.identifier(recording)
        builder = ProfileBuilder(recordings.METRICS)
        notes: list[str] = []
        attached = isinstance(recording.target, Process)
        n_read = 0
        for process in recording.processes:
            for path in process.parts:
                part = recordings.Part(
                    path,
                    pid=process.pid,
                    ppid=UNKNOWN if process.ppid is None else process.ppid,
                    process_name=process.name,
                    thread_names=process.thread_names,
                    main_tid=UNKNOWN if attached else 1,
                    is_own=True,
                )
                try:
                    recordings.add(builder, who, part, hidden=_BOOTSTRAP, dropped=_INJECTED)
                    n_read += 1
                except CorruptProfile as problem:
                    notes.append(f"the part of process {process.pid} cannot be read: {problem.cause}")
        if not n_read:
            first = [*notes, *(note for process in recording.processes for note in process.notes), *recording.notes]
            raise BackendFailed(
                "memray recorded nothing",
                cause=first[0] if first else "no process left a recording",
                fix="run the program without proftool and see whether it works",
            )
        if attached:
            notes.append("what was allocated before the attach is not seen; leaked is what was allocated since and still lived at the end")
            if recording.options.children:
                notes.append("child processes were not recorded: memray attaches to one process")
        if n_read > 1:
            notes.append("peaks of several processes are a sum of peaks: they need not have been at the same moment")
        features = tuple(
            name for name in ("children", "native") if getattr(recording.options, name) and not (attached and name == "children")
        )
        unseen = (
            ()
            if recording.options.native
            else ("allocations of small objects come from arenas that Python keeps, seen when an arena is taken",)
        )
        meta = circumstances.meta(recording, who, backend=self.name, version=_version(), features=features, unseen=unseen, notes=notes)
        return builder.build(meta)


def _own_packages() -> Path:
    """The folder that proftool's own memray lies in, found without importing it."""
    from importlib.util import find_spec

    spec = find_spec("memray")
    if spec is None or spec.origin is None:
        return Path(sys.prefix)
    return Path(spec.origin).parent.parent


def _version() -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = version("memray")
    except PackageNotFoundError:
        return None
    fits = any((_own_packages() / "memray" / f"_memray{ending}").exists() for ending in EXTENSION_SUFFIXES)
    return found if fits else None


backend = Memray()
