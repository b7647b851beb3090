"""Many stacks as one tree: numbers of frames, outermost first, one stack behind the other -> parents, frames and each stack's node.

Arithmetic on whole columns, level by level, no object a frame and none a node; what a stack shares with the one before costs a
comparison of numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from proftool.formats.limits import MAX_NODES, too_large
from proftool.model.profile import Int32Array, Int64Array

_DEEP = 12
_MANY = 1 << 20
_MULTIPLIER = 0x9E37_79B9_7F4A_7C15


def stack_tree(
    labels: Int32Array, lengths: Int64Array, format: str, path: Path, *, innermost_first: bool = False
) -> tuple[Int32Array, Int32Array, Int32Array]:
    """
    Parent and frame of every node, and the node of every stack.

    Args:
        labels: frames of all stacks, one stack behind the other.
        lengths: frames of each stack, at least one.

    Raises:
        LimitExceeded: more than MAX_NODES nodes.
    """
    n_stacks = len(lengths)
    begin = np.cumsum(lengths) - lengths
    if innermost_first:
        # Turned round as a whole, each stack is outermost first, and the first one stands last.
        labels, begin = labels[::-1], len(labels) - begin - lengths
    order = None
    if len(labels) > _DEEP * n_stacks and len(labels) > _MANY:
        some = slice(n_stacks // 2, n_stacks // 2 + (1 << 14))
        if 2 * int(_shared(labels, begin[some], lengths[some]).sum()) < int(lengths[some].sum()):
            # As they come, most of a stack is not what the one before has: in another order it may be.
            order = _alike(labels, begin, lengths)
            begin, lengths = begin[order], lengths[order]
    shared = _shared(labels, begin, lengths)
    n_labels = int(labels.max()) + 1
    place = np.full(n_stacks, -1, np.int32)
    active = np.arange(n_stacks)
    parents: list[Int32Array] = []
    frames: list[Int32Array] = []
    n_nodes = depth = 0
    while len(active):
        # Stacks that part from the one before at this level or earlier; the others are where the one before is.
        fresh = shared[active] <= depth
        parting = active[fresh]
        keys = (place[parting].astype(np.int64) + 1) * n_labels + labels[begin[parting] + depth]
        first, inverse = groups(keys)
        unique = keys[first]
        place[active] = (inverse + n_nodes).astype(np.int32)[np.cumsum(fresh) - 1]
        parents.append((unique // n_labels - 1).astype(np.int32))
        frames.append((unique % n_labels).astype(np.int32))
        n_nodes += len(unique)
        if n_nodes > MAX_NODES:
            raise too_large(format, f"it has more than {MAX_NODES:,} different stacks", path)
        depth += 1
        active = active[lengths[active] > depth]
    if order is not None:
        leaf = np.empty_like(place)
        leaf[order] = place
        place = leaf
    return np.concatenate(parents), np.concatenate(frames), place


def _alike(labels: Int32Array, begin: Int64Array, lengths: Int64Array) -> Int64Array:
    """An order in which stacks that begin alike mostly stand together: by hashes of 16 bits of their first 4, 8, 16 and 24 frames.

    It saves work and decides nothing, so that a collision costs time alone. 1.1 million stacks of 27 frames: 24 million frames differ from
    those of the stack before as they come, 4 million in this order.
    """
    n, block = len(lengths), 1 << 14
    key = np.empty(n, np.uint64)
    for low in range(0, n, block):
        start, size = begin[low : low + block], lengths[low : low + block]
        mixed = np.zeros(len(start), np.uint64)
        found = np.zeros(len(start), np.uint64)
        for depth in range(24):
            label = labels[np.minimum(start + depth, len(labels) - 1)].astype(np.uint64)
            label[size <= depth] = 0
            mixed = (mixed + label + np.uint64(1)) * np.uint64(_MULTIPLIER)
            if depth in (3, 7, 15, 23):
                found = (found << np.uint64(16)) | (mixed >> np.uint64(48))
        key[low : low + block] = found
    return np.argsort(key, kind="stable")


def groups(keys: Int64Array) -> tuple[Int64Array, Int64Array]:
    """Where each distinct key stands first, and for every key the place of its own in that list.

    By hashing: every key writes its row into a slot, and those that find an equal key there are one group. Rows that lost
    their slot to another key go round again with another multiplier. Sorting a million keys takes three times as long.
    """
    n = len(keys)
    leader = np.empty(n, np.int32)
    rest = np.arange(n, dtype=np.int32)
    multiplier = _MULTIPLIER
    while len(rest):
        bits = len(rest).bit_length() + 1
        own = keys[rest]
        slot = ((own.view(np.uint64) * np.uint64(multiplier)) >> np.uint64(64 - bits)).astype(np.intp)
        table = np.empty(1 << bits, np.int32)
        table[slot[::-1]] = rest[::-1]
        found = table[slot]
        fits = keys[found] == own
        leader[rest[fits]] = found[fits]
        rest = rest[~fits]
        multiplier = (multiplier * 0xD134_2543_DE82_EF95 + 2) % (1 << 64) | 1
    leads = leader == np.arange(n, dtype=np.int32)
    return np.flatnonzero(leads), (np.cumsum(leads, dtype=np.int32) - 1)[leader].astype(np.int64)


def row_groups(columns: Sequence[Int64Array]) -> tuple[Int64Array, Int64Array]:
    """The same for rows of several columns, at least one."""
    first, inverse = groups(columns[0])
    for column in columns[1:]:
        own_first, own = groups(column)
        first, inverse = groups(inverse * len(own_first) + own)
    return first, inverse


def _shared(labels: Int32Array, begin: Int64Array, lengths: Int64Array) -> Int64Array:
    """Frames from the start that each stack has in common with the one before; 0 for the first."""
    n = len(labels)
    shared = np.zeros(len(lengths), np.int64)
    block = 1 << 12  # what is made of it stays in the processor's cache
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
