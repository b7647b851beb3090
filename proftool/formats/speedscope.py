"""speedscope's file format: sampled and evented profiles over one table of frames; every profile is a lane.

Times (`seconds`, `milliseconds`, `microseconds`, `nanoseconds`) become `wall_time`, `bytes` become `allocated_bytes`, `none` becomes
`samples`. A sampled profile is a list of stacks with weights; an evented one opens and closes frames at times, and what passes
between two events is self time of the innermost open frame.

Source: https://www.speedscope.app/file-format-schema.json (the specification in speedscope's repository, `lib/file-format-spec.ts`).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import msgspec

from proftool.formats.identity import Identifier, bare_name, spelled, spelled_file
from proftool.formats.limits import MAX_STACK_DEPTH, MAX_VALUE, corrupt, decode_json, entered, too_large
from proftool.formats.loss import losses
from proftool.model.builder import ProfileBuilder
from proftool.model.meta import Meta, Pass
from proftool.model.profile import ALLOCATED_BYTES, ROOT, SAMPLES, UNKNOWN, WALL_TIME, Metric, Profile, ints
from proftool.model.tree import lane_total
from proftool.units import NS_PER_S, Unit

Units = Literal["bytes", "microseconds", "milliseconds", "nanoseconds", "none", "seconds"]
_FACTORS: dict[Units, tuple[Metric, float]] = {
    "seconds": (WALL_TIME, NS_PER_S),
    "milliseconds": (WALL_TIME, 1e6),
    "microseconds": (WALL_TIME, 1e3),
    "nanoseconds": (WALL_TIME, 1),
    "bytes": (ALLOCATED_BYTES, 1),
    "none": (SAMPLES, 1),
}
_UNITS: dict[Unit, tuple[Units, float]] = {Unit.NANOSECONDS: ("seconds", 1e9), Unit.BYTES: ("bytes", 1), Unit.COUNT: ("none", 1)}
_THREAD = re.compile(r'(?:Process (\d+) )?Thread (\d+|0x[0-9a-f]+)(?: "(.*)")?', re.DOTALL)


class _Frame(msgspec.Struct, omit_defaults=True):
    name: str
    file: str | None = None
    line: float | None = None


class _Shared(msgspec.Struct):
    frames: list[_Frame]


class _Sampled(msgspec.Struct, tag="sampled"):
    name: str
    unit: Units
    samples: list[list[int]]
    weights: list[float]
    startValue: float = 0
    endValue: float = 0


class _Event(msgspec.Struct):
    type: Literal["O", "C"]
    frame: int
    at: float


class _Evented(msgspec.Struct, tag="evented"):
    name: str
    unit: Units
    events: list[_Event]
    startValue: float = 0
    endValue: float = 0


class _File(msgspec.Struct):
    shared: _Shared
    profiles: list[_Sampled | _Evented]
    name: str | None = None
    exporter: str | None = None


class Speedscope:
    """The format object."""

    name = "speedscope"
    suffixes = (".speedscope.json", ".speedscope")

    def matches(self, head: bytes) -> bool:
        """Its schema's address stands near the beginning."""
        return head.lstrip()[:1] == b"{" and b"speedscope.app/file-format-schema" in head

    def read(self, path: Path) -> Profile:
        """A lane a profile; metrics by unit."""
        told = decode_json(path, self.name, _File)
        return entered(_Reader(told, path).build(), self.name, path)

    def write(self, profile: Profile) -> bytes:
        """A sampled profile a lane, of the first metric; the timeline where there is one."""
        return _written(profile)

    def lost(self, profile: Profile) -> tuple[str, ...]:
        """All metrics but one."""
        kept = (profile.metrics[0].name,) if profile.metrics else ()
        return losses(profile, self.name, metrics=kept, lanes=False, samples=False)


format = Speedscope()


