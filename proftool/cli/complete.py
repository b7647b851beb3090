"""What may stand at the end of a command line that is being typed: verbs, options, their values, runs, labels, revisions; or files.

A shell asks by `proftool __complete SHELL …` (cli/shells.py) on every press of its key. Options come from the parser itself, so nothing
here has to be kept in step with a verb. A question never fails, never writes, and never leaves the machine: a team's store is not asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from proftool.cli.split import RUN, means_run


class _Place(Protocol):
    """An option or an argument, as the parser keeps it."""

    @property
    def opts(self) -> Sequence[str]: ...
    @property
    def secondary_opts(self) -> Sequence[str]: ...
    @property
    def param_type_name(self) -> str: ...
    @property
    def nargs(self) -> int: ...
    @property
    def metavar(self) -> str | None: ...


class _Parsed(Protocol):
    """A verb, as the parser keeps it."""

    @property
    def params(self) -> Sequence[_Place]: ...


MAX_RUNS = 100
_NEWEST = (("@latest", "the newest run"), ("@latest~1", "the one before it"))
_REVISIONS = ("ab", "bisect")
"""Verbs whose BASE, HEAD, GOOD and BAD are revisions and not runs."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One word that may stand there, and what it is."""

    value: str
    told: str = ""


@dataclass(frozen=True, slots=True)
class Candidates:
    """What fits the last word, in the order to offer; `files`: the shell's own names of files fit too."""

    words: tuple[Candidate, ...] = ()
    files: bool = False


_FILES = Candidates(files=True)


def complete(words: Sequence[str], cwd: Path) -> Candidates:
    """
    What may take the place of the last word.

    Args:
        words: the command line after `proftool`, up to and with the word that is being typed ("" where none is begun).
    """
    *before, current = words or [""]
    before = [word for word in before if word != "--debug"]
    from typer.core import TyperGroup

    from proftool.cli.app import VERBS
    from proftool.cli.parser import command

    places = dict(VERBS)
    if not before:
        root = command(VERBS)
        verbs = [Candidate(name, _first_line(root.commands[name].help)) for name in places]
        if not current.startswith("-"):
            return Candidates(_fitting(verbs, current), files=True)
        return Candidates(_fitting([*_options(root), *_options(root.commands[RUN])], current))
    if before[0] not in places:
        if not means_run(before[0]):
            return _FILES
        before = [RUN, *before]
    verb = before[0]
    parsed, words_before = command([(verb, places[verb])]).commands[verb], before[1:]
    if isinstance(parsed, TyperGroup):
        if not words_before and not current.startswith("-"):
            return Candidates(_fitting([Candidate(name, _first_line(each.help)) for name, each in parsed.commands.items()], current))
        if words_before and words_before[0] in parsed.commands:
            parsed, words_before = parsed.commands[words_before[0]], words_before[1:]
    return _of_verb(verb, parsed, words_before, current, cwd)


def _of_verb(verb: str, parsed: _Parsed, before: Sequence[str], current: str, cwd: Path) -> Candidates:
    valued = {name: one for one in parsed.params for name in (*one.opts, *one.secondary_opts) if _takes_value(one)}
    n_words, waiting = 0, None
    for word in before:
        if waiting is not None:
            waiting = None
        elif word == "--":
            return _FILES
        elif word.startswith("-") and word != "-":
            waiting = valued.get(word)
            if verb == RUN and word in ("-m", "-c") and word is not before[-1]:
                return _FILES  # the target's own words have begun
        elif verb == RUN:
            return _FILES
        else:
            n_words += 1
    if waiting is not None:
        return _values(verb, waiting, current, cwd)
    name, equals, value = current.partition("=")
    if equals and name in valued:
        found = _values(verb, valued[name], value, cwd)
        return Candidates(tuple(Candidate(f"{name}={one.value}", one.told) for one in found.words), found.files)
    if current.startswith("-"):
        return Candidates(_fitting(_options(parsed), current))
    arguments = [one for one in parsed.params if one.param_type_name == "argument"]
    if not arguments:
        return Candidates()
    place = arguments[min(n_words, len(arguments) - 1)]
    return _values(verb, place, current, cwd) if n_words < len(arguments) or place.nargs == -1 else Candidates()


