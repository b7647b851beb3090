"""Two traces of one kind: what the second did more, less or longer than the first, by operation.

An operation is a path of names from the root: `GET /cart › load › SELECT items`. Times of spans with one path are added up; `own` is the
part in which no child was open, so that own times of all operations add up to what the spans cover.
"""

from __future__ import annotations

from dataclasses import dataclass

from proftool.contracts_telemetry import TelemetryStore
from proftool.workflows.traces import Waterfall, waterfall


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One path in both traces; n 0: it is not in that one."""

    depth: int
    service: str
    name: str
    base_n: int
    new_n: int
    base_ns: int
    new_ns: int
    base_own_ns: int
    new_own_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TracesCompared:
    """Operations in walking order: the second trace's, with what only the first has after its siblings."""

    base: Waterfall
    new: Waterfall
    operations: tuple[Operation, ...]


@dataclass(slots=True)
class _Node:
    children: dict[tuple[str, str], _Node]
    n: list[int]
    total: list[int]
    own: list[int]


def compare_traces(telemetry: TelemetryStore, base: str, new: str) -> TracesCompared:
    """The second against the first; RunNotFound where one is not kept."""
    sides = (waterfall(telemetry, base), waterfall(telemetry, new))
    root = _empty()
    for side in (1, 0):
        of = sides[side]
        nodes: list[_Node] = []
        for row, parent in enumerate(of.parent):
            above = root if parent < 0 else nodes[parent]
            node = above.children.setdefault((of.services[of.service[row]], of.names[of.name[row]]), _empty())
            nodes.append(node)
            node.n[side] += 1
            node.total[side] += of.duration[row]
            node.own[side] += of.own_ns[row]
    operations: list[Operation] = []
    waiting = [(key, node, 0) for key, node in reversed(root.children.items())]
    while waiting:
        (service, name), node, depth = waiting.pop()
        operations.append(
            Operation(
                depth=depth,
                service=service,
                name=name,
                base_n=node.n[0],
                new_n=node.n[1],
                base_ns=node.total[0],
                new_ns=node.total[1],
                base_own_ns=node.own[0],
                new_own_ns=node.own[1],
            )
        )
        waiting.extend((key, child, depth + 1) for key, child in reversed(node.children.items()))
    return TracesCompared(base=sides[0], new=sides[1], operations=tuple(operations))


def _empty() -> _Node:
    return _Node({}, [0, 0], [0, 0], [0, 0])
