"""Collapsed stacks: one stack a line, outermost first, `main (app.py:3);run (app.py:9) 12`; the lingua franca of flame graphs.

A frame is `name (file:line)`, as py-spy writes it, or any text, which is then its name. The number behind the last space is a
count of samples. A name is taken for the tool's own full name of the function: frames that share name and file are one
function. Threads, time and units are not in the format.

Reading is arithmetic on whole chunks, no object a frame and none a node. Every frame gets a 64-bit hash from prefix sums of
its bytes (H[end] - H[start], shifted to a common place; the multiplier is odd and drawn by process), a table of hashes gives its
number, and only a frame never seen before is looked at as text. Nodes are made level by level; a stack's start that it shares
with the line before costs a comparison of numbers.
Frames longer than 512 bytes are compared as bytes: only longer ones can be made to collide for every multiplier (the
Thue-Morse strings of 1024 bytes and more); for others two of a million frames collide with a chance of 1 in 10**7.

Source: Brendan Gregg's stackcollapse scripts; rolling hashes as of Rabin and Karp.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from proftool.formats.identity import Identifier
from proftool.formats.limits import MAX_FILE_BYTES, MAX_NODES, MAX_STACK_DEPTH, MAX_VALUE, corrupt, entered, refuse_unreadable, too_large
from proftool.formats.loss import losses
from proftool.model.builder import ProfileBuilder, finish, sum_cells
from proftool.model.meta import Meta, Pass
from proftool.model.profile import SAMPLES, Cells, Int32Array, Int64Array, Metric, MetricKind, Nodes, Profile, ints
from proftool.units import Unit

_CHUNK_BYTES = 4 << 20
_LONG_FRAME_BYTES = 512
_TABLE_BITS = 18
_MULTIPLIER = int.from_bytes(os.urandom(8), "little") | 0x5_0000_0000_0000_0005
_INVERSE = pow(_MULTIPLIER, -1, 1 << 64)
_NEWLINE, _SEMICOLON, _SPACE, _RETURN, _ZERO = b"\n; \r0"
_PLACED = re.compile(r"(.*) \((.+):(\d{1,9})\)", re.DOTALL)
_BINARY = re.compile(rb"[\0-\x08\x0e-\x1f]")
_STACK = re.compile(rb"(?:[^\0]*[^\0\s;][^\0]*)? \d+\r?")

UInt64Array = NDArray[np.uint64]


class Collapsed:
    """The format object."""

    name = "collapsed"
    suffixes = (".collapsed", ".folded", ".txt")

    def matches(self, head: bytes) -> bool:
        """Is every whole line a stack and a count?"""
        if len(head) >= 4096 and b"\n" not in head:
            return b";" in head and not _BINARY.search(head)  # one stack that is longer than what is looked at
        lines = [line for line in (head.split(b"\n")[:-1] if len(head) >= 4096 else head.split(b"\n")) if line.strip()]
        return bool(lines) and all(_STACK.fullmatch(line) for line in lines)

    def read(self, path: Path) -> Profile:
        """The stacks as a tree with one lane and the metric `samples`."""
        try:
            with path.open("rb") as stream:
                if path.stat().st_size > MAX_FILE_BYTES:
                    raise too_large(self.name, f"it has more than {MAX_FILE_BYTES >> 30} GiB", path)
                stacks = _read(stream, path)
        except OSError as error:
            refuse_unreadable(path, self.name, error)
        return entered(_profile(stacks, path), self.name, path)

    def write(self, profile: Profile) -> bytes:
        """One line a node with a value, in the tree's order."""
        metric = _written(profile)
        if metric is None:
            return b""
        c = profile.cells
        rows = c.metric == metric
        values = _by_node(c.node[rows], c.value[rows], len(profile.nodes))
        labels = _labels(profile)
        lines: list[str] = []
        prefix: dict[int, str] = {}
        parent, frame = ints(profile.nodes.parent), ints(profile.nodes.frame)
        has_children = np.zeros(len(profile.nodes) + 1, bool)
        has_children[profile.nodes.parent] = True
        for node, value in enumerate(values.tolist()):
            up = parent[node]
            text = labels[frame[node]] if up < 0 else f"{prefix[up]};{labels[frame[node]]}"
            if has_children[node]:
                prefix[node] = text
            if value > 0:
                lines.append(f"{text} {value}\n")
        return "".join(lines).encode("utf-8", "surrogateescape")

    def lost(self, profile: Profile) -> tuple[str, ...]:
        """Everything but stacks and one metric."""
        metric = _written(profile)
        kept = () if metric is None else (profile.metrics[metric].name,)
        return losses(profile, self.name, metrics=kept, unit=kept != ("samples",))


