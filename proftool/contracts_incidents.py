"""An alert that fired and what was around the moment; and where that is kept. Beside contracts_telemetry.py, which holds what it points to.

An incident keeps its own small facts (what, since when, where, the measures). Spans, slices and findings of its windows stay in
their own tables, and are spared when what is old goes: nothing is copied, and what other workers write late belongs to it too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

About = Literal["requests", "failures", "memory"]
"""What a rule looks at decides where its cause is looked for; `requests` are slow or few."""
State = Literal["firing", "resolved", "lost"]
"""`lost`: whoever watched ended while it was firing, and nobody took over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A place in the project's code that evidence points at."""

    function: str
    """Qualified name."""
    file: str
    line: int
    sources: tuple[str, ...]
    """What points at it: ids of findings, `slow requests`, `profile`, `exception`."""
    confidence: str
    """`low`, `medium` or `high`."""
    evidence: tuple[str, ...]
    """A sentence of each source, in their order."""
    advice: str = ""
    route: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A number of the service over time, around the moment."""

    name: str
    """For people: `p95 of http.server.request.duration`."""
    unit: str
    times_ns: tuple[int, ...]
    values: tuple[float | None, ...]
    """One a time; None where there was too little to say."""
    limit: float | None = None
    """Of the rule that it broke."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """What ran."""

    commit: str | None = None
    branch: str | None = None
    dirty: bool | None = None
    python: str | None = None
    host: str | None = None
    proftool: str | None = None
    packages: tuple[tuple[str, str], ...] = ()
    """(name, version) of the frameworks and drivers that were loaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One alert from its begin to its end."""

    id: str
    """`incident-` and eight letters."""
    service: str
    alert: str
    """Name of the rule."""
    about: About = "requests"
    state: State
    text: str
    """How the rule was broken when it was last."""
    value: float
    limit: float
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    """Which series the rule looks at."""
    route: str | None = None
    """Of the requests it is about, `GET /checkout`; None = of all."""
    began_ns: int
    """Since when the rule was broken."""
    fired_ns: int
    """When it was told."""
    seen_ns: int
    """When it was last known to be broken."""
    ended_ns: int | None = None
    good_ns: tuple[int, int]
    """(from, until): time before it that was good, for a baseline."""
    bad_ns: tuple[int, int]
    """(from, until): time whose slices, traces and findings are spared."""
    suspects: tuple[Suspect, ...] = ()
    """Most likely first, as far as was known when it was last looked at."""
    measures: tuple[Measure, ...] = ()
    """The broken one first."""
    version: Version = field(default_factory=Version)

    @property
    def duration_ns(self) -> int:
        """From its begin to its end, or to when it was last seen."""
        return (self.seen_ns if self.ended_ns is None else self.ended_ns) - self.began_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentQuery:
    """Which incidents; every field narrows. Newest first."""

    id: str | None = None
    """Or the beginning of one."""
    service: str | None = None
    firing: bool = False
    """Only those that are not over."""
    since_ns: int | None = None
    """Not over before that time."""
    limit: int | None = 100


class IncidentStore(Protocol):
    """Where incidents are kept, and what rules have learned. Every method is one transaction, safe across threads, processes and forks."""

    def begin_incident(self, incident: Incident) -> Incident:
        """
        Add it, unless one of the same service and alert is still firing: then that one is given back, and nothing is added.
        """
        ...

    def save_incident(self, incident: Incident) -> None:
        """Write what is known now of one that was begun."""
        ...

    def find_incidents(self, query: IncidentQuery) -> Sequence[Incident]: ...

    def learned(self, service: str) -> Mapping[str, tuple[float, ...]]:
        """Rule -> what it has learned of the service, oldest first."""
        ...

    def learn(self, service: str, learned: Mapping[str, Sequence[float]], time_ns: int) -> None:
        """Replace what the rules have learned."""
        ...

    def forget_incidents(self, before_ns: int) -> int:
        """Remove those that ended before that time; how many."""
        ...
