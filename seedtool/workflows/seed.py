"""Seeding a profile: its rows are merged into the database, and then its faces are linked."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec

from seedtool.errors import ProfileError, SeedtoolError, SyncFailed, UsageError
from seedtool.listener import SILENT, Listener
from seedtool.postgres import server
from seedtool.resetting import guard
from seedtool.seeding.profiles import Profile, find_profile, load_profiles
from seedtool.workflows.project import project_settings

if TYPE_CHECKING:
    from collections.abc import Iterable

    import psycopg

    from seedtool.faces.port import FaceService
    from seedtool.faces.sync import SyncReport
    from seedtool.postgres.server import Target
    from seedtool.seeding.dump import DumpReport
    from seedtool.seeding.indexed import IndexedPhoto
    from seedtool.seeding.report import SeedReport
    from seedtool.settings import Settings
    from seedtool.workflows.ahead import Listing


class Seeded(msgspec.Struct, frozen=True, kw_only=True):
    """What seeding a profile did.

    Args:
        seed: what became of the rows.
        sync: what became of the faces; None where the profile links none.
        where: which AWS the faces are in, in words; empty where the profile links none.
        milliseconds: the time that the rows took.
    """

    seed: SeedReport
    sync: SyncReport | None
    where: str = ""
    milliseconds: float


class Prepared(NamedTuple):
    """A profile of which everything but its rows has been looked at.

    Args:
        profile: the profile.
        indexed: the photos that its `indexed` list names.
        aws: the AWS side, where the profile links faces in AWS itself.
    """

    profile: Profile
    indexed: tuple[IndexedPhoto, ...] = ()
    aws: FaceService | None = None


def named_profile(settings: Settings, name: str) -> Profile:
    """Return the profile of this name.

    Raises:
        UsageError: there is none.
        ProfileError: profiles.toml cannot be read.
    """
    profiles = load_profiles(settings.seeds)
    try:
        return find_profile(profiles, name)
    except ProfileError as error:
        raise UsageError(error.message, remedy=error.remedy, **error.place) from error


def prepare_profile(settings: Settings, name: str, listener: Listener = SILENT) -> Prepared:
    """Look at all that a profile needs but its rows, before a database is lost for its sake.

    Raises:
        UsageError: there is no profile of this name.
        ProfileError, FixtureError: profiles.toml or the list of indexed photos cannot be read.
        MissingExtra: it ends in a sync, and a package is not installed that a sync needs.
        CredentialsError, SettingsError: it ends in a sync, and AWS cannot be reached for lack of settings.
    """
    profile = named_profile(settings, name)
    aws = None
    if profile.sync_faces:
        from seedtool.workflows.face_service import require_packages

        require_packages(settings)
    if profile.sync_faces and settings.aws == "live":
        from seedtool.workflows.face_service import open_aws

        aws = open_aws(settings)
        listener.note(f"faces will be synced from {aws.who()}")
    indexed: tuple[IndexedPhoto, ...] = ()
    if profile.indexed is not None:
        from seedtool.seeding.indexed import read_indexed

        indexed = read_indexed(settings.seeds / profile.indexed, settings.root)
    return Prepared(profile, indexed, aws)


def seed(
    profile: str,
    *,
    settings: Settings | None = None,
    target: Target | None = None,
    dry_run: bool = False,
    prune: bool = True,
    confirm: str | None = None,
    ahead: bool = False,
    listener: Listener = SILENT,
) -> Seeded:
    """Load a profile into the database, all or nothing, and link its faces where it says so.

    Args:
        profile: the profile's name.
        settings: the project's; those of the working folder's project when None.
        target: the database; the one that the settings name when None.
        dry_run: do everything, report it, and roll it back.
        prune: delete rows that these seed sets once put there and whose lines have left their files, but for rows that
            somebody edited since.
        confirm: the database's name: agree that rows which no seed put there are changed, in a database that seedtool
            did not make.
        ahead: a fork of this process may list the collection meanwhile; for programs without threads.
        listener: hears of the steps.

    Raises:
        Protected: the database carries the protection mark.
        NotConfirmed: rows that no seed put there would be changed, or `confirm` is another name; nothing was written.
        FixtureError, SeedError: a row cannot be loaded; nothing was written.
        SyncFailed: the rows are written, and their faces could not be linked.

    Example:
        >>> seedtool.seed("local").seed.rows
        713
    """
    settings = project_settings(settings)
    return seed_prepared(
        settings,
        target or server.find(settings),
        prepare_profile(settings, profile, listener),
        dry_run=dry_run,
        prune=prune,
        confirm=confirm,
        ahead=ahead,
        listener=listener,
    )


def seed_prepared(
    settings: Settings,
    target: Target,
    prepared: Prepared,
    *,
    dry_run: bool = False,
    prune: bool = True,
    confirm: str | None = None,
    ahead: bool = False,
    listener: Listener = SILENT,
) -> Seeded:
    """Do what `seed` does, with a profile that was looked at before."""
    from seedtool.seeding.fixtures import read_profile
    from seedtool.seeding.merge import seed as merge
    from seedtool.workflows.ahead import listed

    given = guard.given(target, yes=False, confirm=confirm)
    fixtures = read_profile(settings.seeds, prepared.profile, settings.root)
    started = time.perf_counter()
    with contextlib.ExitStack() as stack:
        listing = stack.enter_context(listed(settings, prepared.profile)) if ahead else None
        connection = stack.enter_context(server.connect(target))
        needed = guard.consent_to_seed(target, connection)
        connection.rollback()  # the guard's look was a transaction of its own
        # a dry run's sync has to see the rows that the merge would leave, so both are rolled back together
        with connection.transaction(force_rollback=True) if dry_run else contextlib.nullcontext():
            report = merge(
                connection,
                fixtures,
                bindings=settings.faces,
                dry_run=dry_run,
                prune=prune,
                overwrite=given >= needed,
                triggers=prepared.profile.triggers,
                listener=listener,
            )
            milliseconds = (time.perf_counter() - started) * 1000
            listener.step("sync")
            return link_faces(
                settings,
                connection,
                prepared,
                report,
                milliseconds,
                dry_run=dry_run,
                listing=listing,
                listener=listener,
            )


def link_faces(
    settings: Settings,
    connection: psycopg.Connection[Any],
    prepared: Prepared,
    report: SeedReport,
    milliseconds: float,
    *,
    dry_run: bool = False,
    listing: Listing | None = None,
    listener: Listener = SILENT,
) -> Seeded:
    """Link the faces of a profile whose rows are there, where it says so.

    Args:
        settings: the project's.
        connection: to the seeded database.
        prepared: the profile.
        report: what became of the rows.
        milliseconds: the time that the rows took.
        dry_run: report the same and change nothing.
        listing: the collection, as a child lists it.
        listener: hears what is indexed in the emulator.

    Raises:
        SyncFailed: the faces could not be linked.
    """
    if not prepared.profile.sync_faces:
        return Seeded(seed=report, sync=None, milliseconds=milliseconds)
    from seedtool.faces.sync import sync
    from seedtool.workflows.face_service import open_aws

    try:
        aws = prepared.aws or open_aws(settings)
        if prepared.indexed and aws.embedded and not dry_run:
            _index_missing(aws, prepared.indexed, listener)
        if listing is not None:
            from seedtool.workflows.ahead import with_listing

            aws = with_listing(aws, listing)
        synced = sync(connection, settings, aws, dry_run=dry_run)
        return Seeded(seed=report, sync=synced, where=aws.where, milliseconds=milliseconds)
    except SeedtoolError as error:
        raise SyncFailed(error, report, milliseconds) from error


def _index_missing(aws: FaceService, indexed: tuple[IndexedPhoto, ...], listener: Listener) -> None:
    """Let the embedded emulator hold the photos that AWS would hold already."""
    from seedtool.seeding.indexed import index_missing

    count = index_missing(indexed, aws.collection)
    if count:
        photos = f"{count} photo{'' if count == 1 else 's'}"
        listener.note(f"{photos} indexed in {aws.where}, which AWS would hold already")


def dump_seeds(
    tables: Iterable[str] = (),
    seed_set: str = "local",
    *,
    every_table: bool = False,
    sort: Literal["key", "file"] = "key",
    settings: Settings | None = None,
    target: Target | None = None,
) -> DumpReport:
    """Write rows of the database back as seed files, so that they survive the next reset.

    Args:
        tables: names of tables; those that have a file in the set already when empty.
        seed_set: the set to write into.
        every_table: write also the tables that have rows and no file in any set.
        sort: order rows by key, or leave those that a file has in their order and put new ones behind them.
        settings: the project's; those of the working folder's project when None.
        target: the database; the one that the settings name when None.

    Raises:
        UsageError, SchemaError, SeedError: a table cannot be written; no file was changed.

    Example:
        >>> seedtool.dump_seeds(["grade_sections"]).rows
        16
    """
    from seedtool.seeding.dump import dump

    settings = project_settings(settings)
    with server.connect(target or server.find(settings)) as connection:
        return dump(
            connection,
            tables,
            settings.seeds,
            seed_set,
            root=settings.root,
            bindings=settings.faces,
            every_table=every_table,
            sort=sort,
        )
