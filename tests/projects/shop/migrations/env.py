"""Flask-Migrate's env.py in short: the engine is the application's."""

import sqlalchemy as sa
from alembic import context
from flask import current_app
from shop import create_app
from shop.models import metadata


def run_migrations_online() -> None:
    engine = sa.create_engine(current_app.config["DATABASE"])
    with engine.connect() as connection:
        context.configure(connection=connection, target_metadata=metadata)
        with context.begin_transaction():
            context.run_migrations()


with create_app().app_context():
    run_migrations_online()
