"""pprof's profile.proto, gzipped or plain: samples over locations, several values each; labels for threads and processes become lanes.

A sample names its locations innermost first, a location its lines innermost first (inlined calls). Values are of the profile's sample
types (`formats/units.py`). Labels that name a thread or process (those that proftool writes, and the spellings of the Go, Node and
Datadog profilers) tell lanes apart; others are left out and told. Nothing is parsed into objects: `formats/wire.py` reads all samples
as columns and `formats/stacks.py` makes the tree.

Source: https://github.com/google/pprof/blob/main/proto/profile.proto.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from proftool.formats.identity import spelled, spelled_file
from proftool.formats.lanes import LaneKey, add_lanes
from proftool.formats.limits import MAX_VALUE, corrupt, entered, read_bytes, unzipped, unzipped_head
from proftool.formats.locations import FrameRows, Locations, NamedFunctions
from proftool.formats.loss import losses
from proftool.formats.stacks import groups, row_groups, stack_tree
from proftool.formats.units import metric_of, type_of
from proftool.formats.wire import (
    BYTES,
    PADDING,
    VARINT,
    Columns,
    Spans,
    UInt64Array,
    put_bytes,
    put_number,
    put_packed,
    put_varint,
    scan,
    varint,
)
from proftool.model.builder import ProfileBuilder, finish, sum_cells
from proftool.model.meta import Meta, Pass
from proftool.model.profile import Cells, Int32Array, Int64Array, Metric, Nodes, Profile, ints

_LABELS = {
    "pid": "pid", "process_id": "pid", "process id": "pid", "ppid": "ppid",
    "tid": "tid", "thread_id": "tid", "thread native id": "tid",
    "thread": "thread", "thread_name": "thread", "thread name": "thread",
    "process": "process", "process_name": "process", "process name": "process", "comm": "process",
    "task": "task", "task name": "task",
}  # fmt: skip
"""Label -> what of a lane it tells."""
_MAX_LABELS = 64


class Pprof:
    """The format object."""

    name = "pprof"
    suffixes = (".pb.gz", ".pprof", ".pb")

    def matches(self, head: bytes) -> bool:
        """Is the first field a sample type, or the like, and do plausible ones follow?"""
        return _begins(unzipped_head(head))

    def read(self, path: Path) -> Profile:
        """All sample types as metrics, a lane for each thread that labels tell apart."""
        data = unzipped(read_bytes(path, self.name), self.name, path) + PADDING
        try:
            return entered(_Reader(data, path).build(), self.name, path)
        except (ValueError, IndexError) as error:
            raise corrupt(self.name, str(error), path) from error

    def write(self, profile: Profile) -> bytes:
        """Gzipped, one sample a node and lane."""
        return gzip.compress(_written(profile), 6, mtime=0)

    def lost(self, profile: Profile) -> tuple[str, ...]:
        """The timeline, and what is more than stacks."""
        return losses(profile, self.name, lanes=False)


format = Pprof()


def _begins(head: bytes) -> bool:
    # Go and every generated class write fields in order: sample types first, each with nothing but two numbers in it.
    at, n_types = 0, 0
    try:
        while at < len(head) and head[at] == 0x0A:
            size, body = varint(head, at + 1, len(head))
            if size > 22 or body + size > len(head):
                return False
            inner, end = body, body + size
            while inner < end:
                if head[inner] not in (0x08, 0x10):
                    return False
                _, inner = varint(head, inner + 1, end)
            at, n_types = end, n_types + 1
        if not n_types or at == len(head):
            return n_types > 0
        tag, _ = varint(head, at, len(head))
        return tag in (0x12, 0x1A, 0x22, 0x2A, 0x32)
    except ValueError:
        return False


class _Reader:
    def __init__(self, data: bytes, path: Path) -> None:
        self.data, self.path = data, path
        self.fields = scan(data, 0, len(data) - len(PADDING))
        s = self.spans(6)
        self.texts = [data[a:b].decode("utf-8", "surrogateescape") for a, b in zip(s.start.tolist(), s.end.tolist(), strict=True)]
        self.lost: list[str] = []

    def build(self) -> Profile:
        kinds = self.columns(self.spans(1))
        told = [
            metric_of(self.text(type), self.text(unit)) for type, unit in zip(ints(kinds.number(1)), ints(kinds.number(2)), strict=True)
        ]
        if not told:
            raise ValueError("it has no sample type")
        metrics = _distinct([metric for metric, _ in told])
        samples = self.columns(self.spans(2))
        self.builder = ProfileBuilder(metrics)
        values = self.values(samples, np.array([factor for _, factor in told], np.int64))
        lane = self.lanes(samples)
        frames, lengths = self.stacks(samples)
        if len(lengths):
            parent, frame, leaf = stack_tree(frames, lengths, "pprof", self.path, innermost_first=True)
            nodes = Nodes(parent=parent, frame=frame)
        else:
            nodes, leaf = Nodes(), np.zeros(0, np.int32)
        cells = Cells(
            node=np.repeat(leaf, len(metrics)),
            lane=np.repeat(lane, len(metrics)),
            metric=np.tile(np.arange(len(metrics), dtype=np.int32), len(leaf)),
            value=values.reshape(-1),
        )
        base = self.builder.build(self.meta(metrics, values))
        return finish(replace(base, nodes=nodes, cells=sum_cells(cells)))

    def meta(self, metrics: Sequence[Metric], values: Int64Array) -> Meta:
        comments = [text for at in self.indices(13) if (text := self.text(at))]
        command = next((text.removeprefix("command: ") for text in comments if text.startswith("command: ")), None)
        tool = next((text.removeprefix("recorded by ") for text in comments if text.startswith("recorded by ")), "pprof")
        n_samples = next((int(values[:, at].sum()) for at, metric in enumerate(metrics) if metric.name == "samples"), None)
        period = self.single(12)
        kind = self.columns(self.spans(11)) if len(self.spans(11)) else None
        every = metric_of(self.text(int(kind.number(1)[-1])), self.text(int(kind.number(2)[-1]))) if kind else None
        is_time = every is not None and every[0].unit == "ns"
        one = Pass(
            mode=metrics[0].mode,
            backend=tool,
            clock="cpu" if any(m.name == "cpu_time" for m in metrics) else None,
            rate_asked_hz=1e9 / (period * every[1]) if every and is_time and period > 0 else None,
            samples=n_samples,
            started_ns=self.single(9) or None,
            duration_ns=self.single(10) or None,
        )
        return Meta(passes=(one,), command=(command,) if command else None, source="pprof", lost=tuple(self.lost))

    def values(self, samples: Columns, factors: Int64Array) -> Int64Array:
        """One row a sample, one column a sample type."""
        found = samples.numbers(2)
        counts = np.bincount(found.row, minlength=samples.rows)
        wrong = np.flatnonzero(counts != len(factors))
        if len(wrong):
            raise ValueError(f"sample {int(wrong[0])} has {int(counts[wrong[0]])} values for {len(factors)} sample types")
        values = found.signed().reshape(-1, len(factors))
        if len(values) and (int(values.min()) < 0 or int((values.astype(np.float64) * factors).sum(0).max()) > MAX_VALUE):
            raise ValueError("a value is negative (a difference of two profiles?), or the values add up to more than 2**53")
        return values * factors

    def lanes(self, samples: Columns) -> Int32Array:
        """The lane of every sample."""
        labels = self.columns(samples.spans(3))
        lane = np.zeros(samples.rows, np.int32)
        if not labels.rows:
            self.builder.lane(is_main=True)
            return lane
        owner = samples.spans(3).row
        keys, texts, numbers = labels.number(1), labels.number(2), labels.number(3)
        known = {at: _LABELS.get(self.text(at)) for at in ints(keys[groups(keys)[0]])}
        left_out = sorted(self.text(at) for at, meaning in known.items() if meaning is None)
        if left_out:
            self.lost.append(f"proftool keeps no labels of samples: {', '.join(left_out[:20])} left out")
        # One number for each distinct label, one for each distinct set of them: Python meets only those.
        kept = np.isin(keys, [at for at, meaning in known.items() if meaning is not None])
        owner, rows = owner[kept], (keys[kept], texts[kept], numbers[kept])
        first, which = row_groups(rows)
        distinct = np.stack([column[first] for column in rows], 1)
        width = int(np.bincount(owner).max()) if len(owner) else 0
        if width > _MAX_LABELS:
            raise ValueError(f"a sample has {width} labels of threads and processes")
        zero = np.zeros(samples.rows, np.int64)
        sets = np.full((samples.rows, width), -1, np.int64)
        sets[owner, np.arange(len(owner)) - np.searchsorted(owner, owner)] = which
        sets.sort(axis=1)
        some, of_sample = row_groups([sets[:, at] for at in range(width)]) if width else (zero[:1], zero)
        keys = [self.lane_key(distinct[i].tolist() for i in combo if i >= 0) for combo in sets[some].tolist()]
        return add_lanes(self.builder, keys)[of_sample]

    def lane_key(self, labels: Iterable[list[int]]) -> LaneKey:
        found: dict[str, int | str] = {}
        for key, text, number in labels:
            meaning = _LABELS[self.text(key)]
            if meaning in ("pid", "ppid", "tid"):
                spelled = self.text(text)
                value = int(spelled) if spelled.isascii() and spelled.isdigit() and len(spelled) < 19 else number
                if 0 <= value < 1 << 62 and (value or not spelled):
                    found[meaning] = value
            else:
                found[meaning] = self.text(text)
        return LaneKey(**found)  # pyright: ignore[reportArgumentType]  # names and types are those of _LABELS

    def stacks(self, samples: Columns) -> tuple[Int32Array, Int64Array]:
        """Rows of frames, innermost first, one sample behind the other, and how many each has."""
        lengths, at = samples.lists(1, _lookup(self.columns(self.spans(4)).number(1)))
        return self.locations().frames(at, lengths)

    def locations(self) -> Locations:
        places, told, binaries = (self.columns(self.spans(field)) for field in (4, 5, 3))
        lines = places.spans(4)
        of_line = self.columns(lines)
        by_id = {id: at for at, id in enumerate(ints(told.number(1)))}
        functions = of_line.number(1)
        first, which = groups(functions)
        rows = np.array([by_id.get(id, -1) for id in ints(functions[first])], np.int64)
        if len(rows) and int(rows.min()) < 0:
            raise ValueError(f"a location names function {int(functions[first][np.argmin(rows)])}, which is not there")
        mapped = dict(zip(ints(binaries.number(1)), ints(binaries.number(5)), strict=True))
        named = NamedFunctions(
            names=[self.text(at) for at in ints(told.number(2))],
            files=[self.text(at) for at in ints(told.number(4))],
            first_lines=ints(told.number(5)),
        )
        return Locations(
            FrameRows(self.builder, "pprof", self.path), named, n_lines=np.bincount(lines.row, minlength=places.rows),
            function=rows[which] if len(rows) else functions, line=of_line.number(2),
            binary=[self.text(mapped.get(id, 0)) for id in ints(places.number(2))], address=places.number(3),
        )  # fmt: skip

    def spans(self, field: int) -> Spans:
        nothing = np.zeros(0, np.int64)
        return self.fields.get((field, BYTES), Spans(nothing, nothing, nothing))

    def columns(self, spans: Spans) -> Columns:
        return Columns(self.data, spans)

    def indices(self, field: int) -> list[int]:
        found = self.fields.get((field, VARINT))
        singles = [] if found is None else [varint(self.data, a, b)[0] for a, b in zip(ints(found.start), ints(found.end), strict=True)]
        for a, b in zip(ints(self.spans(field).start), ints(self.spans(field).end), strict=True):
            while a < b:
                value, a = varint(self.data, a, b)
                singles.append(value)
        return singles

    def single(self, field: int) -> int:
        return next((value for value in reversed(self.indices(field)) if value < 1 << 62), 0)

    def text(self, at: int) -> str:
        if not 0 <= at < len(self.texts):
            raise ValueError(f"text {at} is not among the {len(self.texts)} of the table")
        return self.texts[at]


def _lookup(ids: Int64Array) -> Callable[[UInt64Array], Int32Array]:
    """Numbers of locations -> their rows; ValueError for one that is not there."""
    order = np.argsort(ids, kind="stable")
    is_dense = len(ids) and int(ids.min()) >= 0 and int(ids.max()) < 4 * len(ids) + 1024
    table = np.full(int(ids.max()) + 2 if is_dense else 0, -1, np.int32)
    if is_dense:
        table[ids] = np.arange(len(ids))

    def rows(used: UInt64Array) -> Int32Array:
        if not len(used):
            return np.zeros(0, np.int32)
        if is_dense:
            found = table[np.minimum(used, np.uint64(len(table) - 1)).view(np.int64)]
        elif len(ids):
            near = order[np.minimum(np.searchsorted(ids[order], used.view(np.int64)), len(ids) - 1)]
            found = np.where(ids[near] == used.view(np.int64), near, -1).astype(np.int32)
        else:
            found = np.full(len(used), -1, np.int32)
        if int(found.min()) < 0:
            raise ValueError(f"a sample names location {int(used[np.argmin(found)])}, which is not there")
        return found

    return rows


def _distinct(metrics: Sequence[Metric]) -> list[Metric]:
    """Metrics of one name told apart by a number."""
    seen: dict[str, int] = {}
    found: list[Metric] = []
    for metric in metrics:
        seen[metric.name] = n = seen.get(metric.name, 0) + 1
        found.append(metric if n == 1 else replace(metric, name=f"{metric.name}_{n}"))
    return found


class Texts:
    """A table of strings under way; 0 is the empty one."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {"": 0}

    def at(self, text: str) -> int:
        """Index of a text."""
        return self.known.setdefault(text, len(self.known))

    def encoded(self) -> Iterable[bytes]:
        """All texts, in order; what is no UTF-8 is escaped, since protobuf's own readers refuse it."""
        return (text.encode("utf-8", "backslashreplace") for text in self.known)


