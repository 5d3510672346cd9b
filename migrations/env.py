"""Alembic's environment. It uses the connection that it is given, else the database that seedtool's settings name."""

from pathlib import Path
from typing import Any

from alembic import context
from sqlalchemy import Connection, Engine

from migrations.models import Base

# Each revision has a transaction of its own. So a revision that commits early (0003 on a table in use) commits no part
# of another one, and the locks of a revision are released before the next one begins.
OPTIONS: dict[str, Any] = {
    "target_metadata": Base.metadata,
    "compare_type": True,
    "compare_server_default": True,
    "transaction_per_migration": True,
}


def run(connection: Connection) -> None:
    """Run the revisions that Alembic asks for on an open connection."""
    context.configure(connection=connection, **OPTIONS)
    with context.begin_transaction():
        context.run_migrations()


def run_offline() -> None:
    """Print the revisions' SQL (`alembic upgrade head --sql`); needs no server."""
    context.configure(dialect_name="postgresql", literal_binds=True, **OPTIONS)
    with context.begin_transaction():
        context.run_migrations()


def open_engine() -> Engine:
    """Return an engine for the target. Start the embedded server when it does not run.

    Raises:
        CommandError: the server does not answer, the database does not exist, or a setting is wrong.
    """
    from alembic.util import CommandError
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    from seedtool import settings
    from seedtool.errors import SeedtoolError
    from seedtool.postgres import server

    try:
        target = server.find(
            settings.load(Path(__file__).parent)
        )  # this project's settings, whatever the current folder is
        server.connect(target).close()  # a wrong setting is reported in one line, not in a traceback
    except SeedtoolError as error:
        raise CommandError(f"{error.message}. {error.remedy}") from error
    # psycopg connects by itself, so that no parameter is lost between a connection string and a URL
    return create_engine(
        "postgresql+psycopg://", creator=lambda: server.connect(target, application="alembic"), poolclass=NullPool
    )


given = context.config.attributes.get("connection")
if context.is_offline_mode():
    run_offline()
elif isinstance(given, Connection):
    run(given)
else:
    with (open_engine() if given is None else given).connect() as opened:
        run(opened)
