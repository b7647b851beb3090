"""Secrets are taken out before anything is written: what is not in the store cannot leak from a report, an export or a copy.

Three rules, each narrow enough to leave `--tokenizer bpe` and `--max-tokens 100` alone:
1. *named*: an option, variable, key or query parameter whose last word says secret (`--api-key X`, `DB_PASSWORD=X`, `"token": "X"`),
   the user and password of a URL, the value behind `Authorization:`;
2. *shaped*: text that is a credential by its form alone (AWS, GitHub, GitLab, Slack, Stripe, Google, OpenAI-like, JWT, private keys);
3. *known*: values found by rule 1 in the command, and values of secret-named environment variables, wherever they turn up
   again (a process title, a note, an embedded source line).
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from proftool.model.profile import Profile

HIDDEN = "***"
_KNOWN_LENGTH = 8
"""A shorter value is not looked for elsewhere: `--password test` would blank every `test` of the profile."""

_WORDS = (
    r"pass(?:word|wd|phrase|code)?|pwd|passw|secrets?|token|api[-_]?key|apikey|(?:access|private|secret|signing|encryption|auth|account|shared)[-_]?key"
    r"|access[-_]?key[-_]?id|credentials?|auth|authorization|bearer|cookie|signature|sig|session[-_]?(?:id|token)|pat|dsn"
)
_NAME = rf"(?:[A-Za-z0-9]+[-_.])*(?:{_WORDS})|[a-z0-9]+(?:Password|Secret|Token|ApiKey|AccessKey|PrivateKey|Credentials?)"
_OPTION = re.compile(rf"--?(?:{_NAME})", re.IGNORECASE)
_ASSIGNED = re.compile(rf"(?P<before>(?<![A-Za-z0-9])(?:--?)?(?:{_NAME})=)(?P<value>\"[^\"]*\"|'[^']*'|[^\s;&|,)]+)", re.IGNORECASE)
_KEYED = re.compile(rf"(?P<before>(?<![A-Za-z0-9])[\"']?(?:{_NAME})[\"']?\]?\s*[:=]\s*)(?P<value>\"[^\"\n]*\"|'[^'\n]*')", re.IGNORECASE)
_SECRET_NAME = re.compile(rf"(?:{_NAME})", re.IGNORECASE)
_SPACED = re.compile(rf"(?P<before>(?<!\S)--?(?:{_NAME})\s+)(?P<value>\"[^\"]*\"|'[^']*'|[^\s\"'-]\S*)", re.IGNORECASE)
_HEADER = re.compile(
    r"(?P<before>authorization\s*:\s*(?:[A-Za-z]+\s+)?|\b(?:bearer|basic)\s+)(?P<value>[A-Za-z0-9+/._~=-]{8,})", re.IGNORECASE
)
_URL = re.compile(r"(?P<before>\b[A-Za-z][A-Za-z0-9+.-]*://[^\s/?#:@\"']*:)(?P<value>[^\s/?#@\"']+(?=@))")
_URL_USER = re.compile(r"(?P<before>\bhttps?://)(?P<value>[^\s/?#:@\"']+(?=@))")
_QUERY = re.compile(rf"(?P<before>[?&](?:{_NAME})=)(?P<value>[^&\s#\"']+)", re.IGNORECASE)
_SHAPED = re.compile(
    r"(?P<value>"
    r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b"
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}\b|\bgithub_pat_[A-Za-z0-9_]{20,}\b|\bglpat-[A-Za-z0-9_-]{20,}"
    r"|\bxox[abeoprs]-[A-Za-z0-9-]{10,}|\bxapp-[A-Za-z0-9-]{10,}"
    r"|\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,}\b|\bsk-[A-Za-z0-9_-]{20,}|\bAIza[A-Za-z0-9_-]{35}|\bpypi-[A-Za-z0-9_-]{32,}|\bnpm_[A-Za-z0-9]{36}\b"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r")",
    re.DOTALL,
)
_SEPARATED = re.compile(r"[=:\s]")
_SHAPED_LENGTH = 15
"""The shortest that `_SHAPED` matches: `xoxb-` and ten letters."""
_CACHED_LENGTH = 512
_NAMED = (_ASSIGNED, _KEYED, _HEADER, _URL, _URL_USER, _QUERY)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Redactor:
    """The rules, with the user's own patterns; `found` collects what was hidden."""

    patterns: tuple[str, ...] = ()
    found: set[str] = field(default_factory=set[str])

    def argv(self, argv: Sequence[str]) -> tuple[str, ...]:
        """A command line: `--token X` hides the next word, everything else goes by `text`."""
        shown: list[str] = []
        hides_next, before = False, ""
        for word in argv:
            program, before = before == "-c", word
            if hides_next and not word.startswith("-"):
                shown.append(self._hide(word))
                hides_next = False
                continue
            hides_next = _OPTION.fullmatch(word) is not None
            # A whole word is one value, spaces and all: `--password=two words`; behind `-c` it is a program.
            name, equals, value = word.partition("=")
            if equals and value and not program and _SECRET_NAME.fullmatch(name.lstrip("-")):
                shown.append(f"{name}={self._hide(value)}")
            else:
                shown.append(self.text(word))
        return tuple(shown)

    def text(self, text: str) -> str:
        """Text for people or a program's source given on the command line: every rule."""
        for pattern in (*_NAMED, _SPACED, *map(re.compile, self.patterns)):
            text = pattern.sub(self._replace, text)
        return self.shaped(text)

    def shaped(self, text: str) -> str:
        """Text in which only what is a credential by its form is hidden."""
        return _SHAPED.sub(self._replace, text)

    def environment(self, environ: Mapping[str, str]) -> None:
        """Learn the values of secret-named variables."""
        for name, value in environ.items():
            if _SECRET_NAME.fullmatch(name):
                self.found.add(value)

    def known(self) -> re.Pattern[str] | None:
        """A pattern for what was found so far and is long enough to be told from ordinary words."""
        # A number or a path is no secret though its variable's name sounds like one (`SSH_AUTH=/run/…`).
        values = sorted(
            {v for v in self.found if len(v) >= _KNOWN_LENGTH and "/" not in v[:1] and not v.isdecimal()}, key=lambda v: (-len(v), v)
        )
        return re.compile("|".join(map(re.escape, values))) if values else None

    def _replace(self, match: re.Match[str]) -> str:
        groups = match.groupdict()
        value = groups.get("value")
        if value is None:
            return self._hide(match.group())
        start, end = match.span("value")
        whole = match.group()
        quote = value[0] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else ""
        hidden = f"{quote}{self._hide(value.strip(quote) if quote else value)}{quote}"
        return whole[: start - match.start()] + hidden + whole[end - match.start() :]

    def _hide(self, value: str) -> str:
        if value and value != HIDDEN:
            self.found.add(value)
        return HIDDEN


