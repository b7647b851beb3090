"""What a running service leaves: spans, slices of its sampler, findings, logs, points of its metrics, and where they are kept.

Beside contracts.py, which is about runs. Frozen data and a protocol for each store; ids are lower-case hexadecimal, times ns since
the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

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
    """Of an entry: why its trace was kept, `slow`, `failed`, `chosen`, `asked`, `finding` or `joined`; None where nobody decided."""
    attributes: Mapping[str, Attribute] = field(default_factory=dict[str, Attribute])
    events: tuple[SpanEvent, ...] = ()
    links: tuple[SpanLink, ...] = ()


class Outline(NamedTuple):
    """A span without its events and links, and where they were not asked for without its attributes: what lists of 20,000 are made of."""

    trace_id: str
    span_id: str
    parent_id: str | None
    service: str
    name: str
    kind: str
    start_ns: int
    duration_ns: int
    status: str
    is_entry: bool
    route: str | None
    kept: str | None
    attributes: Mapping[str, Attribute] = MappingProxyType({})


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
    """Of the last trace that it was seen in and that is kept."""
    first_ns: int
    last_ns: int
    count: int = 1


class SliceTarget(Protocol):
    """Where slices are sent beside the store. Called from one thread; a batch that failed comes again under the same name."""

    def send(self, slices: Sequence[Slice], *, batch: str, lost: int) -> None:
        """Send them; ProftoolError where they may be sent later. `lost` slices were dropped before these."""
        ...

    def close(self) -> None:
        """Nothing more will be sent."""
        ...


class TelemetryStore(Protocol):
    """Where a service's spans, slices and findings are kept. Every method is one transaction, safe across threads, processes and forks."""

    def add_spans(self, spans: Sequence[Span]) -> None:
        """A span that is known already is left as it is."""
        ...

    def find_spans(self, query: SpanQuery) -> Sequence[Span]: ...

    def find_outlines(self, query: SpanQuery, *, attributes: bool = False) -> Sequence[Outline]:
        """The same spans in the same order, some times faster; with their attributes where these are asked for."""
        ...

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


class Exemplar(NamedTuple):
    """One measurement of a histogram or counter, and the trace that it belongs to."""

    time_ns: int
    trace_id: str
    span_id: str
    value: float


Labels = tuple[tuple[str, str], ...]
"""(name, value) pairs, sorted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One series' value at one moment: what a process counted since it began, or a gauge's reading."""

    service: str
    process: str
    """Who counted, `host:pid` or `service.instance.id`: cumulative values of two processes never mix."""
    name: str
    """As OpenTelemetry calls it: `http.server.request.duration`."""
    kind: str
    """`counter`, `gauge` or `histogram`."""
    unit: str = ""
    labels: Labels = ()
    time_ns: int
    start_ns: int | None = None
    """When the counting began; None: unknown. A value that began after the last point begins anew from zero."""
    value: float
    """A histogram's sum."""
    counts: tuple[int, ...] = ()
    """Of a histogram's buckets, one more than edges."""
    edges: tuple[float, ...] = ()
    """Upper bounds, inclusive."""
    exemplars: tuple[Exemplar, ...] = ()
    """Newest last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PointQuery:
    """Which series, and when: from `since_ns` to before `until_ns`, one value a step of `step_ns`."""

    service: str | None = None
    name: str | None = None
    labels: Labels = ()
    """Every one given must match."""
    by: tuple[str, ...] | None = None
    """Labels that tell lines of the answer apart, series that differ in others being added up; None: all of them do."""
    since_ns: int
    until_ns: int
    step_ns: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Series:
    """One series over time, its processes added up."""

    service: str
    name: str
    kind: str
    unit: str
    labels: Labels
    edges: tuple[float, ...]
    times_ns: tuple[int, ...]
    """Ends of the steps."""
    numbers: NDArray[np.float64]
    """
    Of a counter the increase in the step, of a histogram that of its sum, of a gauge the last reading; NaN where nothing is known.
    Shape (n_steps,).
    """
    grown: NDArray[np.int64]
    """Of a histogram the increase of each bucket in the step, 0 where nothing is known. Shape (n_steps, n_buckets), else (n_steps, 0)."""
    exemplars: tuple[Exemplar, ...] = ()
    """Newest last, a bounded number."""

    @property
    def values(self) -> tuple[float | None, ...]:
        """The numbers; None where nothing is known."""
        return tuple(None if value != value else value for value in self.numbers.tolist())

    @property
    def counts(self) -> tuple[tuple[int, ...] | None, ...]:
        """The buckets of each step; None where nothing is known, and of what is no histogram."""
        if self.kind != "histogram":
            return (None,) * len(self.times_ns)
        steps = zip(self.grown.tolist(), self.numbers.tolist(), strict=True)
        return tuple(None if value != value else tuple(row) for row, value in steps)


class MetricStore(Protocol):
    """Where metrics are kept. Every method is safe across threads, processes and forks; a batch is one transaction."""

    def add_points(self, points: Sequence[Point]) -> int:
        """Add them; one not newer than the last of its series changes nothing. How many were refused: beyond a bound or no numbers."""
        ...

    def find_series(self, query: PointQuery) -> Sequence[Series]:
        """By service, name and labels."""
        ...

    def names(self, *, service: str | None = None) -> Sequence[tuple[str, str, str, str]]:
        """(service, name, kind, unit) of every metric, sorted."""
        ...

    def services(self) -> Sequence[str]:
        """Names of the services that left points, sorted."""
        ...

    def roll_up(self, now_ns: int) -> int:
        """Make older points coarser and forget the oldest, a bounded part of what is due; how many rows that changed."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRecord:
    """One line that a service logged."""

    service: str
    time_ns: int
    severity: int = 0
    """OpenTelemetry's number: 1 trace, 5 debug, 9 info, 13 warning, 17 error, 21 fatal; 0: unknown."""
    level: str = ""
    """As the service calls it: `WARNING`."""
    body: str
    trace_id: str | None = None
    span_id: str | None = None
    attributes: Mapping[str, Attribute] = field(default_factory=dict[str, Attribute])


@dataclass(frozen=True, slots=True, kw_only=True)
class LogQuery:
    """Which records; every field narrows. Newest first, or in their order where a trace is named."""

    trace_id: str | None = None
    service: str | None = None
    min_severity: int | None = None
    since_ns: int | None = None
    until_ns: int | None = None
    limit: int | None = 1000


class LogStore(Protocol):
    """Where logs are kept. Every method is one transaction, safe across threads, processes and forks."""

    def add_logs(self, records: Sequence[LogRecord]) -> None:
        """Add them; a batch that comes again changes nothing."""
        ...

    def find_logs(self, query: LogQuery) -> Sequence[LogRecord]: ...

    def forget(self, before_ns: int) -> int:
        """Remove records of before that time; how many."""
        ...
