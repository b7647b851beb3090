"""The largest functions of each run."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "functions",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("module", sa.Text, nullable=False),
        sa.Column("qualname", sa.Text, nullable=False),
        sa.Column("file", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("functions_by_name", "functions", ["qualname"])
    op.create_table(
        "function_values",
        sa.Column("function_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("metric", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("added_ns", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("self_value", sa.BigInteger, nullable=False),
        sa.Column("total", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("function_values_by_run", "function_values", ["added_ns"])
