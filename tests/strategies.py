"""Random valid profiles for Hypothesis, small enough to shrink and rich enough to break things.

They hold recursion, several lines of one function, functions that differ only by first line, two processes, waiting time,
a stock beside the flows, samples, intervals, counters and markers.
"""

from __future__ import annotations

from hypothesis import strategies as st

from proftool.model.builder import ProfileBuilder
from proftool.model.check import checked
from proftool.model.meta import Meta, Pass
from proftool.model.profile import (
    PEAK_BYTES,
    ROOT,
    SAMPLES,
    UNKNOWN,
    WAITING_TIME,
    WALL_TIME,
    Category,
    Identified,
    Kind,
    Profile,
    Status,
)

_FUNCTIONS = (
    ("main", "app", "app.py", 1, Category.PROJECT, Kind.PYTHON),
    ("A.run", "app", "app.py", 10, Category.PROJECT, Kind.PYTHON),
    ("B.run", "app", "app.py", 20, Category.PROJECT, Kind.PYTHON),
    ("B.run.<locals>.<lambda>", "app", "app.py", 22, Category.PROJECT, Kind.PYTHON),
    ("B.run.<locals>.<lambda>", "app", "app.py", 23, Category.PROJECT, Kind.PYTHON),
    ("load", "app.io", "app/io.py", 1, Category.PROJECT, Kind.PYTHON),
    ("get", "lib", "lib/__init__.py", 5, Category.LIBRARY, Kind.PYTHON),
    ("send", "lib.net", "lib/net.py", 5, Category.LIBRARY, Kind.PYTHON),
    ("dumps", "json", "json/__init__.py", 183, Category.STDLIB, Kind.PYTHON),
    ("memcpy", "", "libc.so.6", 0, Category.NATIVE, Kind.NATIVE),
    ("gc", "", "", 0, Category.NATIVE, Kind.GC),
)
METRICS = (WALL_TIME, WAITING_TIME, SAMPLES, PEAK_BYTES)


@st.composite
def profiles(draw: st.DrawFn, max_stacks: int = 12, max_depth: int = 7, timeline: bool = True) -> Profile:
    """A checked profile with the metrics `METRICS`; `timeline` adds samples, intervals, counters and markers."""
    started = draw(st.integers(0, 50))
    meta = Meta(passes=(Pass(mode="sample", backend="drawn", samples=draw(st.integers(0, 9)), started_ns=started),), host="drawn")
    builder = ProfileBuilder(METRICS, meta)
    lanes = [builder.lane(pid=pid, tid=tid, is_main=tid == 1) for pid, tid in draw(st.sampled_from(([(1, 1)], [(1, 1), (1, 2), (2, 1)])))]
    for _ in range(draw(st.integers(0, max_stacks))):
        node = ROOT
        for pick, line in draw(st.lists(st.tuples(st.integers(0, len(_FUNCTIONS) - 1), st.integers(0, 2)), min_size=1, max_size=max_depth)):
            qualname, module, file, first_line, category, kind = _FUNCTIONS[pick]
            function = builder.function(
                qualname,
                module=module,
                file=file,
                first_line=first_line,
                identified=Identified.SOURCE if category is Category.PROJECT else Identified.TOOL,
                kind=kind,
                category=category,
            )
            node = builder.node(node, builder.frame(function, line and first_line + line))
        lane = draw(st.sampled_from(lanes))
        weight = draw(st.integers(0, 1000))
        waiting = draw(st.booleans())
        builder.add(node, lane, 0, weight)
        builder.add(node, lane, 1, weight if waiting else 0)
        builder.add(node, lane, 2, 1)
        builder.add(node, lane, 3, draw(st.integers(0, 1 << 40)))
        if timeline:
            builder.sample(draw(st.integers(0, 100)), lane, node, weight, int(Status.WAITING if waiting else Status.RUNNING))
            start = draw(st.integers(0, 100))
            end = draw(st.one_of(st.just(UNKNOWN), st.integers(start, 200)))
            builder.interval(node, lane, start, end, draw(st.integers(0, 1 << 30)), 1)
    if timeline:
        builder.counter("rss", draw(st.integers(0, 100)), draw(st.integers(0, 1 << 40)))
        builder.marker("gc", 3, draw(st.integers(3, 100)), lanes[0])
    return checked(builder.build())
