"""Chrome's trace events (JSON), as Perfetto, chrome://tracing and viztracer read and write them: spans of time on threads.

Read: complete events (`X`) and pairs (`B`, `E`) become calls on a lane a thread; what passes while a span is innermost is its self
time, which is also the timeline. Counters (`C`) are kept. Other kinds (instants, async spans, flows) are left out and told.
Written by chrome_writer.py, whose counts of calls are read back.

Source: the Trace Event Format of the Catapult project; viztracer's reports.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import msgspec

from proftool.errors import CorruptProfile
from proftool.formats.chrome_writer import written
from proftool.formats.identity import Identifier, bare_name
from proftool.formats.limits import MAX_STACK_DEPTH, MAX_VALUE, corrupt, decode_json, entered, read_bytes, too_large, unzipped_head
from proftool.formats.loss import losses
from proftool.formats.timeline import stretches
from proftool.model.builder import ProfileBuilder, rows_table
from proftool.model.meta import Meta, Pass
from proftool.model.profile import CALLS, CPU_TIME, ROOT, UNKNOWN, WALL_TIME, Profile, Samples
from proftool.units import NS_PER_US

T = TypeVar("T")

_EVENT = re.compile(rb'"ph"\s*:\s*"[A-Za-z(),]"')
_PLACED = re.compile(r"(.*\S) \((.+):(\d{1,9})\)", re.DOTALL)
_DRAWN = "XBE"


class _Event(msgspec.Struct):
    ph: str
    name: str = ""
    ts: float = 0
    dur: float = 0
    pid: int | str = 0
    tid: int | str = 0
    args: msgspec.Raw = msgspec.Raw(b"{}")


class _Told(msgspec.Struct):
    """What a writer says of the whole; `calls` is proftool's own."""

    recorded_by: str | None = None
    metric: str = "wall_time"
    calls: bool = True
    command: str | None = None


class _File(msgspec.Struct):
    traceEvents: list[_Event]
    otherData: msgspec.Raw = msgspec.Raw(b"{}")
    viztracer_metadata: msgspec.Raw = msgspec.Raw(b"")


class _Named(msgspec.Struct):
    name: str | int | None = None


class _Counted(msgspec.Struct):
    calls: int = 1


class Chrome:
    """The format object."""

    name = "chrome"
    suffixes = (".trace.json", ".chrome.json", ".perfetto.json")

    def matches(self, head: bytes) -> bool:
        """An object with trace events, or an array of them."""
        head = unzipped_head(head).lstrip()
        if head[:1] == b"[":
            return _EVENT.search(head) is not None
        return head[:1] == b"{" and b'"traceEvents"' in head

    def read(self, path: Path) -> Profile:
        """The calls of every thread."""
        told = _File(_array(path)) if _is_array(path) else decode_json(path, self.name, _File)
        return entered(_Reader(told, path).build(), self.name, path)

    def write(self, profile: Profile) -> bytes:
        """The timeline of every lane, or where there is none its tree, as wide as its time."""
        return written(profile)

    def lost(self, profile: Profile) -> tuple[str, ...]:
        """All but one time and the calls; executing lines; times where there is no timeline."""
        drawn = stretches(profile)
        kept = (*(() if drawn is None else (profile.metrics[drawn.metric].name,)), "calls")
        told = losses(profile, self.name, metrics=kept, lanes=False, samples=False, lines=True, counters=False)
        if drawn is None or drawn.is_history:
            return told
        return (*told, "the run has no timeline: spans stand one behind the other, as wide as their totals, not where they happened")


format = Chrome()


