"""Papers."""

from alembic import op

revision = "p1"
down_revision = None


def upgrade() -> None:
    op.execute("CREATE TABLE papers (name text PRIMARY KEY)")
