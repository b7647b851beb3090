"""A profile in the Firefox Profiler's processed format, version 48, which every later release of the profiler upgrades by itself."""

from __future__ import annotations

import msgspec
import numpy as np

from proftool.formats.identity import spelled, spelled_file
from proftool.model.profile import ROOT, Profile, ints
from proftool.model.tree import lane_total
from proftool.units import NS_PER_MS, Unit

_VERSION = 48


def written_metric(profile: Profile) -> int | None:
    """Column that is written: wall time, else the first."""
    if not profile.metrics:
        return None
    return profile.metric_index("wall_time") if profile.has_metric("wall_time") else 0


def common_weight(profile: Profile) -> int:
    """What every sample of the timeline weighs, where it is one weight and the samples are counted so; else 0."""
    metric, t = written_metric(profile), profile.samples
    if metric != 0 or not len(t) or profile.metrics[0].name != "wall_time" or not profile.has_metric("samples"):
        return 0
    weight = int(t.weight[0])
    if weight <= 0 or bool((t.weight != weight).any()) or int(lane_total(profile, 0).sum()) != weight * len(t):
        return 0
    c = profile.cells
    counted = c.metric == profile.metric_index("samples")
    return weight if int(c.value[counted].sum()) == len(t) else 0


def written(profile: Profile) -> bytes:
    """The content of a file."""
    metric = written_metric(profile)
    texts: dict[str, int] = {}

    def text(value: str) -> int:
        return texts.setdefault(value.encode("utf-8", "backslashreplace").decode(), len(texts))

    f = profile.functions
    names = [text(spelled(profile, row)) for row in range(len(f))]
    files = [text(file) if (file := spelled_file(profile, row)) else None for row in range(len(f))]
    interval = common_weight(profile)
    shared: dict[str, object] = {
        "funcTable": {
            "name": names, "isJS": [False] * len(f), "relevantForJS": [False] * len(f), "resource": [-1] * len(f), "fileName": files,
            "lineNumber": [line or None for line in ints(f.first_line)], "columnNumber": [None] * len(f), "length": len(f),
        },
        "frameTable": _frame_table(profile),
        "stackTable": {
            "frame": ints(profile.nodes.frame), "prefix": [None if p == ROOT else p for p in ints(profile.nodes.parent)],
            "category": [0] * len(profile.nodes), "subcategory": [0] * len(profile.nodes), "length": len(profile.nodes),
        },
        "nativeSymbols": {"libIndex": [], "address": [], "name": [], "functionSize": [], "length": 0},
        "resourceTable": {"lib": [], "name": [], "host": [], "type": [], "length": 0},
        "stringArray": list(texts),
    }  # fmt: skip
    threads: list[dict[str, object]] = [
        {
            "processType": "default", "processStartupTime": 0, "processShutdownTime": None, "registerTime": 0, "unregisterTime": None,
            "pausedRanges": [], "name": _utf8(profile, int(lanes.thread_name[lane])) or f"thread {lane + 1}",
            "isMainThread": bool(lanes.is_main[lane]), "processName": _utf8(profile, int(lanes.process_name[lane])) or None,
            "pid": str(lanes.pid[lane]) if lanes.pid[lane] >= 0 else f"unknown-{lane}",
            "tid": int(lanes.tid[lane]) if lanes.tid[lane] >= 0 else f"unknown-{lane}",
            "samples": _samples(profile, metric, lane, interval),
            "markers": {"data": [], "name": [], "startTime": [], "endTime": [], "phase": [], "category": [], "length": 0},
            **shared,
        }
        for lanes in (profile.lanes,)
        for lane in range(len(lanes))
    ]  # fmt: skip
    first = profile.meta.passes[0] if profile.meta.passes else None
    meta = {
        "interval": interval / NS_PER_MS if interval else 1,
        "startTime": (first.started_ns or 0) / NS_PER_MS if first else 0,
        "processType": 0,
        "product": (first.backend if first else "") or "proftool",
        "stackwalk": 0,
        "version": 27,
        "preprocessedProfileVersion": _VERSION,
        "symbolicated": True,
        "categories": [{"name": "Other", "color": "grey", "subcategories": ["Other"]}],
        "markerSchema": [],
        "sampleUnits": {"time": "ms", "eventDelay": "ms", "threadCPUDelta": "µs"},
        "arguments": " ".join(profile.meta.command or ()).encode("utf-8", "backslashreplace").decode() or None,
    }
    return msgspec.json.encode({"meta": meta, "libs": [], "pages": [], "counters": [], "threads": threads})


def _frame_table(profile: Profile) -> dict[str, object]:
    n = len(profile.frames)
    return {
        "address": [-1] * n, "inlineDepth": [0] * n, "category": [0] * n, "subcategory": [0] * n, "func": ints(profile.frames.function),
        "nativeSymbol": [None] * n, "innerWindowID": [0] * n, "implementation": [None] * n,
        "line": [line or None for line in ints(profile.frames.line)], "column": [None] * n, "length": n,
    }  # fmt: skip


def _samples(profile: Profile, metric: int | None, lane: int, interval: int) -> dict[str, object]:
    stack: list[int] = []
    time: list[float] = []
    weight: list[float] | None = []
    kind = "samples"
    t = profile.samples
    if metric is not None:
        unit = profile.metrics[metric].unit
        kind = {Unit.NANOSECONDS: "tracing-ms", Unit.BYTES: "bytes", Unit.COUNT: "samples"}[unit]
        divisor = NS_PER_MS if unit is Unit.NANOSECONDS else 1
        if unit is Unit.NANOSECONDS and metric == 0 and len(t) and int(t.weight.sum()) == int(lane_total(profile, 0).sum()):
            rows = np.flatnonzero(t.lane == lane)
            stack, values = ints(t.node[rows]), ints(t.weight[rows])
            time = [at / NS_PER_MS for at in ints(t.time_ns[rows])]
        else:
            c = profile.cells
            rows = np.flatnonzero((c.metric == metric) & (c.lane == lane))
            stack, values = ints(c.node[rows]), ints(c.value[rows])
            # No timeline: one behind the other, which a flame graph does not show and a chart must not be read from.
            time = [float(at) for at in range(len(values))]
        weight = [value / divisor if divisor > 1 else value for value in values]
    if interval:
        weight, kind = None, "samples"
    return {"stack": stack, "time": time, "weight": weight, "weightType": kind, "eventDelay": [0] * len(stack), "length": len(stack)}


def _utf8(profile: Profile, at: int) -> str:
    return profile.text(at).encode("utf-8", "backslashreplace").decode()
