"""Trees."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "a1"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "trees",
        sa.Column("id", sa.Uuid, server_default=sa.func.gen_random_uuid(), primary_key=True),
        sa.Column("kind", sa.Enum("apple", "pear", name="kind"), nullable=False),
        sa.Column("notes", postgresql.JSONB),
    )
    op.execute(sa.text("INSERT INTO trees (kind) VALUES (CAST(:kind AS kind))").bindparams(kind="apple"))