class StreamRedactor:
    """
    The rules for what services send without end: nothing that was hidden is remembered, and rule 3 has no say.

    Most of it is short words that come again and again; what no rule can match is told by its letters, and the rest is looked at once.
    """

    def __init__(self, patterns: tuple[str, ...] = ()) -> None:
        self.patterns = patterns
        self._cached = functools.lru_cache(maxsize=4096)(self._looked_at)

    def text(self, text: str) -> str:
        """As `Redactor.text`."""
        if not self.patterns and not _SEPARATED.search(text):
            # Named secrets stand behind `=`, `:` or a space.
            return text if len(text) < _SHAPED_LENGTH else _SHAPED.sub(HIDDEN, text)
        return self._cached(text) if len(text) <= _CACHED_LENGTH else self._looked_at(text)

    def _looked_at(self, text: str) -> str:
        return Redactor(self.patterns).text(text)


def redact_argv(argv: Sequence[str], patterns: Iterable[str] = ()) -> tuple[str, ...]:
    """A command line that may be shown."""
    redactor = Redactor(tuple(patterns))
    return _replaced(redactor.argv(argv), redactor.known())


def redact_profile(profile: Profile, patterns: Iterable[str] = (), environ: Mapping[str, str] | None = None) -> Profile:
    """The profile without secrets in its command, notes, names and embedded sources; columns stay as they are."""
    redactor = Redactor(tuple(patterns))
    redactor.environment(os.environ if environ is None else environ)
    meta = profile.meta
    command = None if meta.command is None else redactor.argv(meta.command)
    passes = tuple(replace(p, unseen=_texts(redactor, p.unseen), notes=_texts(redactor, p.notes)) for p in meta.passes)
    lost = _texts(redactor, meta.lost)
    # Names of lanes come from command lines; function names and files do not, and go by rules 2 and 3 alone.
    named = {int(i) for column in (profile.lanes.process_name, profile.lanes.thread_name, profile.lanes.task) for i in column.tolist()}
    named |= {int(i) for column in (profile.markers.name, profile.counters.name) for i in column.tolist()}
    strings = tuple(redactor.text(text) if index in named else redactor.shaped(text) for index, text in enumerate(profile.strings))
    sources = tuple((file, redactor.shaped(text)) for file, text in meta.sources)
    known = redactor.known()
    return replace(
        profile,
        strings=_replaced(strings, known),
        meta=replace(
            meta,
            command=None if command is None else _replaced(command, known),
            passes=tuple(replace(p, unseen=_replaced(p.unseen, known), notes=_replaced(p.notes, known)) for p in passes),
            lost=_replaced(lost, known),
            sources=tuple(zip((file for file, _ in sources), _replaced(tuple(text for _, text in sources), known), strict=True)),
        ),
    )


def _texts(redactor: Redactor, texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(redactor.text(text) for text in texts)


def _replaced(texts: tuple[str, ...], known: re.Pattern[str] | None) -> tuple[str, ...]:
    return texts if known is None else tuple(known.sub(HIDDEN, text) for text in texts)
