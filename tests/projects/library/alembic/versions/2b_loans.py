"""Who has which book."""

import sqlalchemy as sa
from alembic import op

revision = "2b"
down_revision = "1a"


def upgrade() -> None:
    op.create_table(
        "loans",
        sa.Column("id", sa.Integer, sa.Identity(always=True), primary_key=True),
        sa.Column("isbn", sa.Text, sa.ForeignKey("books.isbn"), nullable=False),
        sa.Column("reader", sa.Text, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("loans")
