"""The settings of the project's own files: its migrations and its seeds."""

from pathlib import Path, PurePosixPath
from typing import Annotated

from seedtool.settings.database import DatabaseSettings
from seedtool.settings.setting import Fault, Setting


def _check_glob(text: str) -> Fault | None:
    if not text:
        return Fault("a pattern is empty", 'Write a glob such as "models/**/*.py", or take it out.')
    if not PurePosixPath(text).parts:
        return Fault(
            f"the pattern {text!r} means the whole project", "Name the files that shape the schema: models/**/*.py."
        )
    if text.startswith(("/", "~")):
        return Fault(
            f"the pattern {text!r} leads out of the project", "Write it from the project's folder: models/**/*.py."
        )
    return None


def _check_command(text: str) -> Fault | None:
    import shlex  # few projects have the setting

    try:
        words = shlex.split(text)
    except ValueError as error:
        return Fault(f"cannot be split into words: {str(error).lower()}", "Close the quotes; there is no shell.")
    return None if words else Fault("is empty", "Write a command such as `python manage.py migrate`, or take it out.")


class ProjectSettings(DatabaseSettings, frozen=True, kw_only=True):
    """Where the migrations and the seed files are."""

    seeds: Annotated[
        Path,
        Setting(
            "the folder of profiles.toml and of the seed sets",
            variables=("SEEDTOOL_SEEDS",),
            default="`seeds`",
            found=lambda at: at.root / "seeds",
        ),
    ]
    alembic_ini: Annotated[
        Path,
        Setting(
            "Alembic's configuration file",
            variables=("SEEDTOOL_ALEMBIC_INI",),
            default="`alembic.ini`",
            found=lambda at: at.root / "alembic.ini",
        ),
    ]
    alembic_name: Annotated[
        str, Setting("the section of alembic.ini, as `alembic -n` takes it", variables=("SEEDTOOL_ALEMBIC_NAME",))
    ] = "alembic"
    alembic_database: Annotated[
        str | None,
        Setting(
            "which one of `databases` in alembic.ini is the project's database, where env.py migrates several",
            default="the one whose sqlalchemy.url is the project's",
        ),
    ] = None
    alembic_x: Annotated[tuple[str, ...], Setting("arguments for env.py, as `alembic -x` passes them")] = ()
    build_command: Annotated[
        str | None,
        Setting(
            "a command that builds the schema in place of Alembic, such as `python manage.py migrate`; it gets"
            " DATABASE_URL and PG*, and `fingerprint_paths` names the files that shape what it builds",
            check=_check_command,
        ),
    ] = None
    fingerprint_paths: Annotated[
        tuple[str, ...],
        Setting(
            "globs of further files that shape the schema or the rows, such as models outside migrations/",
            check=_check_glob,
        ),
    ] = ()
