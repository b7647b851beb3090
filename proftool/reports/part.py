"""What lies below one node, as a profile of its own: the chain of its callers, it, and all below; only what lies below has values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proftool.errors import ReportError
from proftool.model.builder import table
from proftool.model.profile import ROOT, Nodes, Profile
from proftool.model.regroup import moved
from proftool.model.tree import Tree
from proftool.reports.compact import compact


def below(profile: Profile, tree: Tree, node: int) -> tuple[Profile, NDArray[np.int32]]:
    """
    The part and, for each of its nodes, the node of `profile` that it is, shape (n_nodes of the part,).

    Args:
        tree: `Tree.of(profile)`; a server that makes many parts keeps it.

    Raises:
        ReportError: there is no such node.
    """
    parent = profile.nodes.parent
    if not 0 <= node < len(parent):
        raise ReportError(f"no node {node}", cause=f"the profile has {len(parent):,} calling contexts", fix="go back to the whole")
    inside = (tree.start >= tree.start[node]) & (tree.start < tree.end[node])
    keep = inside.copy()
    at = node
    while at != ROOT:
        keep[at] = True
        at = int(parent[at])
    # A subset that holds the parents of all its nodes keeps their order, and with it all that is promised of nodes.
    kept = np.flatnonzero(keep).astype(np.int32)
    row = np.full(len(parent) + 1, ROOT, np.int32)
    row[kept] = np.arange(len(kept), dtype=np.int32)
    nodes = table(Nodes, {"parent": row[parent[kept]], "frame": profile.nodes.frame[kept]})
    part = moved(profile, nodes, np.where(inside, row[:-1], ROOT).astype(np.int32))
    # With the names of the whole, the page of a single leaf was as large as that of 20,000, and no bound below that held.
    return compact(part)[0], kept


def names(profile: Profile, node: int) -> tuple[str, ...]:
    """Names of the functions from the root down to the node."""
    found: list[str] = []
    while node != ROOT:
        function = int(profile.frames.function[profile.nodes.frame[node]])
        found.append(profile.text(int(profile.functions.qualname[function])))
        node = int(profile.nodes.parent[node])
    return tuple(reversed(found))
