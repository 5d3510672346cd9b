"""Orders, in whatever schema is first in the search path."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table("orders", sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True), sa.Column("at", sa.Date))
    op.create_index("orders_at", "orders", ["at"])
