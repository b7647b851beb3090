"""Database queries: a span each, with the statement's shape, the rows, the time and the caller in the project's own code.

What hooks into a driver stands in `queries_dbapi.py` (sqlite3, psycopg, any DB-API connection) and `queries_sqlalchemy.py`; both tell
it here. The shape of a statement has its literals taken out, so it holds no value of anybody's data, and statements that differ only
in values
are one. A query that takes long is a finding by itself; so is one shape asked again and again from one line within one request, the
"N+1": the line that loops is named, not the driver.

Names of attributes: OpenTelemetry's semantic conventions for databases and code.
"""

from __future__ import annotations

import re
import threading
import time
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType

from opentelemetry.trace import SpanKind, StatusCode

from proftool.contracts_telemetry import Finding
from proftool.telemetry import tags_code, tracing
from proftool.telemetry.spans import LocalTrace, Span
from proftool.units import NS_PER_S

SLOW_NS = 1_000_000_000
"""A query of that length is a finding."""
REPEATED = 10
"""One shape from one line, so often within one request, is a finding."""
MAX_SHAPE = 2000

_LITERALS = re.compile(
    r"(?P<comment>/\*.*?\*/|--[^\n]*)"
    r"|(?P<text>(?<![\w])[xXbBeEnN]?'(?:[^']|'')*'|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)"
    r"|(?P<name>\"(?:[^\"]|\"\")*\"|`[^`]*`|\[[^\]\n]*\])"
    r"|(?P<number>(?<![\w$.])[-+]?(?:0[xX][0-9a-fA-F]+|\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)(?![\w$]))"
    r"|(?P<parameter>%\(\w+\)s|%s|(?<![:\w]):\w+|\$\d+|\?\d*)",
    re.DOTALL,
)
_LISTS = re.compile(r"\(\s*\?(?:\s*,\s*\?)+\s*\)")
_ROWS = re.compile(r"(\((?:\?|…)\))(?:\s*,\s*\1)+")
_RETURNS = re.compile(r"(?:SELECT|WITH|VALUES|SHOW|PRAGMA|EXPLAIN)\b|.*\bRETURNING\b", re.IGNORECASE)
_SPACE = re.compile(r"\s+")
_TARGET = re.compile(r"\b(?:FROM|INTO|UPDATE|TABLE|JOIN)\s+([\w.\"`\[\]]+)", re.IGNORECASE)


def _replaced(match: re.Match[str]) -> str:
    if match["comment"] is not None:
        return " "
    return match["name"] if match["name"] is not None else "?"


@lru_cache(2048)
def shape(statement: str) -> str:
    """The statement without values and comments, lists of values as one: `SELECT * FROM t WHERE id IN (…)`."""
    text = _SPACE.sub(" ", _LITERALS.sub(_replaced, statement)).strip().rstrip(";")
    return _ROWS.sub(r"\1, …", _LISTS.sub("(…)", text))[:MAX_SHAPE]


@lru_cache(2048)
def summary(shaped: str) -> str:
    """What it does to which table, the span's name: `SELECT orders`."""
    verb = shaped.split(" ", 1)[0].upper()
    found = _TARGET.search(shaped)
    return f"{verb} {found[1]}" if found else verb


OBSERVED: ContextVar[Query | None] = ContextVar("proftool.query", default=None)
"""The query that a library above the driver has told of already: the driver's wrapper then only adds rows and time to it."""


@dataclass(slots=True, kw_only=True)
class Limits:
    """What counts as a finding."""

    slow_ns: int = SLOW_NS
    repeated: int = REPEATED


LIMITS = Limits()