format = Collapsed()


@dataclass(frozen=True, slots=True, eq=False)
class _Stacks:
    """All lines: frames by first appearance, and per line the number of its frames, these frames' numbers and its count."""

    frames: list[bytes]
    lengths: Int64Array
    numbers: Int32Array
    counts: Int64Array


def _read(stream: BinaryIO, path: Path) -> _Stacks:
    frames = _FrameTable()
    lengths: list[Int64Array] = []
    numbers: list[Int32Array] = []
    counts: list[Int64Array] = []
    line = 1
    for chunk in _chunks(stream, path):
        data = np.frombuffer(chunk, np.uint8)
        starts, ends, n_lines = _lines(data)
        stops, values, wrong = _counts(data, starts, ends)
        if wrong >= 0:
            at = line + int(np.count_nonzero(data[: starts[wrong]] == _NEWLINE))
            text = chunk[starts[wrong] : ends[wrong]][-80:].decode("utf-8", "replace")
            raise corrupt("collapsed", f"line {at} is no stack with a whole count of samples behind it: `{text}`", path)
        # One token a frame: they end at a `;` within a stack or at the stack's end.
        semicolons = np.flatnonzero(data == _SEMICOLON)
        place = np.searchsorted(starts, semicolons, side="right") - 1
        semicolons = semicolons[(place >= 0) & (semicolons < stops[place])] if len(semicolons) else semicolons
        token_ends = np.concatenate([semicolons, stops])
        token_ends.sort()
        last = np.searchsorted(token_ends, stops)
        first = np.concatenate([[0], last[:-1] + 1]) if len(last) else last
        token_starts = np.empty_like(token_ends)
        token_starts[1:] = token_ends[:-1] + 1
        token_starts[first] = starts
        depths = last - first + 1
        if len(depths) and int(depths.max()) > MAX_STACK_DEPTH:
            raise too_large("collapsed", f"a stack has more than {MAX_STACK_DEPTH:,} frames", path)
        numbers.append(frames.numbers(chunk, data, token_starts, token_ends))
        lengths.append(depths)
        counts.append(values)
        line += n_lines
    if not counts:
        raise corrupt("collapsed", "it holds no stack", path)
    return _Stacks(frames.texts, np.concatenate(lengths), np.concatenate(numbers), np.concatenate(counts))


def _chunks(stream: BinaryIO, path: Path) -> Iterator[bytes]:
    """Whole lines, about `_CHUNK_BYTES` at a time; the last one gets a line end."""
    rest = b""
    while block := stream.read(_CHUNK_BYTES):
        end = block.rfind(b"\n")
        if end < 0:
            rest += block
            if len(rest) > 64 * _CHUNK_BYTES:
                raise too_large("collapsed", f"a line has more than {len(rest) >> 20} MiB", path)
            continue
        yield rest + block[: end + 1]
        rest = block[end + 1 :]
    if rest:
        yield rest + b"\n"


def _lines(data: NDArray[np.uint8]) -> tuple[Int64Array, Int64Array, int]:
    """Start and end of every line that is not blank, without line ends, and the number of all lines."""
    ends = np.flatnonzero(data == _NEWLINE)
    n_lines = len(ends)
    starts = np.concatenate([[0], ends[:-1] + 1])
    ends = ends - ((ends > starts) & (data[ends - 1] == _RETURN))
    keep = ends > starts
    return starts[keep], ends[keep], n_lines


def _counts(data: NDArray[np.uint8], starts: Int64Array, ends: Int64Array) -> tuple[Int64Array, Int64Array, int]:
    """Where each stack stops, its count, and the first line that has none (-1 for none)."""
    values = np.zeros(len(starts), np.int64)
    stops = np.full(len(starts), -1, np.int64)
    active = np.arange(len(starts))
    at = ends - 1
    factor = 1
    for digit in range(17):
        byte = data[np.maximum(at[active], 0)].astype(np.int64)
        inside = at[active] > starts[active]
        # A line may begin with the space: py-spy writes a thread without Python frames as an empty stack.
        done = (at[active] >= starts[active]) & (byte == _SPACE) & (digit > 0)
        stops[active[done]] = at[active[done]]
        goes_on = inside & (byte >= _ZERO) & (byte <= _ZERO + 9) & (digit < 16)
        active, byte = active[goes_on], byte[goes_on]
        if not len(active):
            break
        values[active] += (byte - _ZERO) * factor
        factor *= 10
        at[active] -= 1
    wrong = np.flatnonzero((stops < 0) | (values > MAX_VALUE))
    return stops, values, int(wrong[0]) if len(wrong) else -1


