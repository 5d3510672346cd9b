"""Errors of Alembic, env.py and revisions, turned into words that name the place, and a remedy."""

import contextlib
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from seedtool.errors import MigrationError, Place, SeedtoolError
from seedtool.postgres.extensions import lacking
from seedtool.resetting.transaction import LeavesTransaction
from seedtool.settings import Settings, redacted

if TYPE_CHECKING:
    from alembic.script import Script

USE_OURS = (
    'Let env.py use config.attributes["connection"] where it is given, or take its URL from '
    'config.get_main_option("sqlalchemy.url") or from the environment variable DATABASE_URL.'
)
_REPAIR = "Repair it and run again. --debug shows the whole error."


class Progress:
    """Where a run of env.py stands."""

    def __init__(self) -> None:
        self.applied: list[str] = []
        self.running: Script | None = None
        #: where env.py keeps its version table, as `context.configure` takes it; None until it was called
        self.version_table: dict[str, str | None] | None = None


@contextlib.contextmanager
def explaining(settings: Settings, progress: Progress) -> Iterator[None]:
    """Turn whatever is raised into an error that names the place.

    Raises:
        LeavesTransaction: a revision or env.py cannot do its work within one transaction.
        MigrationError: everything else that is not an error of ours already.
    """
    try:
        yield
    except LeavesTransaction as error:
        place = _place(error, settings, progress)
        raise LeavesTransaction(f"{_shown(place)}{error.message}", remedy=error.remedy, **place) from error
    except SeedtoolError:
        raise
    except SystemExit as error:  # argparse, or env.py's own check
        ending = error.code if isinstance(error.code, str) else f"exit code {error.code}"
        place = _place(error, settings, progress)
        raise MigrationError(f"{_shown(place)}it ended the program: {ending}", remedy=_REPAIR, **place) from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # asyncio.CancelledError, and whatever a project's code may raise
        place = _place(error, settings, progress)
        words = _words(error)
        lack = lacking(words, embedded=settings.database_url is None)
        message = f"{_shown(place)}{lack.message if lack else words}"
        place["code"] = _sqlstate(error)
        raise MigrationError(message, remedy=lack.remedy if lack else _remedy(error, progress), **place) from error


def _place(error: BaseException, settings: Settings, progress: Progress) -> Place:
    if progress.running is not None:
        return Place(revision=progress.running.revision, file=settings.shown(Path(progress.running.path)))
    from alembic.util import CommandError

    if isinstance(error, CommandError | UserWarning):
        return Place()
    if isinstance(error, SyntaxError) and error.filename:
        return Place(file=settings.shown(Path(error.filename)), line=error.lineno)
    frames = traceback.extract_tb(error.__traceback__)
    mine = [frame for frame in frames if Path(frame.filename).is_relative_to(settings.root)]
    mine = [frame for frame in mine if not re.search(r"/(site-packages|seedtool)/", frame.filename)]
    return Place(file=settings.shown(Path(mine[-1].filename)), line=mine[-1].lineno) if mine else Place()


def _shown(place: Place) -> str:
    """Return how a message begins that tells of an error there."""
    if "revision" in place:
        return f"revision {place['revision']} ({place['file']}) failed: "
    return f"{place['file']}:{place['line']}: " if place else ""


def _remedy(error: BaseException, progress: Progress) -> str:
    from alembic.util import CommandError
    from sqlalchemy.exc import OperationalError

    if progress.running is not None:
        return _REPAIR
    if isinstance(error, UserWarning):
        return "Bring the missing file back, or correct the down_revision (or depends_on) that names it."
    if isinstance(error, CommandError):
        return "Look at `alembic history`: is a revision missing, or one too many?"
    if isinstance(error, ModuleNotFoundError) and error.name in {"asyncpg", "psycopg2", "pg8000"}:
        return (
            f"Install {error.name} beside seedtool (pip install {error.name}), or let the URL say postgresql+psycopg://:"
            " psycopg is installed, and serves create_engine and create_async_engine."
        )
    if isinstance(error, ModuleNotFoundError):
        return (
            f"Install it for the Python that runs seedtool, {sys.executable}, or install seedtool into the project's"
            " own environment. If it is a module of the project, look at sys.path and prepend_sys_path."
        )
    if "greenlet" in str(error) and isinstance(error, ValueError | ImportError):
        return "An async env.py needs it: pip install 'sqlalchemy[asyncio]'."
    if "outside of application context" in str(error):
        return "`flask db` pushes it: let env.py do so itself, with create_app().app_context(): ..."
    if isinstance(error, OperationalError) and progress.version_table is None:
        return USE_OURS  # it went elsewhere, and found nobody there
    if isinstance(error, KeyError) and str(error.args[0]).isupper():
        return (
            f"If {error.args[0]} is a variable of the environment: let it name the target, as DATABASE_URL does."
            " While a template is built, the target's name leads to the template."
        )
    return _REPAIR


def _words(error: BaseException) -> str:
    """Say what happened, without a value of any row. What a database refused is told in one line."""
    from alembic.util import CommandError

    if type(error).__name__ == "PendingRollbackError" and isinstance(error.__context__, Exception):
        error = error.__context__  # SQLAlchemy cleans up after a lost connection, and complains of that instead
    cause = getattr(error, "orig", None) or error
    if isinstance(error, CommandError | UserWarning):
        return " ".join(str(error).split())
    sqlstate = _sqlstate(error)
    if not isinstance(cause, psycopg.Error):
        words = str(cause).strip()
        if cause is not error or sqlstate:  # a driver's error: the next lines may quote a row
            words = _without_values(words.split("\n")[0], sqlstate)
        return f"{type(cause).__name__}: {without_secrets(words)}"
    diag = cause.diag
    words = diag.message_primary or str(cause).strip().split("\n")[0] or type(cause).__name__
    columns = re.match(r"Key \(.*?\)(?==)", diag.message_detail or "")
    named = [
        f"{kind} {name}" for kind, name in (("table", diag.table_name), ("constraint", diag.constraint_name)) if name
    ]
    return "; ".join([_without_values(words, cause.sqlstate), *([columns[0]] if columns else []), *named])


def without_secrets(words: str) -> str:
    """Return a text without passwords in URLs, and without the inputs that pydantic quotes, perhaps a whole `.env`.

    Args:
        words: what somebody else's code says, in one line or several.
    """
    found = re.sub(r", input_value=.*(?=, input_type=\w+\])", "", words)
    return "\n".join(str(redacted(line)) for line in found.splitlines())


def _sqlstate(error: BaseException) -> str | None:
    cause = getattr(error, "orig", None) or error
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)  # psycopg2 calls it pgcode


def _without_values(words: str, sqlstate: str | None) -> str:
    # data exceptions quote the value: invalid input ...: "value"
    return words.split(': "', maxsplit=1)[0] if (sqlstate or "").startswith("22") else words