class _Reader:
    def __init__(self, told: _File, path: Path) -> None:
        self.told, self.path = told, path
        used = dict.fromkeys(_FACTORS[p.unit][0] for p in told.profiles)
        mode = {WALL_TIME: "sample", SAMPLES: "sample", ALLOCATED_BYTES: "memory"}
        self.metrics = {metric: at for at, metric in enumerate(used)}
        self.mode = mode[next(iter(used))] if used else "sample"
        self.builder = ProfileBuilder([_with_mode(m, mode[m]) for m in used])
        self.who = Identifier(None, sources=False)
        self.rows: dict[int, int] = {}

    def build(self) -> Profile:
        """All profiles as lanes."""
        longest_ns, n_samples = 0, 0
        for at, one in enumerate(self.told.profiles):
            found = _THREAD.fullmatch(one.name)
            lane = self.builder.lane(
                pid=int(found[1]) if found and found[1] else UNKNOWN,
                tid=int(found[2], 0) if found and int(found[2], 0) < 1 << 62 else UNKNOWN,
                thread_name=(found[3] or "") if found else one.name,
                is_main=at == 0,
            )
            metric, factor = _FACTORS[one.unit]
            if isinstance(one, _Sampled):
                length, n = self.sampled(one, lane, self.metrics[metric], factor)
            else:
                length, n = self.evented(one, lane, self.metrics[metric], factor), 0
            n_samples += n
            if metric is WALL_TIME:
                longest_ns = max(longest_ns, length)
        one_pass = Pass(
            mode=self.mode, backend=self.told.exporter or "speedscope", samples=n_samples or None, duration_ns=longest_ns or None
        )
        meta = Meta(passes=(one_pass,), command=(self.told.name,) if self.told.name else None, source="speedscope")
        return self.builder.build(meta)

    def sampled(self, one: _Sampled, lane: int, metric: int, factor: float) -> tuple[int, int]:
        if len(one.samples) != len(one.weights):
            raise corrupt("speedscope", f"profile `{one.name}` has {len(one.samples)} samples and {len(one.weights)} weights", self.path)
        time = 0
        for stack, weight in zip(one.samples, one.weights, strict=True):
            value = self.value(weight * factor)
            if stack:
                node = self.builder.stack(self.frame(index) for index in self.bounded(stack))
                self.builder.add(node, lane, metric, value)
                if factor != 1 or one.unit == "nanoseconds":
                    self.builder.sample(time, lane, node, value)
            time += value
        return time, len(one.samples)

    def evented(self, one: _Evented, lane: int, metric: int, factor: float) -> int:
        open_frames: list[int] = []
        nodes: list[int] = [ROOT]
        before: float | None = None
        for event in one.events:
            if before is not None and event.at < before:
                raise corrupt("speedscope", f"an event of profile `{one.name}` at {event.at} comes after one at {before}", self.path)
            if before is not None and len(nodes) > 1 and (value := self.value((event.at - before) * factor)):
                self.builder.add(nodes[-1], lane, metric, value)
                self.builder.sample(self.value((before - one.startValue) * factor), lane, nodes[-1], value)
            before = event.at
            if event.type == "O":
                open_frames.append(event.frame)
                nodes.append(self.builder.node(nodes[-1], self.frame(event.frame)))
                self.bounded(open_frames)
            elif open_frames and open_frames[-1] == event.frame:
                open_frames.pop()
                nodes.pop()
            else:
                raise corrupt(
                    "speedscope", f"frame {event.frame} of profile `{one.name}` is closed at {event.at} but not open innermost", self.path
                )
        return self.value(max((before or 0) - one.startValue, 0) * factor)

    def bounded(self, stack: list[int]) -> list[int]:
        if len(stack) > MAX_STACK_DEPTH:
            raise too_large("speedscope", f"a stack has {len(stack):,} frames", self.path)
        return stack

    def value(self, number: float) -> int:
        if not 0 <= number <= MAX_VALUE:
            raise corrupt("speedscope", f"{number} is no weight", self.path)
        return round(number)

    def frame(self, index: int) -> int:
        row = self.rows.get(index)
        if row is None:
            if not 0 <= index < len(self.told.shared.frames):
                raise corrupt("speedscope", f"frame {index} is not among the {len(self.told.shared.frames)} of the table", self.path)
            frame = self.told.shared.frames[index]
            line = int(frame.line) if frame.line and 0 < frame.line < 1 << 31 else 0
            function = self.who.function(
                self.builder,
                file=frame.file or "",
                line=line,
                name=bare_name(frame.name) if frame.file else frame.name,
                qualname=frame.name,
            )
            row = self.rows[index] = self.builder.frame(function, line)
        return row


def _with_mode(metric: Metric, mode: str) -> Metric:
    return Metric(name=metric.name, unit=metric.unit, kind=metric.kind, mode=mode)


def _written(profile: Profile) -> bytes:
    names = [_text(spelled(profile, function)) for function in range(len(profile.functions))]
    files = [_text(spelled_file(profile, function)) for function in range(len(profile.functions))]
    frames = [
        _Frame(names[function], files[function] or None, line or None)
        for function, line in zip(ints(profile.frames.function), ints(profile.frames.line), strict=True)
    ]
    parent, frame = ints(profile.nodes.parent), ints(profile.nodes.frame)
    stacks: dict[int, list[int]] = {}

    def stack(node: int) -> list[int]:
        if node not in stacks:
            found: list[int] = []
            up = node
            while up != ROOT:
                found.append(frame[up])
                up = parent[up]
            stacks[node] = found[::-1]
        return stacks[node]

    unit, divisor = _UNITS[profile.metrics[0].unit] if profile.metrics else ("none", 1)
    per_lane: list[tuple[list[list[int]], list[float]]] = [([], []) for _ in range(len(profile.lanes))]
    timed = len(profile.samples) and int(profile.samples.weight.sum()) == int(lane_total(profile, 0).sum())
    if timed:
        t = profile.samples
        rows = zip(ints(t.lane), ints(t.node), ints(t.weight), ints(t.time_ns), strict=True)
    else:
        c = profile.cells
        first = c.metric == 0
        rows = zip(ints(c.lane[first]), ints(c.node[first]), ints(c.value[first]), [0] * len(c), strict=False)
    reached = [0] * len(profile.lanes)
    for lane, node, weight, time_ns in rows:
        samples, weights = per_lane[lane]
        if time_ns > reached[lane]:
            # An empty stack fills the time in which the lane was not seen.
            samples.append([])
            weights.append((time_ns - reached[lane]) / divisor)
            reached[lane] = time_ns
        reached[lane] += weight
        samples.append(stack(node))
        weights.append(weight / divisor if divisor != 1 else weight)
    profiles = [
        {
            "type": "sampled",
            "name": _lane_name(profile, lane),
            "unit": unit,
            "startValue": 0,
            "endValue": sum(w),
            "samples": x,
            "weights": w,
        }
        for lane, (x, w) in enumerate(per_lane)
    ]
    document = {
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "shared": {"frames": frames},
        "profiles": profiles,
        "name": _text(" ".join(profile.meta.command or ())) or "proftool",
        "activeProfileIndex": 0,
        "exporter": "proftool",
    }
    return msgspec.json.encode(document, enc_hook=str)


def _text(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _lane_name(profile: Profile, lane: int) -> str:
    lanes = profile.lanes
    name = _text(profile.text(int(lanes.thread_name[lane])))
    if lanes.tid[lane] == UNKNOWN:
        return name
    process = f"Process {lanes.pid[lane]} " if lanes.pid[lane] != UNKNOWN else ""
    return f'{process}Thread {lanes.tid[lane]} "{name}"'
