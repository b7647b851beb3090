"""Queries: shapes without values, rows, time, the caller in the project's code, and what is found."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from telemetry.serving import serving, telemetry_store

from proftool.contracts_telemetry import Span, SpanQuery
from proftool.store.services import SqlTelemetryStore
from proftool.telemetry import queries_dbapi, queries_sqlalchemy, tracing
from proftool.telemetry.queries import LIMITS, shape, summary
from proftool.telemetry.spans import Keep


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlTelemetryStore]:
    """Everything is traced, kept and tracked."""
    store = telemetry_store(tmp_path)
    tracing.start("shop", store, keep=Keep(share=1.0))
    queries_dbapi.track()
    queries_sqlalchemy.track()
    before = LIMITS.slow_ns, LIMITS.repeated
    yield store
    LIMITS.slow_ns, LIMITS.repeated = before
    queries_sqlalchemy.untrack()
    queries_dbapi.untrack()


def written(store: SqlTelemetryStore) -> list[Span]:
    """The queries that were kept, in order of time."""
    assert tracing.CURRENT.tracing is not None
    tracing.CURRENT.tracing.writer.flush()
    spans = [span for span in store.find_spans(SpanQuery()) if "db.system.name" in span.attributes]
    return sorted(spans, key=lambda span: span.start_ns)


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SELECT * FROM t WHERE a = 'it''s' AND b=-1.5e3", "SELECT * FROM t WHERE a = ? AND b=?"),
        ("SELECT  a\n FROM t -- secret\n WHERE id IN (1, 2,3)", "SELECT a FROM t WHERE id IN (…)"),
        ("INSERT INTO t2 VALUES (1, 'x'), (2, 'y'), (3, 'z');", "INSERT INTO t2 VALUES (…), …"),
        ("SELECT %s, %(name)s, :id, $1, ?1 FROM x", "SELECT ?, ?, ?, ?, ? FROM x"),
        ('SELECT "col1", `c2` FROM "T 1" WHERE x = $$secret$$', 'SELECT "col1", `c2` FROM "T 1" WHERE x = ?'),
        ("SELECT a::int FROM t /* user 42 */", "SELECT a::int FROM t"),
    ],
)
def test_a_shape_holds_no_value(statement: str, expected: str) -> None:
    """Literals, parameters, comments and lengths of lists are gone; names stay."""
    assert shape(statement) == expected


@given(st.text(max_size=30).map(lambda text: text.replace("'", "''")), st.integers())
def test_statements_that_differ_in_values_have_one_shape(text: str, number: int) -> None:
    """Whatever the text holds, and however long the number is."""
    assert shape(f"SELECT a FROM t WHERE b = '{text}' AND c = {number}") == "SELECT a FROM t WHERE b = ? AND c = ?"


def test_a_summary_names_verb_and_table() -> None:
    """The span's name is short and of few kinds."""
    assert summary("SELECT a FROM orders JOIN x") == "SELECT orders"
    assert summary("COMMIT") == "COMMIT"


def test_sqlite_rows_time_and_caller_are_told(store: SqlTelemetryStore) -> None:
    """SQLite works while rows are fetched; that time and these rows are the query's."""
    with serving(), closing(sqlite3.connect(":memory:")) as connection:
        assert isinstance(connection, sqlite3.Connection)
        cursor = connection.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) SELECT i FROM n")
        rows = len(cursor.fetchall())
    (query,) = written(store)
    assert query.attributes["db.response.returned_rows"] == rows == 200_000
    assert query.attributes["code.function.name"] == "test_sqlite_rows_time_and_caller_are_told"
    assert str(query.attributes["code.file.path"]).endswith("test_queries.py")
    assert query.duration_ns > 10_000_000  # a step takes 0.1 µs and more


def test_a_query_that_fails_is_an_error(store: SqlTelemetryStore) -> None:
    """With the exception's type, and without its text, which may hold data."""
    with serving(), closing(sqlite3.connect(":memory:")) as connection, pytest.raises(sqlite3.OperationalError):
        connection.execute("SELECT nope")
    (query,) = written(store)
    assert (query.status, query.attributes["error.type"]) == ("error", "OperationalError")


def test_sqlalchemy_is_told_once_with_rows(store: SqlTelemetryStore) -> None:
    """Its event and the driver's wrapper see the same statement, and it is one span."""
    from sqlalchemy import create_engine, text

    engine = create_engine("sqlite://")
    with serving(), engine.connect() as connection:
        assert len(connection.execute(text("SELECT 1 UNION SELECT 2 UNION SELECT 3")).all()) == 3
    engine.dispose()
    found = [span for span in written(store) if span.name.startswith("SELECT")]
    assert [span.attributes["db.response.returned_rows"] for span in found] == [3]
    assert found[0].attributes["code.function.name"] == "test_sqlalchemy_is_told_once_with_rows"


