"""An env.py that wants the connection it is given, and otherwise asks libpq's environment."""

from alembic import context
from sqlalchemy import create_engine


def run(connection) -> None:
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    with create_engine("postgresql+psycopg://").connect() as connection:
        run(connection)
