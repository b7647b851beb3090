"""Profiles drawn at random for the laws that every format must hold."""

from __future__ import annotations

from hypothesis import strategies as st

from proftool.model.builder import ProfileBuilder
from proftool.model.meta import Git, Meta, Pass, Quality, Speed
from proftool.model.profile import (
    ALLOCATED_BYTES,
    PEAK_BYTES,
    ROOT,
    SAMPLES,
    TABLES,
    WAITING_TIME,
    WALL_TIME,
    Category,
    Identified,
    Kind,
    Profile,
)

names = st.sampled_from(
    ["main", "run", "A.run", "B.run", "outer.<locals>.inner", "<lambda>", "größe", "a b", "x;y", "café\udc80", "f (g.py:3)"]
)
files = st.sampled_from(["", "app.py", "shop/model.py", "<string>", "/elsewhere/x.py", "a:1.py"])
positive = st.integers(1, 2**40)


@st.composite
def profiles(draw: st.DrawFn) -> Profile:
    """A whole profile with every table in use."""
    metrics = draw(st.sampled_from([(WALL_TIME,), (WALL_TIME, WAITING_TIME, SAMPLES), (SAMPLES,), (ALLOCATED_BYTES, PEAK_BYTES)]))
    builder = ProfileBuilder(metrics)
    functions = [
        builder.function(
            draw(names),
            module=draw(st.sampled_from(["", "shop.model", "__main__"])),
            file=draw(files),
            first_line=draw(st.integers(0, 50)),
            code_hash=draw(st.sampled_from(["", "0123456789abcdef"])),
            identified=draw(st.sampled_from(Identified)),
            kind=draw(st.sampled_from(Kind)),
            category=draw(st.sampled_from(Category)),
        )
        for _ in range(draw(st.integers(1, 6)))
    ]
    lanes = [
        builder.lane(
            pid=draw(st.integers(-1, 10**6)),
            tid=draw(st.integers(-1, 2**40)),
            thread_name=draw(names),
            process_name=draw(names),
            is_main=draw(st.booleans()),
        )
        for _ in range(draw(st.integers(1, 3)))
    ]
    frames = [builder.frame(draw(st.sampled_from(functions)), draw(st.integers(0, 300))) for _ in range(draw(st.integers(1, 8)))]
    for _ in range(draw(st.integers(0, 12))):
        node = builder.stack(draw(st.lists(st.sampled_from(frames), min_size=1, max_size=6)))
        lane = draw(st.sampled_from(lanes))
        value = draw(positive)
        for index, metric in enumerate(metrics):
            # Waiting is part of the wall time before it; a profile that breaks this is not valid.
            builder.add(
                node, lane, index, draw(st.integers(1, value) if metric is WAITING_TIME else st.just(value) if not index else positive)
            )
        if draw(st.booleans()):
            builder.sample(draw(positive), lane, node, draw(positive), draw(st.integers(0, 7)))
        if draw(st.booleans()):
            builder.interval(node, lane, draw(st.integers(0, 99)), draw(st.sampled_from([-1, 100])), draw(positive), 1)
    if draw(st.booleans()):
        builder.counter("resident", draw(positive), draw(positive), draw(st.sampled_from([ROOT, *lanes])))
        builder.marker("gc", 1, draw(positive))
    return builder.build(draw(metas))


metas = st.builds(
    Meta,
    passes=st.just((Pass(mode="sample", backend="x", rate_asked_hz=100.0, features=("native",), speed=Speed(before_ns=1, load=0.5)),))
    | st.just(()),
    command=st.none() | st.just(("app.py", "caf\udce9")),
    git=st.none() | st.just(Git(commit="abc", dirty=True)),
    quality=st.none() | st.just(Quality(verdict="weak", reasons=("few samples",))),
    lost=st.just(()) | st.just(("lines",)),
    sources=st.just((("app.py", "x = 1\n"),)),
)


def same(a: Profile, b: Profile) -> bool:
    """Equal in every table, string and metric; meta is compared by the caller."""
    if a.strings != b.strings or a.metrics != b.metrics:
        return False
    return all(
        column.dtype == other.dtype and column.tolist() == other.tolist()
        for table in TABLES
        for column, other in zip(getattr(a, table).columns().values(), getattr(b, table).columns().values(), strict=True)
    )