def test_a_lazy_load_in_a_loop_is_found_at_the_line_that_loops(store: SqlTelemetryStore) -> None:
    """The N+1 of an ORM: the line that touches the attribute, not SQLAlchemy's."""
    from sqlalchemy import Column, ForeignKey, Integer, create_engine
    from sqlalchemy.orm import DeclarativeBase, Session, relationship

    class Base(DeclarativeBase): ...

    class Author(Base):
        __tablename__ = "author"
        id = Column(Integer, primary_key=True)

    class Book(Base):
        __tablename__ = "book"
        id = Column(Integer, primary_key=True)
        author_id = Column(ForeignKey(Author.id))
        author = relationship(Author)

    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    touched: list[object] = []
    with Session(engine) as session:
        session.add_all([Book(id=n, author=Author(id=n)) for n in range(12)])
        session.commit()
        with serving("/books"):
            for book in session.query(Book):  # no comprehension: since Python 3.12 it has no function of its own (PEP 709)
                touched.append(book.author.id)
    engine.dispose()
    assert len(touched) == 12
    written(store)
    found = [finding for finding in store.find_findings() if finding.route == "GET /books"]
    assert [(finding.id, finding.function.rpartition(".")[2]) for finding in found] == [
        ("repeated-query", "test_a_lazy_load_in_a_loop_is_found_at_the_line_that_loops")
    ]
    text = Path(__file__).read_text().splitlines()[found[0].line - 1]
    assert "book.author.id" in text


def test_a_finding_names_a_trace_that_is_kept(tmp_path: Path) -> None:
    """Of requests of which none is kept for itself: the first, and no other within minutes."""
    store = telemetry_store(tmp_path)
    now = tracing.start("shop", store, keep=Keep(slow_ns=10**15, share=0.0))
    queries_dbapi.track()
    try:
        for _ in range(5):
            with serving(), closing(sqlite3.connect(":memory:")) as connection:
                for number in range(LIMITS.repeated):
                    connection.execute(f"SELECT {number}").fetchall()
    finally:
        queries_dbapi.untrack()
    now.writer.flush()
    (finding,) = store.find_findings()
    (entry,) = store.find_spans(SpanQuery(entries=True))
    assert (finding.count, finding.trace_id, entry.kept) == (5, entry.trace_id, "finding")


def test_queries_of_a_driver_that_is_not_known_are_watched_by_its_connect(store: SqlTelemetryStore) -> None:
    """Any DB-API driver, through a stand-in for its connections and cursors."""
    queries_dbapi.untrack()
    connect = queries_dbapi.watched_connect(sqlite3.connect, "mysql")
    with serving():
        connection = connect(":memory:")
        cursor = connection.cursor()
        assert list(cursor.execute("SELECT 7")) == [(7,)]
        connection.close()
    (query,) = written(store)
    assert (query.attributes["db.system.name"], query.name) == ("mysql", "SELECT")


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    """A PostgreSQL server of our own on a socket."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not folders:
        pytest.skip("no PostgreSQL is installed")
    place = Path("/tmp") / f"pg-{os.getpid()}"  # a socket's path is short, and its folder must be the server's user's
    place.mkdir()
    user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.getuid() == 0 else []
    if user:
        shutil.chown(place, "postgres", "postgres")
    run = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": "/"}
    try:
        subprocess.run([*user, folders[-1] / "initdb", "-D", place / "data", "-A", "trust", "-U", "me", "-N"], **run)  # type: ignore[call-overload]
        control = [*user, folders[-1] / "pg_ctl", "-D", place / "data", "-w"]
        options = f"-c listen_addresses='' -k {place} -c fsync=off"
        subprocess.run([*control, "-o", options, "-l", place / "log", "start"], **run)  # type: ignore[call-overload]
        try:
            yield f"host={place} user=me dbname=postgres"
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], **run)  # type: ignore[call-overload]
    finally:
        shutil.rmtree(place, ignore_errors=True)


def test_psycopg_sync_and_async_are_watched(store: SqlTelemetryStore, postgresql: str) -> None:
    """A real server: rows, shape, a slow query with its place, and the awaited half."""
    psycopg = pytest.importorskip("psycopg")
    LIMITS.slow_ns = 100_000_000

    async def awaited() -> None:
        async with await psycopg.AsyncConnection.connect(postgresql) as connection:
            cursor = await connection.execute("SELECT generate_series(1, %s)", (5,))
            assert len(await cursor.fetchall()) == 5

    with serving("/pg"):
        with psycopg.connect(postgresql) as connection:
            assert connection.execute("SELECT pg_sleep(0.2), 'x'").fetchone()[1] == "x"
        asyncio.run(awaited())
    found = {span.attributes["db.query.text"]: span for span in written(store)}
    assert found["SELECT generate_series(…)"].attributes["db.response.returned_rows"] == 5
    slow = found["SELECT pg_sleep(?), ?"]
    assert slow.attributes["db.system.name"] == "postgresql"
    assert slow.duration_ns > 190_000_000
    (finding,) = [finding for finding in store.find_findings() if finding.id == "slow-query"]
    assert finding.function == "test_psycopg_sync_and_async_are_watched"
    assert finding.route == "GET /pg"
    assert finding.last_ns <= time.time_ns()
