"""pyinstrument: sampling inside the process, every thread, builtins by name, waiting known.

The parts are those of inside/pyinstrument.py: samples by thread, each with the wall time since the thread's last one (pyinstrument's
own figure, so totals are pyinstrument's) and the thread's CPU time in it. A sample is *waiting* where a blocking builtin is its leaf
and the thread took little CPU, or where the thread had next to none for long (a lock taken by `with` shows no builtin).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from proftool.contracts import (
    Available,
    Capabilities,
    Clock,
    Inside,
    Interpreter,
    Mode,
    Program,
    Recording,
    RecordOptions,
    Target,
    Unavailable,
)
from proftool.errors import BackendUnavailable

if TYPE_CHECKING:
    from proftool.model.profile import Profile

READER = "proftool.backends.reading.pyinstrument"
NAME = "pyinstrument"
RECORDER = Path(__file__).with_name("inside") / "pyinstrument.py"
SAMPLER = RECORDER.with_name("pyinstrument_sampler.py")
DEFAULT_RATE_HZ = 1000.0


class Pyinstrument:
    """The backend; see the module."""

    name = NAME
    summary = "where wall or CPU time goes, by call stack, in every thread and child process; needs no privileges"
    capabilities = Capabilities(
        modes=frozenset({Mode.SAMPLE}),
        clocks=frozenset({Clock.WALL, Clock.CPU}),
        rate=True,
        children=True,
        threads=True,
        tasks=True,
        so_far=True,
        in_process=True,
    )

    def availability(self, interpreter: Interpreter | None = None) -> Available | Unavailable:
        """Is there a pyinstrument whose extension that interpreter can load, its own or proftool's?"""
        if interpreter is None:
            version = _version(_own_packages())
            return (
                Available(version=version)
                if version
                else Unavailable(cause="pyinstrument is not installed", fix="`pip install pyinstrument`")
            )
        if interpreter.implementation == "CPython":
            for folder in (_own_packages(), *interpreter.site_packages):
                if _fits(folder, interpreter):
                    return Available(version=_version(folder))
        text = ".".join(map(str, interpreter.version)) + (" (free-threaded)" if interpreter.free_threaded else "")
        return Unavailable(
            cause=f"`{interpreter.executable}` is {interpreter.implementation} {text}, and the pyinstrument here was built for another",
            fix=f"`{interpreter.executable} -m pip install pyinstrument`, or `--backend py-spy`, which needs nothing in the target",
        )

    def command(self, target: Target, options: RecordOptions, folder: Path) -> Inside:
        """Loaded by the bootstrap; options that it cannot honour are refused."""
        if not isinstance(target, Program):
            raise BackendUnavailable(
                "pyinstrument cannot attach to a running process",
                cause="it has to be started by the program itself",
                fix="attach with `--backend py-spy`",
            )
        if options.duration_ns is not None:
            raise BackendUnavailable(
                "pyinstrument records a program from its start to its end",
                cause="it cannot be stopped from outside",
                fix="leave out `--duration`",
            )
        if options.native:
            raise BackendUnavailable(
                "pyinstrument sees no native frames", cause="it samples Python's own stack", fix="`--backend py-spy --native`"
            )
        rate_hz = options.rate_hz or DEFAULT_RATE_HZ
        return Inside(
            recorder=RECORDER,
            options={
                "interval_s": 1.0 / rate_hz,
                "cpu": options.clock is Clock.CPU,
                "budget": options.overhead_budget,
                "sampler": str(SAMPLER),
            },
            library_paths=(_own_packages(),),
            reader=READER,
        )

    def read(self, recording: Recording) -> Profile:
        """Every part's threads as lanes of one profile, with the timeline where the clock is the wall's."""
        from proftool.backends.reading import pyinstrument

        return pyinstrument.read(recording)


def _own_packages() -> Path:
    """The folder that proftool's own pyinstrument lies in, found without importing it."""
    from importlib.util import find_spec

    spec = find_spec("pyinstrument")
    return Path(spec.origin).parent.parent if spec is not None and spec.origin else Path("absent")


def _version(folder: Path) -> str:
    return next(
        (path.name.removeprefix("pyinstrument-").removesuffix(".dist-info") for path in sorted(folder.glob("pyinstrument-*.dist-info"))), ""
    )


def _fits(folder: Path, interpreter: Interpreter) -> bool:
    """Has that pyinstrument an extension for the interpreter? Its file name says for which Python it was built."""
    tag = f"{interpreter.version[0]}{interpreter.version[1]}{'t' if interpreter.free_threaded else ''}"
    names = [path.name for path in (folder / "pyinstrument" / "low_level").glob("stat_profile.*")]
    return any(f".cpython-{tag}-" in name or f".cp{tag}-" in name or (".abi3." in name and not interpreter.free_threaded) for name in names)


backend = Pyinstrument()
