"""pyinstrument's session (JSON): a list of (stack, seconds), the thread's name as the outermost frame.

A frame is `name NUL file NUL first line`, then attributes after \\x01 bytes: `c` and a class, `l` and the executing line. The thread is
made a lane; frames of pyinstrument's own (`[await]`, `[self]`, …) are synthetic functions. The total is the session's own: the sum of
its seconds.

Source: pyinstrument's `session.py` and `frame_info.py`.
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from proftool.errors import ReportError
from proftool.formats.identity import Identifier, builtin, spelled, spelled_file
from proftool.formats.limits import MAX_STACK_DEPTH, MAX_VALUE, corrupt, decode_json, entered, too_large
from proftool.formats.loss import losses
from proftool.formats.waiting import is_waiting
from proftool.model.builder import ProfileBuilder
from proftool.model.meta import Meta, Pass
from proftool.model.profile import ROOT, SAMPLES, UNKNOWN, WAITING_TIME, WALL_TIME, Kind, Metric, Profile, Status, ints
from proftool.model.tree import node_self
from proftool.units import NS_PER_S

_MODE = "sample"
_HEAD = re.compile(rb'"(?:frame_records|start_call_stack|sample_count)"')
_THREAD = "<thread>"
METRICS = tuple(Metric(name=m.name, unit=m.unit, kind=m.kind, mode=_MODE) for m in (WALL_TIME, WAITING_TIME, SAMPLES))


class _Session(msgspec.Struct):
    start_time: float
    duration: float
    frame_records: list[tuple[list[str], float]]
    sample_count: int | None = None
    min_interval: float | None = None
    cpu_time: float | None = None
    target_description: str | None = None


class Pyinstrument:
    """The format object."""

    name = "pyinstrument"
    suffixes = (".pyisession",)

    def matches(self, head: bytes) -> bool:
        """A JSON object with the session's keys."""
        return head.lstrip()[:1] == b"{" and b'"start_time"' in head and _HEAD.search(head) is not None

    def read(self, path: Path) -> Profile:
        """The session as a profile of one process."""
        told = decode_json(path, self.name, _Session)
        return entered(_Reader(told, path).build(), self.name, path)

    def write(self, profile: Profile) -> bytes:
        """A record a node with wall time, or a sample where there is a timeline."""
        return _written(profile)

    def lost(self, profile: Profile) -> tuple[str, ...]:
        """All metrics but wall time."""
        return losses(profile, self.name, metrics=("wall_time",), lanes=False)


format = Pyinstrument()


class _Reader:
    def __init__(self, told: _Session, path: Path) -> None:
        self.told, self.path = told, path
        self.builder = ProfileBuilder(METRICS)
        self.who = Identifier(None, sources=False)
        self.frames: dict[str, tuple[int, bool]] = {}
        self.owners = _owners(told)
        self.lanes: dict[str, int] = {}

    def build(self) -> Profile:
        """Every record a sample."""
        time_ns = 0
        for stack, seconds in self.told.frame_records:
            weight = seconds * NS_PER_S
            if not 0 <= weight <= MAX_VALUE:
                raise corrupt("pyinstrument", f"{seconds} is no time", self.path)
            if len(stack) > MAX_STACK_DEPTH:
                raise too_large("pyinstrument", f"a stack has {len(stack):,} frames", self.path)
            value = round(weight)
            thread = stack[0] if stack and _THREAD in stack[0] else ""
            lane = self.lanes.get(thread)
            if lane is None:
                lane = self.lanes[thread] = self.lane(thread)
            rows = [self.frame(text) for text in (stack[1:] if thread else stack)]
            if not rows:
                rows = [self.frame("[root]")]
            node = self.builder.stack(row for row, _ in rows)
            waits = rows[-1][1]
            self.builder.add(node, lane, 0, value)
            self.builder.add(node, lane, 1, value if waits else 0)
            self.builder.add(node, lane, 2, 1)
            self.builder.sample(time_ns, lane, node, value, int(Status.WAITING if waits else Status.RUNNING))
            time_ns += value
        interval = self.told.min_interval
        one = Pass(
            mode=_MODE,
            backend="pyinstrument",
            clock="wall",
            rate_asked_hz=1 / interval if interval and interval > 0 else None,
            samples=len(self.told.frame_records),
            started_ns=self.whole(self.told.start_time),
            duration_ns=self.whole(self.told.duration),
            cpu_ns=self.whole(self.told.cpu_time) if self.told.cpu_time is not None else None,
        )
        described = self.told.target_description
        return self.builder.build(Meta(passes=(one,), command=(described,) if described else None, source="pyinstrument"))

    def whole(self, seconds: float) -> int:
        if not 0 <= seconds < 1 << 33:
            raise corrupt("pyinstrument", f"{seconds} is no time", self.path)
        return round(seconds * NS_PER_S)

    def lane(self, thread: str) -> int:
        name, _, rest = thread.partition("\0")
        tid = rest.rpartition("\0")[2]
        return self.builder.lane(
            tid=int(tid) if tid.isascii() and tid.isdigit() and int(tid) < 1 << 62 else UNKNOWN, thread_name=name, is_main=not self.lanes
        )

    def frame(self, text: str) -> tuple[int, bool]:
        known = self.frames.get(text)
        if known is None:
            identity, *attributes = text.split("\x01")
            name, _, place = identity.partition("\0")
            file, _, first = place.partition("\0")
            told = {a[0]: a[1:] for a in attributes if a}
            line = int(told["l"]) if told.get("l", "").isascii() and told.get("l", "").isdigit() and len(told["l"]) < 10 else 0
            if name.startswith("[") and not file:
                function = self.builder.function(name, kind=Kind.SYNTHETIC)
            elif file in ("", "<built-in>"):
                function = self.who.function(self.builder, file="", line=None, name=name)
            else:
                owner = self.owners.get(identity)
                qualname = f"{owner}.{name}" if owner else None
                first_line = int(first) if first.isascii() and first.isdigit() and len(first) < 10 else None
                function = self.who.function(self.builder, file=file, line=line, name=name, qualname=qualname, first_line=first_line)
            known = self.frames[text] = (
                self.builder.frame(function, line),
                is_waiting(name if file not in ("", "<built-in>") else builtin(name).name, "" if file == "<built-in>" else file),
            )
        return known


