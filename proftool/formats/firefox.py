"""The Firefox Profiler's processed profile (JSON): a thread is a lane, with stacks as a tree of columns, prefix before stack.

Read: tables in the thread (up to version 55 or so), and those that newer versions share between threads (`shared`); Gecko's own rows
(`schema` and `data`), which `perf script report gecko` writes. Samples without weights count one each, and the interval of time that
the profiler shows for them; weights are milliseconds (`tracing-ms`), bytes or counts.
Written by firefox_writer.py.

Source: https://github.com/firefox-devtools/profiler, `docs-developer/CHANGELOG-formats.md` and `src/types/profile.ts`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import msgspec
import numpy as np

from proftool.formats.firefox_writer import common_weight, written, written_metric
from proftool.formats.identity import Identifier, bare_name
from proftool.formats.limits import MAX_NODES, MAX_STACK_DEPTH, MAX_VALUE, corrupt, decode_json, entered, too_large, unzipped_head
from proftool.formats.loss import losses
from proftool.model.builder import ProfileBuilder
from proftool.model.meta import Meta, Pass
from proftool.model.profile import ALLOCATED_BYTES, ROOT, SAMPLES, UNKNOWN, WALL_TIME, Metric, Profile
from proftool.units import NS_PER_MS

Index = int | None
_TOLD = re.compile(rb'"(?:preprocessedProfileVersion|markerSchema|processType|stackwalk|interval)"\s*:')
_LOCATION = re.compile(r"(.*\S) \((?:in )?(.+?)(?::(\d{1,9}))?(?::\d{1,9})?\)", re.DOTALL)


class _Meta(msgspec.Struct):
    interval: float = 1
    startTime: float = 0
    product: str = ""
    importedFrom: str | None = None
    preprocessedProfileVersion: int | None = None
    version: float = 0
    arguments: str | None = None


class _Samples(msgspec.Struct):
    stack: list[Index] = []
    time: list[float] | None = None
    timeDeltas: list[float] | None = None
    weight: list[float] | None = None
    weightType: str | None = None
    threadCPUDelta: msgspec.Raw = msgspec.Raw(b"null")
    schema: dict[str, int] | None = None
    data: list[list[float | str | None]] | None = None


class _Stacks(msgspec.Struct):
    frame: list[int] = []
    prefix: list[Index] = []
    schema: dict[str, int] | None = None
    data: list[list[Index]] | None = None


class _Frames(msgspec.Struct):
    func: list[int] = []
    line: list[Index] = []
    schema: dict[str, int] | None = None
    data: list[list[object]] | None = None


class _Funcs(msgspec.Struct):
    name: list[int] = []
    fileName: list[Index] | None = None
    source: list[Index] | None = None
    lineNumber: list[Index] = []


class _Sources(msgspec.Struct):
    filename: list[int] = []


class _Table(msgspec.Struct):
    stackTable: _Stacks | None = None
    frameTable: _Frames | None = None
    funcTable: _Funcs | None = None
    stringArray: list[str] | None = None
    stringTable: msgspec.Raw = msgspec.Raw(b"")
    sources: _Sources | None = None


class _Thread(_Table):
    name: str = ""
    samples: _Samples | None = None
    pid: int | str | None = None
    tid: int | str | None = None
    isMainThread: bool | None = None
    processName: str | None = None
    markers: msgspec.Raw = msgspec.Raw(b"{}")


class _Length(msgspec.Struct):
    length: int = 0


class _File(msgspec.Struct):
    meta: _Meta
    threads: list[_Thread]
    shared: _Table | None = None


@dataclass(slots=True)
class _Tree:
    """What samples point into; the columns of one thread or of all."""

    prefix: Sequence[Index]
    frame: Sequence[Index]
    func: Sequence[int]
    line: Sequence[Index]
    name: Sequence[int]
    file: Sequence[Index]
    first: Sequence[Index]
    texts: Sequence[str]


class Firefox:
    """The format object."""

    name = "firefox"
    suffixes = (".firefox.json", ".gecko.json")

    def matches(self, head: bytes) -> bool:
        """An object that begins with the profiler's meta."""
        head = unzipped_head(head).lstrip()
        return head[:1] == b"{" and re.search(rb'"meta"\s*:\s*\{', head) is not None and _TOLD.search(head) is not None

    def read(self, path: Path) -> Profile:
        """All threads."""
        told = decode_json(path, self.name, _File)
        try:
            return entered(_Reader(told, path).build(), self.name, path)
        except (IndexError, ValueError) as error:
            raise corrupt(self.name, str(error) or "a table names a row that is not there", path) from error

    def write(self, profile: Profile) -> bytes:
        """A thread a lane, of the first metric; the timeline where there is one."""
        return written(profile)

    def lost(self, profile: Profile) -> tuple[str, ...]:
        """All metrics but the one that is written, and the count of samples where each weighs the same."""
        column = written_metric(profile)
        kept = () if column is None else (profile.metrics[column].name, *(("samples",) if common_weight(profile) else ()))
        return losses(profile, self.name, metrics=kept, lanes=False, samples=False)


format = Firefox()