def _written(profile: Profile) -> bytes:
    texts = Texts()
    out = [
        put_bytes(1, put_number(1, texts.at(type)) + put_number(2, texts.at(unit))) for type, unit in (type_of(m) for m in profile.metrics)
    ]
    out += _samples(profile, texts)
    functions, frames = profile.functions, profile.frames
    for row, (function, line) in enumerate(zip(ints(frames.function), ints(frames.line), strict=True)):
        out.append(put_bytes(4, put_number(1, row + 1) + put_bytes(4, put_number(1, function + 1) + put_number(2, line))))
    for row in range(len(functions)):
        name, file = texts.at(spelled(profile, row)), texts.at(spelled_file(profile, row))
        content = put_number(1, row + 1) + put_number(2, name) + put_number(3, name) + put_number(4, file)
        out.append(put_bytes(5, content + put_number(5, int(functions.first_line[row]))))
    first = profile.meta.passes[0] if profile.meta.passes else None
    comments = [f"recorded by {first.backend}"] if first and first.backend != "pprof" else []
    if profile.meta.command:
        comments.append(f"command: {' '.join(profile.meta.command)}")
    tail = put_number(9, first.started_ns or 0) + put_number(10, first.duration_ns or 0) if first else b""
    if first and first.rate_asked_hz:
        clock = put_number(1, texts.at("cpu" if first.clock == "cpu" else "wall")) + put_number(2, texts.at("nanoseconds"))
        tail += put_bytes(11, clock) + put_number(12, round(1e9 / first.rate_asked_hz))
    tail += put_packed(13, [texts.at(text) for text in comments])
    return b"".join([*out, *(put_bytes(6, text) for text in texts.encoded()), tail])


