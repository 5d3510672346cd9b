"""The seeded template: a profile's rows laid over the schema's template, and kept."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import msgspec
import psycopg

from seedtool.reset.templates import Layer
from seedtool.seeding.fingerprint import seed_fingerprint
from seedtool.seeding.report import SeedReport, TableReport

if TYPE_CHECKING:
    from collections.abc import Mapping

    from seedtool.seeding.profiles import Profile
    from seedtool.settings import Settings


def seed_layer(settings: Settings, profile: Profile) -> Layer:
    """Return what a profile lays over the schema. The fixtures are only read when it has to be built.

    Raises:
        ProfileError: a set's folder is missing or holds a file that is no fixture.
    """

    @functools.cache
    def read() -> object:
        from seedtool.seeding.fixtures import read_fixtures

        return read_fixtures(settings.seeds, profile.sets, settings.root)

    def build(conninfo: str) -> Mapping[str, object]:
        from seedtool.seeding.fixtures import Fixtures
        from seedtool.seeding.merge import seed

        fixtures = read()
        assert isinstance(fixtures, Fixtures)  # noqa: S101 - read just above
        with psycopg.connect(conninfo) as connection:
            report = seed(connection, fixtures, bindings=settings.faces)
        tables = {each.table: [each.inserted, each.updated, each.deleted, each.unchanged] for each in report.tables}
        return {"rows": report.rows, "tables": tables}

    return Layer(
        purpose=f"seeds {', '.join(profile.sets)}",
        fingerprint=seed_fingerprint(settings, profile),
        check=read,
        build=build,
    )


def remembered(profile: Profile, told: Mapping[str, object]) -> SeedReport:
    """Return the report of the seed that built a template; its single rows are no longer known."""
    tables = msgspec.convert(told.get("tables", {}), dict[str, tuple[int, int, int, int]])
    return SeedReport(
        sets=profile.sets,
        dry_run=False,
        rows=msgspec.convert(told.get("rows", 0), int),
        tables=tuple(
            TableReport(table=name, inserted=inserted, updated=updated, deleted=deleted, unchanged=unchanged)
            for name, (inserted, updated, deleted, unchanged) in tables.items()
        ),
    )


def portable_fingerprint(settings: Settings, profile: Profile | None) -> str:
    """Return a hash of what shapes a template and can be told without a server: for the key of a CI's cache.

    Owner, locale and minor version are the server's. Of PostgreSQL, the embedded one's major version is in it.

    Raises:
        ProfileError, SettingsError, MigrationError: the project's files cannot be found.
    """
    from seedtool.postgres import wheel
    from seedtool.schema.fingerprint import schema_fingerprint

    major = wheel.version().split(".")[0] if settings.database_url is None else "external"
    schema = schema_fingerprint(settings, {"postgresql": major})
    return seed_layer(settings, profile).upon(schema) if profile is not None else schema
