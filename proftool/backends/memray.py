"""memray: every allocation of every thread, with its stack: peak, leaked, temporary and total bytes.

Runs inside the target (inside/memray.py); the parts are memray's own files, read by formats/memray.py.
"""

from __future__ import annotations

import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import TYPE_CHECKING

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
from proftool.errors import BackendUnavailable

if TYPE_CHECKING:
    from proftool.model.profile import Profile

READER = "proftool.backends.reading.memray"
NAME = "memray"
RECORDER = Path(__file__).with_name("inside") / "memray.py"


class Memray:
    """The backend; see the module."""

    name = NAME
    summary = "where the memory goes: peak, leaks and temporary allocations by stack, in every thread and child process"
    capabilities = Capabilities(modes=frozenset({Mode.MEMORY}), native=True, children=True, threads=True, attach=True, in_process=True)

    def availability(self, interpreter: Interpreter | None = None) -> Available | Unavailable:
        """Is there a memray that the target's interpreter can load, its own or proftool's?"""
        if sys.platform == "win32":
            return Unavailable(cause="memray has no build for Windows", fix="record on Linux or macOS")
        version = package_version()
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
        return Inside(recorder=RECORDER, options={"native": options.native}, library_paths=(_own_packages(),), reader=READER)

    def read(self, recording: Recording) -> Profile:
        """Every process's threads as lanes of one profile."""
        from proftool.backends.reading import memray

        return memray.read(recording)


def _own_packages() -> Path:
    """The folder that proftool's own memray lies in, found without importing it."""
    from importlib.util import find_spec

    spec = find_spec("memray")
    if spec is None or spec.origin is None:
        return Path(sys.prefix)
    return Path(spec.origin).parent.parent


def package_version() -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = version("memray")
    except PackageNotFoundError:
        return None
    fits = any((_own_packages() / "memray" / f"_memray{ending}").exists() for ending in EXTENSION_SUFFIXES)
    return found if fits else None


backend = Memray()
