"""The schema as a layer: what the migrations build in an empty database."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from seedtool.errors import BlockedError
from seedtool.postgres.server import Target
from seedtool.resetting.layers import Layer
from seedtool.resetting.transaction import LeavesTransaction, OneTransaction
from seedtool.schema.schema_files import project_files, schema_fingerprint, uncounted
from seedtool.settings import Settings

#: What a file says that cannot work within a transaction; whether it is reached only the run tells.
_LEAVES = re.compile(rb"autocommit|AUTOCOMMIT|CONCURRENTLY|concurrently=True|\bCOMMIT\b|\bVACUUM\b")

#: How many files that no fingerprint counts are named.
_SHOWN = 8

#: Runs the migrations on a database, or on the one connection to it; returns the revisions that it applied.
Run = Callable[[Target | OneTransaction], object]


class Schema(Layer):
    """The schema of a project, built by Alembic, or by the project's own command.

    Args:
        settings: the project's.
        run: runs the migrations; Alembic in this process when None.

    Raises:
        MigrationError, SettingsError: the settings name no Alembic project, or a file that is not there.
    """

    step = "build"
    in_place = True
    purpose = "schema"

    def __init__(self, settings: Settings, run: Run | None = None) -> None:
        next(project_files(settings))  # before a server is made for a folder that is no project
        self._settings = settings
        self._run = run

    def fingerprint(self, server: Mapping[str, str]) -> str:
        """Return the hash of the migrations' files, and of what the server would make of them."""
        return schema_fingerprint(self._settings, server)

    def build(self, database: Target) -> Mapping[str, object]:
        """Run the migrations in an empty database.

        Raises:
            MigrationError: a revision failed.
        """
        used: set[Path] = set()
        self._apply(database, used)
        if unseen := uncounted(self._settings, used):
            more = f" and {len(unseen) - _SHOWN} more" if len(unseen) > _SHOWN else ""
            note = (
                f"the schema was built with {', '.join(unseen[:_SHOWN])}{more}, which no fingerprint counts: name such"
                " files in fingerprint_paths, so that a change of them builds it again"
            )
            self.notes = [note]
        return {}

    def build_in_place(self, connection: OneTransaction) -> Mapping[str, object]:
        """Run the migrations on a connection to the emptied target.

        Raises:
            MigrationError: a revision failed, or cannot be run within a transaction.
            BlockedError: the version table could not be dropped, so there was nothing to run.
            LeavesTransaction: the project's own command builds the schema, on connections of its own.
        """
        if self._settings.build_command is not None:
            raise LeavesTransaction("build_command connects by itself")
        if not self._apply(connection):
            raise BlockedError(
                f"{connection.info.dbname} still says that its revisions are in place: its version table belongs to"
                " another role; nothing was changed",
                remedy="Let an administrator give it away:"
                f" ALTER TABLE alembic_version OWNER TO {connection.info.user}.",
            )
        return {}

    def leaves_transaction(self) -> list[str]:
        """Return the files that mention autocommit and the like; the setting, where a command builds the schema."""
        if self._settings.build_command is not None:
            return ["build_command"]
        files = project_files(self._settings)
        return [self._settings.shown(path) for path in files if _LEAVES.search(path.read_bytes())]

    def _apply(self, database: Target | OneTransaction, used: set[Path] | None = None) -> object:
        if self._run is not None:
            return self._run(database)
        if self._settings.build_command is not None and isinstance(database, Target):
            from seedtool.schema.command import run

            run(database, self._settings)
            return None
        from seedtool.schema.migrations import upgrade

        return upgrade(database, self._settings, used=used)
