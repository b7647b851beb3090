"""Slices of services as rows: what is new for the dictionaries, a fact a stack, one observation a slice.

A frame's id is a hash of its function and line, a stack's a hash of its frames' ids, outermost first; both are 64 bits, so that among ten
million stacks of a service two meet once in 370,000 fleets. They are the same in every process, and never change: they are stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from proftool.contracts_telemetry import Slice
from proftool.model.profile import Profile, ints
from proftool.store.fleet.schema import COLUMNS, NS_PER_DAY
from proftool.units import NS_PER_S

MAX_KNOWN = 200_000
"""Ids that a process remembers to have written today: some 20 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Whose slices these are."""

    version: str
    """Of the service: what `diff` tells two sides apart by; may be empty."""
    host: str


@dataclass(slots=True)
class Known:
    """Ids that were written today, so that they are not sent again."""

    day: int = -1
    ids: set[tuple[str, str, int]] = field(default_factory=set[tuple[str, str, int]])

    def at(self, day: int) -> None:
        """Another day writes them again: rows that nobody writes any more go in the end."""
        if day != self.day or len(self.ids) > MAX_KNOWN:
            self.day = day
            self.ids.clear()


@dataclass(frozen=True, slots=True)
class Facts:
    """Rows for the tables, by column; and what `Known` holds once they are written."""

    tables: dict[str, dict[str, list[object]]]
    """In the order in which they are written: a stack stands in the dictionary before a fact names it."""
    learned: frozenset[tuple[str, str, int]]


def facts(slices: Sequence[Slice], source: Source, known: Known, *, now_ns: int, lost: int = 0) -> Facts:
    """The rows of some slices; `lost` is how many others were dropped before these."""
    known.at(now_ns // NS_PER_DAY)
    tables: dict[str, dict[str, list[object]]] = {
        name: {column: [] for column in COLUMNS[name]} for name in ("frames", "stacks", "samples", "observations")
    }
    learned: set[tuple[str, str, int]] = set()
    for one in slices:
        _samples(one, source, tables, known, learned)
        _observation(one, source, tables["observations"], lost)
        lost = 0
    return Facts(tables, frozenset(learned))


def _samples(
    one: Slice, source: Source, tables: dict[str, dict[str, list[object]]], known: Known, learned: set[tuple[str, str, int]]
) -> None:
    profile = one.profile
    frame_ids = _frame_ids(profile)
    nodes, cells = profile.nodes, profile.cells
    used = bytearray(len(nodes))
    for node in ints(cells.node):
        used[node] = 1
    ids: list[int] = []
    paths: list[tuple[int, ...]] = []
    for row, (parent, frame) in enumerate(zip(ints(nodes.parent), ints(nodes.frame), strict=True)):
        path = (*paths[parent], frame) if parent >= 0 else (frame,)
        paths.append(path)
        ids.append(0)
        if used[row]:
            frames = [frame_ids[at] for at in path]
            ids[row] = _hash(b"".join(id.to_bytes(8, "little") for id in frames))
            _learn_stack(one.service, ids[row], frames, path, profile, tables, known, learned)
    routes = [profile.text(index) for index in ints(profile.lanes.task)]
    names = [metric.name for metric in profile.metrics]
    # Threads of one process and route are one fact: who reads a fleet asks for services.
    sums: dict[tuple[int, str, int], int] = {}
    for node, lane, metric, value in zip(ints(cells.node), ints(cells.lane), ints(cells.metric), ints(cells.value), strict=True):
        key = (metric, routes[lane], ids[node])
        sums[key] = sums.get(key, 0) + value
    out = tables["samples"]
    for (metric, route, stack), value in sums.items():
        out["type"].append(names[metric])
        out["route"].append(route)
        out["stack"].append(stack)
        out["value"].append(value)
    same = {"service": one.service, "time_ns": one.start_ns, "version": source.version, "host": source.host, "pid": one.pid}
    for name, given in same.items():
        out[name].extend([given] * len(sums))


def _learn_stack(
    service: str,
    id: int,
    frames: list[int],
    path: tuple[int, ...],
    profile: Profile,
    tables: dict[str, dict[str, list[object]]],
    known: Known,
    learned: set[tuple[str, str, int]],
) -> None:
    key = (service, "stack", id)
    if key in known.ids or key in learned:
        return
    learned.add(key)
    for name, value in (("service", service), ("id", id), ("frames", frames), ("seen_day", known.day)):
        tables["stacks"][name].append(value)
    for frame_id, frame in zip(frames, path, strict=True):
        key = (service, "frame", frame_id)
        if key in known.ids or key in learned:
            continue
        learned.add(key)
        row = _frame(profile, frame) | {"service": service, "id": frame_id, "seen_day": known.day}
        for name, value in row.items():
            tables["frames"][name].append(value)


def _frame(profile: Profile, frame: int) -> dict[str, object]:
    f, at = profile.functions, int(profile.frames.function[frame])
    row: dict[str, object] = {name: profile.text(int(getattr(f, name)[at])) for name in ("name", "qualname", "module", "file", "code_hash")}
    row |= {name: int(getattr(f, name)[at]) for name in ("first_line", "identified", "kind", "category")}
    row["line"] = int(profile.frames.line[frame])
    return row


def _frame_ids(profile: Profile) -> list[int]:
    found: list[int] = []
    for frame in range(len(profile.frames)):
        row = _frame(profile, frame)
        found.append(_hash("\0".join(str(row[name]) for name in sorted(row)).encode("utf-8", "surrogatepass")))
    return found


def _hash(content: bytes) -> int:
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little")


def _observation(one: Slice, source: Source, out: dict[str, list[object]], lost: int) -> None:
    meta = one.profile.meta
    first = meta.passes[0] if meta.passes else None
    row: dict[str, object] = {
        "service": one.service,
        "time_ns": one.start_ns,
        "version": source.version,
        "host": source.host,
        "pid": one.pid,
        "backend": first.backend if first else "",
        "python": meta.python or "",
        "rate_asked_hz": (first.rate_asked_hz if first else None) or 0.0,
        "duration_ns": one.end_ns - one.start_ns,
        # How often the sampler looked, so that rates of slices can be added up.
        "looks": round(((first.rate_achieved_hz if first else None) or 0.0) * (one.end_ns - one.start_ns) / NS_PER_S),
        "samples": one.samples,
        "missed": (first.missed if first else None) or 0,
        "overhead_ns": (first.overhead_ns if first else None) or 0,
        "lost": lost,
    }
    for name, value in row.items():
        out[name].append(value)
