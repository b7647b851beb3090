"""How fast is this machine now? A short fixed computation on the CPU clock, and what disturbs it: load, steal, throttling.

`start()` before the target, `Witness(pid)` beside it, `Before.finish()` after it. The probes before and after take about 10 ms each. The
witness does small parts of the same computation, on the processor that the target is on. Measured on two shared cores: the CPU time of 36
runs of a program of 0.7 s varied by 12 %, divided by the probes before and after by 15 %; that of six times 25 runs of a second by
16 to 20 %, divided by the witness by 3 to 5 %. What the system does not tell is None.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from proftool.model.meta import Speed

_ROUNDS = 5
_LOOPS = 20_000
_PART_LOOPS = 2000
_EVERY_S, _SELDOM_S = 0.02, 0.1
"""Between two parts of the witness: 0.8 % of the target's processor, and after `_MANY` parts 0.2 %."""
_MANY, _FEW = 500, 8
_CGROUPS = (Path("/sys/fs/cgroup/cpu.stat"), Path("/sys/fs/cgroup/cpu/cpu.stat"), Path("/sys/fs/cgroup/cpu,cpuacct/cpu.stat"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """What was read before the target started."""

    probe_ns: int
    ticks: tuple[int, int] | None
    """Stolen and all CPU time of the machine since it started, in clock ticks."""
    throttled_ns: int | None

    def finish(self, witness: Witness | None = None) -> Speed:
        """Read again, and say what happened in between."""
        during = None if witness is None else witness.end()
        ticks, throttled = _ticks(), _throttled_ns()
        steal = None
        if ticks and self.ticks and ticks[1] > self.ticks[1]:
            steal = min(max((ticks[0] - self.ticks[0]) / (ticks[1] - self.ticks[1]), 0.0), 1.0)
        stopped = None if throttled is None or self.throttled_ns is None else max(throttled - self.throttled_ns, 0)
        return Speed(before_ns=self.probe_ns, after_ns=probe_ns(), during_ns=during, load=_load(), steal_share=steal, throttled_ns=stopped)


class Witness:
    """Measures beside a process how fast the processor is that it runs on, in a thread of ours, until `end` or the end of the process."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._parts_ns: list[int] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="proftool-witness", daemon=True)
        if hasattr(os, "sched_setaffinity"):
            self._thread.start()

    def end(self) -> int | None:
        """CPU time that the fixed computation would have taken; None where the process was seldom seen to run."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        return whole_ns(self._parts_ns)

    def _watch(self) -> None:
        while not self._over.wait(_EVERY_S if len(self._parts_ns) < _MANY else _SELDOM_S):
            try:
                fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                return
            if fields[0] != "R":
                continue
            with contextlib.suppress(OSError):  # a processor that is the target's and not ours: its part is left out
                os.sched_setaffinity(0, {int(fields[36])})  # of this thread alone
                self._parts_ns.append(part_ns())


def whole_ns(parts_ns: Sequence[int]) -> int | None:
    """
    What the fixed computation would have taken, from small parts of it; None from few.

    Their harmonic mean: parts are taken at even times, where it is the mean of speeds that tells how much work was done.
    """
    if len(parts_ns) < _FEW:
        return None
    return round(len(parts_ns) / sum(1 / part_ns for part_ns in parts_ns) * _LOOPS / _PART_LOOPS)


def start() -> Before:
    """Read the state of the machine now."""
    return Before(probe_ns=probe_ns(), ticks=_ticks(), throttled_ns=_throttled_ns())


def probe_ns() -> int:
    """Thread CPU time of the fixed computation: the median of a few rounds, so that one interrupted round does not count."""
    rounds: list[int] = []
    for _ in range(_ROUNDS):
        rounds.append(_computed_ns(_LOOPS))
    return sorted(rounds)[_ROUNDS // 2]


def part_ns() -> int:
    """The same of a small part of it."""
    return max(_computed_ns(_PART_LOOPS), 1)


def _computed_ns(loops: int) -> int:
    begin = time.thread_time_ns()
    total = 0
    for i in range(loops):
        total ^= i * 5 + 1
    return time.thread_time_ns() - begin


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
