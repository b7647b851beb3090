"""Where proftool's own words end and the target's begin, decided before anything is parsed.

All that follows `-m M`, `-c C`, the first word that is no option, or `--` is the target's, untouched. The parser is then given a `--`
in that place, so it never looks at the target's words.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass

RUN = "run"


@dataclass(frozen=True, slots=True)
class Words:
    """A command line, taken apart."""

    own: tuple[str, ...]
    """For the parser; begins with the verb."""
    after: tuple[str, ...] | None
    """What stood behind `--` (verbs other than `run`); None where there was none."""
    debug: bool = False


def split(argv: list[str], verbs: Collection[str], valued: Collection[str]) -> Words:
    """
    Take a command line apart.

    Args:
        verbs: every registered verb.
        valued: the options of `run` that take a value, as typed (`--label`, `-o`).
    """
    debug, start = False, 0
    while start < len(argv) and argv[start] == "--debug":
        debug, start = True, start + 1
    words = argv[start:]
    if not words:
        return Words((), None, debug)
    if words[0] not in verbs and means_run(words[0]):
        words = [RUN, *words]
    if words[0] == RUN:
        own, asked = _run(words[1:], valued)
        return Words((RUN, *own), None, debug or asked)
    at = words.index("--") if "--" in words else len(words)
    own = words[:at]
    asked = "--debug" in own
    return Words(tuple(word for word in own if word != "--debug"), tuple(words[at + 1 :]) if at < len(words) else None, debug or asked)


def means_run(word: str) -> bool:
    """`proftool app.py`: a file, a path or an option of `run` where a verb could stand."""
    if word in ("--help", "-h", "--version", "--install-completion", "--show-completion"):
        return False
    return word.startswith("-") or word.endswith((".py", ".pyw", ".pyz")) or os.sep in word or os.path.isfile(word)


def _run(words: list[str], valued: Collection[str]) -> tuple[list[str], bool]:
    """The words of `run` with `--` before the target's own, and whether `--debug` was among ours."""
    own: list[str] = []
    debug = False
    index = 0
    while index < len(words):
        word = words[index]
        index += 1
        if word == "--":
            return [*own, "--", *words[index:]], debug
        if not word.startswith("-") or word == "-":
            return [*own, "--", *words[index - 1 :]], debug
        if word == "--debug":
            debug = True
            continue
        if word in ("-m", "-c"):
            return [*own, *words[index - 1 : index + 1], "--", *words[index + 1 :]], debug
        if word[:2] in ("-m", "-c") and not word.startswith("--"):
            return [*own, word[:2], word[2:], "--", *words[index:]], debug
        own.append(word)
        if word in valued and index < len(words):
            own.append(words[index])
            index += 1
    return own, debug
