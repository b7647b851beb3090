"""The first schema: one table of runs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("added_ns", sa.BigInteger, nullable=False, unique=True),
        sa.Column("label", sa.Text),
        sa.Column("modes", sa.Text, nullable=False),
        sa.Column("backends", sa.Text, nullable=False),
        sa.Column("command", sa.Text),
        sa.Column("exit_status", sa.Integer),
        sa.Column("started_ns", sa.BigInteger),
        sa.Column("duration_ns", sa.BigInteger),
        sa.Column("git_commit", sa.String(64)),
        sa.Column("git_branch", sa.Text),
        sa.Column("git_dirty", sa.Boolean),
        sa.Column("python", sa.Text),
        sa.Column("host", sa.Text),
        sa.Column("quality", sa.Text),
        sa.Column("samples", sa.BigInteger),
        sa.Column("rate_asked_hz", sa.Float),
        sa.Column("rate_achieved_hz", sa.Float),
        sa.Column("totals", sa.Text, nullable=False),
        sa.Column("blob", sa.String(64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
    )
    op.create_index("runs_by_label", "runs", ["label", "added_ns", "size_bytes"])
    op.create_index("runs_by_commit", "runs", ["git_commit", "added_ns"])
    op.create_index("runs_by_blob", "runs", ["blob"])
