"""Alembic, run in this process against one database of ours.

Any Alembic project is served: env.py gets our connection in `config.attributes["connection"]`, and one that
ignores it finds the same database in `sqlalchemy.url` and in DATABASE_URL. Whatever env.py connects to is
looked at before anything runs there: another database is never migrated.
"""

import contextlib
import os
import re
import secrets
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from seedtool.database.schema.project import inside
from seedtool.database.server import Target
from seedtool.errors import DatabaseError, MigrationError, SeedtoolError
from seedtool.settings import Settings

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.runtime.migration import MigrationContext, MigrationStep
    from alembic.script import Script, ScriptDirectory
    from sqlalchemy import Connection, Engine

# Alembic's `context`, the working folder and the environment are the process's: two runs would meet in them.
_ONE_AT_A_TIME = threading.Lock()

_USE_OURS = (
    'Let env.py use config.attributes["connection"] where it is given, or take its URL from '
    'config.get_main_option("sqlalchemy.url") or from the environment variable DATABASE_URL.'
)


def upgrade(conninfo: str, settings: Settings, revision: str = "heads") -> list[str]:
    """Bring a database to a revision; whoever calls sees to it that nobody else does so at the same time.

    Args:
        conninfo: libpq connection string of the database, which exists.
        settings: they name alembic.ini and its `-x` arguments.
        revision: as `alembic upgrade` takes it.

    Returns:
        the revisions applied, in their order; empty when there was nothing to do.

    Raises:
        MigrationError: a revision failed (named, with its file), the migrations cannot be loaded, or env.py
            turned to another database. Revisions before the failed one may be in place.
        DatabaseError: the database cannot be reached.
    """
    run = _Run(conninfo, settings)
    run.env(revision)
    if run.applied and run.applied[-1] not in run.heads():
        raise MigrationError(
            "env.py ran the revisions, but the database does not have them",
            remedy="Does env.py run them within `with context.begin_transaction():`?",
        )
    return run.applied


def current(conninfo: str, settings: Settings) -> list[str]:
    """Return the revisions that a database is at: none, one, or one for each branch.

    Raises:
        MigrationError: the migrations cannot be loaded, or env.py turned to another database.
        DatabaseError: the database cannot be reached.
    """
    run = _Run(conninfo, settings)
    run.env(None)
    return run.heads()


def heads(settings: Settings) -> list[str]:
    """Return the newest revisions of the project; no database is needed.

    Raises:
        MigrationError: the migrations cannot be loaded, or there are none.
    """
    with _ONE_AT_A_TIME, inside(_folder(settings), {}), _explaining(settings, None):
        return _load(settings)[1].get_heads()


class _Run:
    """One run of env.py.

    Args:
        conninfo: libpq connection string of the database.
        settings: the project.
    """

    def __init__(self, conninfo: str, settings: Settings) -> None:
        self.conninfo = conninfo
        self.settings = settings
        self.applied: list[str] = []
        self.running: Script | None = None
        self.version_table: dict[str, str | None] | None = None

    def env(self, revision: str | None) -> None:
        """Run env.py: up to a revision, or only to learn where it keeps its version table."""
        url = Target(conninfo=self.conninfo, name="", maintenance="").url
        variables = {"DATABASE_URL": _with_scheme(url, os.environ.get("DATABASE_URL") or self.settings.database_url)}
        with _ONE_AT_A_TIME, inside(_folder(self.settings), variables), _explaining(self.settings, self):
            config, script = _load(self.settings)
            section = config.file_config
            written = section.get(config.config_ini_section, "sqlalchemy.url", raw=True, fallback=None)
            config.set_main_option("sqlalchemy.url", _with_scheme(url, written).replace("%", "%%"))
            with _engine(self.conninfo).connect() as connection:
                config.attributes["connection"] = connection
                with self._environment(config, script, connection, revision):
                    script.run_env()
            if self.version_table is None:
                raise MigrationError("env.py never called context.configure()", remedy=_USE_OURS)

    def heads(self) -> list[str]:
        """Read the version table of our database, on a connection that env.py has not seen."""
        from alembic.runtime.migration import MigrationContext

        with _engine(self.conninfo).connect() as connection:
            return sorted(MigrationContext.configure(connection, opts=self.version_table or {}).get_current_heads())

    def _environment(
        self, config: "Config", script: "ScriptDirectory", ours: "Connection", revision: str | None
    ) -> "EnvironmentContext":
        from alembic.runtime.environment import EnvironmentContext

        def steps(found: str, _: "MigrationContext") -> "Iterator[MigrationStep]":
            if revision is None:
                return
            for step in script._upgrade_revs(revision, found):  # noqa: SLF001 - as alembic.command.upgrade does
                self.running = step.revision
                yield step
                self.running = None
                self.applied.append(step.revision.revision)

        environment = EnvironmentContext(
            config, script, fn=steps, destination_rev=revision, dont_mutate=revision is None
        )
        configure = environment.configure

        def configure_ours(*args: Any, **options: Any) -> None:  # noqa: ANN401 - Alembic's own
            """Look at every database that env.py turns to, before even the version table is made there."""
            configure(*args, **options)
            migration = environment.get_context()
            _check_database(migration, ours)
            self.version_table = {
                "version_table": migration.version_table,
                "version_table_schema": migration.version_table_schema,
            }

        # Alembic's module `context` calls the instance, so a subclass would not be asked
        environment.configure = configure_ours  # type: ignore[method-assign]
        return environment


