"""Points of services' metrics, and their logs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "logs",
        sa.Column("key", sa.String(32).with_variant(sa.String(32, collation="C"), "postgresql"), primary_key=True),
        sa.Column("service", sa.Text, nullable=False),
        sa.Column("time_ns", sa.BigInteger, nullable=False),
        sa.Column("trace_id", sa.String(32)),
        sa.Column("span_id", sa.String(16)),
        sa.Column("severity", sa.Integer, nullable=False),
        sa.Column("level", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("attributes", sa.Text, nullable=False),
    )
    op.create_index("logs_by_trace", "logs", ["trace_id", "time_ns"])
    op.create_index("logs_by_service", "logs", ["service", "time_ns"])
    op.create_table(
        "metrics",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("key", sa.String(64), nullable=False, unique=True),
        sa.Column("service", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("unit", sa.Text, nullable=False),
        sa.Column("edges", sa.Text, nullable=False),
        sa.Column("last", sa.LargeBinary),
    )
    op.create_index("metrics_by_name", "metrics", ["service", "name"])
    op.create_table(
        "series",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("key", sa.String(64), nullable=False, unique=True),
        sa.Column("metric_id", sa.Integer, nullable=False),
        sa.Column("process", sa.Text, nullable=False),
        sa.Column("labels", sa.Text, nullable=False),
        sa.Column("from_zero", sa.Boolean, nullable=False),
        sa.Column("first_ns", sa.BigInteger, nullable=False),
        sa.Column("last_ns", sa.BigInteger, nullable=False),
    )
    op.create_index("series_by_metric", "series", ["metric_id"])
    op.create_index("series_by_process", "series", ["process"])
    op.create_index("series_by_last", "series", ["last_ns"])
    op.create_table(
        "point_batches",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("service", sa.Text, nullable=False),
        sa.Column("points", sa.Integer, nullable=False),
        sa.Column("until_ns", sa.BigInteger, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "point_blocks",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("metric_id", sa.Integer, nullable=False),
        sa.Column("resolution_s", sa.Integer, nullable=False),
        sa.Column("from_ns", sa.BigInteger, nullable=False),
        sa.Column("until_ns", sa.BigInteger, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    op.create_index("point_blocks_by_metric", "point_blocks", ["metric_id", "until_ns"])
    op.create_index("point_blocks_by_age", "point_blocks", ["resolution_s", "until_ns"])
