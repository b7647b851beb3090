"""How fast is this machine now? A short fixed computation on the CPU clock, and what disturbs it: load, steal, throttling.

`start()` before the target, `Before.finish()` after it. Each probe takes about 10 ms; what the system does not tell is None.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from proftool.model.meta import Speed

_ROUNDS = 5
_LOOPS = 20_000
_CGROUPS = (Path("/sys/fs/cgroup/cpu.stat"), Path("/sys/fs/cgroup/cpu/cpu.stat"), Path("/sys/fs/cgroup/cpu,cpuacct/cpu.stat"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """What was read before the target started."""

    probe_ns: int
    ticks: tuple[int, int] | None
    """Stolen and all CPU time of the machine since it started, in clock ticks."""
    throttled_ns: int | None

    def finish(self) -> Speed:
        """Read again, and say what happened in between."""
        ticks, throttled = _ticks(), _throttled_ns()
        steal = None
        if ticks and self.ticks and ticks[1] > self.ticks[1]:
            steal = min(max((ticks[0] - self.ticks[0]) / (ticks[1] - self.ticks[1]), 0.0), 1.0)
        stopped = None if throttled is None or self.throttled_ns is None else max(throttled - self.throttled_ns, 0)
        return Speed(before_ns=self.probe_ns, after_ns=probe_ns(), load=_load(), steal_share=steal, throttled_ns=stopped)


def start() -> Before:
    """Read the state of the machine now."""
    return Before(probe_ns=probe_ns(), ticks=_ticks(), throttled_ns=_throttled_ns())


def probe_ns() -> int:
    """Thread CPU time of the fixed computation: the median of a few rounds, so that one interrupted round does not count."""
    rounds: list[int] = []
    for _ in range(_ROUNDS):
        begin = time.thread_time_ns()
        total = 0
        for i in range(_LOOPS):
            total ^= i * 5 + 1
        rounds.append(time.thread_time_ns() - begin)
    return sorted(rounds)[_ROUNDS // 2]


def _load() -> float | None:
    try:
        return os.getloadavg()[0]
    except (OSError, AttributeError):
        return None


def _ticks() -> tuple[int, int] | None:
    """The first line of /proc/stat: user nice system idle iowait irq softirq steal (guest time is part of user)."""
    try:
        fields = [int(text) for text in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    except (OSError, ValueError, IndexError):
        return None
    return (fields[7], sum(fields)) if len(fields) == 8 else None


def _throttled_ns() -> int | None:
    for path in _CGROUPS:
        try:
            told = dict(line.split() for line in path.read_text().splitlines())
        except (OSError, ValueError):
            continue
        if "throttled_usec" in told:
            return int(told["throttled_usec"]) * 1000
        if "throttled_time" in told:
            return int(told["throttled_time"])
    return None
