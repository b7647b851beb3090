"""Where runs are kept: what is known of a run without opening its profile, how runs are asked for, what every store does.

Two stores stand behind `RunStore` (a folder with SQLite; PostgreSQL with a bucket) and one suite, tests/contracts/, holds both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from proftool.model.meta import Quality

if TYPE_CHECKING:
    from proftool.model.profile import Profile  # numpy, which `list` and `--help` do without


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A stored profile's circumstances: the row that `list` shows, RUN of docs/reference/json.md. Unknown is None."""

    id: str
    label: str | None
    modes: tuple[str, ...]
    backends: tuple[str, ...]
    command: tuple[str, ...] | None
    exit_status: int | None
    started_at: str | None
    """ISO 8601, UTC."""
    duration_s: float | None
    commit: str | None
    branch: str | None
    dirty: bool | None
    python: str | None
    host: str | None
    quality: Quality | None
    samples: int | None
    rate_asked_hz: float | None
    rate_achieved_hz: float | None
    totals: Mapping[str, int]
    """Metric name -> total."""
    blob: str
    size_bytes: int
    added_ns: int
    """When it was stored, ns since the epoch: the order of `@latest`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunQuery:
    """Which runs; every field narrows."""

    ids: tuple[str, ...] | None = None
    id_prefix: str | None = None
    label: str | None = None
    commit_prefix: str | None = None
    before_ns: int | None = None
    limit: int | None = None
    offset: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrendQuery:
    """One function over runs."""

    function: str
    """`qualname`, `module:qualname`, or the bare name."""
    metric: str | None = None
    """None = the first that is known of it: time, then bytes, then calls."""
    command: tuple[str, ...] | None = None
    """Only runs of this command."""
    limit: int = 300
    """So many of the newest runs that have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrendPoint:
    """What a function took in a run, in the metric's unit."""

    run_id: str
    added_ns: int
    label: str | None
    commit: str | None
    command: str | None
    """JSON list of words."""
    self_value: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """A function over runs, oldest first. A run in which it is none of the largest has no point."""

    module: str
    qualname: str
    file: str
    metric: str
    points: tuple[TrendPoint, ...]


class RunStore(Protocol):
    """Run history. Blob first, row second, rename last: a listed run is whole, an announced run is kept."""

    def add(self, profile: Profile, *, label: str | None = None) -> Run: ...

    def find(self, query: RunQuery) -> Sequence[Run]:
        """Newest first."""
        ...

    def load(self, run: Run) -> Profile: ...

    def trends(self, query: TrendQuery) -> Sequence[Trend]:
        """Every function of that name that runs have among their largest."""
        ...

    def label(self, run: Run, label: str | None) -> Run: ...

    def remove(self, runs: Sequence[Run]) -> None: ...
