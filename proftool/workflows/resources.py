"""What a service's processes used over time: processor, memory, garbage collector, event loop, threads, open files, requests under way.

Each is a chart of some lines; one that the service never measured is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proftool.contracts_telemetry import MetricStore, PointQuery, Series
from proftool.units import NS_PER_S
from proftool.workflows.requests import Numbers, TimeRange, histogram, known_only


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Lines over the steps of a range."""

    title: str
    unit: str
    """`cores`, `bytes`, `s`, `/s` or `count`."""
    ends_ms: tuple[float, ...]
    lines: tuple[tuple[str, Numbers], ...]


def resources(store: MetricStore, service: str, when: TimeRange) -> tuple[Chart, ...]:
    """The charts that there are values for."""

    def of(name: str) -> Sequence[Series]:
        return store.find_series(
            PointQuery(service=service, name=name, since_ns=when.since_ns, until_ns=when.until_ns, step_ns=when.step_ns)
        )

    step_s = when.step_ns / NS_PER_S
    charts: list[Chart] = []

    def add(title: str, unit: str, series: Sequence[Series], lines: list[tuple[str, Numbers]]) -> None:
        if series and any(value is not None for _, values in lines for value in values):
            charts.append(Chart(title=title, unit=unit, ends_ms=tuple(t / 1e6 for t in series[0].times_ns), lines=tuple(lines)))

    cpu = of("process.cpu.time")
    add("Processor", "cores", cpu, [(mode or "all", _per_s(part, step_s)) for mode, part in _by(cpu, "cpu.mode")])
    memory = of("process.memory.usage")
    add("Resident memory", "bytes", memory, [("all processes", _sum(memory)), *_each(memory, "process.pid")])
    lag = of("asyncio.eventloop.delay")
    if lag:
        heat = histogram(lag, len(lag[0].times_ns))
        add("Event loop late", "s", lag, list(zip(("p50", "p99"), heat.quantiles(0.5, 0.99), strict=True)))
    gc = of("cpython.gc.collections")
    add(
        "Garbage collections", "/s", gc, [(f"generation {g}" if g else "all", _per_s(part, step_s)) for g, part in _by(gc, "gc.generation")]
    )
    active = of("http.server.active_requests")
    add("Requests under way", "count", active, [("all", _sum(active))])
    threads = of("process.thread.count")
    add("Threads", "count", threads, [("all processes", _sum(threads))])
    files = of("process.unix.file_descriptor.count")
    add("Open files", "count", files, [("all processes", _sum(files))])
    return tuple(charts)


def _by(series: Sequence[Series], label: str) -> list[tuple[str, list[Series]]]:
    found: dict[str, list[Series]] = {}
    for one in series:
        key = next((value for name, value in one.labels if name == label or name.endswith("." + label.rpartition(".")[2])), "")
        found.setdefault(key, []).append(one)
    return sorted(found.items())


def _each(series: Sequence[Series], label: str) -> list[tuple[str, Numbers]]:
    """A line a process, where there are several and not too many to tell apart."""
    parts = _by(series, label)
    return [(f"process {key}", _sum(part)) for key, part in parts] if 1 < len(parts) <= 8 else []


def _sum(series: Sequence[Series]) -> Numbers:
    """None where none of them is known."""
    if not series:
        return ()
    numbers = np.stack([one.numbers for one in series])
    known: NDArray[np.bool_] = np.any(~np.isnan(numbers), axis=0)
    return known_only(np.nansum(numbers, axis=0), known)


def _per_s(series: Sequence[Series], step_s: float) -> Numbers:
    return tuple(None if value is None else value / step_s for value in _sum(series))
