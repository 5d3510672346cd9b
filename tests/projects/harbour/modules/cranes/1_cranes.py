"""Cranes, which stand at berths."""

from alembic import op

revision = "k1"
down_revision = None
branch_labels = ("cranes",)
depends_on = "c1"


def upgrade() -> None:
    op.execute("CREATE TABLE cranes (berth int REFERENCES berths)")
