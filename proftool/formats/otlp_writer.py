"""A profile as OpenTelemetry's: one profile a metric over one dictionary of stacks, threads and processes as attributes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from proftool.formats.identity import spelled, spelled_file
from proftool.formats.units import type_of
from proftool.formats.wire import FIXED64, put_bytes, put_number, put_packed, put_varint
from proftool.model.meta import Pass
from proftool.model.profile import Profile, ints
from proftool.model.tree import lane_total

NUMBERS = {"process.pid": "pid", "process.parent_pid": "ppid", "thread.id": "tid"}
TEXTS = {"process.executable.name": "process", "thread.name": "thread", "task.name": "task"}
"""Attribute -> what of a lane it tells; numbers and texts."""


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
    def __init__(self, profile: Profile, resource: Mapping[str, str]) -> None:
        self.profile, self.about = profile, resource
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
        told: dict[str, str] = dict(self.about)
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
        for key, column in zip(NUMBERS, numbers, strict=True):
            if int(column[lane]) >= 0:
                value = put_varint(3 << 3) + put_varint(int(column[lane]))
                rows.append(self.attributes.at(put_number(1, self.text(key)) + put_bytes(2, value)))
        for key, column in zip(TEXTS, (lanes.process_name, lanes.thread_name, lanes.task), strict=True):
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


def written(profile: Profile, resource: Mapping[str, str] | None = None) -> bytes:
    """The content of a file: `ProfilesData`, and as well the request that a collector takes; `resource` says whose profile it is."""
    return _Writer(profile, resource or {}).build()
