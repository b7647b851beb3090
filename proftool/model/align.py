"""One union tree for several trees: where does each node of each profile lie in it?

Goes down level by level: nodes whose parents fell together and that carry the same label are one node of the union. The
label of a node is whatever the caller compares by (a function, a frame), numbered alike over all trees. O(n log n) in
numpy; two trees of a million nodes take about 0.4 s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from proftool.model.keys import unique_rows
from proftool.model.profile import ROOT, Int32Array
from proftool.model.tree import Tree


@dataclass(frozen=True, slots=True, eq=False)
class Union:
    """`parent` and `label` of the union's nodes (parent-first), and per tree the union node of each of its nodes."""

    parent: Int32Array
    label: Int32Array
    places: tuple[Int32Array, ...]


def align(trees: Sequence[Tree], labels: Sequence[Int32Array]) -> Union:
    """The union of trees by (place of the parent, label)."""
    places = [np.full(len(label), -1, np.int32) for label in labels]
    parents: list[Int32Array] = []
    names: list[Int32Array] = []
    none = np.zeros(0, np.int64)
    above = n_nodes = 0
    for depth in range(max((len(tree.levels) - 1 for tree in trees), default=0)):
        levels = [tree.by_depth[tree.levels[depth] : tree.levels[depth + 1]] if depth < len(tree.levels) - 1 else none for tree in trees]
        # Parents of this level are the union nodes of the one above, so counting from its first keeps keys short.
        ups = [
            place[tree.parent[level]] - above if depth else np.zeros(len(level), np.int32)
            for tree, level, place in zip(trees, levels, places, strict=True)
        ]
        up, name = np.concatenate(ups), np.concatenate([label[level] for level, label in zip(levels, labels, strict=True)])
        first, group = unique_rows((up, name))
        group += n_nodes
        offset = 0
        for level, place in zip(levels, places, strict=True):
            place[level] = group[offset : offset + len(level)]
            offset += len(level)
        parents.append(up[first] + np.int32(above) if depth else np.full(len(first), ROOT, np.int32))
        names.append(name[first])
        above = n_nodes
        n_nodes += len(first)
    empty = [np.zeros(0, np.int32)]
    return Union(np.concatenate(parents or empty), np.concatenate(names or empty), tuple(places))
