"""Everything that the models say."""

from alembic import op
from shop.models import metadata

revision = "5f1e"
down_revision = None


def upgrade() -> None:
    metadata.create_all(op.get_bind())
