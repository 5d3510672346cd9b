"""Members."""

from alembic import op

revision, down_revision = "g1", None


def upgrade() -> None:
    op.execute("CREATE TABLE members (name text PRIMARY KEY)")
