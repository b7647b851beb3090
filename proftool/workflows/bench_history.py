"""Keeping, showing, reading and writing results of `bench`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from proftool.bench import exchange, history
from proftool.bench.failures import Failure
from proftool.bench.history import Series
from proftool.bench.measured import Measured
from proftool.bench.page import measurement_page
from proftool.bench.report import METRICS, measurement_document
from proftool.errors import UsageError
from proftool.launch.git import describe
from proftool.launch.interpreter import inspect
from proftool.units import BARS, Unit, people


def keep(folder: Path, rows: Sequence[Measured], python: Path) -> None:
    """Add a session to this machine's history."""
    git = describe(Path.cwd())
    history.add(
        folder,
        rows,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=git.commit if git else None,
        dirty=git.dirty if git else None,
        python_version=_version(python),
    )


def series(folder: Path, names: Sequence[str], python: Path | None = None) -> list[Series]:
    """What was measured before on this machine with this Python."""
    from proftool.workflows.bench import interpreter

    found = history.load(folder, _version(python or interpreter(None)), names)
    if not found:
        raise UsageError(
            "nothing was measured here before",
            cause="this machine has no history" + (f" of {', '.join(names)}" if names else ""),
            fix="`proftool bench` adds to it each time",
        )
    return found


def _version(python: Path) -> str:
    found = inspect(python)
    return f"{found.implementation} {'.'.join(str(n) for n in found.version)}"


def document(found: Sequence[Series]) -> dict[str, object]:
    """The JSON document of a history."""
    return {
        "schema": "proftool.bench_history/1",
        "benchmarks": [
            {
                "name": one.name,
                "metric": METRICS[one.clock],
                "points": [
                    {
                        "at": p.at, "commit": p.commit, "dirty": p.dirty, "median": p.median_ns, "interval": [p.low_ns, p.high_ns],
                        "n": p.n,
                        "peak_bytes": p.peak_bytes,
                    }
                    for p in one.points
                ],
                "changes": [{"at": c.point.at, "commit": c.point.commit, "ratio": c.ratio} for c in one.changes],
            }
            for one in found
        ],
    }  # fmt: skip


def lines(found: Sequence[Series]) -> list[str]:
    """A line a benchmark with its course, then its changes of level."""
    told: list[str] = []
    wide = max(len(one.name) for one in found)
    for one in found:
        values = np.array([point.median_ns for point in one.points])
        last = people(float(values[-1]), Unit.NANOSECONDS)
        told.append(f"  {one.name:<{wide}}  {last:>8}  {_course(values)}  {len(values)} sessions, {METRICS[one.clock].replace('_', ' ')}")
        for change in one.changes:
            commit = change.point.commit[:10] if change.point.commit else "no commit"
            dirty = " with edits" if change.point.dirty else ""
            told.append(
                f"  {'':<{wide}}  {(change.ratio - 1) * 100:+.1f} % from {change.point.at[:16].replace('T', ' ')} on, {commit}{dirty}"
            )
    return told


def _course(values: np.ndarray[tuple[int], np.dtype[np.float64]], width: int = 40) -> str:
    shown = values[-width:]
    low, span = float(shown.min()), float(np.ptp(shown)) or 1.0
    return "".join(BARS[min(int((value - low) / span * len(BARS)), len(BARS) - 1)] for value in shown.tolist())


def read(files: Sequence[Path]) -> list[Measured]:
    """Results of other tools' files."""
    return [row for file in files for row in exchange.read(file)]


def writer(output: Path | None, form: str) -> Callable[[Sequence[Measured], Sequence[Failure]], bytes] | None:
    """How results become that file, refused before anything is measured."""
    known = ("proftool", *exchange.FORMATS)
    if form not in known:
        raise UsageError(
            f"no format `{form}` for results", cause="`--format` names what a .json holds", fix=f"known are: {', '.join(known)}"
        )
    if output is None:
        return None
    match output.suffix:
        case ".html" | ".htm":
            return lambda rows, _failed: measurement_page(rows)
        case ".json" if form == "proftool":
            return lambda rows, failed: json.dumps(measurement_document(rows, failed), indent=1).encode()
        case ".json":
            return lambda rows, _failed: exchange.write(rows, form)
        case suffix:
            raise UsageError(
                f"results are not written as `{suffix or output}`", cause="the file's ending says the form", fix="end it in .html or .json"
            )
