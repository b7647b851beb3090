"""Which schema a database has, asked through whatever connection there is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from proftool.errors import StoreError

REVISIONS = ("0001", "0002", "0003", "0004")
"""Every schema that ever was, oldest first."""

Ask = Callable[[str], Sequence[object]]
"""Runs a question and gives the first column of its answer."""


SQLITE_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND name IN ('alembic_version', 'runs')"
POSTGRES_TABLES = (
    "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema() AND table_name IN ('alembic_version', 'runs')"
)


def version(ask: Ask, tables_question: str = SQLITE_TABLES) -> str | None:
    """The database's revision; None where nothing is in it yet."""
    tables = ask(tables_question)
    if "alembic_version" not in tables:
        if "runs" in tables:
            raise StoreError("the database is no store of proftool's", cause="its tables bear no version", fix="`proftool doctor --repair`")
        return None
    return next((str(found) for found in ask("SELECT version_num FROM alembic_version")), None)


def is_current(found: str | None) -> bool:
    """Is that the newest revision? StoreError for one that only a newer proftool knows."""
    if found is not None and found not in REVISIONS:
        raise StoreError(
            "the store was written by a newer proftool",
            cause=f"its schema is {found}, this proftool knows up to {REVISIONS[-1]}",
            fix="`pip install --upgrade proftool`, or `PROFTOOL_STORE=/another/folder`",
        )
    return found == REVISIONS[-1]