class Query:
    """One statement under way, then its cursor's fetches: SQLite does its work in these."""

    __slots__ = ("_caller", "_reported", "_shape", "_span", "_system", "busy_ns", "rows", "started_ns")

    def __init__(self, system: str, statement: str, caller: tuple[CodeType, int] | None, span: Span | None) -> None:
        self._system = system
        self._shape = shape(statement)
        self._caller = caller
        self._span = span
        self._reported = False
        self.started_ns = time.perf_counter_ns()
        self.busy_ns = 0
        self.rows: int | None = None

    def executed(self, rows: int | None, error: BaseException | None = None) -> None:
        """The statement has run; fetches may follow."""
        self.busy_ns = time.perf_counter_ns() - self.started_ns
        self.rows = rows
        span = self._span
        if span is not None:
            span.name = summary(self._shape)
            attributes = span.attributes
            attributes["db.system.name"] = self._system
            attributes["db.query.text"] = self._shape
            attributes["db.query.summary"] = span.name
            if rows is not None:
                attributes["db.response.returned_rows" if _RETURNS.match(self._shape) else "db.response.affected_rows"] = rows
            if self._caller is not None:
                at = tags_code.place(*self._caller)
                attributes["code.function.name"], attributes["code.file.path"], attributes["code.line.number"] = at
            if error is not None:
                attributes["error.type"] = type(error).__qualname__
                span.set_status(StatusCode.ERROR, type(error).__qualname__)
            span.end()
        self._judge()

    def fetched(self, rows: int, spent_ns: int) -> None:
        """More rows came, after so long: both count for the query."""
        self.busy_ns += spent_ns
        self.rows = (self.rows or 0) + rows
        span = self._span
        if span is not None:
            span.attributes["db.response.returned_rows"] = self.rows
            if spent_ns > 1000:
                span.end_ns = span.start_ns + self.busy_ns
        self._judge()

    def _judge(self) -> None:
        if self.busy_ns >= LIMITS.slow_ns and not self._reported and self._caller is not None:
            self._reported = True
            _report_slow(self._shape, self._caller, self.busy_ns, self._span)


def begin(system: str, statement: str, depth: int = 2) -> Query | None:
    """A statement is about to run; None where tracing is off."""
    tracing_now = tracing.CURRENT.tracing
    if tracing_now is None or threading.get_ident() in tracing_now.writer.quiet:
        return None  # the second: the store's own statements, which would be stored by more statements
    caller = tags_code.caller(depth + 1)
    span = tracing_now.provider.get_tracer("proftool.queries").start_span("query", kind=SpanKind.CLIENT)
    assert isinstance(span, Span)
    query = Query(system, statement, caller, span)
    if caller is not None:
        _count(span.local, shape(statement), caller)
    return query


def _count(local: LocalTrace, shaped: str, caller: tuple[CodeType, int]) -> None:
    counts = local.queries
    if counts is None:
        counts = local.queries = {}
    key = (shaped, caller)
    counts[key] = n = counts.get(key, 0) + 1
    if n == LIMITS.repeated:
        _report_repeated(shaped, caller, n, local)


def _report_slow(shaped: str, caller: tuple[CodeType, int], busy_ns: int, span: Span | None) -> None:
    _report(
        "slow-query",
        caller,
        span.local if span else None,
        evidence=f"one query took {busy_ns / NS_PER_S:.2f} s: {shaped[:300]}",
        advice="look at its plan (`EXPLAIN`): an index on what it filters and sorts by, or fewer rows",
    )


def _report_repeated(shaped: str, caller: tuple[CodeType, int], n: int, local: LocalTrace) -> None:
    _report(
        "repeated-query",
        caller,
        local,
        evidence=f"asked {n} times and more within one request, from this line: {shaped[:300]}",
        advice="ask once for all: a join, `WHERE … IN (…)`, or eager loading (`selectinload`, `select_related`, `prefetch_related`)",
    )


def _report(id: str, caller: tuple[CodeType, int], local: LocalTrace | None, *, evidence: str, advice: str) -> None:
    now = tracing.CURRENT.tracing
    if now is None:
        return
    at, now_ns = tags_code.place(*caller), time.time_ns()
    trace_id = now.writer.examples.trace_id((id, at.file, at.line), local)
    now.writer.found(
        Finding(
            id=id,
            service=now.writer.service,
            function=at.function,
            file=at.file,
            line=at.line,
            confidence="high",
            evidence=evidence,
            advice=advice,
            route=_route(local),
            trace_id=trace_id,
            first_ns=now_ns,
            last_ns=now_ns,
        )
    )


def _route(local: LocalTrace | None) -> str | None:
    from proftool.telemetry.request import CURRENT

    if local is not None and local.route:
        return local.route
    request = CURRENT.get()
    route = request.route_now() if request else None
    return f"{request.method} {route}" if request and route else None
