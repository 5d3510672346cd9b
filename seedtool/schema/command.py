"""The application's own command, where that builds the schema and not Alembic (`build_command`)."""

import errno
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
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

#: How many of the last lines of its output, and at most of its last bytes, an error shows: the end of a traceback.
_LINES, _BYTES = 30, 2**16


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
        code, output = _ended(command, settings.root, environ)
    except OSError as error:
        there = os.sep in command[0] or shutil.which(command[0], path=environ["PATH"])
        # a folder of PATH that may not be read hides that the program is in none of them
        reason = error.strerror if there else os.strerror(errno.ENOENT)
        raise MigrationError(
            f"build_command: {command[0]} cannot be started: {reason}",
            remedy="Correct build_command in [tool.seedtool]; it runs in the project's folder, without a shell.",
            setting="build_command",
        ) from error
    if code:
        lines = output.strip().splitlines()[-_LINES:]
        lack = lacking("\n".join(lines), embedded=database.embedded is not None)
        how = f"failed with exit code {code}" if code > 0 else f"was ended by signal {-code}"
        raise MigrationError(
            "\n".join([f"build_command {how}{':' if lines else ''}", *without_secrets("\n".join(lines)).splitlines()]),
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


def _ended(command: Sequence[str], folder: Path, environ: Mapping[str, str]) -> tuple[int, str]:
    """Run a command to its end; return its exit code and the end of its output.

    The output goes to a file. The end of a pipe would come only when every process that the command started has ended,
    and one may go on in the background.
    """
    with tempfile.TemporaryFile() as output:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
        output.seek(max(0, output.seek(0, os.SEEK_END) - _BYTES))
        return done.returncode, output.read().decode("utf-8", "replace")
