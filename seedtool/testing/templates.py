"""The templates that tests are given clones of: the schema's, and those of profiles."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec
from psycopg.conninfo import conninfo_to_dict

from seedtool.errors import SnapshotError
from seedtool.postgres.cluster import Cluster, DatabaseFacts
from seedtool.reset import reset, templates
from seedtool.seeding.layer import seed_layer
from seedtool.seeding.profiles import Profile
from seedtool.settings import Settings
from seedtool.testing import dumps


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """A template.

    Args:
        profile: whose rows are in it; None for the bare schema.
        fingerprint: what it is named by.
        template: the database.
        how: it was there, or was loaded from a file, or built.
        file: the file in the cache; None without one.
        milliseconds: how long that took.
    """

    profile: str | None
    fingerprint: str
    template: str
    how: Literal["present", "loaded", "built"]
    file: str | None = None
    milliseconds: float


def like_the_target(cluster: Cluster) -> DatabaseFacts:
    """Return the facts that test databases share with the target, or with a new one where there is none."""
    return cluster.database(cluster.target.name) or reset.new_database(cluster)


def template_of(
    cluster: Cluster,
    settings: Settings,
    profile: Profile | None,
    *,
    cache: Path | None = None,
    note: Callable[[str], None] = lambda _: None,
) -> Made:
    """Return the template of a profile, building it when there is none.

    Args:
        cluster: where we stand.
        settings: the project's.
        profile: the profile; None for the bare schema.
        cache: a folder of dumps: the template is loaded from there, or written to it.
        note: told when a dump cannot be used.

    Raises:
        SeedError: a fixture cannot be loaded.
        MigrationError: a migration fails. In either case the templates are as they were.
        SnapshotError: the cache cannot be written.
    """
    started = time.perf_counter()
    facts = cluster.database(cluster.target.name)
    layer = seed_layer(settings, profile) if profile is not None else None
    schema = reset.schema_of(cluster, settings, facts)
    fingerprint = layer.upon(schema) if layer is not None else schema
    purpose = f"{layer.purpose if layer else 'schema'} of {settings.root.name}"
    file = dumps.dump_path(cache, fingerprint) if cache is not None else None

    loaded = False
    if file is not None and file.is_file():
        loaded = _load(cluster, file, fingerprint, facts or reset.new_database(cluster), purpose, note)

    def build(conninfo: str) -> object:
        from seedtool.schema.migrations import upgrade

        return upgrade(conninfo, settings)

    template, built = reset.template_of(cluster, settings, build, facts=facts, seed=layer)
    if file is not None and not file.is_file() and not dumps.dump(cluster, template, like_the_target(cluster), file):
        note(f"the template of {profile.name if profile else 'the schema'} stays out of the cache:"
             " a dump would lack what migrations set on the database itself")  # fmt: skip
        file = None
    return Made(
        profile=profile.name if profile else None,
        fingerprint=fingerprint,
        template=template,
        how="loaded" if loaded else "built" if built else "present",
        file=str(file) if file else None,
        milliseconds=round((time.perf_counter() - started) * 1000, 3),
    )


def _load(
    cluster: Cluster, file: Path, fingerprint: str, like: DatabaseFacts, purpose: str, note: Callable[[str], None]
) -> bool:
    """Make a template of a dump; False when it is there already, or the dump cannot be used and is removed."""

    def restore(conninfo: str) -> object:
        return dumps.restore(cluster, file, str(conninfo_to_dict(conninfo)["dbname"]))

    try:
        return templates.ensure(cluster, fingerprint, like, restore, fresh=False, step=lambda _: None, purpose=purpose)[
            1
        ]
    except SnapshotError as error:
        note(f"{error.message}; the template is built instead")
        file.unlink(missing_ok=True)
        return False
