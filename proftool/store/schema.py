"""The tables. One row a run, wide: `list` reads nothing else; lists and maps are JSON text, times are integers in ns.

What services leave stands in tables of its own: spans, slices (what an always-on sampler saw, a profile in native bytes: a minute takes
some 10 kB, and goes as a row goes), findings, logs, incidents with what alert
rules have learned, and points of metrics (points.py; columns of many in one row).

A change here needs a revision in migrations/versions; a test holds both to be the same. `runs.id` is the primary key; labels,
commits and ages are answered from indexes, so that 100,000 runs are no slower than 100 (tests/perf/store.py).
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, LargeBinary, MetaData, String, Table, Text

metadata = MetaData()


def _key(length: int | None = None) -> String:
    """Text that is found by its beginning: compared byte by byte, as SQLite does, whatever the server's language is."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


runs = Table(
    "runs",
    metadata,
    Column("id", _key(16), primary_key=True),
    Column("added_ns", BigInteger, nullable=False, unique=True),
    Column("label", Text),
    Column("modes", Text, nullable=False),
    Column("backends", Text, nullable=False),
    Column("command", Text),
    Column("exit_status", Integer),
    Column("started_ns", BigInteger),
    Column("duration_ns", BigInteger),
    Column("git_commit", _key(64)),
    Column("git_branch", Text),
    Column("git_dirty", Boolean),
    Column("python", Text),
    Column("host", Text),
    Column("quality", Text),
    Column("samples", BigInteger),
    Column("rate_asked_hz", Float),
    Column("rate_achieved_hz", Float),
    Column("totals", Text, nullable=False),
    Column("blob", String(64), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    # The whole of what prune and the size cap ask: no row is read for them.
    Index("runs_by_label", "label", "added_ns", "size_bytes"),
    Index("runs_by_commit", "git_commit", "added_ns"),
    Index("runs_by_blob", "blob"),
)

spans = Table(
    "spans",
    metadata,
    Column("trace_id", String(32), primary_key=True),
    Column("span_id", String(16), primary_key=True),
    Column("parent_id", String(16)),
    Column("service", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("start_ns", BigInteger, nullable=False),
    Column("duration_ns", BigInteger, nullable=False),
    Column("status", String(16), nullable=False),
    Column("message", Text, nullable=False),
    Column("is_entry", Boolean, nullable=False),
    Column("route", Text),
    Column("kept", String(16)),
    Column("attributes", Text, nullable=False),
    Column("events", Text, nullable=False),
    Column("links", Text, nullable=False),
    # Requests of all services, or of one, newest first; and what is older than a time.
    Index("spans_by_start", "is_entry", "start_ns"),
    Index("spans_by_service", "service", "is_entry", "start_ns"),
)

slices = Table(
    "slices",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("service", Text, nullable=False),
    Column("pid", BigInteger, nullable=False),
    Column("start_ns", BigInteger, nullable=False),
    Column("end_ns", BigInteger, nullable=False),
    Column("samples", BigInteger, nullable=False),
    Column("trace_id", String(32)),
    Column("route", Text),
    Column("profile", LargeBinary, nullable=False),
    Index("slices_by_trace", "trace_id", "end_ns"),
    Index("slices_by_service", "service", "trace_id", "end_ns"),
)

findings = Table(
    "findings",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("id", Text, nullable=False),
    Column("service", Text, nullable=False),
    Column("function", Text, nullable=False),
    Column("file", Text, nullable=False),
    Column("line", Integer, nullable=False),
    Column("confidence", String(16), nullable=False),
    Column("evidence", Text, nullable=False),
    Column("advice", Text, nullable=False),
    Column("route", Text),
    Column("trace_id", String(32)),
    Column("first_ns", BigInteger, nullable=False),
    Column("last_ns", BigInteger, nullable=False),
    Column("count", BigInteger, nullable=False),
    Index("findings_by_last", "last_ns"),
)

logs = Table(
    "logs",
    metadata,
    # The time, then a digest: records lie as they came, and one that comes again is known.
    Column("key", _key(32), primary_key=True),
    Column("service", Text, nullable=False),
    Column("time_ns", BigInteger, nullable=False),
    Column("trace_id", String(32)),
    Column("span_id", String(16)),
    Column("severity", Integer, nullable=False),
    Column("level", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("attributes", Text, nullable=False),
    Index("logs_by_trace", "trace_id", "time_ns"),
    Index("logs_by_service", "service", "time_ns"),
)

metrics = Table(
    "metrics",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("key", String(64), nullable=False, unique=True),
    Column("service", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("unit", Text, nullable=False),
    Column("edges", Text, nullable=False),
    Column("last", LargeBinary),
    Index("metrics_by_name", "service", "name"),
)

series = Table(
    "series",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("key", String(64), nullable=False, unique=True),
    Column("metric_id", Integer, nullable=False),
    Column("process", Text, nullable=False),
    Column("labels", Text, nullable=False),
    Column("from_zero", Boolean, nullable=False),
    Column("first_ns", BigInteger, nullable=False),
    Column("last_ns", BigInteger, nullable=False),
    Index("series_by_metric", "metric_id"),
    Index("series_by_process", "process"),
    Index("series_by_last", "last_ns"),
)

point_batches = Table(
    "point_batches",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("service", Text, nullable=False),
    Column("points", Integer, nullable=False),
    Column("until_ns", BigInteger, nullable=False),
    Column("content", LargeBinary, nullable=False),
)

point_blocks = Table(
    "point_blocks",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("metric_id", Integer, nullable=False),
    Column("resolution_s", Integer, nullable=False),
    Column("from_ns", BigInteger, nullable=False),
    Column("until_ns", BigInteger, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Index("point_blocks_by_metric", "metric_id", "until_ns"),
    Index("point_blocks_by_age", "resolution_s", "until_ns"),
)

incidents = Table(
    "incidents",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("service", Text, nullable=False),
    Column("alert", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("began_ns", BigInteger, nullable=False),
    Column("fired_ns", BigInteger, nullable=False),
    Column("seen_ns", BigInteger, nullable=False),
    Column("ended_ns", BigInteger),
    # What `forget` spares of slices, spans and findings.
    Column("good_from_ns", BigInteger, nullable=False),
    Column("good_until_ns", BigInteger, nullable=False),
    Column("bad_from_ns", BigInteger, nullable=False),
    Column("bad_until_ns", BigInteger, nullable=False),
    Column("document", Text, nullable=False),
    Index("incidents_by_fired", "fired_ns"),
    Index("incidents_by_service", "service", "ended_ns"),
)

learned = Table(
    "learned",
    metadata,
    Column("service", Text, primary_key=True),
    Column("alert", Text, primary_key=True),
    Column("time_ns", BigInteger, nullable=False),
    Column("numbers", Text, nullable=False),
)
