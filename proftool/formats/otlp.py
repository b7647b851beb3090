"""OpenTelemetry's profiles (OTLP v1development, protobuf): what a collector stores and receives, `ProfilesData`.

One dictionary of stacks for all; a profile in it has one sample type, so each metric is one profile, and profiles of one file are
read as the metrics of one. Resources and attributes that name processes and threads are lanes (`process.pid`, `thread.id`,
`thread.name`, ...); others are left out and told. Samples with time stamps are the timeline. The signal is in development: what is
read and written here is the schema of opentelemetry-proto 1.7 and later, with its dictionary.

Source: https://github.com/open-telemetry/opentelemetry-proto, `opentelemetry/proto/profiles/v1development/profiles.proto`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from proftool.formats.lanes import LaneKey, add_lanes
from proftool.formats.limits import MAX_VALUE, corrupt, entered, read_bytes, unzipped, unzipped_head
from proftool.formats.locations import FrameRows, Locations, NamedFunctions
from proftool.formats.loss import losses
from proftool.formats.otlp_writer import NUMBERS, TEXTS, written
from proftool.formats.stacks import stack_tree
from proftool.formats.units import metric_of
from proftool.formats.wire import (
    BYTES,
    FIXED64,
    PADDING,
    VARINT,
    Columns,
    Spans,
    scan,
    varint,
)
from proftool.model.builder import ProfileBuilder, finish, sum_cells, table
from proftool.model.meta import Meta, Pass
from proftool.model.profile import Cells, Int32Array, Int64Array, Metric, Nodes, Profile, Samples, ints

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
        return self.loads(unzipped(read_bytes(path, self.name), self.name, path), path)

    def loads(self, data: bytes, path: Path = Path("request")) -> Profile:
        """What `read` reads, from bytes that came another way."""
        try:
            return entered(_Reader(data + PADDING, path).build(), self.name, path)
        except (ValueError, IndexError) as error:
            raise corrupt(self.name, str(error), path) from error

    def write(self, profile: Profile) -> bytes:
        """One profile a metric over one dictionary, a resource a process."""
        return written(profile)

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
            if key in NUMBERS:
                if isinstance(value, int) and 0 <= value < 1 << 62:
                    found[NUMBERS[key]] = value
            elif key in TEXTS:
                found[TEXTS[key]] = str(value)
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
