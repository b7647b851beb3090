"""The tables. One row a run, wide: `list` reads nothing else; lists and maps are JSON text, times are integers in ns.

A change here needs a revision in migrations/versions; a test holds both to be the same. `runs.id` is the primary key; labels,
commits and ages are answered from indexes, so that 100,000 runs are no slower than 100 (tests/perf/store.py).
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, MetaData, String, Table, Text

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
