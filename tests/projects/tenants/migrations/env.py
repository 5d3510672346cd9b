"""A schema for each `-x tenant=NAME`, one more for the version table; the URL in Flask-SQLAlchemy's variable."""

import os

from alembic import context
from sqlalchemy import create_engine, text

tenants = [given.removeprefix("tenant=") for given in context.get_x_argument() if given.startswith("tenant=")]

with create_engine(os.environ["SQLALCHEMY_DATABASE_URI"]).connect() as connection:
    for schema in ("versions", *tenants):
        connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{schema}"'))
    connection.commit()
    for tenant in tenants:
        connection.execute(text(f'SET search_path TO "{tenant}"'))
        connection.commit()
        context.configure(
            connection=connection,
            version_table=f"version_of_{tenant}",
            version_table_schema="versions",
            include_schemas=True,
        )
        with context.begin_transaction():
            context.run_migrations()
