"""The trace that a finding points to is one that is kept: the first of each finding, and another after some minutes.

Most requests are not kept, so a finding that named the trace it was seen in would lead nowhere.
"""

from __future__ import annotations

import time

from proftool.telemetry.request import SAMPLED
from proftool.telemetry.spans import LocalTrace

EVERY_S = 300.0
"""A finding keeps no more than one trace in that time."""
MAX_KNOWN = 1000
FOUND = "finding"
"""Why such a trace is kept."""

Place = tuple[str, str, int]
"""A finding's kind, file and line."""


class Examples:
    """When a trace was kept last for each finding."""

    def __init__(self) -> None:
        self._kept_s: dict[Place, float] = {}

    def trace_id(self, place: Place, local: LocalTrace | None) -> str | None:
        """That of the trace if it is kept, for this finding or for another reason that is known by now."""
        if local is None or not (self._is_kept(local) or self._keep(place, local)):
            return None
        return f"{local.trace_id:032x}"

    def _is_kept(self, local: LocalTrace) -> bool:
        return local.reason is not None if local.is_over else local.wanted is not None or bool(local.flags & SAMPLED)

    def _keep(self, place: Place, local: LocalTrace) -> bool:
        now = time.monotonic()
        if local.is_over or now - self._kept_s.get(place, -EVERY_S) < EVERY_S:
            return False
        self._kept_s.pop(place, None)  # the oldest stand first
        self._kept_s[place] = now
        if len(self._kept_s) > MAX_KNOWN:
            del self._kept_s[next(iter(self._kept_s))]
        local.wanted = FOUND
        return True
