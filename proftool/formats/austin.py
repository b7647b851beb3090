"""austin's samples, as text and as MOJO (its binary): stacks of processes and threads with microseconds, idle or not, and bytes.

Text: metadata lines `# key: value`, then one sample a line, `P<pid>;T<interpreter>:<thread>;file:function:line;... metrics`, the
metrics by the mode: microseconds (`wall`, `cpu`), bytes (`memory`), or `microseconds,idle,bytes` (`full`). MOJO: a stream of events,
strings and frames told once and named by key (versions 1 to 4). A sample without frames is a thread that ran no Python yet, or whose
stack could not be read; its time counts.

Source: https://github.com/P403n1x87/austin (README; wiki, "The MOJO file format").
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from proftool.formats.identity import Identifier, bare_name
from proftool.formats.limits import MAX_DOCUMENT_BYTES, MAX_STACK_DEPTH, MAX_VALUE, corrupt, entered, read_bytes, too_large
from proftool.formats.waiting import is_waiting
from proftool.model.builder import ProfileBuilder
from proftool.model.meta import Meta, Pass
from proftool.model.profile import ALLOCATED_BYTES, CPU_TIME, SAMPLES, UNKNOWN, WAITING_TIME, WALL_TIME, Kind, Profile, Status
from proftool.units import NS_PER_US

_LANE = re.compile(rb"P(?P<pid>\d{1,10});T(?:(?P<interpreter>\d+):)?(?P<tid>(?:0x)?[0-9a-fA-F]{1,16})(?=[; ])")
_METRICS = re.compile(rb".* (?:-?\d{1,18}|\d{1,18},[01],-?\d{1,18})")
_META = re.compile(rb"# (\w+): (.*)")
_MOJO = b"MOJ"
_SYNTHETIC = {b":GC:": "[gc]", b":INVALID:": "[invalid frame]"}


class Austin:
    """The format object."""

    name = "austin"
    suffixes = (".austin", ".mojo")

    def matches(self, head: bytes) -> bool:
        """MOJO's magic, or a sample behind austin's metadata."""
        if head[:3] == _MOJO:
            return len(head) > 3 and 1 <= head[3] < 32
        lines = (line for line in head.split(b"\n") if line.strip() and not _META.fullmatch(line.rstrip()))
        first = next(lines, b"")
        return _LANE.match(first) is not None and (len(head) >= 4096 or _METRICS.fullmatch(first.rstrip()) is not None)

    def read(self, path: Path) -> Profile:
        """Every thread a lane, in every interpreter of every process."""
        data = read_bytes(path, self.name, MAX_DOCUMENT_BYTES)
        try:
            told = _mojo(data) if data[:3] == _MOJO else _text(data)
            return entered(_Reader(told, path).build(), self.name, path)
        except (ValueError, IndexError) as error:
            raise corrupt(self.name, str(error) or "it is cut short", path) from error


format = Austin()

Frame = tuple[str, str, int]
"""File, function, line."""


@dataclass(slots=True)
class _Sample:
    pid: int
    interpreter: str
    tid: int
    frames: list[Frame]
    microseconds: int | None = None
    idle: bool | None = None
    bytes: int | None = None


@dataclass(slots=True)
class _Told:
    meta: dict[str, str] = field(default_factory=dict[str, str])
    samples: list[_Sample] = field(default_factory=list[_Sample])


class _Reader:
    def __init__(self, told: _Told, path: Path) -> None:
        self.told, self.path = told, path
        self.mode = told.meta.get("mode", "wall")
        if self.mode not in ("wall", "cpu", "memory", "full"):
            raise ValueError(f"its mode is `{self.mode[:40]}`; wall, cpu, memory and full are known")
        time = replace(CPU_TIME if self.mode == "cpu" else WALL_TIME, mode="sample")
        self.metrics = {
            "wall": (time, replace(SAMPLES, mode="sample")),
            "cpu": (time, replace(SAMPLES, mode="sample")),
            "memory": (replace(ALLOCATED_BYTES, mode="memory"), replace(SAMPLES, mode="memory")),
            "full": (time, replace(WAITING_TIME, mode="sample"), replace(SAMPLES, mode="sample"), replace(ALLOCATED_BYTES, mode="memory")),
        }[self.mode]
        self.places = {metric.name: at for at, metric in enumerate(self.metrics)}
        self.builder = ProfileBuilder(self.metrics)
        self.who = Identifier(None, sources=False)
        self.rows: dict[Frame, int] = {}
        self.lanes: dict[tuple[int, str, int], int] = {}
        self.reached: dict[int, int] = {}

    def build(self) -> Profile:
        total = freed = 0
        for sample in self.told.samples:
            lane = self.lane(sample)
            if len(sample.frames) > MAX_STACK_DEPTH:
                raise too_large("austin", f"a stack has {len(sample.frames):,} frames", self.path)
            node = self.builder.stack(self.frame(frame) for frame in sample.frames or [("", "(no frames)", 0)])
            time = (sample.microseconds or 0) * NS_PER_US
            total += time + abs(sample.bytes or 0)
            if time < 0 or total > MAX_VALUE:
                raise ValueError("a time is negative, or the values add up to more than 2**53")
            self.builder.add(node, lane, self.places["samples"], 1)
            if self.mode != "memory":
                self.builder.add(node, lane, 0, time)
                self.timeline(sample, lane, node, time)
            if "allocated_bytes" in self.places and (size := sample.bytes or 0):
                # What a sample gave back was allocated at some other place; only what it took belongs to it.
                freed -= min(size, 0)
                self.builder.add(node, lane, self.places["allocated_bytes"], max(size, 0))
        if not self.told.samples:
            raise ValueError("it holds no sample")
        lost = (f"bytes that were given back have no place that allocated them: {freed:,} left out",) if freed else ()
        return self.builder.build(replace(self.meta(), lost=lost))

    def timeline(self, sample: _Sample, lane: int, node: int, time: int) -> None:
        waits = sample.idle
        if "waiting_time" in self.places and waits:
            self.builder.add(node, lane, self.places["waiting_time"], time)
        if waits is None and sample.frames:
            waits = is_waiting(sample.frames[-1][1], sample.frames[-1][0])
        status = Status.STATUS_UNKNOWN if sample.idle is None and not waits else Status.WAITING if waits else Status.RUNNING
        start = self.reached.get(lane, 0)
        self.builder.sample(start, lane, node, time, int(status))
        self.reached[lane] = start + time

    def meta(self) -> Meta:
        told = self.told.meta
        interval, duration = told.get("interval", ""), told.get("duration", "")
        one = Pass(
            mode=self.metrics[0].mode,
            backend="austin",
            backend_version=told.get("austin"),
            clock="cpu" if self.mode == "cpu" else "wall",
            rate_asked_hz=1e6 / int(interval) if interval.isascii() and interval.isdigit() and int(interval[:18]) > 0 else None,
            samples=len(self.told.samples),
            duration_ns=int(duration) * NS_PER_US if duration.isascii() and duration.isdigit() and len(duration) < 15 else None,
        )
        python = told.get("python")
        return Meta(passes=(one,), python=f"CPython {python}" if python else None, source="austin")

    def lane(self, sample: _Sample) -> int:
        key = sample.pid, sample.interpreter, sample.tid
        lane = self.lanes.get(key)
        if lane is None:
            name = f"interpreter {sample.interpreter}" if sample.interpreter not in ("", "0") else ""
            lane = self.lanes[key] = self.builder.lane(
                pid=sample.pid, tid=sample.tid if sample.tid < 1 << 62 else UNKNOWN, thread_name=name, is_main=sample.tid == sample.pid
            )
        return lane

    def frame(self, frame: Frame) -> int:
        row = self.rows.get(frame)
        if row is None:
            file, name, line = frame
            if not file:
                function = self.builder.function(name, name=name, kind=Kind.GC if name == "[gc]" else Kind.SYNTHETIC)
            else:
                function = self.who.function(self.builder, file=file, line=line, name=bare_name(name), qualname=name)
            row = self.rows[frame] = self.builder.frame(function, line)
        return row


def _text(data: bytes) -> _Told:
    told = _Told()
    mode = ""
    for number, raw in enumerate(data.split(b"\n"), 1):
        line = raw.rstrip(b"\r")
        if not line.strip():
            continue
        if about := _META.fullmatch(line):
            told.meta[about[1].decode()] = about[2].decode("utf-8", "replace").strip()
            mode = told.meta.get("mode", "")
            continue
        found = _LANE.match(line)
        stack, _, metrics = line.rpartition(b" ")
        if found is None or not stack:
            raise ValueError(f"line {number} is no sample: `{line[:80].decode('utf-8', 'replace')}`")
        frames = [_frame(part, number) for part in stack[found.end() + 1 :].split(b";")] if found.end() < len(stack) else []
        sample = _Sample(
            int(found["pid"]), (found["interpreter"] or b"").decode(), int(found["tid"], 0 if b"x" in found["tid"] else 10), frames
        )
        parts = metrics.split(b",")
        if mode == "full":
            if len(parts) != 3 or parts[1] not in (b"0", b"1"):
                raise ValueError(f"line {number} has not the three metrics of the mode `full`")
            sample.microseconds, sample.idle, sample.bytes = _whole(parts[0], number), parts[1] == b"1", _whole(parts[2], number)
        elif len(parts) != 1:
            raise ValueError(f"line {number} has {len(parts)} metrics in the mode `{mode or 'wall'}`")
        elif mode == "memory":
            sample.bytes = _whole(metrics, number)
        else:
            sample.microseconds = _whole(metrics, number)
        told.samples.append(sample)
    return told


def _whole(text: bytes, number: int) -> int:
    if not re.fullmatch(rb"-?\d{1,18}", text):
        raise ValueError(f"line {number} ends with no whole number: `{text[:40].decode('utf-8', 'replace')}`")
    return int(text)


def _frame(part: bytes, number: int) -> Frame:
    if part in _SYNTHETIC:
        return "", _SYNTHETIC[part], 0
    place, _, line = part.decode("utf-8", "surrogateescape").rpartition(":")
    file, _, name = place.rpartition(":")
    if not file or not line.isascii() or not line.isdigit() or len(line) > 9:
        raise ValueError(f"line {number} has a frame that is no file:function:line: `{part[:80].decode('utf-8', 'replace')}`")
    return file, name, int(line)


# --- MOJO -----------------------------------------------------------------------------------------------------------------


class _Stream:
    def __init__(self, data: bytes, at: int) -> None:
        self.data, self.at = data, at

    def number(self) -> int:
        """Six bits and a sign in the first byte, seven in each that follows."""
        byte = self.data[self.at]
        self.at += 1
        value, shift, negative = byte & 0x3F, 6, byte & 0x40
        while byte & 0x80:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if shift > 70:
                raise ValueError(f"a number of more than 64 bits at byte {self.at}")
        return -value if negative else value

    def text(self) -> str:
        end = self.data.index(b"\0", self.at)
        found = self.data[self.at : end].decode("utf-8", "surrogateescape")
        self.at = end + 1
        return found


def _mojo(data: bytes) -> _Told:
    version = data[3]
    if not 1 <= version <= 4:
        from proftool.errors import NewerVersion

        raise NewerVersion(
            "cannot read this MOJO file of austin's",
            cause=f"it is of version {version}, known are 1 to 4",
            fix="upgrade proftool, or convert it with `mojo2austin` of the package austin-python",
        )
    told = _Told()
    for sample in _events(_Stream(data, 4), version, told.meta):
        told.samples.append(sample)
    return told


def _events(stream: _Stream, version: int, meta: dict[str, str]) -> Iterator[_Sample]:
    strings: dict[int, str] = {0: "", 1: "<unknown>"}
    frames: dict[tuple[int, int], Frame] = {}
    sample: _Sample | None = None
    end = len(stream.data)
    while stream.at < end:
        begin = stream.at
        kind = stream.data[begin]
        stream.at += 1
        match kind:
            case 1:
                key = stream.text()
                meta[key] = stream.text()
            case 2:
                if sample is not None:
                    yield sample
                pid = stream.number()
                interpreter = str(stream.number()) if version >= 3 else ""
                thread = stream.text()
                if not re.fullmatch(r"(?:0x)?[0-9a-fA-F]{1,16}", thread) or not 0 <= pid < 1 << 31:
                    raise ValueError(f"byte {begin} begins a stack of no process or thread")
                sample = _Sample(pid, interpreter, int(thread, 16), [])
            case 3:
                key, file, scope, line = (stream.number() for _ in range(4))
                if version >= 2:
                    for _ in range(3):
                        stream.number()
                frames[_process(sample, version), key] = (
                    _string(strings, file, begin),
                    _string(strings, scope, begin),
                    max(line, 0) % (1 << 31),
                )
            case 4 | 5 | 6 | 7:
                if sample is None:
                    raise ValueError(f"byte {begin} is a frame of no stack")
                if kind == 5:
                    key = stream.number()
                    found = frames.get((_process(sample, version), key))
                    if found is None:
                        raise ValueError(f"byte {begin} names frame {key}, which was not told before")
                    sample.frames.append(found)
                else:
                    sample.frames.append(("", {4: "[invalid frame]", 7: "[gc]"}.get(kind) or f"[kernel] {stream.text()}", 0))
            case 8 | 9 | 10:
                if sample is None:
                    raise ValueError(f"byte {begin} is a metric of no stack")
                if kind == 8:
                    sample.idle = True
                elif kind == 9:
                    sample.microseconds = stream.number()
                else:
                    sample.bytes = stream.number()
            case 11:
                key = stream.number()
                strings[key] = stream.text()
            case _:
                raise ValueError(f"byte {begin} begins no event: {kind}")
    if sample is not None:
        if sample.microseconds is None and sample.bytes is None:
            raise ValueError("its last sample is cut short")
        yield sample


def _process(sample: _Sample | None, version: int) -> int:
    # Keys are addresses; those of two processes may be equal.
    del version
    return sample.pid if sample else 0


def _string(strings: dict[int, str], key: int, at: int) -> str:
    if key not in strings:
        raise ValueError(f"byte {at} names string {key}, which was not told before")
    return strings[key]