class _FrameTable:
    """Numbers the distinct frames by first appearance."""

    def __init__(self) -> None:
        self.texts: list[bytes] = []
        self._known: dict[bytes, int] = {}
        self._hash_table = np.zeros(1 << _TABLE_BITS, np.uint64)
        self._number_table = np.full(1 << _TABLE_BITS, -1, np.int32)
        self._by_hash: dict[int, int] = {}
        self._powers = np.zeros(0, np.uint64)
        self._inverses = np.zeros(0, np.uint64)

    def numbers(self, chunk: bytes, data: NDArray[np.uint8], starts: Int64Array, ends: Int64Array) -> Int32Array:
        """The number of each frame `chunk[start:end]`."""
        hashes = self._hashes(data, starts, ends)
        slots = (hashes >> np.uint64(64 - _TABLE_BITS)).astype(np.intp)
        result = np.where(self._hash_table[slots] == hashes, self._number_table[slots], np.int32(-1))
        long = np.flatnonzero(ends - starts > _LONG_FRAME_BYTES)
        result[long] = [self._number(chunk[s:e]) for s, e in zip(starts[long].tolist(), ends[long].tolist(), strict=True)]
        missing = np.flatnonzero(result < 0)
        if len(missing):
            unique, first, inverse = np.unique(hashes[missing], return_index=True, return_inverse=True)
            found = np.empty(len(unique), np.int32)
            for i in np.argsort(first).tolist():
                at = int(missing[first[i]])
                value = int(unique[i])
                number = self._by_hash.get(value)
                if number is None:
                    number = self._by_hash[value] = self._number(chunk[starts[at] : ends[at]])
                found[i] = number
            slot = (unique >> np.uint64(64 - _TABLE_BITS)).astype(np.intp)
            self._hash_table[slot], self._number_table[slot] = unique, found
            # Two new hashes of one slot: numpy keeps the last of both columns, so that a slot is never of two minds.
            result[missing] = found[inverse]
        return result

    def _number(self, text: bytes) -> int:
        number = self._known.setdefault(text, len(self.texts))
        if number == len(self.texts):
            self.texts.append(text)
        return number

    def _hashes(self, data: NDArray[np.uint8], starts: Int64Array, ends: Int64Array) -> UInt64Array:
        n = len(data)
        if n + 1 > len(self._powers):
            self._powers, self._inverses = _powers(_MULTIPLIER, n + 1), _powers(_INVERSE, n + 1)
        sums = np.empty(n + 1, np.uint64)
        sums[0] = 0
        # One more than the byte, so that the length counts too.
        np.cumsum(self._powers[:n] * (data + np.uint64(1)), out=sums[1:])
        return (sums[ends] - sums[starts]) * self._inverses[starts]


def _powers(base: int, n: int) -> UInt64Array:
    """base**0 .. base**(n - 1) modulo 2**64, by doubling."""
    result = np.ones(n, np.uint64)
    size = 1
    while size < n:
        step = min(size, n - size)
        result[size : size + step] = result[:step] * np.uint64(pow(base, size, 1 << 64))
        size += step
    return result


def _profile(stacks: _Stacks, path: Path) -> Profile:
    metric = Metric(name=SAMPLES.name, unit=Unit.COUNT, kind=MetricKind.FLOW, mode="sample")
    identifier = Identifier(sources=False)
    total = sum(int(part) for part in stacks.counts.astype(object)[:0]) + int(stacks.counts.astype(np.float64).sum())
    if total > MAX_VALUE:
        raise too_large("collapsed", "its counts add up to more than 2**53", path)
    builder = ProfileBuilder([metric])
    builder.lane(is_main=True)
    frame_rows = np.empty(len(stacks.frames), np.int32)
    for number, encoded in enumerate(stacks.frames):
        text = encoded.decode("utf-8", "surrogateescape")
        name, file, line = text, "", 0
        if placed := _PLACED.fullmatch(text):
            name, file, line = placed[1], placed[2], int(placed[3])
        if file and line < 1 << 31:
            bare = name.rpartition(".")[2]
            function = identifier.function(builder, file=file, line=line, name=bare or name, qualname=name)
        else:
            function, line = builder.function(name or "(unnamed)", name=name or "(unnamed)"), 0
        frame_rows[number] = builder.frame(function, line)
    base = builder.build(Meta(passes=(Pass(mode="sample", backend="collapsed", samples=total),), source="collapsed"))
    parent, frame, leaf = _tree(stacks, frame_rows, path)
    zeros = np.zeros(len(leaf), np.int32)
    cells = sum_cells(Cells(node=leaf, lane=zeros, metric=zeros, value=stacks.counts))
    from dataclasses import replace

    return finish(replace(base, nodes=Nodes(parent=parent, frame=frame), cells=cells))


