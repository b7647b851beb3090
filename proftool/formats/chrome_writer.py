"""A profile as Chrome's trace events: a pair of events a call that can be drawn, in order, so that a call of no length keeps its place.

The count of calls of a calling context stands in the arguments of its first event. A name is viztracer's:
`qualified.name (file:first line)`. What `otherData` tells is read back by chrome.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np

from proftool.errors import ReportError
from proftool.formats.identity import spelled, spelled_file
from proftool.formats.timeline import Stretches, stretches
from proftool.model.profile import ROOT, Profile, ints
from proftool.units import NS_PER_US


def written(profile: Profile) -> bytes:
    """The content of a file; ReportError where nothing measured time."""
    drawn = stretches(profile)
    if drawn is None:
        raise ReportError("a trace holds times", cause="this run measured none", fix="export `pprof` or `collapsed`, which hold any number")
    events: list[dict[str, object]] = []
    lanes = profile.lanes
    for lane in range(len(lanes)):
        pid, tid = _ids(profile, lane)
        for kind, column in (("process_name", lanes.process_name), ("thread_name", lanes.thread_name)):
            if name := profile.text(int(column[lane])):
                events.append({"ph": "M", "pid": pid, "tid": tid, "name": kind, "args": {"name": _utf8(name)}})
    events += _spans(profile, drawn)
    c = profile.counters
    for name, time, value in zip(ints(c.name), ints(c.time_ns), ints(c.value), strict=True):
        event: dict[str, object] = {
            "ph": "C",
            "pid": 0,
            "tid": 0,
            "name": _utf8(profile.text(name)),
            "ts": time / NS_PER_US,
            "args": {"value": value},
        }
        events.append(event)
    first = profile.meta.passes[0] if profile.meta.passes else None
    command = " ".join(profile.meta.command or ())
    about = {
        "recorded_by": first.backend if first else "proftool",
        "metric": profile.metrics[drawn.metric].name,
        "calls": profile.has_metric("calls"),
        "command": _utf8(command) if command else None,
    }
    return msgspec.json.encode({"traceEvents": events, "displayTimeUnit": "ns", "otherData": about})


def _ids(profile: Profile, lane: int) -> tuple[int, int]:
    # A lane of no known process or thread gets a number that no other has; the reader of a trace needs one.
    pid, tid = int(profile.lanes.pid[lane]), int(profile.lanes.tid[lane])
    return (pid if pid >= 0 else 0), (tid if tid >= 0 else lane)


def _spans(profile: Profile, drawn: Stretches) -> Iterator[dict[str, object]]:
    """`B` and `E` of every lane, in order."""
    names = [_utf8(_spelled(profile, function)) for function in ints(profile.frames.function)]
    parent, frame = ints(profile.nodes.parent), ints(profile.nodes.frame)
    calls = _calls(profile)
    below = _silent(profile, drawn, calls)
    for lane in range(len(profile.lanes)):
        pid, tid = _ids(profile, lane)
        rows = np.flatnonzero(drawn.lane == lane)
        seen: set[int] = set()
        open_: list[int] = []
        reached = 0

        def begin(node: int, ts: float) -> Iterator[dict[str, object]]:
            args: dict[str, object] = {}
            if calls is not None:
                args["calls"] = 0 if node in seen else calls.get((node, lane), 0)  # noqa: B023  # used at once
            event: dict[str, object] = {"ph": "B", "pid": pid, "tid": tid, "name": names[frame[node]], "ts": ts}  # noqa: B023
            yield event | ({"args": args} if args else {})
            first = node not in seen  # noqa: B023
            seen.add(node)  # noqa: B023
            if first:
                for child in below.get((node, lane), ()):  # noqa: B023
                    yield from begin(child, ts)
                    yield {"ph": "E", "pid": pid, "tid": tid, "ts": ts}  # noqa: B023

        for node, start, length in zip(ints(drawn.node[rows]), ints(drawn.start_ns[rows]), ints(drawn.length_ns[rows]), strict=True):
            path: list[int] = []
            up = node
            while up != ROOT:
                path.append(up)
                up = parent[up]
            path.reverse()
            kept = 0
            if start == reached:
                while kept < min(len(open_), len(path)) and open_[kept] == path[kept]:
                    kept += 1
            for _ in range(len(open_) - kept):
                yield {"ph": "E", "pid": pid, "tid": tid, "ts": reached / NS_PER_US}
            for one in path[kept:]:
                yield from begin(one, start / NS_PER_US)
            open_ = path
            reached = start + length
        for _ in open_:
            yield {"ph": "E", "pid": pid, "tid": tid, "ts": reached / NS_PER_US}
        for root in below.get((ROOT, lane), ()):
            yield from begin(root, reached / NS_PER_US)
            yield {"ph": "E", "pid": pid, "tid": tid, "ts": reached / NS_PER_US}


def _calls(profile: Profile) -> dict[tuple[int, int], int] | None:
    """(node, lane) -> calls; None where nobody counted."""
    if not profile.has_metric("calls"):
        return None
    c = profile.cells
    rows = c.metric == profile.metric_index("calls")
    return dict(zip(zip(ints(c.node[rows]), ints(c.lane[rows]), strict=True), ints(c.value[rows]), strict=True))


def _silent(profile: Profile, drawn: Stretches, calls: dict[tuple[int, int], int] | None) -> dict[tuple[int, int], list[int]]:
    """(parent, lane) -> nodes that were called there and have no time, nor has any below them."""
    parent = ints(profile.nodes.parent)
    shown: set[tuple[int, int]] = set()

    def show(node: int, lane: int, below: dict[tuple[int, int], list[int]] | None) -> None:
        while node != ROOT and (node, lane) not in shown:
            shown.add((node, lane))
            if below is not None:
                below.setdefault((parent[node], lane), []).append(node)
            node = parent[node]

    for node, lane in zip(ints(drawn.node), ints(drawn.lane), strict=True):
        show(node, lane, None)
    silent: dict[tuple[int, int], list[int]] = {}
    for node, lane in sorted(calls or ()):
        show(node, lane, silent)
    return silent


def _spelled(profile: Profile, function: int) -> str:
    name, file = spelled(profile, function), spelled_file(profile, function)
    return f"{name} ({file}:{profile.functions.first_line[function]})" if file else name


def _utf8(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