def _samples(profile: Profile, texts: Texts) -> list[bytes]:
    c = profile.cells
    n_lanes, n_metrics = len(profile.lanes), len(profile.metrics)
    keys, which = np.unique(c.node.astype(np.int64) * max(n_lanes, 1) + c.lane, return_inverse=True)
    values = np.zeros((len(keys), n_metrics), np.int64)
    np.add.at(values, (which, c.metric), c.value)
    labels = [_labels(profile, lane, texts) for lane in range(n_lanes)]
    numbers = [put_varint(frame + 1) for frame in range(len(profile.frames))]
    path: list[bytes] = []
    for parent, frame in zip(ints(profile.nodes.parent), ints(profile.nodes.frame), strict=True):
        path.append(numbers[frame] + path[parent] if parent >= 0 else numbers[frame])
    packed: dict[int, bytes] = {}
    out: list[bytes] = []
    rows: list[list[int]] = values.tolist()
    for key, row in zip(ints(keys), rows, strict=True):
        node, lane = divmod(key, n_lanes)
        content: bytes = b"".join(packed.get(v) or packed.setdefault(v, put_varint(v)) for v in row)
        out.append(put_bytes(2, put_bytes(1, path[node]) + put_bytes(2, content) + labels[lane]))
    return out


def _labels(profile: Profile, lane: int, texts: Texts) -> bytes:
    lanes = profile.lanes
    out = b""
    for name, column in (("pid", lanes.pid), ("ppid", lanes.ppid), ("tid", lanes.tid)):
        if int(column[lane]) >= 0:
            out += put_bytes(3, put_number(1, texts.at(name)) + put_number(3, int(column[lane])))
    for name, column in (("process", lanes.process_name), ("thread", lanes.thread_name), ("task", lanes.task)):
        if text := profile.text(int(column[lane])):
            out += put_bytes(3, put_number(1, texts.at(name)) + put_number(2, texts.at(text)))
    return out
