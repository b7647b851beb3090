"""`proftool run` without the parser: a plain command line is read here, and the program starts a fifth of a second earlier.

typer and the pydantic that it turns every value with take 0.2 s to load, as long as all else before the program's start. Whatever is
not plain (an unknown option, a value that is missing or no number, `--help`, short options run together) is left to the parser, whose
words for it are better. The tables repeat the parser's options; a test holds them to it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from proftool.cli.recording import Asked

VALUES: dict[str, tuple[str, Callable[[str], object]]] = {
    "-m": ("module", str),
    "-c": ("code", str),
    "--mode": ("mode", str),
    "--backend": ("backend", str),
    "--clock": ("clock", str),
    "--rate": ("rate", float),
    "--python": ("python", Path),
    "--runs": ("runs", int),
    "--against": ("against", str),
    "--label": ("label", str),
    "-o": ("out", Path),
    "--output": ("out", Path),
}
"""Option with a value -> parameter, and what its text becomes."""
FLAGS: dict[str, tuple[str, bool]] = {
    "--native": ("native", True),
    "--children": ("children", True),
    "--no-children": ("children", False),
    "--open": ("open_", True),
    "--json": ("json", True),
    "--quiet": ("quiet", True),
    "-q": ("quiet", True),
}
REPEATED = ("mode", "backend")
_NUMBERS = {int: re.compile(r"\d{1,9}"), float: re.compile(r"\d{1,9}(\.\d{1,9})?")}


def read(words: Sequence[str]) -> Asked | None:
    """What the words of `run` ask for, the target's own behind `--`; None where only the parser knows what to make of them."""
    given: dict[str, object] = {}
    repeated: dict[str, tuple[str, ...]] = {}
    index = 0
    while index < len(words):
        word = words[index]
        index += 1
        if word == "--":
            given["words"] = tuple(words[index:])
            break
        if word in FLAGS:
            name, given[FLAGS[word][0]] = FLAGS[word]
            continue
        option, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if option not in VALUES:
            return None
        if not equals:
            if index == len(words):
                return None
            value = words[index]
            index += 1
        name, reads = VALUES[option]
        pattern = _NUMBERS.get(reads)  # pyright: ignore[reportArgumentType, reportCallIssue]  # a type is a key like any other
        if not value or (pattern and not pattern.fullmatch(value)) or (value.startswith("-") and name not in ("module", "code")):
            return None
        if name in REPEATED:
            repeated[name] = (*repeated.get(name, ()), value)
        else:
            given[name] = reads(value)
    return Asked(**given, **repeated)  # pyright: ignore[reportArgumentType]  # the tables give each its type
