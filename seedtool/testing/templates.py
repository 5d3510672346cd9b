"""The templates that tests are given clones of: the schema's, and those of profiles."""

import hashlib

import msgspec
import psycopg

from seedtool.database import reset, templates
from seedtool.database.cluster import Cluster, DatabaseFacts
from seedtool.seeding.profiles import Profile
from seedtool.settings import Settings


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """A template, and whether it was built just now."""

    name: str
    built: bool


def like_the_target(cluster: Cluster) -> DatabaseFacts:
    """Return the facts that test databases share with the target, or with a new one where there is none."""
    return cluster.database(cluster.target.name) or reset._new_database(cluster)  # noqa: SLF001


def template_of(cluster: Cluster, settings: Settings, profile: Profile | None) -> Made:
    """Return the template of a profile (None: of the bare schema), building it when there is none."""
    like = like_the_target(cluster)
    fingerprint = reset._fingerprint(cluster, settings, cluster.database(cluster.target.name))  # noqa: SLF001

    def build(conninfo: str) -> None:
        from seedtool.database.schema.migrations import upgrade

        upgrade(conninfo, settings)
        if profile is None:
            return
        from seedtool.seeding.fixtures import read_fixtures
        from seedtool.seeding.merge import seed

        fixtures = read_fixtures(settings.seeds, profile.sets, settings.root)
        with psycopg.connect(conninfo) as connection:
            seed(connection, fixtures, bindings=settings.faces)

    if profile is not None:
        digest = hashlib.sha256(fingerprint.encode())
        for name in profile.sets:
            for path in sorted((settings.seeds / name).iterdir()):
                if path.is_file():
                    digest.update(path.name.encode() + path.read_bytes())
        fingerprint = digest.hexdigest()
    name, built = templates.ensure(cluster, fingerprint, like, build, fresh=False, step=lambda _: None)
    return Made(name=name, built=built)
