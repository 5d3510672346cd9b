"""Seed files as a layer: the rows of a profile, laid over the schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from seedtool.files import Malformed
from seedtool.listener import SILENT, Listener
from seedtool.postgres import server
from seedtool.resetting.layers import Layer
from seedtool.seeding.report import SeedReport, TableReport
from seedtool.seeding.seed_files import seed_fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping

    import psycopg

    from seedtool.postgres.server import Target
    from seedtool.resetting.transaction import OneTransaction
    from seedtool.seeding.fixtures import Fixtures
    from seedtool.seeding.profiles import Profile
    from seedtool.settings import Settings


class Seeds(Layer):
    """The rows of a profile. Its fixtures are read only when they have to be loaded.

    Args:
        settings: the project's.
        profile: the profile.
        listener: hears of the seed's steps, and how many rows are copied.
    """

    step = "seed"
    in_place = True

    def __init__(self, settings: Settings, profile: Profile, listener: Listener = SILENT) -> None:
        self._listener = listener
        self._settings = settings
        self._profile = profile
        self._read: Fixtures | None = None

    @property
    def purpose(self) -> str:
        """The sets that are loaded, in words."""
        return f"seeds {', '.join(self._profile.sets)}"

    def fingerprint(self, server: Mapping[str, str]) -> str:  # noqa: ARG002 - the schema's has the server's facts
        """Return the hash of the profile's files.

        Raises:
            ProfileError: a set's folder is missing or holds a file that is no fixture.
        """
        return seed_fingerprint(self._settings, self._profile)

    def check(self) -> None:
        """Read the fixtures.

        Raises:
            FixtureError, ProfileError: one of them cannot be read.
        """
        self._fixtures()

    def build(self, database: Target) -> Mapping[str, object]:
        """Load the rows.

        Raises:
            FixtureError, SeedError: a row cannot be loaded.
        """
        with server.connect(database) as connection:
            return self._load(connection)

    def build_in_place(self, connection: OneTransaction) -> Mapping[str, object]:
        """Load the rows within the transaction that builds the schema.

        Raises:
            FixtureError, SeedError: a row cannot be loaded.
        """
        connection.lower_fence()
        return self._load(connection)

    def _load(self, connection: psycopg.Connection) -> Mapping[str, object]:
        from seedtool.seeding.merge import seed

        report = seed(
            connection,
            self._fixtures(),
            bindings=self._settings.faces,
            triggers=self._profile.triggers,
            listener=self._listener,
        )
        tables = {each.table: [each.inserted, each.updated, each.deleted, each.unchanged] for each in report.tables}
        return {"rows": report.rows, "tables": tables, **({"scripts": report.scripts} if report.scripts else {})}

    def _fixtures(self) -> Fixtures:
        from seedtool.postgres.drivers import Reach, intercepted
        from seedtool.seeding.fixtures import read_profile

        if self._read is None:
            target = server.find(self._settings)
            reaches_target = Reach(target, target.conninfo)

            def refuse(given: Mapping[str, str]) -> Mapping[str, str]:
                if reaches_target(given):
                    raise Malformed(
                        f"the code connects to {target}, and what is built there has to be the same whatever is in it",
                        remedy="Let rows() read files instead, or load this set with `seedtool seed` alone.",
                    )
                return {}

            with intercepted(refuse):
                self._read = read_profile(self._settings.seeds, self._profile, self._settings.root)
        return self._read


def report_of(profile: Profile, result: Mapping[str, object]) -> SeedReport:
    """Return the report of the seed that built a template. Its single rows are not known any more.

    Args:
        profile: the profile.
        result: what `Seeds.build` returned.
    """
    tables = msgspec.convert(result.get("tables", {}), dict[str, tuple[int, int, int, int]])
    return SeedReport(
        sets=profile.sets,
        dry_run=False,
        rows=msgspec.convert(result.get("rows", 0), int),
        scripts=msgspec.convert(result.get("scripts", ()), tuple[str, ...]),
        tables=tuple(
            TableReport(table=name, inserted=inserted, updated=updated, deleted=deleted, unchanged=unchanged)
            for name, (inserted, updated, deleted, unchanged) in tables.items()
        ),
    )
