"""Whose code a frame is, by its file name alone: what a query's caller and a blocked event loop are told by.

Project code is what lies neither in the standard library nor in an installed package, nor in this package. Every file name is judged once.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from types import CodeType, FrameType
from typing import Final, NamedTuple

_STDLIB = tuple({os.path.realpath(path) + os.sep for key, path in sysconfig.get_paths().items() if key in ("stdlib", "platstdlib")})
_OWN = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_SCRIPTS = frozenset(
    path for scripts in (sysconfig.get_path("scripts"), os.path.dirname(sys.executable)) for path in (scripts, os.path.realpath(scripts))
)
_known: Final[dict[str, bool]] = {}


class Caller(NamedTuple):
    """A place in the project's code."""

    function: str
    """Qualified name."""
    file: str
    """As the interpreter names it."""
    line: int


def is_project(file: str) -> bool:
    """Is it code of the project that runs here?"""
    found = _known.get(file)
    if found is None:
        found = _known[file] = _judge(file)
    return found


def is_own(file: str) -> bool:
    """Is it code of this package?"""
    return file.startswith(_OWN)


def is_launcher(file: str) -> bool:
    """Does it only start programs: a console script (`venv/bin/uvicorn`), what multiprocessing gives to `python -c`? Nobody's code."""
    return file == "<string>" or os.path.dirname(os.path.join(here(), file)) in _SCRIPTS


def _judge(file: str) -> bool:
    if file.startswith("<") or f"{os.sep}site-packages{os.sep}" in file or f"{os.sep}dist-packages{os.sep}" in file:
        return False
    if is_launcher(file):
        return False
    path = os.path.realpath(file)
    return not path.startswith((_OWN, *_STDLIB)) and f"{os.sep}site-packages{os.sep}" not in path


def caller(depth: int = 1) -> tuple[CodeType, int] | None:
    """Code object and line of the innermost frame of the project above the calling one; None where there is none."""
    frame: FrameType | None = sys._getframe(depth)  # pyright: ignore[reportPrivateUsage]
    while frame is not None:
        code = frame.f_code
        if is_project(code.co_filename):
            return code, frame.f_lineno
        frame = frame.f_back
    return None


def place(code: CodeType, line: int) -> Caller:
    """A place for people; `file` relative to the working folder where it lies below it."""
    return Caller(code.co_qualname, code.co_filename.removeprefix(here() + os.sep), line)


def here() -> str:
    """The working folder; `.` where it is gone, as that of a service may be whose release was tidied away under it."""
    try:
        return os.getcwd()
    except OSError:
        return "."
