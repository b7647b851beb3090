"""The two streams: data on stdout, talk on stderr; both readable without colour.

Talk is held back by `--quiet`. A reader that goes away (`| head`) ends the command silently, as it does other tools.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import TextIO, TypeVar

T = TypeVar("T")

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


class Ticker:
    """Shows on a terminal what long work is at and for how long, twice a second, also while one step of it lasts."""

    def __init__(self) -> None:
        self._text = ""
        self._since = 0.0

    def say(self, text: str) -> None:
        """The work begins with a new step."""
        self._text, self._since = text, time.monotonic()

    def watch(self, steps: Iterable[T]) -> Iterator[T]:
        """The steps, ticking between them and while one is waited for; the line is wiped before each is handed on."""
        if _quiet or not sys.stderr.isatty():
            yield from steps
            return
        iterator = iter(steps)
        while True:
            done = threading.Event()
            thread = threading.Thread(target=self._tick, args=(done,), daemon=True)
            thread.start()
            try:
                step = next(iterator)
            except StopIteration:
                return
            finally:
                done.set()
                thread.join()
                progress("")
            yield step

    def _tick(self, done: threading.Event) -> None:
        while not done.wait(0.5):
            if self._text:
                progress(f"{self._text}: {time.monotonic() - self._since:.0f} s")


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
