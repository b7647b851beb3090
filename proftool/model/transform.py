"""Pure views of a profile, each again a profile: by function, focused, hidden, collapsed, by module, leaf-first.

No view creates time: projections and `invert` keep every sum exactly, filters only drop. Each groups first and attaches
values after (regroup.py), so that neither a line nor a recursive call counts twice. Functions keep their rows, but in
`by_module`; caller-callee pairs are carried along where functions keep their rows, and dropped where they do not.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from proftool.model.align import align
from proftool.model.builder import rows_table, table, with_tables
from proftool.model.keys import unique_rows
from proftool.model.profile import (
    ROOT,
    Category,
    Edges,
    Frames,
    Functions,
    Int32Array,
    Kind,
    Nodes,
    Profile,
)
from proftool.model.regroup import Mask, moved, reshape
from proftool.model.tree import Tree, node_function


def to_functions(profile: Profile) -> Profile:
    """The function tree: lines of one function in one context become one node. Frame i is function i, without a line."""
    function = node_function(profile)
    nodes, place = reshape(profile, np.ones(len(function), bool), function)
    return moved(profile, nodes, place, frames=_whole_functions(len(profile.functions)))


def focus(profile: Profile, functions: Collection[int]) -> Profile:
    """
    Only what ran in these functions: their outermost calls become the roots, callers and all other stacks go.

    The new total of a single function is its `function_total`.
    """
    tree, function = Tree.of(profile), node_function(profile)
    chosen = np.isin(function, list(functions))
    roots = chosen & tree.outermost(chosen.astype(np.int32))
    depth_change = np.zeros(len(function) + 1, np.int32)
    np.add.at(depth_change, tree.start[roots], 1)
    np.add.at(depth_change, tree.end[roots], -1)
    inside = np.cumsum(depth_change)[tree.start] > 0
    nodes, place = reshape(profile, inside, profile.nodes.frame)
    return moved(profile, nodes, place)


def hide(profile: Profile, functions: Collection[int]) -> Profile:
    """These functions out of sight: callees go up to the caller, which takes over their self value; sums stay.

    What has no caller left goes to a root `[root]` of proftool's own.
    """
    hidden = np.isin(node_function(profile), list(functions))
    return _gathered(profile, ~hidden)


def collapse_library(profile: Profile) -> Profile:
    """
    Library, standard library and native code as one node for each function through which it was entered.

    Consecutive frames that are not the project's fold into the first of them, as pyinstrument's groups do: `requests.get`
    stays, what it calls in turn is part of its self value. Project code that a library calls back hangs below that node.
    """
    function = node_function(profile)
    foreign = np.isin(profile.functions.category, (Category.LIBRARY, Category.STDLIB, Category.NATIVE))
    foreign &= profile.functions.kind != Kind.SYNTHETIC
    folds = foreign[function]
    parent = profile.nodes.parent
    entry = (parent == ROOT) | ~np.append(folds, False)[parent]
    nodes, place = reshape(profile, ~folds | entry, profile.nodes.frame)
    return moved(profile, nodes, place)


def by_module(profile: Profile) -> Profile:
    """The tree of modules: consecutive frames of one module are one node. A function stands for each module; no module: its file."""
    f = profile.functions
    where = np.where(f.module == 0, f.file, f.module).astype(np.int32)
    first, module = unique_rows((where, f.kind == Kind.SYNTHETIC, np.where(f.kind == Kind.SYNTHETIC, f.qualname, 0).astype(np.int32)))
    known = {text: index for index, text in enumerate(profile.strings)}
    strings = list(profile.strings)
    rows: list[tuple[int, ...]] = []
    for at in first.tolist():
        name = int(f.qualname[at]) if f.kind[at] == Kind.SYNTHETIC else int(where[at])
        if name == 0:
            name = known.setdefault("(no module)", len(strings))
            strings.extend(["(no module)"] if name == len(strings) else [])
        rows.append(
            (
                name,
                name,
                int(f.module[at]),
                0 if f.module[at] else int(f.file[at]),
                0,
                0,
                int(f.identified[at]),
                int(f.kind[at]),
                int(f.category[at]),
            )
        )
    label = module[node_function(profile)]
    parent = profile.nodes.parent
    entry = (parent == ROOT) | (label != np.append(label, -1)[parent])
    nodes, place = reshape(profile, entry, label)
    moved_profile = moved(profile, nodes, place, _whole_functions(len(rows)), rows_table(Functions, rows), tuple(strings))
    return with_tables(moved_profile, {"edges": table(Edges, Edges().columns())})


def invert(profile: Profile) -> Profile:
    """
    The leaf-first tree: roots are the functions (frames) whose self value it is, below them who called them.

    A value lies at the far end of its path, so that the total of a root is the self value of its frame and every caller has
    its part of it; totals per function stay what they were. Time and memory grow with the summed depth of nodes with values.
    """
    nodes = profile.nodes
    used = np.zeros(len(nodes), bool)
    for rows in (profile.cells.node, profile.samples.node, profile.intervals.node):
        used[rows] = True
    origin = np.flatnonzero(used).astype(np.int32)
    at = origin
    up = np.full(len(origin), ROOT, np.int32)
    place = np.full(len(nodes), ROOT, np.int32)
    parents: list[Int32Array] = [np.zeros(0, np.int32)]
    frames: list[Int32Array] = [np.zeros(0, np.int32)]
    n_nodes = 0
    while len(at):
        frame = nodes.frame[at]
        first, group = unique_rows((up + np.int32(1), frame))
        parents.append(up[first])
        frames.append(frame[first])
        up = group + np.int32(n_nodes)
        n_nodes += len(first)
        at = nodes.parent[at]
        done = at == ROOT
        place[origin[done]] = up[done]
        origin, at, up = origin[~done], at[~done], up[~done]
    return moved(profile, table(Nodes, {"parent": np.concatenate(parents), "frame": np.concatenate(frames)}), place)


def strip_frames(profile: Profile, stripped: Mask) -> Profile:
    """
    Without a bootstrap's frames at the bottom of stacks: from the root up to the first function that is not stripped.

    What was called by them becomes a root. Their own self value, and caller-callee pairs that they take part in, are dropped:
    it is not the target's.

    Args:
        stripped: True for functions to strip; shape (n_functions,).
    """
    marked = stripped[node_function(profile)]
    keep = np.zeros(len(marked), bool)
    tree = Tree.of(profile)
    for d in range(len(tree.levels) - 1):
        level = tree.by_depth[tree.levels[d] : tree.levels[d + 1]]
        keep[level] = ~marked[level] | (keep[tree.parent[level]] if d else False)
    nodes, place = reshape(profile, keep, profile.nodes.frame)
    result = moved(profile, nodes, place)
    e = profile.edges
    if not len(e):
        return result
    stays = ~np.append(stripped, False)[e.caller] & ~stripped[e.callee]
    return with_tables(result, {"edges": table(Edges, {name: column[stays] for name, column in e.columns().items()})})


def _gathered(profile: Profile, keep: Mask) -> Profile:
    """Hidden nodes hand over to the nearest kept ancestor, else to a root `[root]`, made if anything needs it."""
    nodes, place = reshape(profile, keep, profile.nodes.frame)
    orphans = place == ROOT
    used = np.concatenate([profile.cells.node, profile.samples.node, profile.intervals.node])
    if not orphans[used].any():
        return moved(profile, nodes, place)
    functions, frames, strings, frame = with_synthetic(profile, "[root]")
    tops = np.append(nodes.parent, np.int32(ROOT))
    place = np.where(orphans, np.int32(len(nodes)), place)
    grown = {"parent": tops, "frame": np.append(nodes.frame, frame)}
    union = align([Tree.from_parents(tops)], [grown["frame"]])
    joined = table(Nodes, {"parent": union.parent, "frame": union.label})
    return moved(profile, joined, union.places[0][place], frames, functions, strings)


def with_synthetic(profile: Profile, name: str) -> tuple[Functions, Frames, tuple[str, ...], np.int32]:
    """Functions, frames and strings with a function of proftool's own of that name, and its frame; an equal one is reused."""
    f = profile.functions
    strings = profile.strings if name in profile.strings else (*profile.strings, name)
    text = strings.index(name)
    frames = profile.frames
    equal = np.flatnonzero((f.qualname == text) & (f.kind == Kind.SYNTHETIC))
    if len(equal):
        same = np.flatnonzero((frames.function == equal[0]) & (frames.line == 0))
        if len(same):
            return f, frames, strings, np.int32(same[0])
        function, functions = int(equal[0]), f
    else:
        function = len(f)
        row = dict.fromkeys(f.columns(), 0) | {"name": text, "qualname": text, "identified": 1, "kind": int(Kind.SYNTHETIC)}
        functions = table(Functions, {n: np.append(c, c.dtype.type(row[n])) for n, c in f.columns().items()})
    more = table(Frames, {"function": np.append(frames.function, np.int32(function)), "line": np.append(frames.line, np.int32(0))})
    return functions, more, strings, np.int32(len(frames))


def _whole_functions(n: int) -> Frames:
    return table(Frames, {"function": np.arange(n, dtype=np.int32), "line": np.zeros(n, np.int32)})
