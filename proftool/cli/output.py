"""The two streams: data on stdout, talk on stderr; both readable without colour.

Talk is held back by `--quiet`. A reader that goes away (`| head`) ends the command silently, as it does other tools.
"""

from __future__ import annotations

import os
import shutil
import sys
from typing import TextIO

_quiet = False


def set_quiet(quiet: bool) -> None:
    """Hold talk back for the rest of this process."""
    global _quiet
    _quiet = quiet


def is_quiet() -> bool:
    """Is talk held back?"""
    return _quiet


def data(text: str, end: str = "\n") -> None:
    """What was asked for, on stdout."""
    _write(sys.stdout, text + end)


def raw(content: bytes) -> None:
    """Bytes that were asked for, on stdout."""
    sys.stdout.flush()
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def document(value: object) -> None:
    """One JSON document on stdout; text that UTF-8 cannot hold is escaped."""
    import json

    data(json.dumps(value, indent=2, ensure_ascii=False).encode("utf-8", "backslashreplace").decode())


def talk(text: str) -> None:
    """What a person may want to know, on stderr."""
    if not _quiet:
        _write(sys.stderr, text + "\n")


def progress(text: str) -> None:
    """How far long work is, on one line of a terminal that the next one replaces; nothing in a pipe."""
    if not _quiet and sys.stderr.isatty():
        _write(sys.stderr, f"\r\x1b[2K{text[: width() - 1]}\r")


def complain(text: str) -> None:
    """An error or a loss, on stderr, also under `--quiet`."""
    _write(sys.stderr, text + "\n")


def has_color(stream: TextIO) -> bool:
    """May that stream be coloured? `NO_COLOR` and `TERM=dumb` say no, `FORCE_COLOR` says yes, else only a terminal is."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return bool(os.environ.get("FORCE_COLOR")) or stream.isatty()


def width() -> int:
    """Columns to write in: the terminal's, 100 where there is none."""
    return max(40, min(shutil.get_terminal_size((100, 24)).columns, 160))


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
        stream.flush()
    except UnicodeEncodeError:
        # A terminal in an old encoding still gets the words.
        stream.write(text.encode(stream.encoding or "ascii", "backslashreplace").decode(stream.encoding or "ascii"))
        stream.flush()
