"""A service's few main numbers of the last hour, so that an incident can show what else moved when a rule broke.

Filled at each look at the rules, read only when an alert fires.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from proftool.contracts_incidents import Measure
from proftool.telemetry.points import Sample
from proftool.telemetry.rules import measured
from proftool.telemetry.windows import REQUESTS, History, read
from proftool.units import NS_PER_S

WINDOW_S = 60.0
MAX_LOOKS = 240


@dataclass(slots=True)
class _Line:
    name: str
    metric: str
    measure: str
    unit: str
    seen: deque[tuple[float, float | None]] = field(default_factory=lambda: deque[tuple[float, float | None]](maxlen=MAX_LOOKS))


class Around:
    """Remembers what `add` showed it."""

    def __init__(self, *, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._lines = (
            _Line("requests a second", REQUESTS, "rate", "1/s"),
            _Line("median duration", REQUESTS, "p50", "s"),
            _Line("95th percentile of duration", REQUESTS, "p95", "s"),
            _Line("failed requests", REQUESTS, "errors", "1"),
            _Line("requests in flight", "http.server.active_requests", "value", "1"),
            _Line("cores in use", "process.cpu.time", "rate", "1"),
            _Line("resident memory, all workers", "process.memory.usage", "value", "By"),
            _Line("event loop late, 95th percentile", "asyncio.eventloop.delay", "p95", "s"),
        )
        self._histories = {line.metric: History(window_s) for line in self._lines}

    def add(self, samples: Sequence[Sample], time_s: float) -> None:
        """The newest samples of the service."""
        for metric, history in self._histories.items():
            history.add(*read(samples, metric, {}, time_s))
        for line in self._lines:
            line.seen.append((time_s, measured(line.measure, self._histories[line.metric], self._window_s)))

    def measures(self, since_s: float) -> tuple[Measure, ...]:
        """The lines that hold anything, from that time on."""
        return tuple(
            made for line in self._lines if (made := measure(line.name, line.unit, line.seen, since_s)) is not None and any(made.values)
        )


def measure(name: str, unit: str, seen: Sequence[tuple[float, float | None]], since_s: float, limit: float | None = None) -> Measure | None:
    """(time in s, value) pairs as a measure; None where nothing is known."""
    pairs = [pair for pair in seen if pair[0] >= since_s]
    if all(value is None for _, value in pairs):
        return None
    return Measure(
        name=name,
        unit=unit,
        times_ns=tuple(round(time_s * NS_PER_S) for time_s, _ in pairs),
        values=tuple(None if value is None else float(f"{value:.6g}") for _, value in pairs),
        limit=limit,
    )


def joined(old: Sequence[Measure], new: Sequence[Measure]) -> tuple[Measure, ...]:
    """What was known before and what is known now, by name; of the same time the newer."""
    known = {one.name: one for one in old}
    found: list[Measure] = []
    for one in new:
        before = known.pop(one.name, None)
        kept = [] if before is None else [pair for pair in zip(before.times_ns, before.values, strict=True) if pair[0] < one.times_ns[0]]
        found.append(
            Measure(
                name=one.name,
                unit=one.unit,
                times_ns=(*(time for time, _ in kept), *one.times_ns),
                values=(*(value for _, value in kept), *one.values),
                limit=one.limit,
            )
        )
    return (*found, *known.values())
