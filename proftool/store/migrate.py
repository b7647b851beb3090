"""Bring a database to the newest schema, once, inside one transaction.

A new database is created from schema.py and stamped; alembic (0.4 s to import) is loaded only when an older one is met. The
stamp is alembic's own table, so its tools work on the file.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from proftool.errors import StoreError
from proftool.store.schema import metadata

SCRIPTS = Path(__file__).parent / "migrations"
REVISIONS = ("0001",)
"""Every schema that ever was, oldest first."""


def version(connection: Connection) -> str | None:
    """The database's revision; None where nothing is in it yet."""
    tables = (
        connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'table' AND name IN ('alembic_version', 'runs')"))
        .scalars()
        .all()
    )
    if "alembic_version" not in tables:
        if "runs" in tables:
            raise StoreError("the database is no store of proftool's", cause="its tables bear no version", fix="`proftool doctor --repair`")
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def is_current(found: str | None) -> bool:
    """Is that the newest revision? StoreError for one that only a newer proftool knows."""
    if found is not None and found not in REVISIONS:
        raise StoreError(
            "the store was written by a newer proftool",
            cause=f"its schema is {found}, this proftool knows up to {REVISIONS[-1]}",
            fix="`pip install --upgrade proftool`, or `PROFTOOL_STORE=/another/folder`",
        )
    return found == REVISIONS[-1]


def bring_up(connection: Connection) -> None:
    """Create or upgrade, in the write transaction that the caller holds."""
    found = version(connection)
    if is_current(found):
        return
    if found is None:
        metadata.create_all(connection)
        connection.execute(text("CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
        connection.execute(text("DELETE FROM alembic_version"))
        connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": REVISIONS[-1]})
        return
    upgrade(connection)


def upgrade(connection: Connection) -> None:
    """Run every revision that is missing, with alembic."""
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    command.upgrade(config, "head")


def tables_of(connection: Connection) -> set[str]:
    """Names of the tables there are."""
    return set(inspect(connection).get_table_names())