def _tree(stacks: _Stacks, frame_rows: Int32Array, path: Path) -> tuple[Int32Array, Int32Array, Int32Array]:
    """Parent and frame of every node, level by level, and each line's node."""
    labels = frame_rows[stacks.numbers]
    n_lines = len(stacks.lengths)
    begin = np.cumsum(stacks.lengths) - stacks.lengths
    shared = _shared(labels, begin, stacks.lengths)
    n_labels = int(labels.max()) + 1
    place = np.full(n_lines, -1, np.int32)
    active = np.arange(n_lines)
    parents: list[Int32Array] = []
    frames: list[Int32Array] = []
    n_nodes = depth = 0
    while len(active):
        # Lines that part from the one before at this level or earlier; the others are where the line before is.
        fresh = shared[active] <= depth
        lines = active[fresh]
        keys = (place[lines].astype(np.int64) + 1) * n_labels + labels[begin[lines] + depth]
        unique, inverse = np.unique(keys, return_inverse=True)
        leader = np.cumsum(fresh) - 1
        place[active] = (inverse + n_nodes).astype(np.int32)[leader]
        parents.append((unique // n_labels - 1).astype(np.int32))
        frames.append((unique % n_labels).astype(np.int32))
        n_nodes += len(unique)
        if n_nodes > MAX_NODES:
            raise too_large("collapsed", f"it has more than {MAX_NODES:,} different stacks", path)
        depth += 1
        active = active[stacks.lengths[active] > depth]
    return np.concatenate(parents), np.concatenate(frames), place


def _shared(labels: Int32Array, begin: Int64Array, lengths: Int64Array) -> Int64Array:
    """Frames from the start that each line has in common with the line before; 0 for the first."""
    n = len(labels)
    shared = np.zeros(len(lengths), np.int64)
    block = 1 << 16
    for low in range(1, len(lengths), block):
        high = min(low + block, len(lengths))
        limit = np.minimum(lengths[low:high], lengths[low - 1 : high - 1])
        offsets = np.cumsum(limit) - limit
        token = np.arange(int(limit.sum())) - np.repeat(offsets, limit)
        a = np.repeat(begin[low:high], limit) + token
        b = np.repeat(begin[low - 1 : high - 1], limit) + token
        differs = np.flatnonzero(labels[a] != labels[b]) if n else np.zeros(0, np.int64)
        place = np.searchsorted(differs, offsets)
        first = np.where(place < len(differs), differs[np.minimum(place, max(len(differs) - 1, 0))] if len(differs) else 0, len(token))
        shared[low:high] = np.minimum(first - offsets, limit)
    return shared


def _written(profile: Profile) -> int | None:
    """Column of the metric that is written: samples where there are any, else the first."""
    if not profile.metrics:
        return None
    return profile.metric_index("samples") if profile.has_metric("samples") else 0


def _by_node(node: Int32Array, value: Int64Array, n_nodes: int) -> Int64Array:
    result = np.zeros(n_nodes, np.int64)
    np.add.at(result, node, value)
    return result


def _labels(profile: Profile) -> list[str]:
    """The text of every frame. `;` and line ends, which would cut the stack, become `:` and spaces."""
    f, s = profile.functions, profile.strings
    texts: list[str] = []
    for function, line in zip(profile.frames.function.tolist(), profile.frames.line.tolist(), strict=True):
        name, file = s[f.qualname[function]] or s[f.name[function]], s[f.file[function]]
        text = f"{name} ({file}:{line})" if file else name
        texts.append(text.replace(";", ":").replace("\n", " ").replace("\r", " ") or "(unnamed)")
    return texts
