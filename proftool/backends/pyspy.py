"""py-spy: samples every thread of a process family from outside, without touching the program.

It is attached by PID and writes speedscope's format, the only one of its formats that keeps every sample in order for every thread
of every process (raw adds equal stacks up; the Chrome trace drops repeated stacks, so that a thread that ended looks as if it went on, and
mixes a fork with its parent). It says which stack, not when or whether the thread ran: those come from the threads' clocks that the
launcher keeps beside it (launch/clocks.py). A sample weighs the time that passed around it, as measured (reading/sample_places.py).
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from proftool.contracts import (
    Available,
    Capabilities,
    Clock,
    Interpreter,
    Mode,
    Outside,
    Process,
    Recording,
    RecordOptions,
    Target,
    Unavailable,
)

if TYPE_CHECKING:
    from proftool.model.profile import Profile

READER = "proftool.backends.reading.pyspy"
NAME = "py-spy"
DEFAULT_RATE_HZ = 200.0
PART = "part.speedscope.json"
CONDENSED = "condensed.proftool"
"""What the finished segments of a long recording came to."""


class PySpy:
    """The backend; see the module."""

    name = NAME
    summary = "where the time goes, in every thread and child process, from outside the program; attaches to running ones"
    capabilities = Capabilities(
        modes=frozenset({Mode.SAMPLE}),
        clocks=frozenset({Clock.WALL}),
        attach=True,
        rate=True,
        native=True,
        children=True,
        threads=True,
    )

    def availability(self, interpreter: Interpreter | None = None) -> Available | Unavailable:
        """The program is installed and knows the target's Python."""
        if executable() is None:
            return Unavailable(cause="the program `py-spy` is not installed beside proftool", fix="`pip install py-spy`")
        if interpreter is not None:
            if interpreter.implementation != "CPython":
                return Unavailable(
                    cause=f"py-spy reads CPython, and `{interpreter.executable}` is {interpreter.implementation}",
                    fix="sample with `--backend pyinstrument`",
                )
            if interpreter.version >= (3, 14):
                return Unavailable(cause="py-spy reads Python up to 3.13", fix="sample with `--backend pyinstrument`")
        return Available(version=package_version())

    def preflight(self, process: Process) -> Available | Unavailable:
        """May this process be read?"""
        from proftool.launch import preflight

        facts = preflight.facts(process.pid)
        refusal = preflight.may_trace(facts)
        return refusal or self.availability(facts.interpreter)

    def command(self, target: Target, options: RecordOptions, folder: Path) -> Outside:
        """Attach to the process that waits, all threads, idle ones too."""
        argv = [executable() or "py-spy", "record", "--pid", "{pid}", "--format", "speedscope", "--output", f"{{folder}}/{PART}"]
        argv += ["--rate", "{rate}", "--idle", "--threads", "--full-filenames"]
        if options.children:
            argv.append("--subprocesses")
        if options.native:
            argv.append("--native")
        return Outside(
            argv=tuple(argv),
            rate_hz=options.rate_hz or DEFAULT_RATE_HZ,
            condense=f"{READER}:condense",
            ready="Sampling process",
            reader=READER,
        )

    def read(self, recording: Recording) -> Profile:
        """A lane for every thread; times from the threads' clocks."""
        from proftool.backends.reading import pyspy

        return pyspy.read(recording)


def dump_argv(process: Process, *, native: bool, children: bool) -> list[str]:
    """The command line that prints every thread's stack as JSON."""
    argv = [executable() or NAME, "dump", "--json", "--full-filenames", "--pid", str(process.pid)]
    return argv + ["--native"] * native + ["--subprocesses"] * children


def executable() -> str | None:
    """The program that was installed with proftool, else one on PATH."""
    beside = Path(sys.executable).with_name("py-spy")
    return str(beside) if beside.exists() else shutil.which("py-spy")


def package_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("py-spy")
    except PackageNotFoundError:
        return "unknown"


backend = PySpy()
