"""Which schema a database has, asked through whatever connection there is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from proftool.errors import StoreError

REVISIONS = ("0001", "0002")
"""Every schema that ever was, oldest first."""

Ask = Callable[[str], Sequence[object]]
"""Runs a question and gives the first column of its answer."""


def version(ask: Ask) -> str | None:
    """The database's revision; None where nothing is in it yet."""
    tables = ask("SELECT name FROM sqlite_master WHERE type = 'table' AND name IN ('alembic_version', 'runs')")
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
