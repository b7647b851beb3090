"""What a running service leaves: spans, slices of its sampler, findings, and where they are kept. Beside contracts.py, which is about runs.

Frozen data and one protocol; ids are lower-case hexadecimal, times ns since the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from proftool.model.profile import Profile

Attribute = str | bool | int | float | tuple[str, ...] | tuple[bool, ...] | tuple[int, ...] | tuple[float, ...]
"""A value of a span's attribute, as OpenTelemetry allows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanEvent:
    """Something that happened at an instant of a span: an exception."""

    name: str
    time_ns: int
    attributes: Mapping[str, Attribute] = field(default_factory=dict[str, Attribute])


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanLink:
    """A span that this one follows from without being its child: the message that a worker took."""

    trace_id: str
    span_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One operation of a trace, as OpenTelemetry means it; ids are lower-case hexadecimal, times ns since the epoch."""

    trace_id: str
    span_id: str
    parent_id: str | None = None
    service: str
    name: str
    kind: str = "internal"
    """`internal`, `server`, `client`, `producer` or `consumer`."""
    start_ns: int
    duration_ns: int
    status: str = "unset"
    """`unset`, `ok` or `error`."""
    message: str = ""
    """Of the status."""
    is_entry: bool = False
    """The first span of its trace in its service: a request, a message."""
    route: str | None = None
    """Of an entry: its template, `GET /orders/{id}`."""
    kept: str | None = None
    """Of an entry: why its trace was kept, `slow`, `failed`, `chosen`, `asked` or `joined`; None where nobody decided."""
    attributes: Mapping[str, Attribute] = field(default_factory=dict[str, Attribute])
    events: tuple[SpanEvent, ...] = ()
    links: tuple[SpanLink, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanQuery:
    """Which spans; every field narrows. Newest first, or by start where a trace is named."""

    trace_id: str | None = None
    span_id: str | None = None
    service: str | None = None
    route: str | None = None
    kind: str | None = None
    entries: bool = False
    """Only the first span of each trace in each service."""
    failed: bool = False
    since_ns: int | None = None
    until_ns: int | None = None
    min_duration_ns: int | None = None
    limit: int | None = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """What a service's always-on sampler saw: a stretch of time of one process, or one trace's part in it.

    `profile` has a lane for each thread and route (`task` is the route), or for each thread and span of the trace (`task` is the
    span's id).
    """

    service: str
    pid: int
    start_ns: int
    end_ns: int
    samples: int
    trace_id: str | None = None
    route: str | None = None
    """Of the trace's entry."""
    profile: Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceQuery:
    """Which slices; every field narrows. `trace_id` None asks for stretches of time."""

    trace_id: str | None = None
    service: str | None = None
    since_ns: int | None = None
    until_ns: int | None = None
    limit: int | None = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something wrong in a running service, with its place: an insight with the circumstances of a service.

    Findings of the same id, service, file, line and function are one; its count goes up and its last time moves.
    """

    id: str
    """What kind: `slow-query`, `repeated-query`, `blocking-call`, `leak`."""
    service: str
    function: str
    """Qualified name."""
    file: str
    line: int
    confidence: str
    """`low`, `medium` or `high`."""
    evidence: str
    advice: str
    route: str | None = None
    trace_id: str | None = None
    """Of the last time that it was seen in a trace."""
    first_ns: int
    last_ns: int
    count: int = 1


class TelemetryStore(Protocol):
    """Where a service's spans, slices and findings are kept. Every method is one transaction, safe across threads, processes and forks."""

    def add_spans(self, spans: Sequence[Span]) -> None:
        """A span that is known already is left as it is."""
        ...

    def find_spans(self, query: SpanQuery) -> Sequence[Span]: ...

    def services(self) -> Sequence[str]:
        """Names of those that have left spans, in order."""
        ...

    def kept_traces(self, trace_ids: Sequence[str]) -> frozenset[str]:
        """Those of the ids of which some service has kept a part."""
        ...

    def add_slices(self, slices: Sequence[Slice]) -> None: ...

    def find_slices(self, query: SliceQuery) -> Sequence[Slice]:
        """Newest first."""
        ...

    def add_findings(self, findings: Sequence[Finding]) -> None: ...

    def find_findings(self, *, service: str | None = None, since_ns: int | None = None) -> Sequence[Finding]:
        """The last seen first."""
        ...

    def forget(self, before_ns: int) -> int:
        """Remove spans, slices and findings that ended before that time; how many."""
        ...
