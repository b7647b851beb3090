"""Bring a database to the newest schema, once, inside one transaction.

A new database is created from schema.py and stamped; alembic (0.4 s to import) is loaded only when an older one is met. The
stamp is alembic's own table, so its tools work on the file.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, text

from proftool.store import revisions
from proftool.store.revisions import is_current, version
from proftool.store.schema import metadata

SCRIPTS = Path(__file__).parent / "migrations"


def bring_up(connection: Connection) -> None:
    """Create or upgrade, in the write transaction that the caller holds."""
    tables = revisions.SQLITE_TABLES if connection.dialect.name == "sqlite" else revisions.POSTGRES_TABLES
    found = version(lambda question: connection.execute(text(question)).scalars().all(), tables)
    if is_current(found):
        return
    if found is None:
        metadata.create_all(connection)
        connection.execute(text("CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
        connection.execute(text("DELETE FROM alembic_version"))
        connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": revisions.REVISIONS[-1]})
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
