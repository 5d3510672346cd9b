"""Alembic, run in this process against one database of ours.

Any Alembic project is served. env.py gets our connection in `config.attributes["connection"]`. An env.py that ignores
it finds the same database in `sqlalchemy.url` and in the environment. Where it or a revision connects to the target in
another way, the connection is redirected. Every database that env.py turns to is looked at before anything runs there:
another database is never migrated.
"""

import re
import secrets
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seedtool.errors import MigrationError
from seedtool.postgres import server
from seedtool.postgres.server import Target
from seedtool.resetting.transaction import LeavesTransaction, OneTransaction
from seedtool.schema.explaining import USE_OURS, Progress, explaining
from seedtool.schema.process import inside
from seedtool.schema.redirecting import address, engine, redirected, url, variables
from seedtool.schema.schema_files import no_script_location, project_files, says_where_revisions_are
from seedtool.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.runtime.migration import MigrationContext, MigrationStep
    from alembic.script import ScriptDirectory
    from sqlalchemy import Connection

# Alembic's `context`, the working folder and the environment are the process's: two runs would meet in them.
_ONE_AT_A_TIME = threading.Lock()


def upgrade(
    database: Target | OneTransaction, settings: Settings, revision: str = "heads", *, used: set[Path] | None = None
) -> list[str]:
    """Bring a database to a revision; whoever calls sees to it that nobody else does so at the same time.

    Args:
        database: the database, which exists; or the one connection to the target on which everything has to happen.
        settings: they name alembic.ini and its `-x` arguments.
        revision: as `alembic upgrade` takes it.
        used: gets the files of the project that were run as modules or read.

    Returns:
        the revisions applied, in their order; empty when there was nothing to do.

    Raises:
        MigrationError: a revision failed (named, with its file), the migrations cannot be loaded, or env.py
            turned to another database. Revisions before the failed one may be in place.
        LeavesTransaction: on the one connection, a revision needs autocommit.
        DatabaseError: the database cannot be reached.
    """
    run = _Run(database, settings)
    run.env(revision)
    if used is not None:
        used |= run.used
    if run.progress.applied and run.progress.applied[-1] not in run.heads():
        raise MigrationError(
            "env.py ran the revisions, but the database does not have them",
            remedy="Does env.py run them within `with context.begin_transaction():`?",
        )
    return run.progress.applied


def current(database: Target, settings: Settings) -> list[str]:
    """Return the revisions that a database is at: none, one, or one for each branch.

    Raises:
        MigrationError: the migrations cannot be loaded, or env.py turned to another database.
        DatabaseError: the database cannot be reached.
    """
    run = _Run(database, settings)
    run.env(None)
    return run.heads()


def heads(settings: Settings) -> list[str]:
    """Return the newest revisions of the project, as a database's version table names them; no database is needed.

    Where env.py says only while it runs where the revisions are, those elsewhere are not among them: `position` knows.

    Raises:
        MigrationError: the migrations cannot be loaded, or there are none.
    """
    with _ONE_AT_A_TIME, inside(settings.alembic_folder, settings.root, {}), explaining(settings, Progress()):
        script = _load(settings)[1]
        if not says_where_revisions_are(Path(script.dir)):
            _refuse_none(settings, script)
        return _newest(script)


def position(database: Target, settings: Settings) -> tuple[list[str], list[str]]:
    """Return the revisions that a database is at, and the newest ones; env.py is run once.

    Raises:
        MigrationError: the migrations cannot be loaded, or env.py turned to another database.
        DatabaseError: the database cannot be reached.
    """
    run = _Run(database, settings)
    run.env(None)
    return run.heads(), run.newest


def _newest(script: "ScriptDirectory") -> list[str]:
    # without those that another branch depends on: its own row stands for them
    return sorted(script.revision_map._real_heads)  # noqa: SLF001 - as Alembic's HeadMaintainer has them


def _refuse_none(settings: Settings, script: "ScriptDirectory") -> None:
    if not script.get_heads():
        raise MigrationError(
            f"there are no revisions in {settings.shown(Path(script.dir))}",
            remedy="Write the first one: alembic revision --autogenerate -m 'initial schema'.",
        )