def _values(verb: str, place: _Place, current: str, cwd: Path) -> Candidates:
    """What a parameter's value may be."""
    option = max(place.opts, key=len) if place.param_type_name == "option" else ""
    if option in (known := _known(verb)):
        return Candidates(_fitting(map(Candidate, known[option]()), current))
    metavar = (place.metavar or "").strip("[].…-")
    if metavar in ("RUN", "LABEL", "TEXT") or (metavar in ("BASE", "NEW") and not option and verb not in _REVISIONS):
        runs = () if option == "--match" else _runs(cwd, labels_only=metavar in ("LABEL", "TEXT"))
        return Candidates(_fitting(runs, current), files=metavar not in ("LABEL", "TEXT"))
    if metavar in ("BASE", "HEAD", "GOOD", "BAD"):
        return Candidates(_fitting(_revisions(cwd), current))
    return Candidates(files=metavar in ("FILE", "PATH", "FILE::NAME", "] TARGET [ARG", "TARGET"))


def _known(verb: str) -> dict[str, Callable[[], Iterable[str]]]:
    """Option -> its values, where they are a list."""
    from proftool import registry
    from proftool.contracts import WritableFormat

    def by() -> Iterable[str]:
        from proftool.reports.rows import By

        return [str(key) for key in By]

    def formats() -> Iterable[str]:
        if verb == "bench":
            return ("proftool", "pyperf", "pytest-benchmark")
        return [name for name in registry.names("format") if isinstance(registry.format(name), WritableFormat)] + ["html"]

    modes = ("sample", "memory") if verb == "attach" else ("sample", "trace", "memory")
    times, bytes_ = ("wall_time", "cpu_time", "samples", "calls"), ("allocated_bytes", "allocations", "peak_bytes", "leaked_bytes")
    metrics = (*times, *bytes_, "temporary_allocations")
    return {
        "--mode": lambda: modes,
        "--backend": lambda: registry.names("backend"),
        "--clock": lambda: ("wall", "cpu"),
        "--by": by,
        "--viewer": lambda: ("proftool", "snakeviz", "speedscope"),
        "--format": formats,
        "--metric": lambda: metrics,
    }


def _runs(cwd: Path, *, labels_only: bool) -> list[Candidate]:
    """Labels, ids and `@latest` of the store of that folder, newest first; nothing where the store is a server or cannot be read."""
    from proftool import settings
    from proftool.contracts_store import RunQuery
    from proftool.errors import ProftoolError
    from proftool.store import open_store

    try:
        store = open_store(settings.load())
        if store.place.server is not None or not store.place.database.exists():
            return []
        found = store.find(RunQuery(limit=MAX_RUNS))
    except ProftoolError:  # the command itself will say it; a key that is pressed has no place to
        return []
    labels = dict.fromkeys(run.label for run in found if run.label)
    told = [Candidate(label, "label") for label in labels]
    if labels_only:
        return told
    newest = [Candidate(*one) for one in _NEWEST[: len(found)]]
    return [*told, *newest, *(Candidate(run.id, " ".join(run.command or ())[:60]) for run in found)]


def _revisions(cwd: Path) -> list[Candidate]:
    """Branches and tags of the checkout around a folder."""
    from proftool.launch import git

    return [Candidate(name, "revision") for name in ("HEAD", *git.refs(cwd))]


def _options(parsed: _Parsed) -> list[Candidate]:
    options = [one for one in parsed.params if _is_option(one)]
    found = [Candidate(name, _first_line(getattr(one, "help", None))) for one in options for name in (*one.opts, *one.secondary_opts)]
    return [*found, Candidate("--help", "Show this message and exit.")]


def _is_option(one: _Place) -> bool:
    return one.param_type_name == "option"


def _takes_value(one: _Place) -> bool:
    return _is_option(one) and not getattr(one, "is_flag", False)


def _fitting(candidates: Iterable[Candidate], current: str) -> tuple[Candidate, ...]:
    return tuple(one for one in candidates if one.value.startswith(current))


def _first_line(text: str | None) -> str:
    return " ".join((text or "").split("\n\n")[0].split())
