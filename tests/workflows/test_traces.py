"""A trace in walking order with its critical path; searching; two traces by operation."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import pytest

from proftool import settings
from proftool.contracts_telemetry import Span, SpanQuery
from proftool.errors import RunNotFound
from proftool.store import open_telemetry
from proftool.store.services import SqlTelemetryStore
from proftool.workflows.trace_compare import compare_traces
from proftool.workflows.traces import critical_path, own_times, search, walk, waterfall

MS = 1_000_000
TRACE = "ab" * 16


def span(
    name: str, parent: str | None, start_ms: float, end_ms: float, *, trace: str = TRACE, service: str = "shop", **more: object
) -> Span:
    return Span(
        trace_id=trace,
        span_id=f"{name:0>16}"[:16],
        parent_id=None if parent is None else f"{parent:0>16}"[:16],
        service=service,
        name=name.partition("#")[0],
        start_ns=int(start_ms * MS),
        duration_ns=int((end_ms - start_ms) * MS),
        **more,  # type: ignore[arg-type]
    )


def path(spans: list[Span]) -> list[tuple[str, float, float]]:
    order, parents, _, _ = walk(spans)
    return [(order[row].name, start / MS, end / MS) for row, start, end in critical_path(order, parents)]


@pytest.fixture
def store(tmp_path: Path) -> SqlTelemetryStore:
    (tmp_path / "pyproject.toml").touch()
    return open_telemetry(settings.load(tmp_path, environ={}))


def test_the_critical_path_is_what_the_answer_waited_for() -> None:
    """The child that ended last, then the one that had ended before it began; one that ran beside it is not on the path."""
    spans = [
        span("root", None, 0, 100),
        span("first", "root", 10, 40),
        span("beside", "root", 30, 79),
        span("last", "root", 45, 90),
        span("inner", "last", 50, 80),
    ]
    assert path(spans) == [
        ("root", 0, 10), ("first", 10, 40), ("root", 40, 45), ("last", 45, 50), ("inner", 50, 80), ("last", 80, 90), ("root", 90, 100),
    ]  # fmt: skip


def test_a_child_that_outlives_its_parent_counts_up_to_its_end() -> None:
    """As a task that goes on after the answer: what comes later delayed nobody."""
    assert path([span("root", None, 0, 50), span("task", "root", 20, 500)]) == [("root", 0, 20), ("task", 20, 50)]


def test_clocks_that_differ_do_not_stretch_the_path() -> None:
    """A child that began before its parent counts from the parent's begin."""
    assert path([span("root", None, 10, 50), span("early", "root", 2, 30, service="other")]) == [("early", 10, 30), ("root", 30, 50)]


@pytest.mark.parametrize("seed", range(30))
def test_the_path_covers_a_root_once(seed: int) -> None:
    """Of random trees: parts of the path follow each other without a gap from the root's begin to its end, each inside its span."""
    rng = random.Random(seed)
    spans = [span("n0", None, 0, 1000)]
    for n in range(1, 60):
        above = rng.choice(spans)
        begin = above.start_ns / MS + rng.random() * above.duration_ns / MS
        spans.append(span(f"n{n}", above.name, begin, begin + rng.random() * 400))
    rng.shuffle(spans)
    parts = path(spans)
    by_name = {one.name: one for one in spans}
    assert parts[0][1] == 0
    assert parts[-1][2] == 1000
    for (_, _, end), (_, start, _) in pairwise(parts):
        assert end == start
    for name, start, end in parts:
        assert by_name[name].start_ns / MS <= start < end <= (by_name[name].start_ns + by_name[name].duration_ns) / MS


def test_own_time_is_without_what_children_cover() -> None:
    """Children that overlap are taken off once."""
    order, parents, _, _ = walk(
        [span("root", None, 0, 100), span("a", "root", 10, 50), span("b", "root", 40, 60), span("c", "root", 90, 300)]
    )
    assert dict(zip([one.name for one in order], [ns // MS for ns in own_times(order, parents)], strict=True))["root"] == 40


def test_loops_and_missing_parents_lose_no_span() -> None:
    """Every span stands in the order once, after its parent."""
    order, parents, depths, missing = walk(
        [
            span("x", "y", 0, 5),
            span("y", "x", 1, 4),
            span("self", "self", 2, 3),
            span("orphan", "gone", 1, 2),
            span("below", "orphan", 1, 2),
        ]
    )
    assert sorted(one.name for one in order) == ["below", "orphan", "self", "x", "y"]
    assert all(parent < row for row, parent in enumerate(parents))
    assert missing == 2  # the orphan's, and the one that is its own parent
    assert dict(zip([one.name for one in order], depths, strict=True))["below"] == 1


def test_a_chain_of_thousands_is_walked(store: SqlTelemetryStore) -> None:
    """Deeper than any recursion."""
    store.add_spans([span(f"{n}", f"{n - 1}" if n else None, 0, 10_000 - n) for n in range(5000)])
    found = waterfall(store, TRACE)
    assert found.depth[-1] == 4999
    assert sum(end - start for _, start, end in found.critical) == 10_000 * MS


def test_search_narrows_and_orders(store: SqlTelemetryStore) -> None:
    """By words, failure and duration; a trace through two services is one row with both."""
    store.add_spans(
        [
            span("a", None, 0, 30, is_entry=True, route="GET /a", trace="01" * 16),
            span("b", "a", 5, 20, is_entry=True, route="GET /b", trace="01" * 16, service="stock"),
            span("c", None, 50, 150, is_entry=True, route="GET /c", trace="02" * 16, status="error"),
        ]
    )
    everything = search(store, SpanQuery())
    assert [row.name for row in everything.traces] == ["GET /c", "GET /a"]
    assert everything.traces[1].services == ("shop", "stock")
    assert everything.services == ("shop", "stock")
    assert [row.name for row in search(store, SpanQuery(), slowest=True, text="/A").traces] == ["GET /a"]
    assert [row.is_failed for row in search(store, SpanQuery(failed=True)).traces] == [True]
    assert search(store, SpanQuery(min_duration_ns=200 * MS)).traces == ()


def test_two_traces_are_set_against_each_other_by_operation(store: SqlTelemetryStore) -> None:
    """How often and how long on either side; own times of a side add up to its root."""
    old, new = "01" * 16, "02" * 16
    store.add_spans(
        [
            span("root", None, 0, 100, trace=old),
            span("q#1", "root", 10, 20, trace=old),
            span("gone", "root", 50, 60, trace=old),
            span("root", None, 1000, 1200, trace=new),
            *(span(f"q#{n}", "root", 1000 + 10 * n, 1005 + 10 * n, trace=new) for n in range(1, 11)),
        ]
    )
    compared = compare_traces(store, old, new)
    of = {one.name: one for one in compared.operations}
    assert (of["q"].base_n, of["q"].new_n) == (1, 10)
    assert (of["gone"].base_n, of["gone"].new_n) == (1, 0)
    assert sum(one.base_own_ns for one in compared.operations) == 100 * MS
    assert sum(one.new_own_ns for one in compared.operations) == 200 * MS


def test_a_trace_that_is_not_kept_says_so(store: SqlTelemetryStore) -> None:
    """With what to do."""
    with pytest.raises(RunNotFound, match="no such trace"):
        waterfall(store, TRACE)
