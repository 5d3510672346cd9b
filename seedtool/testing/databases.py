"""Where a test's database comes from: the template of its profile, and a clone of that from the pool."""

import hashlib
import secrets

import msgspec
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from seedtool.errors import BlockedError, UsageError
from seedtool.postgres import server
from seedtool.postgres.cluster import Cluster, DatabaseFacts, open_cluster
from seedtool.postgres.server import Target
from seedtool.resetting import templates
from seedtool.seeding.profiles import Profile, find_profile, load_profiles
from seedtool.settings import Settings
from seedtool.testing.address import Address
from seedtool.testing.pool import Kept, Pool
from seedtool.workflows.prepare import ensure_template
from seedtool.workflows.project import refuse_outside_a_project
from seedtool.workflows.reset import layers_of


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """A database that a test has for itself.

    Args:
        target: the database, for what takes a target.
        profile: what it was seeded with; None for the bare schema.
    """

    target: Target
    profile: Profile | None

    @property
    def url(self) -> str:
        """Its address, as psycopg, SQLAlchemy and other programs take it (`postgresql://`)."""
        return Address(plain_url(self.target))


class Databases:
    """The test databases of this worker.

    Args:
        settings: the project's. They name the server; its database itself is never written.

    Raises:
        UsageError: there is no project in the settings' folder.
        MigrationError, SettingsError: the project's migrations cannot be found.
    """

    def __init__(self, settings: Settings) -> None:
        try:
            refuse_outside_a_project(settings)
        except UsageError as error:
            raise UsageError(
                error.message, **error.place, remedy="Let the ini option seedtool_root name the project's folder."
            ) from error
        layers_of(settings, None)[0].fingerprint({})  # where it fails, no server has to be started to say so
        self.settings = settings
        self.target = server.find_for_tests(settings)
        self._pool: Pool | None = None
        self._templates: dict[str | None, tuple[str, DatabaseFacts]] = {}
        self._profiles: dict[str, Profile] | None = None
        self._failures: dict[str | None, Exception] = {}

    def profile(self, name: str | None) -> Profile | None:
        """Return a profile by its name; None for None, the bare schema.

        Raises:
            ProfileError: there is none of this name, or profiles.toml cannot be read.
        """
        if name is None:
            return None
        if self._profiles is None:
            self._profiles = load_profiles(self.settings.seeds)
        return find_profile(self._profiles, name)

    def lease(self, name: str | None, expected: int = 0) -> Lease:
        """Return a fresh database with a profile's rows; what a profile syncs from AWS is not in it.

        Args:
            name: the profile; None for the bare schema.
            expected: how many tests will ask for the same after this one.

        Raises:
            SeedError: the profile or one of its fixtures cannot be loaded.
            DatabaseError: the migrations fail, or the server cannot be reached or refuses.
        """
        profile = self.profile(name)
        template, like = self._template(name, profile)
        if self._pool is None:
            self._pool = Pool(self.target)
        try:
            database = self._pool.take(template, like, expected)
        except BlockedError:  # somebody built the template anew, or pruned it
            del self._templates[name]
            database = self._pool.take(*self._template(name, profile), expected)
        return Lease(target=self.at(database), profile=profile)

    def release(self, lease: Lease, kept: Kept | None = None) -> None:
        """Have a database dropped in the background, or kept."""
        assert self._pool is not None  # noqa: S101 - the lease is from it
        self._pool.give_back(lease.target.name, kept)

    def close(self) -> list[str]:
        """Drop all that is left; returns what went wrong with databases, for people."""
        if self._pool is None:
            return []
        self._pool.close()
        return self._pool.troubles

    def at(self, database: str) -> Target:
        """Return another database of the same server as a target."""
        return self.target.at(database)

    def kept_name(self) -> str:
        """Return a new name for the database of a failed test: not one of those that sweeps look at."""
        return f"{kept_prefix(self.settings)}{secrets.token_hex(6)}"

    def _template(self, name: str | None, profile: Profile | None) -> tuple[str, DatabaseFacts]:
        if name in self._failures:
            raise self._failures[name]  # hundreds of tests need not all run the migration that fails
        if name not in self._templates:
            try:
                with open_cluster(self.target, project=self.settings.root.name) as cluster:
                    made = ensure_template(cluster, self.settings, profile)
                    self._templates[name] = made.template, templates.of_target(cluster)
            except Exception as error:
                self._failures[name] = error
                raise
        return self._templates[name]


def kept_prefix(settings: Settings) -> str:
    """Return how the names of this project's kept databases begin."""
    return f"seedtool_kept_{hashlib.sha256(str(settings.root).encode()).hexdigest()[:8]}"


def drop_kept(settings: Settings) -> list[str]:
    """Drop the databases of failed tests that earlier runs of this project kept; returns their names."""
    with open_cluster(server.find_for_tests(settings)) as cluster:
        names = _kept(cluster, settings)
        for name in names:
            cluster.drop(name)
    return names


def _kept(cluster: Cluster, settings: Settings) -> list[str]:
    rows = cluster.connection.execute(
        "SELECT datname FROM pg_database WHERE starts_with(datname, %s) ORDER BY datname", [kept_prefix(settings)]
    )
    return [name for (name,) in rows]


def plain_url(target: Target) -> str:
    """Return a target's URL without SQLAlchemy's driver: psycopg and other programs take it, too."""
    return target.url.replace("postgresql+psycopg://", "postgresql://", 1)


def shown_url(target: Target) -> str:
    """Return a target's URL as it may stand in a report: without the password."""
    parts = {key: str(value) for key, value in conninfo_to_dict(target.conninfo).items() if key != "password"}
    shown = make_conninfo(**parts)
    return plain_url(msgspec.structs.replace(target, conninfo=shown))
