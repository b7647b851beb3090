"""Results of benchmarks in other tools' JSON: pyperf's and pytest-benchmark's, read and written.

pyperf keeps a run a process with its values, in seconds; so does this. pytest-benchmark keeps one list of values for all; written, it
holds one value a process; read, all its values come from one process, and the result says so.

Source: pyperf's documentation, "JSON format"; pytest-benchmark's `--benchmark-json`.
"""

from __future__ import annotations

import datetime
import os
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np

from proftool.bench.measured import Measured
from proftool.errors import CorruptProfile, UnknownFormat, UsageError

FORMATS = ("pyperf", "pytest-benchmark")
_S = 1e9


class _PyperfRun(msgspec.Struct):
    values: list[float] = []
    metadata: dict[str, Any] = {}


class _PyperfBenchmark(msgspec.Struct):
    runs: list[_PyperfRun] = []
    metadata: dict[str, Any] = {}


class _Pyperf(msgspec.Struct):
    version: str
    benchmarks: list[_PyperfBenchmark]
    metadata: dict[str, Any] = {}


class _Stats(msgspec.Struct):
    median: float
    iterations: int = 1
    data: list[float] = []


class _Entry(msgspec.Struct):
    fullname: str
    stats: _Stats


class _PytestBenchmark(msgspec.Struct):
    benchmarks: list[_Entry]
    machine_info: dict[str, Any]


def read(path: Path) -> list[Measured]:
    """The results of a file; UnknownFormat where it is neither tool's, CorruptProfile where it breaks its own rules."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read `{path}`", cause=error.strerror or str(error), fix="name a readable file") from error
    try:
        document: object = msgspec.json.decode(content)
    except msgspec.DecodeError as error:
        raise CorruptProfile(f"`{path}` is no JSON", cause=str(error), fix="write it again") from error
    keys: set[str] = set(cast("dict[str, object]", document)) if isinstance(document, dict) else set()
    try:
        if "machine_info" in keys:
            return _of_pytest_benchmark(msgspec.convert(document, _PytestBenchmark))
        if {"version", "benchmarks"} <= keys:
            return _of_pyperf(msgspec.convert(document, _Pyperf))
    except msgspec.ValidationError as error:
        raise CorruptProfile(f"`{path}` is cut short or changed", cause=str(error), fix="write it again") from error
    raise UnknownFormat(
        f"`{path}` holds no benchmarks that can be read", cause="it is neither pyperf's nor pytest-benchmark's JSON",
        fix="`pyperf -o FILE` or "
        "`pytest --benchmark-json FILE` write such files",
    )  # fmt: skip


def write(rows: Sequence[Measured], form: str) -> bytes:
    """The results as a file of that tool."""
    if form not in FORMATS:
        raise UsageError(
            f"no format `{form}` for results", cause="results are exchanged with two tools", fix=f"known are: {', '.join(FORMATS)}"
        )
    made = _pyperf(rows) if form == "pyperf" else _pytest_benchmark(rows)
    return msgspec.json.format(msgspec.json.encode(made), indent=1)


def _of_pyperf(document: _Pyperf) -> list[Measured]:
    found: list[Measured] = []
    for benchmark in document.benchmarks:
        about = document.metadata | benchmark.metadata
        if about.get("unit", "second") != "second":
            continue
        runs = [run for run in benchmark.runs if run.values]  # those that only calibrate have none
        if not runs:
            continue
        inner = tuple(tuple(value * _S for value in run.values) for run in runs)
        peak = [int(run.metadata["mem_max_rss"]) for run in runs if "mem_max_rss" in run.metadata]
        found.append(
            Measured(
                name=str(about.get("name", "benchmark")),
                clock="wall",
                values_ns=np.array([statistics.median(values) for values in inner]),
                inner_ns=inner,
                loops=int(about.get("loops", runs[0].metadata.get("loops", 1))),
                peak_bytes=int(statistics.median(peak)) if peak else None,
                metadata={key: str(value) for key, value in about.items()},
            )
        )
    return found


def _of_pytest_benchmark(document: _PytestBenchmark) -> list[Measured]:
    return [
        Measured(
            name=entry.fullname,
            clock="wall",
            values_ns=np.array([value * _S for value in entry.stats.data or [entry.stats.median]]),
            inner_ns=(tuple(value * _S for value in entry.stats.data or [entry.stats.median]),),
            loops=entry.stats.iterations,
            metadata={"note": "all values come from one process" if entry.stats.data else "the file holds the median alone"},
        )
        for entry in document.benchmarks
    ]


def _pyperf(rows: Sequence[Measured]) -> dict[str, object]:
    about = {"python_version": platform.python_version(), "platform": platform.platform(), "cpu_count": _cpus(), "unit": "second"}
    return {
        "version": "1.0",
        "metadata": about,
        "benchmarks": [
            {
                "metadata": {"name": row.name, "loops": row.loops, "description": f"{row.clock} time by proftool"},
                "runs": [
                    {
                        # pyperf refuses values that are not greater than 0.
                        "values": [max(ns, 1e-3) / _S for ns in values],
                        "metadata": {"mem_max_rss": row.peak_bytes} if row.peak_bytes else {},
                    }
                    for values in row.inner_ns or tuple((float(ns),) for ns in row.values_ns)
                ],
            }
            for row in rows
        ],
    }


def _cpus() -> int:
    return os.cpu_count() or 1


def _pytest_benchmark(rows: Sequence[Measured]) -> dict[str, object]:
    return {
        "machine_info": {
            "node": platform.node(), "processor": platform.processor(), "machine": platform.machine(),
            "python_compiler": platform.python_compiler(),
            "python_implementation": platform.python_implementation(), "python_implementation_version": platform.python_version(),
            "python_version": platform.python_version(), "python_build": list(platform.python_build()), "release": platform.release(),
            "system": platform.system(), "cpu": {"count": _cpus()},
        },
        "commit_info": {"id": "unknown", "time": None, "author_time": None, "dirty": False, "project": "", "branch": "(unknown)"},
        "benchmarks": [
            {
                "group": None, "name": row.name.rpartition("::")[2], "fullname": row.name, "params": None, "param": None,
                "extra_info": {"clock": row.clock, "processes": len(row.values_ns)},
                "options": {
                    "disable_gc": False, "timer": "thread_time" if row.clock == "cpu" else "perf_counter", "min_rounds": len(row.values_ns),
                    "max_time": 0.0, "min_time": 0.0, "warmup": True,
                },
                "stats": _stats([float(ns) / _S for ns in row.values_ns], row.loops),
            }
            for row in rows
        ],
        "datetime": datetime.datetime.now(datetime.UTC).isoformat(),
        "version": "5.0.0",
    }  # fmt: skip


def _stats(values: list[float], loops: int) -> dict[str, object]:
    q1, median, q3 = (float(q) for q in np.quantile(values, (0.25, 0.5, 0.75)))
    mean, stddev, iqr = statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0, q3 - q1
    within = [value for value in values if q1 - 1.5 * iqr <= value <= q3 + 1.5 * iqr]
    beyond = len(values) - len(within)
    far = sum(abs(value - mean) > stddev for value in values)
    return {
        "min": min(values), "max": max(values), "mean": mean, "stddev": stddev, "rounds": len(values), "median": median, "iqr": iqr,
        "q1": q1, "q3": q3, "iqr_outliers": beyond, "stddev_outliers": far, "outliers": f"{far};{beyond}", "ld15iqr": min(within),
        "hd15iqr": max(within), "ops": 1 / mean if mean else 0.0, "total": sum(values), "data": values, "iterations": loops,
    }  # fmt: skip
