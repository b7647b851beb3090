"""One profile on another tree: nodes are hidden, renamed or joined, and every value follows to where its node went.

All of transform.py rests on two steps: `reshape` finds the new tree and the place of each old node in it, `moved` carries
cells, samples and intervals over. Values whose node has no place are dropped: a filter never creates time.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from proftool.model.align import align
from proftool.model.builder import sum_cells, table, with_tables
from proftool.model.profile import ROOT, Cells, Frames, Functions, Int32Array, Intervals, Nodes, Profile, Samples
from proftool.model.tree import Tree

Mask = NDArray[np.bool_]


def reshape(profile: Profile, keep: Mask, label: Int32Array) -> tuple[Nodes, Int32Array]:
    """
    The tree of the kept nodes, each with the frame `label`; children of others move up to the nearest kept ancestor.

    Siblings that carry the same label become one node.

    Args:
        keep, label: shape (n_nodes,).

    Returns:
        the nodes, and for every old node its place among them: its own, else that of the nearest kept ancestor, else `ROOT`.
    """
    parent = profile.nodes.parent
    n = len(parent)
    near = nearest(parent, keep)
    kept = np.flatnonzero(keep)
    row = np.full(n + 1, ROOT, np.int32)
    row[kept] = np.arange(len(kept), dtype=np.int32)
    up = parent[kept]
    up = row[np.where(up == ROOT, ROOT, near[up])]
    union = align([Tree.from_parents(up)], [label[kept]])
    nodes = table(Nodes, {"parent": union.parent, "frame": union.label})
    where = np.append(union.places[0], np.int32(ROOT))
    return nodes, where[row[near]].astype(np.int32)


def nearest(parent: Int32Array, keep: Mask) -> Int32Array:
    """The node itself where kept, else its nearest kept ancestor, else `ROOT`; shape (n_nodes,)."""
    n = len(parent)
    jump = np.append(np.where(keep, np.arange(n, dtype=np.int32), parent), np.int32(n))
    jump[jump == ROOT] = n
    # Pointer doubling: kept nodes point to themselves, so each pass doubles how far the others have looked up.
    while True:
        further = jump[jump]
        if np.array_equal(further, jump):
            break
        jump = further
    near = jump[:n].astype(np.int32)
    near[near == n] = ROOT
    return near


def moved(
    profile: Profile,
    nodes: Nodes,
    place: Int32Array,
    frames: Frames | None = None,
    functions: Functions | None = None,
    strings: tuple[str, ...] | None = None,
) -> Profile:
    """The profile on other nodes; `place[i]` is where the values of node i belong, `ROOT` drops them."""
    tables = {
        "nodes": nodes,
        "cells": _moved_cells(profile.cells, place),
        "samples": _kept(Samples, profile.samples, place),
        "intervals": _kept(Intervals, profile.intervals, place),
        "frames": frames if frames is not None else profile.frames,
        "functions": functions if functions is not None else profile.functions,
    }
    return with_tables(profile, tables, strings=strings)


def _moved_cells(cells: Cells, place: Int32Array) -> Cells:
    return sum_cells(_kept(Cells, cells, place))


R = TypeVar("R", Cells, Samples, Intervals)


def _kept(kind: type[R], rows: R, place: Int32Array) -> R:
    node = place[rows.node]
    keep = node != ROOT
    columns = dict(rows.columns()) | {"node": node}
    if not keep.all():
        columns = {name: column[keep] for name, column in columns.items()}
    return table(kind, columns)
