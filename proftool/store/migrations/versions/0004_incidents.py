"""Incidents, and what alert rules have learned."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "incidents",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("service", sa.Text, nullable=False),
        sa.Column("alert", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("began_ns", sa.BigInteger, nullable=False),
        sa.Column("fired_ns", sa.BigInteger, nullable=False),
        sa.Column("seen_ns", sa.BigInteger, nullable=False),
        sa.Column("ended_ns", sa.BigInteger),
        sa.Column("good_from_ns", sa.BigInteger, nullable=False),
        sa.Column("good_until_ns", sa.BigInteger, nullable=False),
        sa.Column("bad_from_ns", sa.BigInteger, nullable=False),
        sa.Column("bad_until_ns", sa.BigInteger, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
    )
    op.create_index("incidents_by_fired", "incidents", ["fired_ns"])
    op.create_index("incidents_by_service", "incidents", ["service", "ended_ns"])
    op.create_table(
        "learned",
        sa.Column("service", sa.Text, primary_key=True),
        sa.Column("alert", sa.Text, primary_key=True),
        sa.Column("time_ns", sa.BigInteger, nullable=False),
        sa.Column("numbers", sa.Text, nullable=False),
    )
