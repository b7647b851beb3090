"""Collapsed stacks: one stack a line, outermost first, `main (app.py:3);run (app.py:9) 12`; the lingua franca of flame graphs.

A frame is `name (file:line)`, as py-spy writes it, or any text, which is then its name. The number behind the last space is a
count of samples. A name is taken for the tool's own full name of the function: frames that share name and file are one
function. Threads, time and units are not in the format.

Reading is arithmetic on whole chunks, no object a frame and none a node. Every frame gets a hash of 64 bits (eight bytes a
step, seeds drawn anew for every file, so that no file can be made to collide); a table of hashes gives its number, and only
a frame never seen before is looked at as text. Two of a million different frames collide with a chance of 1 in 10**7.
Nodes are made level by level; what a stack shares with the line before costs a comparison of numbers.

Source: Brendan Gregg's stackcollapse scripts.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from proftool.formats.identity import Identifier, bare_name, spelled
from proftool.formats.limits import MAX_FILE_BYTES, MAX_NODES, MAX_STACK_DEPTH, MAX_VALUE, corrupt, entered, refuse_unreadable, too_large
from proftool.formats.loss import losses
from proftool.model.builder import ProfileBuilder, finish
from proftool.model.meta import Meta, Pass
from proftool.model.profile import SAMPLES, Cells, Int32Array, Int64Array, Metric, MetricKind, Nodes, Profile, ints
from proftool.units import Unit

_CHUNK_BYTES = 1 << 20
_TABLE_BITS = 18
_MASKS = np.array([(1 << 8 * n) - 1 for n in range(9)], np.uint64)
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
        prefix: dict[int, str] = {-1: ""}
        parent, frame = ints(profile.nodes.parent), ints(profile.nodes.frame)
        has_children = np.zeros(len(profile.nodes) + 1, bool)
        has_children[profile.nodes.parent] = True
        for node, value in enumerate(ints(values)):
            text = prefix[parent[node]] + labels[frame[node]]
            if has_children[node]:
                prefix[node] = f"{text};"
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
        marks = np.flatnonzero((data == _NEWLINE) | (data == _SEMICOLON))
        is_end = data[marks] == _NEWLINE
        ends = marks[is_end]
        starts = np.concatenate([[0], ends[:-1] + 1])
        ends = ends - ((ends > starts) & (data[ends - 1] == _RETURN))
        is_blank = ends == starts
        stops, values, wrong = _counts(data, starts, ends, is_blank)
        if wrong >= 0:
            text = chunk[starts[wrong] : ends[wrong]][-80:].decode("utf-8", "replace")
            raise corrupt("collapsed", f"line {line + wrong} is no stack with a whole count of samples behind it: `{text}`", path)
        # Every mark ends a frame: a `;` where it stands, a line end where the stack stops in front of the count.
        token_starts = np.concatenate([[0], marks[:-1] + 1])
        marks[is_end] = stops
        last = np.flatnonzero(is_end)
        depths = np.diff(last, prepend=-1)
        if is_blank.any():
            keep = np.repeat(~is_blank, depths)
            token_starts, marks = token_starts[keep], marks[keep]
            depths, values = depths[~is_blank], values[~is_blank]
        if len(depths) and int(depths.max()) > MAX_STACK_DEPTH:
            raise too_large("collapsed", f"a stack has more than {MAX_STACK_DEPTH:,} frames", path)
        numbers.append(frames.numbers(chunk, token_starts, marks))
        lengths.append(depths)
        counts.append(values)
        line += len(starts)
    if not any(len(part) for part in counts):
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


def _counts(
    data: NDArray[np.uint8], starts: Int64Array, ends: Int64Array, is_blank: NDArray[np.bool_]
) -> tuple[Int64Array, Int64Array, int]:
    """Where each stack stops, its count, and the first line that has none (-1 for none)."""
    values = np.zeros(len(starts), np.int64)
    stops = np.full(len(starts), -1, np.int64)
    active = np.flatnonzero(~is_blank)
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
    wrong = np.flatnonzero(((stops < 0) & ~is_blank) | (values > MAX_VALUE))
    return stops, values, int(wrong[0]) if len(wrong) else -1


class _FrameTable:
    """Numbers the distinct frames by first appearance."""

    def __init__(self) -> None:
        self.texts: list[bytes] = []
        self._known: dict[bytes, int] = {}
        self._hash_table = np.zeros(1 << _TABLE_BITS, np.uint64)
        self._number_table = np.full(1 << _TABLE_BITS, -1, np.int32)
        self._by_hash: dict[int, int] = {}
        self._seed, self._multiplier = (np.uint64(int.from_bytes(os.urandom(8), "little") | 1) for _ in range(2))

    def numbers(self, chunk: bytes, starts: Int64Array, ends: Int64Array) -> Int32Array:
        """The number of each frame `chunk[start:end]`."""
        hashes = self._hashes(chunk, starts, ends)
        slots = (hashes >> np.uint64(64 - _TABLE_BITS)).astype(np.intp)
        result = np.where(self._hash_table[slots] == hashes, self._number_table[slots], np.int32(-1))
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

    def _hashes(self, chunk: bytes, starts: Int64Array, ends: Int64Array) -> UInt64Array:
        """Eight bytes at a time, each word mixed in by a multiplication; the last word is masked to what is left."""
        words = np.ndarray((len(chunk) + 1,), "<u8", buffer=chunk + b"\0" * 8, strides=(1,))
        sizes = ends - starts
        hashes = sizes.astype(np.uint64) * self._seed
        active = np.arange(len(starts))
        at, left = starts, sizes
        while len(active):
            word = words[at] & _MASKS[np.minimum(left, 8)]
            mixed = (hashes[active] ^ word) * self._multiplier
            hashes[active] = mixed ^ (mixed >> np.uint64(32))
            more = left > 8
            if not more.all():
                active, at, left = active[more], at[more], left[more]
            at, left = at + 8, left - 8
        return hashes * self._multiplier


def _profile(stacks: _Stacks, path: Path) -> Profile:
    metric = Metric(name=SAMPLES.name, unit=Unit.COUNT, kind=MetricKind.FLOW, mode="sample")
    identifier = Identifier(sources=False)
    total = int(stacks.counts.astype(np.float64).sum())
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
            function = identifier.function(builder, file=file, line=line, name=bare_name(name), qualname=name)
        else:
            function, line = identifier.function(builder, file="", line=None, name=text), 0
        frame_rows[number] = builder.frame(function, line)
    base = builder.build(Meta(passes=(Pass(mode="sample", backend="collapsed", samples=total),), source="collapsed"))
    parent, frame, leaf = _tree(stacks, frame_rows, path)
    values = _by_node(leaf, stacks.counts, len(parent))
    node = np.flatnonzero(values)
    zeros = np.zeros(len(node), np.int32)
    cells = Cells(node=node.astype(np.int32), lane=zeros, metric=zeros, value=values[node])
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
        first, inverse = _groups(keys)
        unique = keys[first]
        place[active] = (inverse + n_nodes).astype(np.int32)[np.cumsum(fresh) - 1]
        parents.append((unique // n_labels - 1).astype(np.int32))
        frames.append((unique % n_labels).astype(np.int32))
        n_nodes += len(unique)
        if n_nodes > MAX_NODES:
            raise too_large("collapsed", f"it has more than {MAX_NODES:,} different stacks", path)
        depth += 1
        active = active[stacks.lengths[active] > depth]
    return np.concatenate(parents), np.concatenate(frames), place


def _groups(keys: Int64Array) -> tuple[Int64Array, Int64Array]:
    """Where each distinct key stands first, and for every key the place of its own in that list.

    By hashing: every key writes its row into a slot, and those that find an equal key there are one group. Rows that lost
    their slot to another key go round again with another multiplier. Sorting a million keys takes three times as long.
    """
    n = len(keys)
    leader = np.empty(n, np.int64)
    rest = np.arange(n)
    multiplier = 0x9E37_79B9_7F4A_7C15
    while len(rest):
        bits = len(rest).bit_length() + 1
        own = keys[rest]
        slot = ((own.view(np.uint64) * np.uint64(multiplier)) >> np.uint64(64 - bits)).astype(np.intp)
        table = np.empty(1 << bits, np.int64)
        table[slot[::-1]] = rest[::-1]
        found = table[slot]
        fits = keys[found] == own
        leader[rest[fits]] = found[fits]
        rest = rest[~fits]
        multiplier = (multiplier * 0xD134_2543_DE82_EF95 + 2) % (1 << 64) | 1
    leads = leader == np.arange(n)
    return np.flatnonzero(leads), (np.cumsum(leads) - 1)[leader]


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
    for function, line in zip(ints(profile.frames.function), ints(profile.frames.line), strict=True):
        name, file = spelled(profile, function), s[f.file[function]]
        text = f"{name} ({file}:{line})" if file else name
        texts.append(text.replace(";", ":").replace("\n", " ").replace("\r", " ") or "(unnamed)")
    return texts
