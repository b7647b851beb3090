"""Names of backends, formats, reports and rules of advice -> "module:attribute", imported on demand.

Third parties add rows through the entry point groups `proftool.backends`, `proftool.formats`, `proftool.reports`
and `proftool.rules`.
A wrong name is a usage error that proposes the nearest right one.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from importlib import import_module
from typing import cast

from proftool.contracts import Backend, Format, Report, Rule
from proftool.errors import UsageError

BACKENDS: dict[str, str] = {
    "py-spy": "proftool.backends.pyspy:backend",
    "pyinstrument": "proftool.backends.pyinstrument:backend",
    "cprofile": "proftool.backends.cprofile:backend",
    "memray": "proftool.backends.memray:backend",
}
"""In the order in which they are tried for a mode."""

FORMATS: dict[str, str] = {
    "native": "proftool.formats.native:format",
    "memray": "proftool.formats.memray:format",
    "tachyon": "proftool.formats.tachyon:format",
    "otlp": "proftool.formats.otlp:format",
    "pprof": "proftool.formats.pprof:format",
    "pstats": "proftool.formats.pstats:format",
    "speedscope": "proftool.formats.speedscope:format",
    "firefox": "proftool.formats.firefox:format",
    "chrome": "proftool.formats.chrome:format",
    "pyinstrument": "proftool.formats.pyinstrument:format",
    "austin": "proftool.formats.austin:format",
    "perf": "proftool.formats.perf:format",
    "collapsed": "proftool.formats.collapsed:format",
}
"""In the order in which content is sniffed: the strictest first, collapsed stacks (any text) last."""

REPORTS: dict[str, str] = {
    "summary": "proftool.reports.summary:report",
    "table": "proftool.reports.table:report",
    "json": "proftool.reports.json:report",
    "markdown": "proftool.reports.markdown:report",
    "html": "proftool.reports.flamegraph:report",
}

RULES: dict[str, str] = {
    "import-time": "proftool.insights.imports:rule",
    "regex-compile": "proftool.insights.regex:rule",
    "strptime": "proftool.insights.dates:rule",
    "deep-copy": "proftool.insights.deep_copy:rule",
    "json": "proftool.insights.json_text:rule",
    "row-loop": "proftool.insights.row_loop:rule",
    "string-building": "proftool.insights.string_building:rule",
    "blocked-loop": "proftool.insights.blocked_loop:rule",
    "lock-wait": "proftool.insights.lock_wait:rule",
    "busy-polling": "proftool.insights.polling:rule",
    "repeated-query": "proftool.insights.repeated_query:rule",
    "gc-pressure": "proftool.insights.collector:rule",
    "brief-peak": "proftool.insights.brief_peak:rule",
    "peak": "proftool.insights.peak:rule",
    "temporaries": "proftool.insights.temporaries:rule",
    "leak": "proftool.insights.leak:rule",
}


def backend(name: str) -> Backend:
    """The backend of that name."""
    return cast(Backend, _load("backend", BACKENDS, name))


def format(name: str) -> Format:
    """The format of that name."""
    return cast(Format, _load("format", FORMATS, name))


def report(name: str) -> Report:
    """The report of that name."""
    return cast(Report, _load("report", REPORTS, name))


def rules() -> Iterator[Rule]:
    """Every rule of advice, in the order of the table."""
    for name in names("rule"):
        yield cast(Rule, _load("rule", RULES, name))


def names(kind: str) -> tuple[str, ...]:
    """Every registered name of a kind (`backend`, `format`, `report`, `rule`), ours first."""
    return tuple(_rows(kind))


def formats() -> Iterator[Format]:
    """Every format, strictest first."""
    for name in names("format"):
        yield format(name)


def _rows(kind: str) -> dict[str, str]:
    from importlib.metadata import entry_points  # brings email and csv, and a name of ours needs none

    ours = {"backend": BACKENDS, "format": FORMATS, "report": REPORTS, "rule": RULES}[kind]
    return ours | {point.name: point.value for point in entry_points(group=f"proftool.{kind}s") if point.name not in ours}


def _load(kind: str, ours: dict[str, str], name: str) -> object:
    place = ours.get(name) or _rows(kind).get(name)
    if place is None:
        known = names(kind)
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean `{near[0]}`? " if near else ""
        raise UsageError(f"no {kind} named `{name}`", cause="the name is not registered", fix=f"{hint}known are: {', '.join(known)}")
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)
