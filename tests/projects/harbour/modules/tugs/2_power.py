"""Their power."""

from alembic import op

revision = "t2"
down_revision = "t1"


def upgrade() -> None:
    op.execute("ALTER TABLE tugs ADD power int")
