"""An application of plugins: each has its revisions in a folder of its own, which env.py looks for."""

import os
from pathlib import Path

from alembic import context
from sqlalchemy import NullPool, create_engine

folder = Path(__file__).parent
context.script.version_locations = [str(path) for path in sorted(folder.glob("**/steps"))]

with create_engine(os.environ["DATABASE_URL"], poolclass=NullPool).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
