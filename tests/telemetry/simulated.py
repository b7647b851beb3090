"""A service that is only numbers: hours of it in seconds, for what looks at samples."""

from __future__ import annotations

import numpy as np

from proftool.telemetry.metrics import SECONDS
from proftool.telemetry.points import Sample
from proftool.telemetry.segments import Description
from proftool.telemetry.windows import REQUESTS

STEP_S = 15


class Simulated:
    """A service of 10 requests a second, log-normal around 60 ms, that swings by the day: cumulative samples, step by step."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._counts = np.zeros((2, len(SECONDS) + 1), dtype=np.int64)
        self._sums = np.zeros(2)
        self.time_s = 0.0

    def step(self, *, slower: float = 1.0, errors: float = 0.001, rate: float = 1.0) -> list[Sample]:
        self.time_s += STEP_S
        swing = 1 + 0.3 * np.sin(self.time_s / 86_400 * 2 * np.pi)
        n = self._random.poisson(10 * STEP_S * swing * rate)
        times = self._random.lognormal(np.log(0.06 * slower), 0.5, n)
        failed = self._random.random(n) < errors
        found: list[Sample] = []
        for row, status in enumerate(("200", "500")):
            mine = times[failed == bool(row)]
            self._counts[row] += np.bincount(np.searchsorted(SECONDS, mine), minlength=len(SECONDS) + 1)
            self._sums[row] += mine.sum()
            labels = (("http.response.status_code", status),)
            of = Description(REQUESTS, "histogram", "s", "", labels, SECONDS)
            found.append(Sample(of, labels, float(self._sums[row]), tuple(int(n) for n in self._counts[row])))
        return found
