"""Students and their photos, by the metadata."""

import models
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    models.metadata.create_all(op.get_bind())


def downgrade() -> None:
    models.metadata.drop_all(op.get_bind())
