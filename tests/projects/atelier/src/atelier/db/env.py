"""The models' metadata and settings, imported from the package; a schema of its own."""

import sqlalchemy as sa
from alembic import context
from atelier import settings
from atelier.models import metadata

with sa.create_engine(settings.URL).connect() as connection:
    connection.execute(sa.text("CREATE SCHEMA IF NOT EXISTS atelier"))
    connection.commit()
    context.configure(connection=connection, target_metadata=metadata, version_table_schema="atelier")
    with context.begin_transaction():
        context.run_migrations()