def _owners(told: _Session) -> dict[str, str]:
    """Class by function: what `self` was for most of the time, as pyinstrument names it; one function stays one."""
    seconds: dict[tuple[str, str], float] = {}
    for stack, time in told.frame_records:
        for text in stack:
            at = text.find("\x01c")
            if at >= 0:
                key = text[: text.index("\x01")], text[at + 2 :].partition("\x01")[0]
                seconds[key] = seconds.get(key, 0.0) + time
    return {identity: owner for (identity, owner), _ in sorted(seconds.items(), key=lambda item: (item[1], item[0]))}


def _written(profile: Profile) -> bytes:
    metric = next((at for at, m in enumerate(profile.metrics) if m.name in ("wall_time", "cpu_time")), None)
    if metric is None:
        raise ReportError(
            "a pyinstrument session holds times",
            cause="this run measured none",
            fix="export `collapsed` or `speedscope`, which hold any number",
        )
    s = profile.strings
    texts = [
        _frame_info(profile, function, line)
        for function, line in zip(ints(profile.frames.function), ints(profile.frames.line), strict=True)
    ]
    parent, frame = ints(profile.nodes.parent), ints(profile.nodes.frame)
    threads = [
        f"{s[profile.lanes.thread_name[lane]] or 'thread'}\0{_THREAD}\0{max(int(profile.lanes.tid[lane]), 0)}"
        for lane in range(len(profile.lanes))
    ]
    c, t = profile.cells, profile.samples
    records: list[tuple[list[str], float]] = []
    rows = c.metric == metric
    values = (c.node[rows], c.lane[rows], c.value[rows])
    if len(t) and metric == 0 and int(t.weight.sum()) == int(c.value[rows].sum()):
        values = (t.node, t.lane, t.weight)
    for node, lane, value in zip(ints(values[0]), ints(values[1]), ints(values[2]), strict=True):
        stack: list[str] = []
        up = node
        while up != ROOT:
            stack.append(texts[frame[up]])
            up = parent[up]
        records.append(([threads[lane], *stack[::-1]], value / NS_PER_S))
    total = int(node_self(profile, metric).sum())
    n_samples = int(node_self(profile, profile.metric_index("samples")).sum()) if profile.has_metric("samples") else len(records)
    first = profile.meta.passes[0] if profile.meta.passes else None
    interval = 1 / first.rate_asked_hz if first and first.rate_asked_hz else 0.001
    document = {
        "start_time": (profile.meta.started_ns or 0) / NS_PER_S,
        "duration": (profile.meta.duration_ns or total) / NS_PER_S,
        "min_interval": interval,
        "max_interval": interval,
        "sample_count": n_samples,
        # Where recording began; pyinstrument takes the first of these unasked, and fails on none.
        "start_call_stack": _utf8(records[0][0][:1]) if records else [],
        "target_description": " ".join(profile.meta.command or ()).encode("utf-8", "backslashreplace").decode() or "proftool",
        "cpu_time": (first.cpu_ns or 0) / NS_PER_S if first else 0.0,
        "sys_path": [],
        "sys_prefixes": [],
        "frame_records": [(_utf8(stack), seconds) for stack, seconds in records],
    }
    return msgspec.json.encode(document)


def _frame_info(profile: Profile, function: int, line: int) -> str:
    """pyinstrument's spelling of a frame; the part of the qualified name before the bare one goes for the class."""
    f = profile.functions
    name, qualname, file = profile.text(int(f.name[function])), profile.text(int(f.qualname[function])), spelled_file(profile, function)
    if f.kind[function] == Kind.SYNTHETIC and not file:
        return name
    if not file:
        name = spelled(profile, function)
    owner = qualname.removesuffix(f".{name}") if qualname.endswith(f".{name}") and file else ""
    text = f"{name}\0{file or '<built-in>'}\0{f.first_line[function]}" + (f"\x01c{owner}" if owner else "")
    return text + (f"\x01l{line}" if file else "")


def _utf8(stack: list[str]) -> list[str]:
    """Identifiers with what UTF-8 cannot hold escaped."""
    return [text.encode("utf-8", "backslashreplace").decode() for text in stack]
