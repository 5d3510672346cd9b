"""Tugs."""

from alembic import op

revision = "t1"
down_revision = None
branch_labels = ("tugs",)


def upgrade() -> None:
    op.execute("CREATE TABLE tugs (name text PRIMARY KEY)")
