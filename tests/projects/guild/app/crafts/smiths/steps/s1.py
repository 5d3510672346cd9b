"""Smiths, a plugin's own branch."""

from alembic import op

revision, down_revision = "s1", None
branch_labels = ("smiths",)
depends_on = "g1"


def upgrade() -> None:
    op.execute("CREATE TABLE smiths (member text REFERENCES members)")
