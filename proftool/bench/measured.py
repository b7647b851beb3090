"""One benchmark of one side: a value a process, and what disturbed it. What `bench` shows, keeps and exchanges with other tools.

Values within a process are kept too (`inner_ns`), for the distribution and for other tools' files; they are never counted as
independent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from proftool.bench.processes import Value, does_work
from proftool.bench.statistics import Floats, Outliers, bootstrap_median, outliers


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Times are ns per call (per run of a command); unknown is None."""

    name: str
    clock: str
    """`cpu` or `wall`: what the values are."""
    values_ns: Floats
    """One a process."""
    inner_ns: tuple[tuple[float, ...], ...] = ()
    """Every value of every process, by the same clock."""
    wall_ns: Floats | None = None
    """The processes' wall times, where the clock is another."""
    peak_bytes: int | None = None
    loops: int = 1
    overhead_ns: tuple[float, float] | None = None
    """Least and largest cost of an empty loop per call; the least is subtracted."""
    involuntary_switches: float | None = None
    """Median over the processes."""
    steal_share: float | None = None
    warmup_calls: int | None = None
    unsteady: int = 0
    """Processes that still became faster when the time for warming up was over."""
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])

    @staticmethod
    def of(name: str, values: Sequence[Value]) -> Measured:
        """From the values of its processes; CPU time judges what works, wall time what waits."""
        cpu, wall = np.array([v.cpu_ns for v in values]), np.array([v.wall_ns for v in values])
        works = does_work(values)
        measured_ns = sum(v.wall_ns * v.loops * max(len(v.wall_samples), 1) for v in values)
        return Measured(
            name=name,
            clock="cpu" if works else "wall",
            values_ns=cpu if works else wall,
            inner_ns=tuple((v.samples if works else v.wall_samples) or ((v.cpu_ns if works else v.wall_ns),) for v in values),
            wall_ns=wall if works else None,
            peak_bytes=int(np.median([v.peak_bytes for v in values])),
            loops=values[0].loops,
            overhead_ns=(min(v.overhead_ns[0] for v in values), max(v.overhead_ns[1] for v in values)),
            involuntary_switches=float(np.median([v.involuntary_switches for v in values])),
            steal_share=min(sum(v.steal_ns for v in values) / max(measured_ns, 1.0), 1.0),
            warmup_calls=int(np.median([v.warmup_calls for v in values])),
            unsteady=sum(not v.steady for v in values),
        )

    @property
    def median_ns(self) -> float:
        """Of the processes."""
        return float(np.median(self.values_ns))

    @property
    def interval_ns(self) -> tuple[float, float]:
        """95 % bootstrap interval of the median over processes."""
        return bootstrap_median(self.values_ns)

    @property
    def outliers(self) -> Outliers:
        """Tukey's classes of the processes."""
        return outliers(self.values_ns)
