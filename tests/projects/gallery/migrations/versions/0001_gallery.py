"""Photos of accounts, and who was seen on them."""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    for statement in Path(__file__).with_name("gallery.sql").read_text(encoding="utf-8").split(";\n"):
        op.execute(statement)
