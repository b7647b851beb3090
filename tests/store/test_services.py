"""What services leave in the store: repeated batches change nothing, findings add up, and old things go."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from store.stores import profile, store_in

from proftool import settings
from proftool.contracts_telemetry import Finding, Outline, Slice, SliceQuery, Span, SpanEvent, SpanLink, SpanQuery
from proftool.store import open_telemetry
from proftool.store.services import SqlTelemetryStore

SPAN = Span(
    trace_id="ab" * 16,
    span_id="cd" * 8,
    service="shop",
    name="GET /",
    kind="server",
    start_ns=1_000,
    duration_ns=50,
    is_entry=True,
    route="GET /",
    kept="slow",
    attributes={"n": 1, "ok": True, "list": ("a", "b")},
    events=(SpanEvent(name="exception", time_ns=1_010, attributes={"exception.type": "ValueError"}),),
    links=(SpanLink(trace_id="ef" * 16, span_id="01" * 8),),
)
FINDING = Finding(
    id="slow-query", service="shop", function="report", file="app.py", line=7, confidence="high", evidence="2 s", advice="index it",
    route="GET /", trace_id="ab" * 16, first_ns=100, last_ns=100,
)  # fmt: skip


def _store(folder: Path) -> SqlTelemetryStore:
    (folder / "pyproject.toml").touch()
    return open_telemetry(settings.load(folder, environ={}))


def test_a_span_comes_back_as_it_was_and_once(tmp_path: Path) -> None:
    """A writer that repeats its batch adds nothing."""
    store = _store(tmp_path)
    assert store.find_spans(SpanQuery()) == ()
    store.add_spans([SPAN])
    store.add_spans([replace(SPAN, name="again"), replace(SPAN, span_id="02" * 8, is_entry=False, start_ns=2_000)])
    assert store.find_spans(SpanQuery(entries=True)) == (SPAN,)
    assert [span.span_id for span in store.find_spans(SpanQuery())] == ["02" * 8, "cd" * 8]
    assert [span.span_id for span in store.find_spans(SpanQuery(trace_id="ab" * 16))] == ["cd" * 8, "02" * 8]
    assert store.kept_traces(["ab" * 16, "00" * 16]) == {"ab" * 16}


def test_outlines_are_the_same_spans(tmp_path: Path) -> None:
    """In the same order; their attributes where these are asked for, and nobody can change what spans share."""
    store = _store(tmp_path)
    store.add_spans(
        [SPAN, *(replace(SPAN, span_id=f"{n:016x}", start_ns=2_000 - n, route=None, attributes={"n": n % 2}) for n in range(5))]
    )
    for query in (SpanQuery(), SpanQuery(trace_id="ab" * 16), SpanQuery(route="GET /"), SpanQuery(limit=2)):
        spans, outlines = store.find_spans(query), store.find_outlines(query, attributes=True)
        assert outlines
        assert [one._asdict() for one in outlines] == [{name: getattr(span, name) for name in Outline._fields} for span in spans]
        assert [one[:12] for one in store.find_outlines(query)] == [one[:12] for one in outlines]
    with pytest.raises(TypeError):
        outlines[0].attributes["n"] = 3  # type: ignore[index]


def test_every_field_of_a_query_narrows(tmp_path: Path) -> None:
    """Each alone leaves out a span that does not fit."""
    store = _store(tmp_path)
    store.add_spans([SPAN])
    for fits, not_so in (
        (SpanQuery(service="shop"), SpanQuery(service="other")),
        (SpanQuery(route="GET /"), SpanQuery(route="GET /x")),
        (SpanQuery(since_ns=1_000), SpanQuery(since_ns=1_001)),
        (SpanQuery(until_ns=1_001), SpanQuery(until_ns=1_000)),
        (SpanQuery(min_duration_ns=50), SpanQuery(min_duration_ns=51)),
        (SpanQuery(limit=1), SpanQuery(failed=True)),
    ):
        assert store.find_spans(fits) == (SPAN,)
        assert store.find_spans(not_so) == ()


def test_findings_of_one_place_add_up(tmp_path: Path) -> None:
    """First and last time move apart, the count grows, another line is another finding."""
    store = _store(tmp_path)
    store.add_findings([FINDING])
    store.add_findings([replace(FINDING, first_ns=300, last_ns=300, evidence="3 s", trace_id=None), replace(FINDING, line=9)])
    found = {finding.line: finding for finding in store.find_findings(service="shop")}
    assert found[7] == replace(FINDING, last_ns=300, evidence="3 s", count=2)
    assert found[9].count == 1
    assert [finding.line for finding in store.find_findings(since_ns=200)] == [7]


def test_slices_keep_their_profile(tmp_path: Path) -> None:
    """A stretch of time and a trace's part are asked for apart."""
    store = _store(tmp_path)
    one = Slice(service="shop", pid=7, start_ns=100, end_ns=200, samples=3, profile=profile(5))
    store.add_slices([one, replace(one, trace_id="ab" * 16, route="GET /")])
    (stretch,) = store.find_slices(SliceQuery(service="shop", since_ns=150, until_ns=300))
    assert (stretch.trace_id, stretch.samples) == (None, 3)
    assert stretch.profile.cells.value.tolist() == one.profile.cells.value.tolist()
    (part,) = store.find_slices(SliceQuery(trace_id="ab" * 16))
    assert part.route == "GET /"
    assert store.find_slices(SliceQuery(since_ns=200)) == ()


def test_what_is_old_is_forgotten_and_runs_stay(tmp_path: Path) -> None:
    """Spans, slices and findings before the time go; a run is none of them."""
    store = _store(tmp_path)
    run = store_in(tmp_path).add(profile(1))
    store.add_spans([SPAN, replace(SPAN, span_id="02" * 8, start_ns=5_000)])
    store.add_findings([FINDING])
    store.add_slices([Slice(service="shop", pid=7, start_ns=100, end_ns=200, samples=3, profile=profile(5))])
    assert store.forget(3_000) == 3
    assert [span.start_ns for span in store.find_spans(SpanQuery())] == [5_000]
    from proftool.contracts_store import RunQuery

    assert store_in(tmp_path).find(RunQuery()) == (run,)


def test_services_are_named_and_spans_found_by_kind_and_id(tmp_path: Path) -> None:
    """Names in order, each once; a span of a trace by its own id; those of one kind."""
    store = _store(tmp_path)
    assert store.services() == ()
    spans = [replace(SPAN, span_id=f"{n:016x}", service=f"s{n % 3}", kind="client" if n % 2 else "server") for n in range(1, 8)]
    store.add_spans(spans)
    assert store.services() == ("s0", "s1", "s2")
    assert [one.span_id for one in store.find_spans(SpanQuery(trace_id=SPAN.trace_id, span_id=spans[2].span_id))] == [spans[2].span_id]
    assert {one.kind for one in store.find_spans(SpanQuery(kind="client"))} == {"client"}
    assert len(store.find_spans(SpanQuery(kind="client"))) == 4
