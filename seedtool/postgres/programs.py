"""pg_dump, pg_restore and psql: which of those on this machine fit, and running them.

pg_dump refuses servers newer than itself, and pg_restore dumps newer than itself. Of those that will do, the
oldest is taken: what it writes can be read by most.
"""

import os
import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from seedtool import extras
from seedtool.errors import SettingsError, SnapshotError
from seedtool.postgres import wheel
from seedtool.postgres.server import Target

#: Seconds between two looks at a program that runs.
_OFTEN = 0.3

#: Where Debian and Ubuntu keep the programs of each major version.
DEBIAN = Path("/usr/lib/postgresql")


class Programs(NamedTuple):
    """The client programs of one major version.

    Args:
        major: PostgreSQL's major version.
        folder: where they are.
    """

    major: int
    folder: Path


class Done(NamedTuple):
    """How a program ended: its exit code, and what it printed."""

    code: int
    out: str
    errors: str


def fitting(server_version: int, *, tls: bool = False) -> list[Programs]:
    """Return the programs that can work with a server, the oldest first.

    Args:
        server_version: libpq's number, such as 180006.
        tls: the connection is encrypted, which the wheel's programs cannot do.

    Raises:
        SnapshotError: there are none; the message names those found.
    """
    found = sorted(_installed(tls=tls))
    major = server_version // 10000
    fit = [programs for programs in found if programs.major >= major]
    if not fit:
        named = ", ".join(f"{each.major} in {each.folder}" for each in found) or "none"
        raise SnapshotError(
            f"the server is PostgreSQL {major}, and pg_dump of that version or a later one is needed"
            f"{' that is built with TLS' if tls else ''}; found: {named}",
            remedy=f"Install it (Debian: postgresql-client-{major}) or put it on PATH"
            + ("." if tls else f"; {extras.command('embedded')} brings the newest."),
        )
    return fit


def run(
    programs: Programs,
    name: str,
    *arguments: str | Path,
    target: Target,
    database: str | None = None,
    handles: Sequence[int] = (),
    watch: Callable[[], None] | None = None,
) -> Done:
    """Run one of the programs and wait for it.

    Args:
        programs: where it is.
        name: `pg_dump` or `pg_restore`.
        arguments: its arguments.
        target: whose server it works on.
        database: the database it works in; None where it works on files alone.
        handles: file descriptors that it inherits.
        watch: is called several times a second while it runs.
    """
    where, environ = [], {**os.environ}
    if database is not None:
        dbname, environ = connected(target, database)
        where = ["--no-password", dbname]
    environ["LC_ALL"] = "C"
    with subprocess.Popen(
        [programs.folder / name, *where, *arguments],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8",
        errors="replace", env=environ, pass_fds=handles,
    ) as process:  # fmt: skip
        try:
            while True:
                try:
                    out, errors = process.communicate(timeout=None if watch is None else _OFTEN)
                    break
                except subprocess.TimeoutExpired:
                    if watch is not None:
                        watch()
        except BaseException:
            process.kill()
            raise
    return Done(process.returncode, out, errors)


def connected(target: Target, database: str) -> tuple[str, dict[str, str]]:
    """Return the argument and the environment by which a program of PostgreSQL connects.

    Args:
        target: whose server it connects to.
        database: the database.
    """
    parts = {key: str(value) for key, value in conninfo_to_dict(target.conninfo).items()}
    environ = dict(os.environ)
    if "password" in parts:  # others can see a command line
        environ["PGPASSWORD"] = parts.pop("password")
    parts.pop("sslpassword", None)  # libpq has no other way for it; then the key cannot be read, and libpq says so
    conninfo = make_conninfo(**{**parts, "dbname": database, "application_name": "seedtool"})
    return f"--dbname={conninfo}", environ


def psql(*, tls: bool) -> Path:
    """Return psql: the wheel's, that on PATH, or Debian's newest. It can work with servers of any version.

    Args:
        tls: the connection is encrypted, which the wheel's cannot do.

    Raises:
        SettingsError: there is none.
    """
    ours = None if tls else wheel.programs()
    folders = [*([ours] if ours else []), *map(Path, os.get_exec_path()), *sorted(DEBIAN.glob("*/bin"), reverse=True)]
    found = next((folder / "psql" for folder in folders if os.access(folder / "psql", os.X_OK)), None)
    if found is None:
        install = "." if tls else f", or run {extras.command('embedded')}."
        raise SettingsError(
            f"there is no psql{' that can do TLS' if tls else ''} on PATH",
            remedy=f"Install it (Debian: postgresql-client){install}",
        )
    return found


def fault(errors: str) -> str:
    """Return the first complaint among what a program printed, in one line and without a value of any row."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    first = next((line for line in lines if "error:" in line), lines[0] if lines else "no message")
    words = re.sub(r"^.*?error: (?:could not execute query: |COPY failed for table )?", "", first)
    return re.sub(r"((?:ERROR|FATAL): .*?): \".*", r"\1", words)  # "invalid input syntax for type ...: "value""


def complaints(errors: str) -> str:
    """Return what pg_restore complained of, without the one setting that an older server does not know.

    PostgreSQL 17 and later set `transaction_timeout` in every restore.
    """
    found = re.split(r"^(?=pg_restore: error: )", errors, flags=re.MULTILINE)
    return "".join(
        text for text in found if "error: " in text and "\nCommand was: SET transaction_timeout = 0;" not in text
    )


def _installed(*, tls: bool) -> set[Programs]:
    folders = [Path(folder) for folder in os.get_exec_path()]
    folders += DEBIAN.glob("*/bin")
    ours = wheel.programs()
    if ours is not None and not tls:
        folders.append(ours)
    found: dict[int, Programs] = {}
    for folder in folders[
        ::-1
    ]:  # of one version the wheel's comes first: on PATH there may be a wrapper that chooses a version by itself
        major = _major(folder)
        if major is not None:
            found.setdefault(major, Programs(major, folder))
    return set(found.values())


def _major(folder: Path) -> int | None:
    """Return the major version of the programs in a folder, or None when they are not there."""
    if not (os.access(folder / "pg_dump", os.X_OK) and os.access(folder / "pg_restore", os.X_OK)):
        return None
    try:
        done = subprocess.run([folder / "pg_dump", "--version"], capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    version = re.search(r"\(PostgreSQL\) (\d+)", done.stdout)
    return int(version[1]) if version else None
