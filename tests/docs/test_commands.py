"""Every command that a page shows is one: the verb is there, its options are, and each takes the values that it is given."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from docs.page import ROOT, blocks

from proftool import registry
from proftool.cli import direct
from proftool.cli.app import VERBS
from proftool.cli.parser import command as parser
from proftool.cli.split import split

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs/pages").rglob("*.md")))
_ROOT = parser(VERBS)
_BEGINS = re.compile(r"^(?:\$ |run: |[A-Z_]+=\S+ )*(?:\S*/)?proftool (?P<words>.*)")
_SPAN = re.compile(r"`proftool (?P<words>[^`]+)`")
_NUMBERS = {"PID": "4242", "N": "5"}
"""What stands for a number on a page -> one."""
_OPERATORS = ("&&", "||", "|", ";", ">", ">>", "&")


@dataclass(frozen=True)
class Shown:
    """A command where a page shows it."""

    page: Path
    line: int
    words: tuple[str, ...]
    """Behind `proftool`."""
    spoken: bool = False
    """Between backticks in a sentence, where a verb alone stands for the verb and not for a command."""

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}: proftool {shlex.join(self.words)}"


def words_of(text: str) -> tuple[str, ...]:
    """The words up to where the shell's next command or, three spaces on, the explanation begins; what is left out (`…`) is left out."""
    lexer = shlex.shlex(re.split(r"\s{3,}", text, maxsplit=1)[0], posix=True, punctuation_chars="&|;>")
    lexer.whitespace_split, lexer.commenters = True, ""
    words = list(lexer)
    end = next((at for at, word in enumerate(words) if word in _OPERATORS), len(words))
    return tuple(_NUMBERS.get(word, word) for word in words[:end] if word != "…")


def shown(page: Path) -> Iterator[Shown]:
    """The commands of a page: lines of its fenced blocks, and code within its sentences."""
    text = page.read_text(encoding="utf-8")
    fenced = list(blocks(text))
    for block in fenced:
        for at, line in enumerate(block.text.splitlines()):
            for part in re.split(r" && ", line):
                if found := _BEGINS.match(part.strip()):
                    yield Shown(page, block.line + at, words_of(found["words"]))
    inside = {block.line + at for block in fenced for at in range(len(block.text.splitlines()))}
    for number, line in enumerate(text.splitlines(), 1):
        if number not in inside:
            for found in _SPAN.finditer(line):
                yield Shown(page, number, words_of(found["words"]), spoken=True)


def complaint(words: tuple[str, ...], spoken: bool = False) -> str | None:
    """What the command line has against these words, without doing what they ask; None where nothing."""
    taken = split(list(words), [verb for verb, _ in VERBS], direct.VALUES)
    own = list(taken.own)
    if not own or own[0] in ("--help", "-h", "--version", "--install-completion", "--show-completion"):
        return None
    verb = _ROOT.commands.get(own[0])
    if verb is None:
        return f"no verb {own[0]}"
    if parts := getattr(verb, "commands", None):
        if len(own) == 1 and spoken:
            return None
        if len(own) == 1 or own[1] not in parts:
            return f"{own[0]} has no {own[1:2]}"
        verb, own = parts[own[1]], own[1:]
    if spoken and len(own) == 1 and not taken.after:
        return None
    try:
        values = verb.make_context(own[0], own[1:], obj=taken.after).params
    except Exception as error:
        told = getattr(error, "format_message", None)
        if told is None:
            raise
        return str(told())
    if words[0] == "run" and not spoken and not (values["words"] or values["module"] or values["code"]):
        return "nothing to run"
    known = {"run": {"mode": ("sample", "trace", "memory"), "backend": registry.BACKENDS}, "export": {"format": registry.FORMATS}}
    for name, names in known.get(words[0], {}).items():
        given = values[name] or ()
        for value in (given,) if isinstance(given, str) else given:
            if value not in names and not value.isupper():
                return f"no {name} {value}"
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_is_understood(page: Path) -> None:
    """By the parser that users meet, each with a place to mend."""
    told = [f"{one}: {why}" for one in shown(page) if (why := complaint(one.words, one.spoken)) is not None]
    assert not told, "\n".join(told)


def test_the_commands_of_the_pages_are_found() -> None:
    """No page whose fences hold a command is read past."""
    for page in PAGES:
        fenced = "".join(block.text for block in blocks(page.read_text(encoding="utf-8")))
        lines = len(re.findall(rf"^(?:\$ )?proftool (?:{'|'.join(verb for verb, _ in VERBS)})\b", fenced, re.M))
        assert sum(not one.spoken for one in shown(page)) >= lines, page
    verbs = {one.words[0] for page in PAGES for one in shown(page) if not one.spoken}
    assert {"run", "show", "open", "diff", "ab", "gate", "fleet", "attach", "serve", "push", "incidents"} <= verbs


@pytest.mark.parametrize(
    "line",
    [
        "recrod app.py",
        "run --lable first app.py",
        "run --mode sampel app.py",
        "run --backend cprofil app.py",
        "run --runs five app.py",
        "run --open",
        "diff before",
        "diff before after --opne",
        "show --bye line",
        "gate before after --failon 'self>5%'",
        "attach app.py",
        "fleet flames shop",
        "fleet flame shop --lst 1h",
        "export @latest -f speedscop",
    ],
)
def test_a_command_that_is_none_is_found(line: str) -> None:
    """A misspelt verb, option, value or number, or a word that is missing."""
    assert complaint(words_of(line)) is not None


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("diff before after --open        what changed", "diff before after --open"),
        ("open a -o a.html && echo done", "open a -o a.html"),
        ("show @latest --json | jq .", "show @latest --json"),
        ("run --against HEAD --runs 5 …", "run --against HEAD --runs 5"),
        ("attach PID --duration 30s   a run, like any other", "attach 4242 --duration 30s"),
        ("gate a b --fail-on 'self>5% q<0.05'      0 pass", "gate a b --fail-on 'self>5% q<0.05'"),
    ],
)
def test_a_command_ends_where_its_explanation_begins(line: str, words: str) -> None:
    """Three spaces, or the shell's next command."""
    assert words_of(line) == tuple(shlex.split(words))
