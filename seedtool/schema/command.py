"""The application's own command, where that builds the schema and not Alembic (`build_command`)."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

from seedtool.errors import MigrationError
from seedtool.files.code import variables_for_fresh_code
from seedtool.postgres import server
from seedtool.postgres.extensions import lacking
from seedtool.postgres.server import Target
from seedtool.resetting import guard
from seedtool.schema.explaining import without_secrets
from seedtool.schema.redirecting import address, variables
from seedtool.settings import Settings

#: How many of the last lines of its output an error shows: the end of a traceback, with what it says.
_LINES = 30


def run(database: Target, settings: Settings) -> None:
    """Run the command on a database; its output is shown when it fails.

    It gets the database as DATABASE_URL and libpq's variables, and under the other names that projects use. Where no
    virtual environment is active, `python` is the Python that runs this program.

    Args:
        database: the database, which exists.
        settings: they name the command. It runs in the project's folder.

    Raises:
        MigrationError: it cannot be started, fails, or leaves the database empty.
    """
    command = shlex.split(settings.build_command or "")
    environ = {**os.environ, **variables(address(database), settings.database_url or "postgresql://", in_process=False)}
    if "VIRTUAL_ENV" not in environ:
        environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), environ.get("PATH", os.defpath)))
    environ |= variables_for_fresh_code(settings.root, settings.state_dir)
    try:
        done = subprocess.run(
            command,
            cwd=settings.root,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
    except OSError as error:
        raise MigrationError(
            f"build_command: {command[0]} cannot be started: {error.strerror}",
            remedy="Correct build_command in [tool.seedtool]; it runs in the project's folder, without a shell.",
            setting="build_command",
        ) from error
    if done.returncode:
        lines = done.stdout.decode("utf-8", "replace").strip().splitlines()[-_LINES:]
        lack = lacking("\n".join(lines), embedded=database.embedded is not None)
        raise MigrationError(
            "\n".join([f"build_command failed with exit code {done.returncode}:", without_secrets("\n".join(lines))]),
            remedy=f"{lack.message}. {lack.remedy}" if lack else f"Repair it and run again: {settings.build_command}",
            setting="build_command",
        )
    with server.connect(database) as connection:
        if guard.holds_nothing(connection):
            raise MigrationError(
                f"build_command ended without an error, and {database.name} is still empty: it may have turned to"
                " another database",
                remedy="Let the command connect to the database that DATABASE_URL, or PGHOST and PGDATABASE, name.",
                setting="build_command",
                database=database.name,
            )
