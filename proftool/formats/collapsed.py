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

from proftool.formats.identity import Identifier, bare_name, spelled, spelled_file
from proftool.formats.limits import MAX_FILE_BYTES, MAX_STACK_DEPTH, MAX_VALUE, corrupt, entered, refuse_unreadable, too_large
from proftool.formats.loss import losses
from proftool.formats.stacks import stack_tree
from proftool.model.builder import ProfileBuilder, finish
from proftool.model.meta import Meta, Pass
from proftool.model.profile import SAMPLES, Cells, Int32Array, Int64Array, Kind, Metric, MetricKind, Nodes, Profile, ints
from proftool.units import Unit

_CHUNK_BYTES = 1 << 20
_TABLE_BITS = 18
_MASKS = np.array([(1 << 8 * n) - 1 for n in range(9)], np.uint64)
_NEWLINE, _SEMICOLON, _SPACE, _RETURN, _ZERO = b"\n; \r0"
_BINARY = re.compile(rb"[\0-\x08\x0e-\x1f]")
_NO_FRAMES = "(no frames)"
"""py-spy writes a thread that was seen without any frame as an empty stack; its samples count too."""

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
        return bool(lines) and not _BINARY.search(head) and all(_is_stack(line) for line in lines)

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
        inside = at[active] >= starts[active]
        done = inside & (byte == _SPACE) & (digit > 0)
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
        name, file, line = _placed(text)
        if text in ("", _NO_FRAMES):
            function = builder.function(_NO_FRAMES, name=_NO_FRAMES, kind=Kind.SYNTHETIC)
        elif file:
            function = identifier.function(builder, file=file, line=line, name=bare_name(name), qualname=name)
        else:
            function, line = identifier.function(builder, file="", line=None, name=text), 0
        frame_rows[number] = builder.frame(function, line)
    base = builder.build(Meta(passes=(Pass(mode="sample", backend="collapsed", samples=total),), source="collapsed"))
    parent, frame, leaf = stack_tree(frame_rows[stacks.numbers], stacks.lengths, "collapsed", path)
    values = _by_node(leaf, stacks.counts, len(parent))
    node = np.flatnonzero(values)
    zeros = np.zeros(len(node), np.int32)
    cells = Cells(node=node.astype(np.int32), lane=zeros, metric=zeros, value=values[node])
    return finish(replace(base, nodes=Nodes(parent=parent, frame=frame), cells=cells))


def _is_stack(line: bytes) -> bool:
    stack, space, count = line.removesuffix(b"\r").rpartition(b" ")
    return bool(space) and count.isdigit() and (not stack or bool(stack.strip(b"; \t")))


def _placed(text: str) -> tuple[str, str, int]:
    """Name, file and line of `name (file:line)`; the whole text, no file and 0 where it is not of that form."""
    if text.endswith(")"):
        place, _, line = text[:-1].rpartition(":")
        name, opens, file = place.rpartition(" (")
        if opens and file and len(line) < 10 and line.isascii() and line.isdigit():
            return name, file, int(line)
    return text, "", 0


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
    texts: list[str] = []
    for function, line in zip(ints(profile.frames.function), ints(profile.frames.line), strict=True):
        name, file = spelled(profile, function), spelled_file(profile, function)
        text = f"{name} ({file}:{line})" if file else name
        texts.append(text.replace(";", ":").replace("\n", " ").replace("\r", " ") or _NO_FRAMES)
    return texts