class _Run:
    """One run of env.py.

    Args:
        database: the database, or the one connection to it.
        settings: the project.
    """

    def __init__(self, database: Target | OneTransaction, settings: Settings) -> None:
        self.database = database
        self.settings = settings
        self.progress = Progress()
        self.newest: list[str] = []
        self.used: set[Path] = set()

    def env(self, revision: str | None) -> None:
        """Run env.py: up to a revision, or only to learn where it keeps its version table."""
        settings, database = self.settings, self.database
        target = server.find(settings)
        only = database if isinstance(database, OneTransaction) else None
        conninfo = address(database)
        # of the one connection psycopg's engines can be given a share, others' not
        like = settings.database_url if only is None else None
        environment = variables(conninfo, like)
        with (
            _ONE_AT_A_TIME,
            inside(settings.alembic_folder, settings.root, environment) as self.used,
            redirected(conninfo, target, only),
            explaining(settings, self.progress),
        ):
            config, script = _load(settings)
            section = config.file_config
            written = section.get(config.config_ini_section, "sqlalchemy.url", raw=True, fallback=None)
            config.set_main_option(
                "sqlalchemy.url", url(conninfo, written if only is None else None).replace("%", "%%")
            )
            _choose_database(config, settings, conninfo, only=only is not None)
            with engine(database).connect() as connection:
                config.attributes["connection"] = connection
                with self._environment(config, script, connection, revision):
                    script.run_env()
            _refuse_none(settings, script)  # env.py may say only while it runs where they are
            self.newest = _newest(script)
            if self.progress.version_table is None:
                raise MigrationError("env.py never called context.configure()", remedy=USE_OURS)
            if only is not None and only.left:
                raise LeavesTransaction("it needs a connection in autocommit")

    def heads(self) -> list[str]:
        """Read the version table of our database, on a connection that env.py has not seen where there may be one."""
        from alembic.runtime.migration import MigrationContext

        with engine(self.database).connect() as connection:
            options = self.progress.version_table or {}
            return sorted(MigrationContext.configure(connection, opts=options).get_current_heads())

    def _environment(
        self, config: "Config", script: "ScriptDirectory", ours: "Connection", revision: str | None
    ) -> "EnvironmentContext":
        from alembic.runtime.environment import EnvironmentContext

        progress = self.progress

        def steps(found: str, _: "MigrationContext") -> "Iterator[MigrationStep]":
            if revision is None:
                return
            for step in script._upgrade_revs(revision, found):  # noqa: SLF001 - as alembic.command.upgrade does
                progress.running = step.revision
                yield step
                progress.running = None
                progress.applied.append(step.revision.revision)

        environment = EnvironmentContext(
            config, script, fn=steps, destination_rev=revision, dont_mutate=revision is None
        )
        configure = environment.configure

        def configure_ours(*args: Any, **options: Any) -> None:  # noqa: ANN401 - Alembic's own
            """Look at every database that env.py turns to, before even the version table is made there."""
            configure(*args, **options)
            migration = environment.get_context()
            _check_database(migration, ours)
            progress.version_table = {
                "version_table": migration.version_table,
                "version_table_schema": migration.version_table_schema,
            }

        # Alembic's module `context` calls the instance, so a subclass would not be asked
        environment.configure = configure_ours  # type: ignore[method-assign]
        return environment


def compares_all_schemas(settings: Settings) -> Path | None:
    """Return the env.py that lets autogenerate compare our schema, too; None where none does.

    Alembic then writes a revision that drops the schema `seedtool`, where the ledger and the backfill's journal are.
    The text of env.py is looked at and nothing is run: it sets `include_schemas` and has no `include_name`, which
    chooses the schemas, and no "seedtool".

    Raises:
        SettingsError, MigrationError: as `project_files`.
    """
    for path in project_files(settings):
        if path.name == "env.py":
            text = path.read_text(encoding="utf-8", errors="replace")
            if re.search(r"include_schemas\W{1,4}True", text) and not re.search(
                r"include_name|['\"]seedtool['\"]", text
            ):
                return path
    return None


#: What such an env.py needs (alembic.runtime.environment.EnvironmentContext.configure, include_name).
LEAVE_OUR_SCHEMA = (
    "Let env.py pass include_name=include_name to context.configure(), with"
    " def include_name(name, type_, parent_names): return type_ != 'schema' or name != 'seedtool'"
)


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
        name = None if theirs is None else theirs.engine.url.database
        raise MigrationError(
            f"env.py turned to {f'the database {name}' if name else 'no database'} instead of the one it was given; "
            "nothing ran",
            remedy=USE_OURS,
            database=name,
        )
    finally:
        ours.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": key})
        ours.commit()


def _load(settings: Settings) -> "tuple[Config, ScriptDirectory]":
    """Read alembic.ini, and [tool.alembic] of the pyproject.toml beside it, as `alembic` does there."""
    from argparse import Namespace

    from alembic.config import Config
    from alembic.script import ScriptDirectory

    ini, toml = settings.alembic_ini, settings.alembic_folder / "pyproject.toml"
    knows_toml = hasattr(Config, "get_alembic_option")  # since Alembic 1.16
    config = Config(
        str(ini) if ini.is_file() else None,
        stdout=sys.stderr,
        ini_section=settings.alembic_name,
        cmd_opts=Namespace(x=list(settings.alembic_x) or None, quiet=True, verbose=False),
        **({"toml_file": str(toml)} if knows_toml and toml.is_file() else {}),  # type: ignore[arg-type]
    )
    option = config.get_alembic_option if knows_toml else config.get_main_option
    if option("script_location") is None and (ini.parent / "env.py").is_file():
        config.set_main_option("script_location", str(ini.parent).replace("%", "%%"))  # as `flask db` does
        sys.path.insert(0, str(settings.root))
    if option("script_location") is None:
        raise no_script_location(settings)
    return config, ScriptDirectory.from_config(config)


def _choose_database(config: "Config", settings: Settings, conninfo: str, *, only: bool) -> None:
    """Let an env.py that migrates several databases (`alembic init -t multidb`) migrate the project's alone."""
    names = [name for name in re.split(r",\s*", config.get_main_option("databases") or "") if name]
    sections = {name: config.get_section(name) or {} for name in names}
    if not any("sqlalchemy.url" in section for section in sections.values()):
        return
    chosen = settings.alembic_database or next(
        (name for name, section in sections.items() if server.is_named_by(section.get("sqlalchemy.url", ""), settings)),
        names[0] if len(names) == 1 else None,
    )
    if chosen not in names:
        listed = f"{settings.shown(settings.alembic_ini)} names the databases {', '.join(names)}"
        raise MigrationError(
            f"{listed}, and alembic_database = {chosen}" if chosen else f"{listed}, and seedtool works on one of them",
            remedy=f'Set alembic_database = "{names[0]}" in [tool.seedtool], if that is the one of DATABASE_URL.',
            file=settings.shown(settings.alembic_ini),
            setting="alembic_database",
        )
    config.set_main_option("databases", chosen)
    written = None if only else sections[chosen].get("sqlalchemy.url")
    config.set_section_option(chosen, "sqlalchemy.url", url(conninfo, written).replace("%", "%%"))
