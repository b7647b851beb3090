"""OpenTelemetry's profiles (OTLP v1development, protobuf): what a collector stores and receives, `ProfilesData`.

One dictionary of stacks for all; a profile in it has one sample type, so each metric is one profile, and profiles of one file are
read as the metrics of one. Resources and attributes that name processes and threads are lanes (`process.pid`, `thread.id`,
`thread.name`, ...); others are left out and told. Samples with time stamps are the timeline. The signal is in development: what is
read and written here is the schema of opentelemetry-proto 1.7 and later, with its dictionary.

Source: https://github.com/open-telemetry/opentelemetry-proto, `opentelemetry/proto/profiles/v1development/profiles.proto`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from proftool.formats.identity import spelled, spelled_file
from proftool.formats.lanes import LaneKey, add_lanes
from proftool.formats.limits import MAX_VALUE, corrupt, entered, read_bytes, unzipped, unzipped_head
from proftool.formats.locations import FrameRows, Locations, NamedFunctions
from proftool.formats.loss import losses
from proftool.formats.stacks import stack_tree
from proftool.formats.units import metric_of, type_of
from proftool.formats.wire import (
    BYTES,
    FIXED64,
    PADDING,
    VARINT,
    Columns,
    Spans,
    put_bytes,
    put_number,
    put_packed,
    put_varint,
    scan,
    varint,
)
from proftool.model.builder import ProfileBuilder, finish, sum_cells, table
from proftool.model.meta import Meta, Pass
from proftool.model.profile import Cells, Int32Array, Int64Array, Metric, Nodes, Profile, Samples, ints
from proftool.model.tree import lane_total

_NUMBERS = {"process.pid": "pid", "process.parent_pid": "ppid", "thread.id": "tid"}
_TEXTS = {"process.executable.name": "process", "thread.name": "thread", "task.name": "task"}
_KEPT = {"process.command_line": "command", "service.name": "service", "proftool.backend": "backend"}
_NOTHING = np.zeros(0, np.int64)


class Otlp:
    """The format object."""

    name = "otlp"
    suffixes = (".otlp", ".otlp.pb")

    def matches(self, head: bytes) -> bool:
        """Does it begin with a resource's profiles or the dictionary?"""
        return _begins(unzipped_head(head))

    def read(self, path: Path) -> Profile:
        """All profiles of the file as one."""
        data = unzipped(read_bytes(path, self.name), self.name, path) + PADDING
        try:
            return entered(_Reader(data, path).build(), self.name, path)
        except (ValueError, IndexError) as error:
            raise corrupt(self.name, str(error), path) from error

    def write(self, profile: Profile) -> bytes:
        """One profile a metric over one dictionary, a resource a process."""
        return _written(profile)

    def lost(self, profile: Profile) -> tuple[str, ...]:
        """The states of the timeline, and what is more than stacks."""
        told = losses(profile, self.name, lanes=False, samples=False)
        if len(profile.samples) and profile.samples.status.any():
            return (f"{self.name} tells when a thread was seen and not whether it waited: states left out", *told)
        return told


format = Otlp()


def _begins(head: bytes) -> bool:
    """Field 1 (a resource's profiles: scope_profiles in it) or 2 (the dictionary), told apart from pprof by what is inside."""
    try:
        if head[0] not in (0x0A, 0x12):
            return False
        size, body = varint(head, 1, len(head))
        if size < 4 or head[body] not in ((0x0A, 0x12, 0x1A) if head[0] == 0x0A else (0x0A, 0x12)):
            return False
        inner, place = varint(head, body + 1, len(head))
        if head[0] == 0x12:
            # A dictionary begins with a mapping of nothing but defaults, or has none and a location follows.
            return inner == 0 and place - body == 2 and head[place] in (0x0A, 0x12) and size > 8
        if inner > size - 2:
            return False
        # A resource holds attributes (1), a scope's profiles a scope (1) or profiles (2): messages all.
        return head[place] in (0x0A, 0x12, 0x1A) if inner else head[place] in (0x12, 0x1A)
    except (ValueError, IndexError):
        return False


