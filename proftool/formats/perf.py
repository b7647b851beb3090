"""`perf script`: one block an event, a header line and frames innermost first.

    comm  pid/tid [cpu] seconds.micros:  period event:
            address symbol+offset (binary)

Every event of a kind becomes `samples` and, where it has periods, a quantity of its name: clocks (`cpu-clock`, `task-clock`) are
`cpu_time`, `cycles` stay cycles. Frames that CPython's perf trampoline names (`py::qualified.name:file`) are Python functions.
Threads are lanes. Times are perf's own clock; the timeline begins at the first event.

Source: the manual page perf-script(1); CPython's Doc/howto/perf_profiling.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from proftool.formats.identity import Identifier, bare_name
from proftool.formats.limits import MAX_DOCUMENT_BYTES, MAX_STACK_DEPTH, MAX_VALUE, corrupt, entered, read_bytes, too_large
from proftool.model.builder import ProfileBuilder, rows_table, sum_cells, with_tables
from proftool.model.meta import Meta, Pass
from proftool.model.profile import CPU_TIME, SAMPLES, UNKNOWN, Category, Cells, Identified, Kind, Metric, MetricKind, Profile
from proftool.units import Unit

_HEADER = re.compile(
    rb"(?P<comm>\S(?:.*\S)?)\s+(?:(?P<pid>\d{1,9})/)?(?P<tid>\d{1,9})\s+(?:\[\d+\]\s+)?(?:\S{4,5}\s+)?"
    rb"(?P<time>\d{1,12}\.\d{6,9}):\s+(?:(?P<period>\d{1,18})\s+)?(?P<event>[\w\-:./]+?):(?:\s.*)?"
)
_FRAME = re.compile(rb"\s+[0-9a-f]+\s+(?P<symbol>.*?)\s+\((?P<binary>[^()]*(?:\([^()]*\))?[^()]*)\)")
_OFFSET = re.compile(r"\+0x[0-9a-f]+$")
_PYTHON = re.compile(r"py::(?P<name>.+?):(?P<file>[^:]*)")
_CLOCKS = ("cpu-clock", "task-clock")


class PerfScript:
    """The format object."""

    name = "perf"
    suffixes = (".perf",)

    def matches(self, head: bytes) -> bool:
        """A header line, with a frame below it where there are stacks."""
        lines = [line for line in head.split(b"\n") if line.strip() and not line.startswith(b"#")]
        if not lines or _HEADER.fullmatch(lines[0].rstrip()) is None:
            return False
        return len(lines) < 2 or _FRAME.fullmatch(lines[1].rstrip()) is not None or _HEADER.fullmatch(lines[1].rstrip()) is not None

    def read(self, path: Path) -> Profile:
        """Every thread a lane."""
        return entered(_Reader(read_bytes(path, self.name, MAX_DOCUMENT_BYTES), path).build(), self.name, path)


format = PerfScript()


class _Reader:
    def __init__(self, data: bytes, path: Path) -> None:
        self.lines, self.path = data.split(b"\n"), path
        self.builder = ProfileBuilder(())
        self.who = Identifier(None, sources=False)
        self.rows: dict[bytes, int] = {}
        self.lanes: dict[tuple[int, int], int] = {}
        self.metrics: dict[str, Metric] = {}
        self.cells: list[tuple[int, int, int, int]] = []
        self.events: dict[str, int] = {}

    def build(self) -> Profile:
        self.metric(SAMPLES)
        first: int | None = None
        last = n_samples = 0
        at, n = 0, len(self.lines)
        while at < n:
            line = self.lines[at].rstrip()
            at += 1
            if not line or line.startswith(b"#"):
                continue
            header = _HEADER.fullmatch(line)
            if header is None:
                shown = line[:80].decode("utf-8", "replace")
                raise corrupt("perf", f"line {at} is neither an event nor a frame of one: `{shown}`", self.path)
            frames: list[int] = []
            while at < n and self.lines[at][:1] in (b"\t", b" ") and self.lines[at].strip():
                frames.append(self.frame(self.lines[at], at + 1))
                at += 1
            if at >= n:  # what perf writes ends with an empty line behind the last stack
                raise corrupt("perf", f"its last event, before line {at}, is cut short", self.path)
            if len(frames) > MAX_STACK_DEPTH:
                raise too_large("perf", f"a stack has {len(frames):,} frames", self.path)
            node = self.builder.stack(reversed(frames or [self.no_frames()]))
            lane = self.lane(header)
            seconds, _, part = header["time"].partition(b".")
            time = int(seconds) * 10**9 + int(part.ljust(9, b"0"))
            first = time if first is None else first
            last = max(last, time)
            event, period = header["event"].decode(), int(header["period"] or 0)
            self.events[event.partition(":")[0]] = self.events.get(event.partition(":")[0], 0) + 1
            n_samples += 1
            self.cells.append((node, lane, 0, 1))
            if period and header["period"]:
                if period > MAX_VALUE:
                    raise corrupt("perf", f"the period of the event before line {at} is {period}", self.path)
                self.cells.append((node, lane, self.metric(_quantity(event)), period))
            self.builder.sample(max(time - first, 0), lane, node, 1)
        if not n_samples:
            raise corrupt("perf", "it holds no event", self.path)
        self.check_totals()
        clock = "cpu" if any(name in _CLOCKS for name in self.events) else None
        one = Pass(mode="sample", backend="perf", clock=clock, samples=n_samples, duration_ns=(last - (first or 0)) or None)
        base = self.builder.build(Meta(passes=(one,), source="perf", lost=("perf script tells no command line, exit status and rate",)))
        cells = sum_cells(rows_table(Cells, self.cells))
        return with_tables(base, {"cells": cells}, metrics=tuple(self.metrics.values()))

    def check_totals(self) -> None:
        if sum(value for *_, value in self.cells) > MAX_VALUE:
            raise too_large("perf", "its periods add up to more than 2**53", self.path)

    def metric(self, metric: Metric) -> int:
        self.metrics.setdefault(metric.name, replace(metric, mode="sample"))
        return list(self.metrics).index(metric.name)

    def lane(self, header: re.Match[bytes]) -> int:
        pid, tid = (int(header[name]) if header[name] else UNKNOWN for name in ("pid", "tid"))
        comm = header["comm"].decode("utf-8", "surrogateescape")
        lane = self.lanes.get((pid, tid))
        if lane is None:
            lane = self.lanes[pid, tid] = self.builder.lane(pid=pid, tid=tid, thread_name=comm, is_main=pid == tid or not self.lanes)
        return lane

    def no_frames(self) -> int:
        return self.builder.frame(self.builder.function("(no frames)", name="(no frames)", kind=Kind.SYNTHETIC))

    def frame(self, line: bytes, number: int) -> int:
        found = _FRAME.fullmatch(line.rstrip())
        if found is None:
            shown = line[:80].decode("utf-8", "replace")
            raise corrupt("perf", f"line {number} is no frame: `{shown}`", self.path)
        key = (
            _OFFSET.sub("", found["symbol"].decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape") + b"\0" + found["binary"]
        )
        row = self.rows.get(key)
        if row is None:
            symbol, binary = (part.decode("utf-8", "surrogateescape") for part in key.split(b"\0", 1))
            row = self.rows[key] = self.builder.frame(self.function(symbol, binary))
        return row

    def function(self, symbol: str, binary: str) -> int:
        if python := _PYTHON.fullmatch(symbol):
            name, file = python["name"], python["file"]
            return self.who.function(self.builder, file=file, line=None, name=bare_name(name), qualname=name)
        binary = binary.strip("[]") if binary == "[unknown]" else binary
        name = symbol or "[unknown]"
        return self.builder.function(
            name,
            name=name,
            file="" if binary == "unknown" else binary,
            identified=Identified.TOOL,
            kind=Kind.NATIVE,
            category=Category.NATIVE,
        )


def _quantity(event: str) -> Metric:
    name = event.partition(":")[0].rpartition("/")[2] or event.strip("/")
    if name in _CLOCKS:
        return CPU_TIME
    clean = re.sub(r"[^a-z0-9_.]+", "_", name.lower()).strip("_") or "events"
    return Metric(name="perf_samples" if clean == "samples" else clean, unit=Unit.COUNT, kind=MetricKind.FLOW)