def _is_array(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(4096).lstrip()[:1] == b"["
    except OSError:
        return False


def _array(path: Path) -> list[_Event]:
    try:
        return decode_json(path, "chrome", list[_Event])
    except CorruptProfile:
        # The format lets a program that dies leave the array open.
        data = read_bytes(path, "chrome").rstrip()
        if data.endswith(b"]"):
            raise
        try:
            return msgspec.json.decode(data.rstrip(b", \r\n\t") + b"]", type=list[_Event])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise corrupt("chrome", str(error) or type(error).__name__, path) from error


class _Reader:
    def __init__(self, told: _File, path: Path) -> None:
        self.told, self.path = told, path
        self.about = _decoded(told.otherData, _Told) or _Told()
        is_viztracer = bool(bytes(told.viztracer_metadata))
        self.tool = self.about.recorded_by or ("viztracer" if is_viztracer else "chrome")
        mode = "trace" if self.about.calls else "sample"
        time = CPU_TIME if self.about.metric == "cpu_time" else WALL_TIME
        self.metrics = [replace(metric, mode=mode) for metric in ((time, CALLS) if self.about.calls else (time,))]
        self.builder = ProfileBuilder(self.metrics)
        self.who = Identifier(None, sources=False)
        self.rows: dict[str, int] = {}
        self.lanes: dict[tuple[int | str, int | str], int] = {}
        self.samples: list[tuple[int, int, int, int, int]] = []
        self.cut = 0

    def build(self) -> Profile:
        events = self.told.traceEvents
        drawn = [event for event in events if event.ph in _DRAWN]
        timed = [event.ts for event in events if event.ph in "XBEC"]
        if timed and not (min(timed) > -MAX_VALUE and max(timed) < MAX_VALUE):  # also false for NaN
            raise corrupt("chrome", "a time stamp is no number of microseconds", self.path)
        self.zero = min(timed, default=0.0)
        by_lane: dict[tuple[int | str, int | str], list[_Event]] = {}
        for event in drawn:
            by_lane.setdefault((event.pid, event.tid), []).append(event)
        self.name_lanes(by_lane)
        longest = 0
        for place, own in by_lane.items():
            longest = max(longest, self.lane(self.lanes[place], own))
        for event in events:
            if event.ph == "C":
                self.counter(event)
        lost = self.lost()
        one = Pass(mode=self.metrics[0].mode, backend=self.tool, duration_ns=longest or None, notes=())
        command = (self.about.command,) if self.about.command else None
        base = self.builder.build(Meta(passes=(one,), command=command, source="chrome", lost=lost))
        self.samples.sort()
        return replace(base, samples=rows_table(Samples, self.samples))

    def name_lanes(self, by_lane: dict[tuple[int | str, int | str], list[_Event]]) -> None:
        processes: dict[int | str, str] = {}
        threads: dict[tuple[int | str, int | str], str] = {}
        for event in self.told.traceEvents:
            if event.ph == "M" and event.name in ("process_name", "thread_name"):
                found = _decoded(event.args, _Named)
                name = str(found.name) if found and found.name is not None else ""
                if event.name == "process_name":
                    processes[event.pid] = name
                else:
                    threads[event.pid, event.tid] = name
        for pid, tid in by_lane:
            self.lanes[pid, tid] = self.builder.lane(
                pid=_number(pid), tid=_number(tid), process_name=processes.get(pid, "" if isinstance(pid, int) else pid),
                thread_name=threads.get((pid, tid), "" if isinstance(tid, int) else tid), is_main=pid == tid or not self.lanes,
            )  # fmt: skip

    def lane(self, lane: int, events: list[_Event]) -> int:
        """Self times and calls of one thread; ns from the start to its last event."""
        # Entries: (end in ns, or None for one that an `E` ends; node).
        open_: list[tuple[int | None, int]] = []
        reached = 0
        last: list[int] = []

        def pass_until(time: int) -> None:
            nonlocal reached
            if open_ and time > reached:
                node, length = open_[-1][1], time - reached
                self.builder.add(node, lane, 0, length)
                if last and last[2] == node and last[0] + last[3] == reached:
                    last[3] += length
                else:
                    if last:
                        self.samples.append((last[0], lane, last[2], last[3], 0))
                    last[:] = [reached, lane, node, length]
            reached = max(reached, time)

        for start, end, event in self.ordered(events):
            while open_ and (until := open_[-1][0]) is not None and until <= start:
                pass_until(until)
                open_.pop()
            pass_until(start)
            if event.ph == "E":
                if open_ and open_[-1][0] is None:
                    open_.pop()
                else:
                    self.cut += 1
                continue
            if open_ and end is not None and (until := open_[-1][0]) is not None and end > until:
                end = until
                self.cut += 1
            node = self.builder.node(open_[-1][1] if open_ else ROOT, self.frame(event.name))
            if self.about.calls:
                self.builder.add(node, lane, 1, self.calls(event))
            open_.append((end, node))
            if len(open_) > MAX_STACK_DEPTH:
                raise too_large("chrome", f"more than {MAX_STACK_DEPTH:,} spans are open at once", self.path)
        while open_:
            until = open_[-1][0]
            if until is None:
                self.cut += 1
            else:
                pass_until(until)
            open_.pop()
        if last:
            self.samples.append((last[0], lane, last[2], last[3], 0))
        return reached

    def ordered(self, events: list[_Event]) -> Iterator[tuple[int, int | None, _Event]]:
        """By start, outer before inner, the ends of `X` beside; `B` and `E` keep the order of the file."""
        rows: list[tuple[int, int, int, int | None, _Event]] = []
        n = len(events)
        for at, event in enumerate(events):
            start = round((event.ts - self.zero) * NS_PER_US)
            if event.ph == "X":
                if not 0 <= event.dur < MAX_VALUE / NS_PER_US:
                    raise corrupt("chrome", f"`{event.name}` lasts {event.dur} µs", self.path)
                length = round(event.dur * NS_PER_US)
                # Written when they end: of two that begin together and last as long, the later one is the outer one.
                rows.append((start, -length, n - at, start + length, event))
            else:
                rows.append((start, 1, at, None, event))
        rows.sort(key=lambda row: row[:3])
        for start, _, _, end, event in rows:
            yield start, end, event

    def frame(self, name: str) -> int:
        row = self.rows.get(name)
        if row is None:
            placed = _PLACED.fullmatch(name)
            if placed and int(placed[3]) < 1 << 31:
                qualname, file, first = placed[1], placed[2], int(placed[3])
                function = self.who.function(
                    self.builder, file=file, line=None, name=bare_name(qualname), qualname=qualname, first_line=first or None
                )
            else:
                function = self.who.function(self.builder, file="", line=None, name=name or "(unnamed)")
            row = self.rows[name] = self.builder.frame(function)
        return row

    def calls(self, event: _Event) -> int:
        if self.about.recorded_by is None:
            return 1
        found = _decoded(event.args, _Counted)
        return found.calls if found and 0 <= found.calls <= MAX_VALUE else 1

    def counter(self, event: _Event) -> None:
        values = _decoded(event.args, dict[str, float]) or {}
        time = round((event.ts - self.zero) * NS_PER_US)
        for key, value in values.items():
            if -MAX_VALUE < value < MAX_VALUE:
                self.builder.counter(event.name if key == "value" else f"{event.name}.{key}", time, round(value))

    def lost(self) -> tuple[str, ...]:
        others: dict[str, int] = {}
        for event in self.told.traceEvents:
            if event.ph not in "XBECM":
                others[event.ph] = others.get(event.ph, 0) + 1
        told: list[str] = []
        if others:
            kinds = ", ".join(f"{n:,} of kind {kind}" for kind, n in sorted(others.items()))
            told.append(f"proftool keeps spans and counters of a trace: other events left out ({kinds})")
        if self.cut:
            told.append(f"{self.cut:,} spans overlap another without lying inside it, or have no end or no beginning: cut to fit")
        return tuple(told)


def _decoded(raw: msgspec.Raw, type: type[T]) -> T | None:
    try:
        return msgspec.json.decode(raw, type=type)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None  # arguments are free-form: another program's own, which say nothing here


def _number(id: int | str) -> int:
    value = id if isinstance(id, int) else int(id) if id.isascii() and id.isdigit() and len(id) < 19 else UNKNOWN
    return value if 0 <= value < 1 << 62 else UNKNOWN
