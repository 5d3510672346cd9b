"""The project that a workflow works on: its settings, found as the commands find them."""

from seedtool.errors import UsageError
from seedtool.files.signing import Keys
from seedtool.settings import Settings, load


def project_settings(given: Settings | None = None) -> Settings:
    """Return the settings that were given, or those of the project that the working folder lies in.

    Raises:
        UsageError: the working folder is in no project.
        SettingsError: a setting is wrong.
    """
    if given is not None:
        return given
    settings = load()
    refuse_outside_a_project(settings)
    return settings


def refuse_outside_a_project(settings: Settings) -> None:
    """Refuse where there is no project: a wrong folder must not get a server of its own.

    Raises:
        UsageError: neither the working folder nor one above it is a project, and no server is named either.
    """
    marks = (settings.root / "pyproject.toml", settings.alembic_ini, settings.root / "manage.py")
    if settings.database_url is None and not any(mark.is_file() for mark in marks):
        from seedtool.schema.schema_files import elsewhere

        found = elsewhere(settings)
        raise UsageError(
            f"{settings.root} is no project: neither it nor a folder above has a pyproject.toml or an alembic.ini",
            remedy=f"Go to the project's folder first{f': {found} is there' if found else ''}.",
            file=str(settings.root),
        )


def archive_keys(settings: Settings) -> Keys:
    """Return the keys by which the project knows archives that it may read."""
    return Keys(settings.archive_key, settings.state_dir)
