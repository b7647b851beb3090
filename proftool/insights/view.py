"""What rules look at: working and waiting time of every calling context, and the line of the user's code that is charged for it.

*Working* time is wall time less waiting and less time in line for a processor. A context is charged to the nearest line of the project's
own code above it: that is where a change can be made. For caller-callee pairs (cProfile) the chain upward follows the dearest caller.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from proftool.model.insight import Confidence, Insight
from proftool.model.profile import ROOT, Category, Int32Array, Int64Array, Kind, Profile
from proftool.model.tree import Tree, function_self, node_function, node_self
from proftool.units import Unit, people, percent

Mask = NDArray[np.bool_]

_HOPS = 24
"""How far up a chain of callers is followed until a function of the project stands there."""
MIN_SHARE = 0.05
"""Below this part of the whole, a change is lost in noise and advice is noise too."""
MIN_NS = 20_000_000


@dataclass(frozen=True, slots=True)
class Charge:
    """A value and the function and line of the user's code that cause it; function ROOT where none is above it."""

    function: int
    line: int
    value: int
    calls: int | None = None


@dataclass(frozen=True, eq=False)
class View:
    """A profile's time, ready to be asked; without wall time all values are 0."""

    profile: Profile
    tree: Tree
    function: Int32Array
    """Function of every node."""
    waiting: Int64Array
    """Self values, ns; shape (n_nodes,)."""
    still: Int64Array
    """Waiting, or neither on a processor nor in line for one by the thread's own clock: on a busy machine samples alone miss waits."""
    working: Int64Array
    near: Int32Array
    """The nearest node of the project's code at or above every node, ROOT where there is none."""
    is_import: Mask
    """At or below the import system: happens once a process, whatever it is."""
    is_edges: bool

    @property
    def whole(self) -> int:
        """The run's working time, ns."""
        return int(self.working.sum())

    def functions(self, match: Callable[[str, str], bool]) -> Mask:
        """Functions whose (module, qualified name) match; shape (n_functions,)."""
        f, text = self.profile.functions, self.profile.text
        return np.array([match(text(int(m)), text(int(q))) for m, q in zip(f.module, f.qualname, strict=True)], bool)

    def below(self, wanted: Mask) -> Mask:
        """Nodes at or below one of the wanted functions; shape (n_nodes,)."""
        return _downward(self.tree, wanted[self.function], wanted[self.function])[1]

    def charges(self, wanted: Mask, values: Int64Array | None = None, *, imports: bool = False, direct: bool = False) -> list[Charge]:
        """
        Inclusive value of the wanted functions by the line that is charged for it, largest first; self values as `values`.

        Args:
            direct: of caller-callee pairs, only what the project's own functions call themselves.
        """
        if self.is_edges:
            return _edge_charges(self, wanted, direct=direct)
        total = self.tree.total(self.working if values is None else values)
        inside = wanted[self.function]
        top = np.flatnonzero(inside & self.tree.outermost(inside.astype(np.int32)) & (imports | ~self.is_import))
        up = self.profile.nodes.parent[top]
        at = np.where(up == ROOT, ROOT, self.near[up])
        frames, rows = np.unique(np.where(at == ROOT, ROOT, self.profile.nodes.frame[at]), return_inverse=True)
        sums = np.zeros(len(frames), np.int64)
        np.add.at(sums, rows, total[top])
        table = self.profile.frames
        found = [
            Charge(ROOT if frame == ROOT else int(table.function[frame]), 0 if frame == ROOT else int(table.line[frame]), value)
            for frame, value in zip(frames.tolist(), sums.tolist(), strict=True)
            if value
        ]
        return sorted(found, key=lambda charge: -charge.value)

    def lines(self, values: Int64Array) -> dict[int, int]:
        """Self values by the frame of the project's code that is charged for them: itself, or the nearest above."""
        at = self.near[values.nonzero()[0]]
        amount = values[values.nonzero()[0]]
        frames, rows = np.unique(self.profile.nodes.frame[at[at != ROOT]], return_inverse=True)
        sums = np.zeros(len(frames), np.int64)
        np.add.at(sums, rows, amount[at != ROOT])
        return dict(zip(frames.tolist(), sums.tolist(), strict=True))

    def insight(
        self, rule: str, charge: Charge, what: str, advice: str, link: str, *, whole: int | None = None, effect: str | None = None
    ) -> Insight:
        """The insight of a charge; `what` follows `62 % of the working time (412 ms) `."""
        profile, whole = self.profile, self.whole if whole is None else whole
        share = charge.value / whole if whole else 0.0
        known = charge.function != ROOT
        file = profile.text(int(profile.functions.file[charge.function])) if known else ""
        line = (charge.line or int(profile.functions.first_line[charge.function])) if known else 0
        calls = f", in {charge.calls:,} calls" if charge.calls else ""
        return Insight(
            id=rule,
            function=profile.text(int(profile.functions.qualname[charge.function])) if known else "",
            file=file or None,
            line=line or None,
            confidence=Confidence.HIGH if share >= 0.2 else Confidence.MEDIUM if share >= 0.1 else Confidence.LOW,
            share=share,
            evidence=f"{percent(charge.value, whole)} of the working time ({people(charge.value, Unit.NANOSECONDS)}) {what}{calls}",
            advice=advice,
            link=link,
            metric="wall_time",
            effect=effect,
        )


