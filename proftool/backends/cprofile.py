"""cProfile: every call counted and timed, as caller-callee pairs; no stacks.

The parts are those of inside/cprofile.py: `_lsprof` statistics by thread. Each thread is a lane; self time and calls stand on one root
node a function, the pairs in `edges`. Totals are the ones that `pstats` prints for the same statistics (a test holds them to it).
"""

from __future__ import annotations

import platform
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

READER = "proftool.backends.reading.cprofile"
NAME = "cprofile"
RECORDER = Path(__file__).with_name("inside") / "cprofile.py"


class CProfile:
    """The backend; see the module."""

    name = NAME
    summary = "exact calls and call times of Python functions, by caller and callee; slows calls down, records no stacks"
    capabilities = Capabilities(modes=frozenset({Mode.TRACE}), children=True, threads=True, stacks=False, in_process=True)

    def availability(self, interpreter: Interpreter | None = None) -> Available | Unavailable:
        """In the standard library of every CPython since 3.8."""
        if interpreter is None:
            return Available(version=platform.python_version())
        if interpreter.implementation != "CPython":
            return Unavailable(
                cause=f"cProfile belongs to CPython, and `{interpreter.executable}` is {interpreter.implementation}",
                fix="name a CPython with `--python PATH`, or sample with `--backend py-spy`",
            )
        return Available(version=".".join(map(str, interpreter.version)))

    def command(self, target: Target, options: RecordOptions, folder: Path) -> Inside:
        """Loaded by the bootstrap; options that it cannot honour are refused."""
        if not isinstance(target, Program):
            raise BackendUnavailable(
                "cProfile cannot attach to a running process",
                cause="it has to be started by the program itself",
                fix="attach with `--backend py-spy`",
            )
        if options.duration_ns is not None:
            raise BackendUnavailable(
                "cProfile records a program from its start to its end",
                cause="it cannot be stopped from outside",
                fix="leave out `--duration`",
            )
        if options.rate_hz is not None or options.clock is not Clock.WALL or options.native:
            raise BackendUnavailable(
                "cProfile takes no rate, no CPU clock and no native frames",
                cause="it times every call by the wall clock",
                fix="sample with `--mode sample`",
            )
        return Inside(recorder=RECORDER, reader=READER)

    def read(self, recording: Recording) -> Profile:
        """Every part's threads as lanes of one profile."""
        from proftool.backends.reading import cprofile

        return cprofile.read(recording)


backend = CProfile()
