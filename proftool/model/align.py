"""One union tree for several trees: where does each node of each profile lie in it?

Goes down level by level: nodes whose parents fell together and that carry the same label are one node of the union. The
label of a node is whatever the caller compares by (a function, a frame), numbered alike over all trees. O(n log n) in
numpy; two trees of a million nodes take about 0.4 s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from proftool.model.profile import FunctionKey, Int32Array, Int64Array, Profile, function_keys
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
    parents: list[Int64Array] = []
    names: list[Int64Array] = []
    n_nodes = 0
    n_labels = 1 + max((int(label.max()) for label in labels if len(label)), default=0)
    for depth in range(max((len(tree.levels) - 1 for tree in trees), default=0)):
        levels = [t.by_depth[t.levels[depth] : t.levels[depth + 1]] if depth < len(t.levels) - 1 else np.zeros(0, np.int64) for t in trees]
        ups = [
            place[t.parent[level]].astype(np.int64) if depth else np.full(len(level), -1, np.int64)
            for t, level, place in zip(trees, levels, places, strict=True)
        ]
        keys = np.concatenate([(up + 1) * n_labels + label[level] for up, level, label in zip(ups, levels, labels, strict=True)])
        unique, inverse = np.unique(keys, return_inverse=True)
        found = (inverse + n_nodes).astype(np.int32)
        offset = 0
        for level, place in zip(levels, places, strict=True):
            place[level] = found[offset : offset + len(level)]
            offset += len(level)
        parents.append(unique // n_labels - 1)
        names.append(unique % n_labels)
        n_nodes += len(unique)
    empty = [np.zeros(0, np.int64)]
    return Union(np.concatenate(parents or empty).astype(np.int32), np.concatenate(names or empty).astype(np.int32), tuple(places))


def common_functions(profiles: Sequence[Profile]) -> tuple[list[FunctionKey], list[Int32Array]]:
    """Every function key of the profiles once, and per profile the place of each of its functions in that list."""
    known: dict[FunctionKey, int] = {}
    maps = [np.array([known.setdefault(key, len(known)) for key in function_keys(p)], np.int32) for p in profiles]
    return list(known), maps
