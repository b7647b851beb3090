"""What every LogStore keeps, whatever it is made of; and spans beside it, which services of a team leave in the same database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from store.servers import Servers

from proftool.contracts_telemetry import LogQuery, LogRecord, LogStore, Span, SpanQuery, TelemetryStore
from proftool.settings import load
from proftool.store import open_logs, open_telemetry
from proftool.store.logs import MAX_BODY_CHARS

Make = Callable[[], tuple[LogStore, TelemetryStore]]

RECORD = LogRecord(
    service="shop",
    time_ns=1_000,
    severity=9,
    level="INFO",
    body="hello",
    trace_id="ab" * 16,
    span_id="cd" * 8,
    attributes={"n": 1, "l": ("a",)},
)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.xdist_group("servers"))])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Opens one and the same stores, as another process would."""
    (tmp_path / "pyproject.toml").touch()
    flags: dict[str, object] = {}
    if request.param == "postgresql":
        servers: Servers = request.getfixturevalue("servers")
        flags = {"store": servers.postgres.new_database(), "blobs": servers.bucket.url()}
    found = load(tmp_path, flags=flags, environ={})
    return lambda: (open_logs(found), open_telemetry(found))


def test_records_come_back_as_they_were_and_once(make: Make) -> None:
    """A batch that is repeated adds nothing, two equal lines in it are two."""
    store, _ = make()
    assert store.find_logs(LogQuery()) == ()
    batch = [RECORD, RECORD, replace(RECORD, time_ns=2_000, trace_id=None, span_id=None, attributes={})]
    for _ in range(2):
        store.add_logs(batch)
    assert make()[0].find_logs(LogQuery()) == (batch[2], RECORD, RECORD)


def test_every_field_of_a_query_narrows(make: Make) -> None:
    """Newest first; those of a trace in their order."""
    store, _ = make()
    later = replace(RECORD, time_ns=3_000, severity=17, service="stock", body="broke")
    store.add_logs([RECORD, later])
    assert store.find_logs(LogQuery(trace_id="ab" * 16)) == (RECORD, later)
    assert store.find_logs(LogQuery()) == (later, RECORD)
    for query, found in (
        (LogQuery(service="shop"), (RECORD,)),
        (LogQuery(min_severity=17), (later,)),
        (LogQuery(since_ns=1_001), (later,)),
        (LogQuery(until_ns=3_000), (RECORD,)),
        (LogQuery(limit=1), (later,)),
        (LogQuery(trace_id="00" * 16), ()),
        (LogQuery(service="stock", since_ns=3_000, until_ns=3_001), (later,)),
    ):
        assert store.find_logs(query) == found, query


def test_secrets_and_endless_lines_are_cut(make: Make) -> None:
    """Before they are written."""
    store, _ = make()
    store.add_logs([replace(RECORD, body="password=hunter2hunter2", attributes={"q": "token=abcdefgh"})])
    store.add_logs([replace(RECORD, time_ns=2_000, body="x" * 100_000)])
    long, hidden = store.find_logs(LogQuery())
    assert (hidden.body, hidden.attributes) == ("password=***", {"q": "token=***"})
    assert long.body == "x" * MAX_BODY_CHARS + "…"


def test_what_is_old_is_forgotten(make: Make) -> None:
    """To the nanosecond."""
    store, _ = make()
    assert store.forget(5) == 0
    store.add_logs([RECORD, replace(RECORD, time_ns=2_000)])
    assert store.forget(2_000) == 1
    assert [record.time_ns for record in store.find_logs(LogQuery())] == [2_000]


def test_spans_of_services_lie_in_the_same_database(make: Make) -> None:
    """A team's too."""
    _, store = make()
    span = Span(trace_id="ab" * 16, span_id="cd" * 8, service="shop", name="GET /", start_ns=1_000, duration_ns=5, attributes={"a": (1, 2)})
    store.add_spans([span, replace(span, name="again")])
    assert make()[1].find_spans(SpanQuery()) == (span,)
    assert store.forget(2_000) == 1
