"""Berths."""

from alembic import op

revision = "c1"
down_revision = None
branch_labels = ("core",)


def upgrade() -> None:
    op.execute("CREATE TABLE berths (id int PRIMARY KEY)")
