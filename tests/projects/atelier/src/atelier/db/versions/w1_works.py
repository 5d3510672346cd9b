"""Works."""

import sqlalchemy as sa
from alembic import op

revision = "w1"
down_revision = None


def upgrade() -> None:
    op.create_table("works", sa.Column("id", sa.Integer, primary_key=True), schema="atelier")
    op.execute("COMMENT ON TABLE atelier.works IS 'paintings'")