Attributes = dict[str, str | int]


class _Reader:
    def __init__(self, data: bytes, path: Path) -> None:
        self.data, self.path = data, path
        top = scan(data, 0, len(data) - len(PADDING))
        self.resources = top.get((1, BYTES), Spans(_NOTHING, _NOTHING, _NOTHING))
        dictionaries = top.get((2, BYTES))
        if dictionaries is None or not len(dictionaries):
            raise ValueError("it has no dictionary; profiles of before opentelemetry-proto 1.7 are not known")
        if len(dictionaries) > 1:
            raise ValueError("it has two dictionaries")
        self.dictionary = scan(data, int(dictionaries.start[0]), int(dictionaries.end[0]))
        texts = self.table(5)
        self.texts = [data[a:b].decode("utf-8", "surrogateescape") for a, b in zip(ints(texts.start), ints(texts.end), strict=True)]
        self.attributes = self.attribute_table()
        self.metrics: dict[str, Metric] = {}
        self.builder = ProfileBuilder(())
        self.lanes: dict[LaneKey, int] = {}
        self.unknown: set[str] = set()
        self.seen: Attributes = {}
        self.started: list[int] = []
        self.durations: list[int] = []
        self.rates: list[float] = []
        self.cells: list[tuple[Int32Array, Int32Array, Int32Array, Int64Array]] = []
        self.timed: list[tuple[Int64Array, Int32Array, Int32Array, Int64Array]] = []

    def build(self) -> Profile:
        profiles = list(self.profiles())
        if not profiles:
            raise ValueError("it holds no profile")
        parsed = [
            (fields, where, Columns(self.data, fields.get((2, BYTES), Spans(_NOTHING, _NOTHING, _NOTHING)))) for fields, where in profiles
        ]
        stacks = [samples.number(1) for _, _, samples in parsed]
        nodes, of_stack = self.tree(stacks)
        for (fields, where, samples), stack in zip(parsed, stacks, strict=True):
            self.profile(fields, where, samples, of_stack[stack] if len(stack) else np.zeros(0, np.int32))
        parts = [np.concatenate(column) for column in zip(*self.cells, strict=True)]
        lanes = add_lanes(self.builder, self.lanes)
        cells = Cells(metric=parts[0], node=parts[1], lane=lanes[parts[2]], value=parts[3]) if len(lanes) else Cells()
        if len(cells) and float(cells.value.astype(np.float64).sum()) > MAX_VALUE:
            raise ValueError("the values add up to more than 2**53")
        base = self.builder.build(self.meta(cells))
        return finish(replace(base, metrics=tuple(self.metrics.values()), nodes=nodes, cells=sum_cells(cells), samples=self.samples(lanes)))

    def profiles(self) -> Iterator[tuple[dict[tuple[int, int], Spans], Attributes]]:
        """Fields of every profile, and what its resource says."""
        for start, end in zip(ints(self.resources.start), ints(self.resources.end), strict=True):
            resource = scan(self.data, start, end)
            where: Attributes = {}
            for a, b in self.places(resource, 1):
                for c, d in self.places(scan(self.data, a, b), 1):
                    key, value = self.pair(scan(self.data, c, d))
                    where[key] = value
            for a, b in self.places(resource, 2):
                for c, d in self.places(scan(self.data, a, b), 2):
                    yield scan(self.data, c, d), where

    def tree(self, stacks: list[Int64Array]) -> tuple[Nodes, Int32Array]:
        """Nodes of the stacks that samples name, and the node of each stack."""
        told = Columns(self.data, self.table(7))
        used = np.zeros(told.rows, bool)
        for stack in stacks:
            if len(stack) and not (int(stack.min()) >= 0 and int(stack.max()) < told.rows):
                raise ValueError(f"a sample names stack {int(stack.max())} of {told.rows}")
            used[stack] = True
        chosen = np.flatnonzero(used)
        if not len(chosen):
            return Nodes(), np.zeros(told.rows, np.int32)
        places = self.table(7)
        told = Columns(self.data, Spans(places.row[chosen], places.start[chosen], places.end[chosen]))
        locations, n_locations = self.locations()

        def rows(found: np.ndarray[tuple[int], np.dtype[np.uint64]]) -> Int32Array:
            if len(found) and int(found.max()) >= n_locations:
                raise ValueError(f"a stack names location {int(found.max())} of {n_locations}")
            return found.astype(np.int32)

        lengths, at = told.lists(1, rows)
        frames, lengths = locations.frames(at, lengths)
        parent, frame, leaf = stack_tree(frames, lengths, "otlp", self.path, innermost_first=True)
        of_stack = np.zeros(len(used), np.int32)
        of_stack[chosen] = leaf
        return Nodes(parent=parent, frame=frame), of_stack

    def locations(self) -> tuple[Locations, int]:
        places, functions, binaries = (Columns(self.data, self.table(field)) for field in (2, 3, 1))
        lines = places.spans(3)
        of_line = Columns(self.data, lines)
        named = NamedFunctions(
            names=[self.text(at) for at in ints(functions.number(1))],
            files=[self.text(at) for at in ints(functions.number(3))],
            first_lines=ints(functions.number(4)),
        )
        files = [self.text(at) for at in ints(binaries.number(4))]
        mapped = places.number(1)
        if len(mapped) and not (int(mapped.min()) >= 0 and int(mapped.max()) < max(len(files), 1)):
            raise ValueError(f"a location names mapping {int(mapped.max())} of {len(files)}")
        found = Locations(
            FrameRows(self.builder, "otlp", self.path), named, n_lines=np.bincount(lines.row, minlength=places.rows),
            function=of_line.number(1), line=of_line.number(2),
            binary=[files[at] if files else "" for at in ints(mapped)], address=places.number(2),
        )  # fmt: skip
        return found, places.rows

    def profile(self, fields: dict[tuple[int, int], Spans], where: Attributes, samples: Columns, node: Int32Array) -> None:
        """Cells, timeline and circumstances of one profile."""
        (kind,) = self.places(fields, 1)[:1] or [(0, 0)]
        type_, unit = self.pair_of_numbers(kind)
        metric, factor = metric_of(self.text(type_) or "samples", self.text(unit))
        self.metrics.setdefault(metric.name, metric)
        column = list(self.metrics).index(metric.name)
        lane = self.lanes_of(samples, where)
        values, times = samples.numbers(4), samples.fixed64s(5)
        n_values, n_times = (np.bincount(found.row, minlength=samples.rows) for found in (values, times))
        wrong = np.flatnonzero((n_values > 0) & (n_times > 0) & (n_values != n_times))
        if len(wrong):
            raise ValueError(f"a sample has {int(n_values[wrong[0]])} values at {int(n_times[wrong[0]])} times")
        # A sample with times alone has the value 1 at each.
        bare = n_values[times.row] == 0
        row = np.concatenate([values.row, times.row[bare]])
        value = np.concatenate([values.signed(), np.ones(int(bare.sum()), np.int64)])
        if len(value) and (int(value.min()) < 0 or float(value.astype(np.float64).sum()) * factor > MAX_VALUE):
            raise ValueError("a value is negative, or the values add up to more than 2**53")
        value *= factor
        self.cells.append((np.full(len(row), column, np.int32), node[row], lane[row], value))
        if column == 0 and len(times):
            order = np.argsort(row, kind="stable")
            has_time = n_times[row[order]] > 0
            at = row[order][has_time]
            self.timed.append((times.signed(), lane[at], node[at], value[order][has_time]))
        start = self.single(fields, 3, FIXED64)
        if start:
            self.started.append(start)
        self.durations.append(self.single(fields, 4, VARINT))
        self.seen |= {key: value for key, value in where.items() if key in _KEPT}
        for a, b in self.places(fields, 5):
            type_, unit = self.pair_of_numbers((a, b))
            every, scale = metric_of(self.text(type_), self.text(unit))
            if every.unit == "ns" and (period := self.single(fields, 6, VARINT)):
                self.rates.append(1e9 / (period * scale))

    def lanes_of(self, samples: Columns, where: Attributes) -> Int32Array:
        told = samples.numbers(2)
        if len(told) and int(told.value.max()) >= len(self.attributes):
            raise ValueError(f"a sample names attribute {int(told.value.max())} of {len(self.attributes)}")
        ends = np.searchsorted(told.row, np.arange(samples.rows + 1))
        values = ints(told.signed())
        known: dict[tuple[int, ...], int] = {}
        lane = np.zeros(samples.rows, np.int32)
        bounds = ends.tolist()
        for row in range(samples.rows):
            key = tuple(values[bounds[row] : bounds[row + 1]])
            if key not in known:
                known[key] = self.lane(where | dict(self.attributes[at] for at in key))
            lane[row] = known[key]
        return lane

    def lane(self, told: Attributes) -> int:
        found: dict[str, int | str] = {}
        for key, value in told.items():
            if key in _NUMBERS:
                if isinstance(value, int) and 0 <= value < 1 << 62:
                    found[_NUMBERS[key]] = value
            elif key in _TEXTS:
                found[_TEXTS[key]] = str(value)
            elif key and key not in _KEPT:
                self.unknown.add(key)
        key = LaneKey(**found)  # pyright: ignore[reportArgumentType]  # names and types are those of the tables above
        return self.lanes.setdefault(key, len(self.lanes))

    def samples(self, lanes: Int32Array) -> Samples:
        if not self.timed or next(iter(self.metrics.values())).unit != "ns":
            return Samples()
        time, lane, node, weight = (np.concatenate(column) for column in zip(*self.timed, strict=True))
        zero = min(min(self.started, default=int(time.min())), int(time.min()))
        time = time - zero
        if int(time.min()) < 0 or int(time.max()) > MAX_VALUE:
            raise ValueError("a time stamp lies before the profile or more than a hundred days behind it")
        order = np.argsort(time, kind="stable")
        status = np.zeros(len(time), np.uint8)
        return table(
            Samples, {"time_ns": time[order], "lane": lanes[lane[order]], "node": node[order], "weight": weight[order], "status": status}
        )

    def meta(self, cells: Cells) -> Meta:
        first = next(iter(self.metrics.values()))
        at = list(self.metrics).index("samples") if "samples" in self.metrics else None
        command = self.seen.get("process.command_line")
        started = min(self.started, default=0)
        one = Pass(
            mode=first.mode,
            backend=str(self.seen.get("proftool.backend") or "otlp"),
            clock="cpu" if first.name == "cpu_time" else None,
            rate_asked_hz=self.rates[0] if self.rates else None,
            samples=None if at is None else int(cells.value[cells.metric == at].sum()),
            started_ns=started if 0 < started < 1 << 62 else None,
            duration_ns=max((d for d in self.durations if 0 < d < 1 << 62), default=0) or None,
        )
        lost = (f"proftool keeps no attributes: {', '.join(sorted(self.unknown)[:20])} left out",) if self.unknown else ()
        return Meta(passes=(one,), command=(str(command),) if command else None, source="otlp", lost=lost)

    def attribute_table(self) -> list[tuple[str, str | int]]:
        table = Columns(self.data, self.table(6))
        values: list[str | int] = [""] * table.rows
        spans = table.spans(2)
        for row, a, b in zip(ints(spans.row), ints(spans.start), ints(spans.end), strict=True):
            values[row] = self.value(a, b)
        return [(self.text(key), value) for key, value in zip(ints(table.number(1)), values, strict=True)]

    def pair(self, fields: dict[tuple[int, int], Spans]) -> tuple[str, str | int]:
        """A KeyValue."""
        key = next((self.data[a:b].decode("utf-8", "replace") for a, b in self.places(fields, 1)), "")
        return key, next((self.value(a, b) for a, b in self.places(fields, 2)), "")

    def value(self, start: int, end: int) -> str | int:
        """An AnyValue: text or a whole number; empty for any other."""
        found = scan(self.data, start, end)
        for a, b in self.places(found, 1):
            return self.data[a:b].decode("utf-8", "surrogateescape")
        if (number := found.get((3, VARINT))) is not None:
            value = varint(self.data, int(number.start[-1]), int(number.end[-1]))[0]
            return value - (1 << 64) if value >> 63 else value
        return ""

    def pair_of_numbers(self, place: tuple[int, int]) -> tuple[int, int]:
        found = scan(self.data, *place)
        return self.single(found, 1, VARINT), self.single(found, 2, VARINT)

    def single(self, fields: dict[tuple[int, int], Spans], field: int, wire: int) -> int:
        found = fields.get((field, wire))
        if found is None:
            return 0
        if wire == FIXED64:
            return int.from_bytes(self.data[int(found.start[-1]) : int(found.end[-1])], "little")
        return varint(self.data, int(found.start[-1]), int(found.end[-1]))[0]

    def places(self, fields: dict[tuple[int, int], Spans], field: int) -> list[tuple[int, int]]:
        found = fields.get((field, BYTES))
        return [] if found is None else list(zip(ints(found.start), ints(found.end), strict=True))

    def table(self, field: int) -> Spans:
        found = self.dictionary.get((field, BYTES))
        return Spans(_NOTHING, _NOTHING, _NOTHING) if found is None else Spans(np.arange(len(found)), found.start, found.end)

    def text(self, at: int) -> str:
        if not 0 <= at < len(self.texts):
            if not at:
                return ""
            raise ValueError(f"text {at} is not among the {len(self.texts)} of the table")
        return self.texts[at]


