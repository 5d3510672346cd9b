"""A URL put together from the variables of the PostgreSQL image, as in many a docker-compose file."""

import os

from alembic import context
from sqlalchemy import create_engine

user, password = os.environ["POSTGRES_USER"], os.environ["POSTGRES_PASSWORD"]
host, port = os.getenv("POSTGRES_HOST", "localhost"), os.getenv("POSTGRES_PORT", "5432")
URL = f"postgresql://{user}:{password}@{host}:{port}/{os.environ['POSTGRES_DB']}"


def run_migrations_online() -> None:
    with create_engine(URL).begin() as connection:
        context.configure(connection=connection)
        context.run_migrations()


run_migrations_online()
