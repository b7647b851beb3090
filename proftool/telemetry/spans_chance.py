"""Which traces are kept by chance: a share of all, and less of it where a busy service would keep too many.

The choice is by a trace's id (`id < below`), so what a smaller share chooses a larger one chooses too: services that are busy by different
degrees choose the same traces, the busiest the fewest. One in a hundred of 3,000 requests a second is 2.6 million traces a day, and says
no more than a tenth of them; slow, failed and wanted traces are no chance, and are kept all.
Source: OpenTelemetry's consistent probability sampling (trace state, `th`), whose threshold this moves.
"""

from __future__ import annotations

import time

from proftool.telemetry.request import RANDOM_BITS
from proftool.telemetry.spans import Keep
from proftool.units import NS_PER_S


class Chance:
    """The threshold of now; `settle` moves it."""

    __slots__ = ("_full", "_most_per_s", "_since_ns", "below", "chosen_count")

    def __init__(self, keep: Keep, now_ns: int | None = None) -> None:
        self._full = self.below = int(keep.share * (1 << RANDOM_BITS))
        self._most_per_s = keep.most_per_s if keep.share < 1 else float("inf")
        self._since_ns = time.monotonic_ns() if now_ns is None else now_ns
        self.chosen_count = 0
        """Since the last time that it settled; counted by who keeps them."""

    def chosen(self, trace_id: int) -> bool:
        """Is it one of the share?"""
        return (trace_id & ((1 << RANDOM_BITS) - 1)) < self.below

    def settle(self, now_ns: int) -> bool:
        """Follow what came since the last time; says whether the threshold moved."""
        passed_ns = now_ns - self._since_ns
        if passed_ns <= 0:
            return False
        count, self.chosen_count, self._since_ns = self.chosen_count, 0, now_ns
        before = self.below
        if not count:
            self.below = self._full
        elif before:
            # Half of the way: ten by chance are seven or thirteen, and the threshold would jump as they do.
            wanted = before * self._most_per_s * passed_ns / (count * NS_PER_S)
            self.below = self._full if wanted >= self._full else min(self._full, int((before + wanted) / 2) + 1)
        return self.below != before