# --- writing --------------------------------------------------------------------------------------------------------------


class _Table:
    """A table of the dictionary; row 0 is the zero value."""

    def __init__(self) -> None:
        self.known: dict[bytes, int] = {b"": 0}

    def at(self, content: bytes) -> int:
        """Row of a content."""
        return self.known.setdefault(content, len(self.known))

    def encoded(self, field: int) -> bytes:
        """The whole table."""
        return b"".join(put_bytes(field, content) for content in self.known)


class _Writer:
    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.texts, self.attributes, self.functions, self.locations = _Table(), _Table(), _Table(), _Table()
        self.stacks: list[bytes] = []
        self.stack_of: dict[int, int] = {}

    def text(self, text: str) -> int:
        return self.texts.at(text.encode("utf-8", "backslashreplace"))

    def build(self) -> bytes:
        p = self.profile
        self.place_frames()
        first = p.meta.passes[0] if p.meta.passes else None
        profiles = [self.one(metric) for metric in range(len(p.metrics))]
        scope = put_bytes(1, put_bytes(1, b"proftool"))
        resource = put_bytes(1, self.resource(first))
        body = put_bytes(1, resource + put_bytes(2, scope + b"".join(put_bytes(2, one) for one in profiles)))
        # Rows of nothing but defaults stand first: index 0 means "none".
        dictionary = put_bytes(1, b"") + self.locations.encoded(2) + self.functions.encoded(3) + put_bytes(4, b"") + self.texts.encoded(5)
        dictionary += self.attributes.encoded(6) + put_bytes(7, b"") + b"".join(self.stacks)
        return body + put_bytes(2, dictionary)

    def resource(self, first: Pass | None) -> bytes:
        told: dict[str, str] = {}
        if first is not None and first.backend not in ("", "otlp"):
            told["proftool.backend"] = first.backend
        if self.profile.meta.command:
            told["process.command_line"] = " ".join(self.profile.meta.command)
        told = told or {"service.name": "unknown_service"}
        return b"".join(
            put_bytes(1, put_bytes(1, key.encode()) + put_bytes(2, put_bytes(1, value.encode("utf-8", "backslashreplace"))))
            for key, value in told.items()
        )

    def place_frames(self) -> None:
        p = self.profile
        rows: list[int] = []
        for row in range(len(p.functions)):
            name, file = self.text(spelled(p, row)), self.text(spelled_file(p, row))
            first = put_number(4, int(p.functions.first_line[row]))
            rows.append(self.functions.at(put_number(1, name) + put_number(2, name) + put_number(3, file) + first))
        numbers: list[bytes] = []
        for function, line in zip(ints(p.frames.function), ints(p.frames.line), strict=True):
            told = put_number(1, rows[function]) + put_number(2, line)
            numbers.append(put_varint(self.locations.at(put_bytes(3, told))))
        self.paths: list[bytes] = []
        for parent, frame in zip(ints(p.nodes.parent), ints(p.nodes.frame), strict=True):
            self.paths.append(numbers[frame] + self.paths[parent] if parent >= 0 else numbers[frame])

    def stack(self, node: int) -> int:
        row = self.stack_of.get(node)
        if row is None:
            row = self.stack_of[node] = len(self.stacks) + 1
            self.stacks.append(put_bytes(7, put_bytes(1, self.paths[node])))
        return row

    def lane_attributes(self, lane: int) -> bytes:
        lanes, p = self.profile.lanes, self.profile
        rows: list[int] = []
        numbers = (lanes.pid, lanes.ppid, lanes.tid)
        for key, column in zip(_NUMBERS, numbers, strict=True):
            if int(column[lane]) >= 0:
                value = put_varint(3 << 3) + put_varint(int(column[lane]))
                rows.append(self.attributes.at(put_number(1, self.text(key)) + put_bytes(2, value)))
        for key, column in zip(_TEXTS, (lanes.process_name, lanes.thread_name, lanes.task), strict=True):
            if text := p.text(int(column[lane])):
                value = put_bytes(1, text.encode("utf-8", "backslashreplace"))
                rows.append(self.attributes.at(put_number(1, self.text(key)) + put_bytes(2, value)))
        return put_packed(2, rows)

    def one(self, metric: int) -> bytes:
        """A Profile message."""
        p = self.profile
        first = p.meta.passes[0] if p.meta.passes else None
        type_, unit = type_of(p.metrics[metric])
        out = [put_bytes(1, put_number(1, self.text(type_)) + put_number(2, self.text(unit)))]
        out += [put_bytes(2, content) for content in self.samples(metric, (first.started_ns if first else None) or 0)]
        if first is not None:
            if first.started_ns:
                out.append(put_varint(3 << 3 | FIXED64) + first.started_ns.to_bytes(8, "little"))
            out.append(put_number(4, first.duration_ns or 0))
            if first.rate_asked_hz:
                out.append(put_bytes(5, put_number(1, self.text("wall")) + put_number(2, self.text("nanoseconds"))))
                out.append(put_number(6, round(1e9 / first.rate_asked_hz)))
        return b"".join(out)

    def samples(self, metric: int, started_ns: int) -> Iterable[bytes]:
        p = self.profile
        t, c = p.samples, p.cells
        labels = [self.lane_attributes(lane) for lane in range(len(p.lanes))]
        timed = metric == 0 and len(t) and p.metrics[0].unit == "ns" and int(t.weight.sum()) == int(lane_total(p, 0).sum())
        if timed:
            order = np.lexsort((t.time_ns, t.lane, t.node))
            lane, node, weight, time = t.lane[order], t.node[order], t.weight[order], t.time_ns[order] + started_ns
        else:
            rows = c.metric == metric
            lane, node, weight, time = c.lane[rows], c.node[rows], c.value[rows], None
        if not len(lane):
            return
        fresh = np.ones(len(lane), bool)
        fresh[1:] = (lane[1:] != lane[:-1]) | (node[1:] != node[:-1])
        begins = np.flatnonzero(fresh)
        for begin, end in zip(begins.tolist(), [*begins[1:].tolist(), len(lane)], strict=True):
            content = put_number(1, self.stack(int(node[begin]))) + labels[int(lane[begin])] + put_packed(4, ints(weight[begin:end]))
            if time is not None:
                content += put_bytes(5, time[begin:end].astype("<u8").tobytes())
            yield content


def _written(profile: Profile) -> bytes:
    return _Writer(profile).build()