def _check_database(migration: "MigrationContext", ours: "Connection") -> None:
    """Raise unless env.py's connection is to our database: it must see an advisory lock that we hold there."""
    from sqlalchemy import text

    theirs = migration.connection
    if theirs is ours:
        return
    key = secrets.randbits(31)
    ours.execute(text("SELECT pg_advisory_lock(:key)"), {"key": key})
    ours.commit()  # the lock is the session's; an open transaction would be in the revisions' way
    try:
        if theirs is not None and theirs.dialect.name == "postgresql":
            begun = theirs.in_transaction()
            seen = theirs.execute(
                text(
                    "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = :key AND pid = :pid "
                    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"
                ),
                {"key": key, "pid": ours.connection.driver_connection.info.backend_pid},  # type: ignore[union-attr]
            ).scalar()
            if not begun:  # what env.py began, such as a search_path, stays
                theirs.rollback()
            if seen:
                return
        name = "no database" if theirs is None else f"the database {theirs.engine.url.database}"
        raise MigrationError(f"env.py turned to {name} instead of the one it was given; nothing ran", remedy=_USE_OURS)
    finally:
        ours.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": key})
        ours.commit()


def _load(settings: Settings) -> "tuple[Config, ScriptDirectory]":
    """Read alembic.ini, and [tool.alembic] of the pyproject.toml beside it, as `alembic` does there."""
    from argparse import Namespace

    from alembic.config import Config
    from alembic.script import ScriptDirectory

    ini, toml = settings.alembic_ini, _folder(settings) / "pyproject.toml"
    config = Config(
        str(ini) if ini.is_file() else None,
        str(toml) if toml.is_file() else None,
        stdout=sys.stderr,
        cmd_opts=Namespace(x=list(settings.alembic_x) or None, quiet=True, verbose=False),
    )
    if config.get_alembic_option("script_location") is None:
        raise MigrationError(
            f"{_shown(ini, settings)} does not exist or names no script_location, nor does [tool.alembic]",
            remedy="Set alembic_ini in [tool.seedtool], or begin with `alembic init migrations`.",
        )
    script = ScriptDirectory.from_config(config)
    if not script.get_heads():
        raise MigrationError(
            f"there are no revisions in {_shown(Path(script.dir), settings)}",
            remedy="Write the first one: alembic revision --autogenerate -m 'initial schema'.",
        )
    return config, script


def _engine(conninfo: str) -> "Engine":
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    def connect() -> psycopg.Connection:
        try:
            return psycopg.connect(conninfo, application_name="seedtool migrate")
        except psycopg.OperationalError as error:
            reason = str(error).rsplit("failed: ", maxsplit=1)[-1].strip().split("\n")[0]
            raise DatabaseError(f"cannot connect to migrate: {reason}", remedy="Is the server running?") from error

    return create_engine("postgresql+psycopg://", creator=connect, poolclass=NullPool)


@contextlib.contextmanager
def _explaining(settings: Settings, run: _Run | None) -> Iterator[None]:
    """Turn whatever Alembic, env.py or a revision raises into an error that names the place."""
    try:
        yield
    except SeedtoolError:
        raise
    except Exception as error:
        from alembic.util import CommandError

        remedy = "Mend it and run again; --debug shows the whole error."
        if run is not None and run.running is not None:
            file = _shown(Path(run.running.path), settings)
            where = f"revision {run.running.revision} ({file}) failed: "
        elif isinstance(error, CommandError):
            where, remedy = "", "Look at `alembic history`: is a revision missing, or one too many?"
        else:
            where = _last_place(error, settings)
        raise MigrationError(f"{where}{_words(error)}", remedy=remedy) from error


def _words(error: Exception) -> str:
    """Say in one line what happened, without a value of any row."""
    from alembic.util import CommandError

    if type(error).__name__ == "PendingRollbackError" and isinstance(error.__context__, Exception):
        error = error.__context__  # SQLAlchemy cleans up after a lost connection, and complains of that instead
    cause = getattr(error, "orig", None) or error
    if isinstance(error, CommandError):
        return str(error)
    if not isinstance(cause, psycopg.Error):
        return f"{type(cause).__name__}: {str(cause).strip().split(chr(10))[0]}"
    diag = cause.diag
    words = diag.message_primary or str(cause).strip().split("\n")[0] or type(cause).__name__
    if (cause.sqlstate or "").startswith("22"):  # data exceptions quote the value: invalid input ...: "value"
        words = words.split(': "')[0]
    columns = re.match(r"Key \(.*?\)(?==)", diag.message_detail or "")
    named = [
        f"{kind} {name}" for kind, name in (("table", diag.table_name), ("constraint", diag.constraint_name)) if name
    ]
    return "; ".join([words, *([columns[0]] if columns else []), *named])


def _last_place(error: Exception, settings: Settings) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_shown(Path(error.filename), settings)}:{error.lineno}: "
    frames = traceback.extract_tb(error.__traceback__)
    mine = [frame for frame in frames if Path(frame.filename).is_relative_to(settings.root)]
    mine = [frame for frame in mine if not re.search(r"/(site-packages|seedtool)/", frame.filename)]
    return f"{_shown(Path(mine[-1].filename), settings)}:{mine[-1].lineno}: " if mine else ""


def _folder(settings: Settings) -> Path:
    return settings.alembic_ini.parent if settings.alembic_ini.is_file() else settings.root


def _shown(path: Path, settings: Settings) -> str:
    return str(path.relative_to(settings.root)) if path.is_relative_to(settings.root) else str(path)


def _with_scheme(url: str, like: str | None) -> str:
    """Return the URL with the scheme (and so the driver) of another one."""
    found = re.match(r"(postgres(?:ql)?(?:\+\w+)?)://", like or "")
    return f"{found[1] if found else 'postgresql+psycopg'}://{url.partition('://')[2]}"
