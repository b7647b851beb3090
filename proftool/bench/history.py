"""What was measured before: a line of JSON a benchmark and session, one file a machine, since values of two machines do not compare.

    FOLDER/benchmarks/<machine>.jsonl

A line that is cut short (a full disk, a crash) is passed over. Nothing is decided by this history: an interleaved comparison decides, the
history says where to look.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from proftool.bench.changepoints import change_points
from proftool.bench.measured import Measured


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One benchmark in one session; times are ns."""

    at: str
    """ISO 8601, UTC."""
    name: str
    clock: str
    median_ns: float
    low_ns: float
    high_ns: float
    n: int
    peak_bytes: int | None = None
    commit: str | None = None
    dirty: bool | None = None


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A new level of a series."""

    point: Point
    """The first of it."""
    ratio: float
    """Median of the new level by that of the one before."""


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """One benchmark over time."""

    name: str
    clock: str
    """One of `cpu` and `wall`: a benchmark that once waited and once computed has two."""
    points: tuple[Point, ...]
    changes: tuple[Change, ...]


def machine(python_version: str) -> str:
    """A name for this machine and Python: what values may be compared within."""
    told = [platform.system(), platform.machine(), _processor(), str(os.cpu_count()), python_version]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:12]


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            return next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "")
    except OSError:
        return platform.processor()


def add(folder: Path, rows: Sequence[Measured], *, at: str, commit: str | None, dirty: bool | None, python_version: str) -> None:
    """Append a session's results."""
    points = [
        Point(
            at=at, name=row.name, clock=row.clock, median_ns=row.median_ns, low_ns=row.interval_ns[0], high_ns=row.interval_ns[1],
            n=len(row.values_ns), peak_bytes=row.peak_bytes, commit=commit, dirty=dirty,
        )
        for row in rows
    ]  # fmt: skip
    path = folder / "benchmarks" / f"{machine(python_version)}.jsonl"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # One write in append mode: two sessions that end together both stay.
    with path.open("ab", buffering=0) as file:
        file.write(b"".join(msgspec.json.encode(point) + b"\n" for point in points))


def load(folder: Path, python_version: str, names: Sequence[str] = ()) -> list[Series]:
    """Every series of this machine, or those whose names contain one of the words."""
    path = folder / "benchmarks" / f"{machine(python_version)}.jsonl"
    points: dict[tuple[str, str], list[Point]] = {}
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            point = msgspec.json.decode(line, type=Point)
        except msgspec.DecodeError:
            continue
        if not names or any(word in point.name for word in names):
            points.setdefault((point.name, point.clock), []).append(point)
    return [_series(name, clock, own) for (name, clock), own in points.items()]


def _series(name: str, clock: str, points: Sequence[Point]) -> Series:
    values = np.array([point.median_ns for point in points])
    places = change_points(values) if len(values) else []
    ends = [*places[1:], len(values)][: len(places)]
    starts = [0, *places][: len(places)]
    changes = tuple(
        Change(point=points[at], ratio=float(np.median(values[at:end]) / np.median(values[start:at])))
        for at, start, end in zip(places, starts, ends, strict=True)
    )
    return Series(name=name, clock=clock, points=tuple(points), changes=changes)