def worth(charges: Sequence[Charge], whole: int) -> list[Charge]:
    """Charges that are large enough to speak of."""
    return [charge for charge in charges if charge.value >= max(whole * MIN_SHARE, MIN_NS)]


@lru_cache(maxsize=1)
def view(profile: Profile) -> View:
    """The view of a profile; the last one is kept, since every rule asks for it."""
    tree = Tree.of(profile)
    function = node_function(profile)
    f = profile.functions
    own = (f.category == Category.PROJECT) & (f.kind == Kind.PYTHON)
    module = [profile.text(i).startswith(("importlib._bootstrap", "<frozen importlib")) for i in range(len(profile.strings))]
    importing = np.array(module, bool)[f.module] | np.array([profile.text(int(i)).startswith("<frozen importlib") for i in f.file], bool)
    near, is_import = _downward(tree, own[function], importing[function])
    wall, waiting, preempted = (_time(profile, name) for name in ("wall_time", "waiting_time", "preempted_time"))
    # In a pass that records pairs, the tree is flat and self values stand at the functions.
    edges = (
        len(profile.edges) > 0 and profile.has_metric("wall_time") and profile.metrics[profile.metric_index("wall_time")].mode == "trace"
    )
    # Pairs hold no time in line of their own, so a whole without it would not be theirs.
    working = wall - waiting if edges else wall - waiting - preempted
    cpu = _time(profile, "cpu_time")
    still = np.maximum(waiting, wall - cpu - preempted) if cpu.any() else waiting
    return View(profile, tree, function, waiting, still, np.maximum(working, 0), near, is_import, edges)


def _time(profile: Profile, name: str) -> Int64Array:
    return node_self(profile, profile.metric_index(name)) if profile.has_metric(name) else np.zeros(len(profile.nodes), np.int64)


def _downward(tree: Tree, own: Mask, importing: Mask) -> tuple[Int32Array, Mask]:
    """Nearest own node at or above, and whether the import system is at or above; one pass by depth."""
    near, below = np.full(len(own), ROOT, np.int32), importing.copy()
    for d in range(len(tree.levels) - 1):
        level = tree.by_depth[tree.levels[d] : tree.levels[d + 1]]
        up = tree.parent[level]
        near[level] = np.where(own[level], level, near[up] if d else ROOT)
        if d:
            below[level] |= below[up]
    return near, below


def _edge_charges(view: View, wanted: Mask, *, direct: bool = False) -> list[Charge]:
    e, profile = view.profile.edges, view.profile
    f = profile.functions
    own = (f.category == Category.PROJECT) & (f.kind == Kind.PYTHON)
    into = np.flatnonzero((e.caller != ROOT) & (e.caller != e.callee))
    dearest: dict[int, int] = {}
    for row in into[np.argsort(e.total_ns[into], kind="stable")].tolist():
        dearest[int(e.callee[row])] = int(e.caller[row])
    module = [profile.text(int(i)).startswith("importlib._bootstrap") for i in f.module]
    sums: dict[int, tuple[int, int]] = {}
    for row in into.tolist():
        caller = int(e.caller[row])
        if not wanted[e.callee[row]] or wanted[caller]:
            continue
        seen: set[int] = set()
        while not direct and not own[caller] and not module[caller] and caller in dearest and caller not in seen and len(seen) < _HOPS:
            seen.add(caller)
            caller = dearest[caller]
            if wanted[caller]:
                break  # a recursion through helpers: counted where it was entered
        if own[caller] and not wanted[caller]:
            value, calls = sums.get(caller, (0, 0))
            sums[caller] = value + int(e.total_ns[row]), calls + int(e.calls[row])
    found = [Charge(function, 0, value, calls) for function, (value, calls) in sums.items()]
    return sorted(found, key=lambda charge: -charge.value)


def calls(profile: Profile) -> Int64Array | None:
    """Calls of every function, where they were counted."""
    name = "calls" if profile.has_metric("calls") else "trace.calls"
    return function_self(profile, profile.metric_index(name)) if profile.has_metric(name) else None
