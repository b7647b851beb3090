"""What the always-on sampler takes from a service that computes all the time, and what of that no sampler in a thread can be without.

`gaps`: a thread that does nothing but look at the clock sees when it stood still; another one wakes up a hundred times a second and takes
the GIL. A gap less what the other did meanwhile is the hand-over: there is none without it. `looks`: how long the sampler holds the
GIL a look, and what its rate comes to, in a process that serves requests without a pause.
"""

from __future__ import annotations

import asyncio
import bisect
import random
import threading
import time

import apps
from inside import serve

from proftool.telemetry.sampler import MAX_HZ, Sampler

_now = time.perf_counter_ns


def _deciles(values: list[float]) -> str:
    values.sort()
    first, middle, last = (values[int(len(values) * share)] / 1e3 for share in (0.1, 0.5, 0.9))
    return f"{first:.0f} · {middle:.0f} · {last:.0f} µs (first decile · median · last decile, n={len(values)})"


def gaps(seconds: float) -> None:
    """Print the hand-over."""
    taken: list[tuple[int, int]] = []
    running = threading.Lock()
    running.acquire()

    def take() -> None:
        while not running.acquire(timeout=random.uniform(0.008, 0.012)):
            at = _now()
            taken.append((at, _now()))

    thread = threading.Thread(target=take)
    thread.start()
    seen: list[tuple[int, int]] = []
    last = _now()
    end = last + int(seconds * 1e9)
    while last < end:
        now = _now()
        if now - last > 5000:
            seen.append((last, now))
        last = now
    running.release()
    thread.join()
    starts = [start for start, _ in seen]
    over: list[float] = []
    for start, stop in taken:
        index = bisect.bisect_right(starts, start) - 1
        if index >= 0 and seen[index][1] >= stop:
            over.append(seen[index][1] - seen[index][0] - (stop - start))
    print(f"two hand-overs of the GIL, of a thread that computes: {_deciles(over)}")


class _Timed(Sampler):
    """Remembers how long it looked."""

    def __init__(self, *, budget: float, max_hz: float) -> None:
        super().__init__(budget=budget, max_hz=max_hz)
        self.looks: list[float] = []

    def _look(self, own: int, now_ns: int, weight_ns: int) -> None:
        super()._look(own, now_ns, weight_ns)
        self.looks.append(_now() - now_ns)


async def looks(seconds: float) -> None:
    """Print what a look takes, and the rate that the budget pays for."""
    app = apps.metrics()
    await serve(app, 1000)
    for budget, of in ((1.0, "without a bound"), (0.01, "at most 1 %")):
        sampler = _Timed(budget=budget, max_hz=MAX_HZ)
        sampler.start()
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            await serve(app, 200)
        sampler.stop()
        share = 100 * sum(sampler.looks) / 1e9 / seconds
        rate = len(sampler.looks) / seconds
        print(f"budget {of}: {rate:.0f} looks a second, at last {sampler.rate_hz:.0f} Hz; {share:.2f} % of the time in looks")
        print(f"  a look holds the GIL {_deciles(sampler.looks)}")


def sampler(seconds: float) -> None:
    """Both."""
    gaps(seconds)
    asyncio.run(looks(seconds))
