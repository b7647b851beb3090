"""What a request asks for: texts, numbers and a range of time, read from its query. Nothing that is asked can make it fail.

A range is relative (`range=1h`, up to now: it moves) or absolute (`since=…&until=…`, ms since the epoch: a permalink). Steps are chosen so
that a chart has some hundred points, and begin at multiples of their length, so that a step keeps its place when the range moves.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from starlette.requests import Request

from proftool.units import NS_PER_S
from proftool.workflows.requests import TimeRange

RANGES_S = {"5m": 300, "15m": 900, "1h": 3600, "6h": 6 * 3600, "1d": 86400, "7d": 7 * 86400, "30d": 30 * 86400}
STEPS_S = (10, 30, 60, 180, 600, 1800, 7200, 21600)
"""None is shorter than what a service writes its metrics by."""
POINTS = 125
DEFAULT = "1h"
_MAX_MS = 4_102_444_800_000
"""The year 2100."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A range as the page's form knows it."""

    range: str | None
    """A key of RANGES_S; None of an absolute one."""
    since_ms: int
    until_ms: int

    @property
    def since_ns(self) -> int:
        return self.since_ms * 1_000_000

    @property
    def until_ns(self) -> int:
        return self.until_ms * 1_000_000

    def steps(self, points: int = POINTS) -> TimeRange:
        """In whole steps that cover it."""
        span_s = (self.until_ms - self.since_ms) / 1e3
        step_ns = next((step for step in STEPS_S if span_s / step <= points), STEPS_S[-1]) * NS_PER_S
        return TimeRange(
            since_ns=self.since_ns // step_ns * step_ns, until_ns=-(-self.until_ns // step_ns) * step_ns, step_ns=step_ns
        )  # fmt: skip


def asked(request: Request, *, default: str = DEFAULT, prefix: str = "") -> Asked:
    """The range that the query names, else the default up to now."""
    since, until = number(request, prefix + "since"), number(request, prefix + "until")
    if since is not None and until is not None and 0 <= since < until <= _MAX_MS:
        return Asked(range=None, since_ms=since, until_ms=until)
    word = request.query_params.get(prefix + "range", default)
    word = word if word in RANGES_S else default
    now_ms = int(time.time() * 1e3)
    return Asked(range=word, since_ms=now_ms - RANGES_S[word] * 1000, until_ms=now_ms)


def text(request: Request, name: str) -> str | None:
    """A word of the query; None where it is empty or missing."""
    return request.query_params.get(name) or None


def number(request: Request, name: str) -> int | None:
    """A whole number from 0 on; None where it is none."""
    given = request.query_params.get(name, "")
    return int(given) if given.isascii() and given.isdigit() and len(given) <= 18 else None


def flag(request: Request, name: str) -> bool:
    """Is it switched on?"""
    return request.query_params.get(name) in ("1", "on", "true")