class _Reader:
    def __init__(self, told: _File, path: Path) -> None:
        self.told, self.path = told, path
        self.metrics: dict[str, Metric] = {}
        self.who = Identifier(None, sources=False)
        self.lost: list[str] = []
        self.n_samples = 0
        kinds = dict.fromkeys(self.kind(thread.samples) for thread in told.threads if thread.samples is not None)
        for kind in kinds or ("samples",):
            for metric in {"interval": (WALL_TIME, SAMPLES), "tracing-ms": (WALL_TIME,), "bytes": (ALLOCATED_BYTES,)}.get(kind, (SAMPLES,)):
                mode = "memory" if metric is ALLOCATED_BYTES else "sample"
                self.metrics.setdefault(metric.name, replace(metric, mode=mode))
        self.builder = ProfileBuilder(tuple(self.metrics.values()))
        self.places = {name: at for at, name in enumerate(self.metrics)}

    @staticmethod
    def kind(samples: _Samples) -> str:
        if samples.weight is None:
            return "interval"
        return samples.weightType if samples.weightType in ("tracing-ms", "bytes") else "samples"

    def build(self) -> Profile:
        meta = self.told.meta
        if not 0 <= meta.interval < 1e9 or not 0 <= meta.startTime < 1e15:
            raise ValueError(f"the interval {meta.interval} or start {meta.startTime} is no time")
        shared = self.tree(self.told.shared, None) if self.told.shared and self.told.shared.stackTable else None
        longest = 0
        n_markers = 0
        for at, thread in enumerate(self.told.threads):
            tree = self.tree(thread, self.told.shared) if thread.stackTable is not None else shared
            lane = self.builder.lane(
                pid=_number(thread.pid), tid=_number(thread.tid), process_name=thread.processName or "", thread_name=thread.name,
                is_main=bool(thread.isMainThread) if thread.isMainThread is not None else at == 0,
            )  # fmt: skip
            if thread.samples is not None and tree is not None:
                longest = max(longest, self.samples(thread.samples, tree, lane))
            n_markers += _length(thread.markers)
        if n_markers:
            self.lost.append(f"proftool keeps the stacks of a Firefox profile: {n_markers:,} markers left out")
        if any(bytes(t.samples.threadCPUDelta) not in (b"null", b"") for t in self.told.threads if t.samples):
            self.lost.append("proftool keeps the wall time of a Firefox profile: processor time of the samples left out")
        uniform = "samples" in self.metrics and "wall_time" in self.metrics
        mode = "memory" if "allocated_bytes" in self.metrics and len(self.metrics) == 1 else "sample"
        one = Pass(
            mode=mode,
            backend=meta.importedFrom or meta.product or "firefox",
            clock="wall" if "wall_time" in self.metrics else None,
            rate_asked_hz=1000 / meta.interval if meta.interval and uniform else None,
            samples=self.n_samples or None,
            started_ns=round(meta.startTime * NS_PER_MS) or None,
            duration_ns=longest or None,
        )
        command = (meta.arguments,) if meta.arguments else None
        return self.builder.build(Meta(passes=(one,), command=command, source="firefox", lost=tuple(self.lost)))

    def tree(self, own: _Table, shared: _Table | None) -> _Tree:
        texts = own.stringArray if own.stringArray is not None else self.texts(own.stringTable)
        if texts is None:
            texts = (shared.stringArray if shared else None) or []
        stacks, frames = own.stackTable or _Stacks(), own.frameTable or _Frames()
        if stacks.schema is not None and stacks.data is not None:
            return self.gecko(stacks, frames, texts)
        funcs = own.funcTable or _Funcs()
        sources = own.sources or (shared.sources if shared else None)
        files: Sequence[Index] = funcs.fileName or [None] * len(funcs.name)
        if funcs.source is not None and sources is not None:
            files = [None if at is None else sources.filename[_row(at, len(sources.filename))] for at in funcs.source]
        first = funcs.lineNumber or [None] * len(funcs.name)
        line = frames.line or [None] * len(frames.func)
        return _Tree(stacks.prefix, stacks.frame, frames.func, line, funcs.name, files, first, texts)

    def gecko(self, stacks: _Stacks, frames: _Frames, texts: Sequence[str]) -> _Tree:
        """Rows of Gecko's: a frame is one text, `name (file:line)`; it gets a function of its own."""
        place, rows = stacks.schema or {}, stacks.data or []
        frame_place, frame_rows = frames.schema or {}, frames.data or []
        location, line = frame_place.get("location", 0), frame_place.get("line", -1)
        strings = list(texts)
        name: list[int] = []
        file: list[Index] = []
        first: list[Index] = []
        lines: list[Index] = []
        for row in frame_rows:
            text = texts[_row(cast(int, row[location]), len(texts))]
            found = _LOCATION.fullmatch(text)
            name.append(len(strings))
            file.append(len(strings) + 1 if found else None)
            strings += [found[1], found[2]] if found else [text]
            told = row[line] if 0 <= line < len(row) else None
            lines.append(int(found[3]) if found and found[3] else told if isinstance(told, int) else None)
            first.append(None)
        prefix = [row[place.get("prefix", 0)] for row in rows]
        frame = [row[place.get("frame", 1)] for row in rows]
        return _Tree(prefix, frame, range(len(frame_rows)), lines, name, file, first, strings)

    def texts(self, raw: msgspec.Raw) -> list[str] | None:
        if not bytes(raw):
            return None
        try:
            return msgspec.json.decode(raw, type=list[str])
        except msgspec.MsgspecError:
            return msgspec.json.decode(raw, type=dict[str, object]).get("_array")  # pyright: ignore[reportReturnType]  # version 1 of the table

    def samples(self, samples: _Samples, tree: _Tree, lane: int) -> int:
        stack, times = self.observed(samples)
        weights = samples.weight
        kind = self.kind(samples)
        if (weights is not None and len(weights) != len(stack)) or len(times) != len(stack):
            raise ValueError(f"a thread has {len(stack)} stacks, {len(times)} times and {len(weights or stack)} weights")
        interval = self.told.meta.interval * NS_PER_MS
        nodes = self.nodes(tree)
        end = 0
        begin = min(times, default=0.0)
        zero = begin if self.told.meta.preprocessedProfileVersion is None else min(begin, 0.0)
        for at, (index, time) in enumerate(zip(stack, times, strict=True)):
            if index is None:
                continue
            node = nodes[_row(index, len(nodes))]
            start = (time - zero) * NS_PER_MS
            weight = interval if weights is None else weights[at] * (NS_PER_MS if kind == "tracing-ms" else 1)
            if not 0 <= start <= MAX_VALUE or not 0 <= weight <= MAX_VALUE:
                raise ValueError(f"sample {at} has the time {time} and the weight {weight}")
            value = round(weight)
            self.n_samples += kind != "bytes"
            if kind == "interval":
                self.builder.add(node, lane, self.places["wall_time"], value)
                self.builder.add(node, lane, self.places["samples"], 1)
            else:
                self.builder.add(
                    node, lane, self.places[{"tracing-ms": "wall_time", "bytes": "allocated_bytes"}.get(kind, "samples")], value
                )
            if next(iter(self.metrics)) == "wall_time" and kind in ("interval", "tracing-ms"):
                self.builder.sample(round(start), lane, node, value)
                end = max(end, round(start) + value)
        return end

    def observed(self, samples: _Samples) -> tuple[list[Index], list[float]]:
        """Stack and time (ms) of every sample."""
        if samples.schema is not None and samples.data is not None:
            stack, time = samples.schema.get("stack", 0), samples.schema.get("time", 1)
            rows = samples.data
            return [int(v) if isinstance(v := row[stack], int | float) else None for row in rows], [
                float(v) if isinstance(v := row[time], int | float) else 0.0 for row in rows
            ]
        if samples.time is not None:
            return samples.stack, samples.time
        times = np.cumsum(samples.timeDeltas or [0.0] * len(samples.stack)).tolist()
        return samples.stack, times

    def nodes(self, tree: _Tree) -> list[int]:
        """The builder's node of every row of the stack table."""
        if len(tree.prefix) != len(tree.frame) or len(tree.prefix) > MAX_NODES:
            raise ValueError(f"the stack table has {len(tree.prefix)} prefixes and {len(tree.frame)} frames")
        rows: dict[int, int] = {}
        found: list[int] = []
        depth: list[int] = []
        for at, (prefix, frame) in enumerate(zip(tree.prefix, tree.frame, strict=True)):
            if frame is None or (prefix is not None and not 0 <= prefix < at):
                raise ValueError(f"row {at} of the stack table has the prefix {prefix} and the frame {frame}")
            if frame not in rows:
                rows[frame] = self.frame(tree, _row(frame, len(tree.func)))
            found.append(self.builder.node(ROOT if prefix is None else found[prefix], rows[frame]))
            depth.append(1 if prefix is None else depth[prefix] + 1)
            if depth[-1] > MAX_STACK_DEPTH:
                raise too_large("firefox", f"a stack has more than {MAX_STACK_DEPTH:,} frames", self.path)
        return found

    def frame(self, tree: _Tree, frame: int) -> int:
        func = _row(tree.func[frame], len(tree.name))
        name = tree.texts[_row(tree.name[func], len(tree.texts))]
        at = tree.file[func] if tree.file else None
        file = tree.texts[_row(at, len(tree.texts))] if at is not None else ""
        line, first = (n if n is not None and 0 < n < 1 << 31 else 0 for n in (tree.line[frame], tree.first[func]))
        bare = bare_name(name) if file else name
        function = self.who.function(self.builder, file=file, line=line or None, name=bare, qualname=name, first_line=first or None)
        return self.builder.frame(function, line)


def _row(at: int, n: int) -> int:
    if not 0 <= at < n:
        raise ValueError(f"row {at} is not among the {n} of its table")
    return at


def _number(id: int | str | None) -> int:
    text = str(id).partition(".")[0] if id is not None else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else UNKNOWN


def _length(markers: msgspec.Raw) -> int:
    try:
        return max(msgspec.json.decode(markers, type=_Length).length, 0)
    except msgspec.MsgspecError:
        return 0
