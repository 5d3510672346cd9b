"""seed, seed-dump."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from seedtool.cli.console import CONTEXT, Console, common_options, number, table
from seedtool.errors import ProfileError, SeedtoolError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import psycopg
    from click.shell_completion import CompletionItem

    from seedtool.faces.rekognition import Aws
    from seedtool.faces.sync import SyncReport
    from seedtool.reset.reset import ResetReport
    from seedtool.seeding.indexed import IndexedPhoto
    from seedtool.seeding.profiles import Profile
    from seedtool.seeding.report import SeedReport, TableReport
    from seedtool.settings import Settings


def complete_profile(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001
    """Offer the profiles whose names begin so."""
    from click.shell_completion import CompletionItem

    from seedtool.errors import SeedtoolError
    from seedtool.seeding.profiles import load_profiles
    from seedtool.settings import load

    try:
        profiles = load_profiles(load().seeds)
    except SeedtoolError:
        return []  # a completion is no place for a message
    return [
        CompletionItem(name, help=each.description) for name, each in profiles.items() if name.startswith(incomplete)
    ]


@click.command(short_help="Load a profile from seeds/.", context_settings=CONTEXT)
@click.argument("profile", required=False, shell_complete=complete_profile)
@click.option("--list", "list_profiles", is_flag=True, help="List the profiles.")
@click.option("--dry-run", is_flag=True, help="List what would be inserted, updated and deleted.")
@click.option("--prune/--no-prune", default=True, help="Delete rows whose line has left the files [default: prune].")
@common_options
def seed(
    *, profile: str | None, list_profiles: bool, dry_run: bool, prune: bool, console: Console, settings: Settings
) -> None:
    """Load a profile from seeds/, all or nothing.

    Rows that differ are updated, equal ones left alone; rows that people made are never touched. `local` is
    the base data, `full` is local and then the face sync.
    """
    if list_profiles:
        _list(settings, console)
        return
    if profile is None:
        raise UsageError("no profile was named", remedy="seedtool seed PROFILE; seedtool seed --list names them.")
    run_seed(settings, console, prepare(settings, console, profile), dry_run=dry_run, prune=prune)


def _list(settings: Settings, console: Console) -> None:
    from seedtool.seeding.profiles import load_profiles

    profiles = load_profiles(settings.seeds)
    console.report(
        {name: each for name, each in profiles.items()},  # noqa: C416 - msgspec encodes a plain dict of structs
        lambda: table(("profile", "what it is"), [(name, each.description) for name, each in profiles.items()]),
    )


class Prepared(NamedTuple):
    """A profile that can be seeded as far as can be told without reading its rows."""

    profile: Profile
    indexed: tuple[IndexedPhoto, ...] = ()


def prepare(settings: Settings, console: Console, name: str) -> Prepared:
    """Look at all that a profile needs but its rows, before a database is lost for the sake of it.

    Raises:
        UsageError: there is no profile of this name.
        ProfileError, FixtureError: profiles.toml or the list of indexed photos cannot be read.
        CredentialsError, SettingsError: it ends in a sync, and AWS cannot be reached for lack of settings.
    """
    profile = named_profile(settings, name)
    if profile.sync_faces and settings.aws == "live":
        from seedtool.cli.faces import open_aws

        console.note(f"faces will be synced from {open_aws(settings).who()}")
    indexed: tuple[IndexedPhoto, ...] = ()
    if profile.indexed is not None:
        from seedtool.seeding.indexed import read_indexed

        indexed = read_indexed(settings.seeds / profile.indexed, settings.root)
    return Prepared(profile, indexed)


def named_profile(settings: Settings, name: str) -> Profile:
    """Return the profile of this name.

    Raises:
        UsageError: there is none.
        ProfileError: profiles.toml cannot be read.
    """
    from seedtool.seeding.profiles import find_profile, load_profiles

    profiles = load_profiles(settings.seeds)
    try:
        return find_profile(profiles, name)
    except ProfileError as error:
        raise UsageError(error.message, remedy=error.remedy) from error


def run_seed(
    settings: Settings,
    console: Console,
    prepared: Prepared,
    *,
    dry_run: bool = False,
    prune: bool = True,
    after: ResetReport | None = None,
) -> None:
    """Seed a profile, sync its faces, and report; `after` is the report of a reset that went before."""
    from seedtool.postgres import server
    from seedtool.reset import guard
    from seedtool.seeding.fixtures import read_fixtures
    from seedtool.seeding.merge import seed as merge

    profile = prepared.profile
    fixtures = read_fixtures(settings.seeds, profile.sets, settings.root)
    target = server.find(settings)
    started = time.perf_counter()
    with server.connect(target) as connection:
        guard.refuse_protected_connection(target, connection, "seeded")
        connection.rollback()  # the guard's look was a transaction of its own
        # a dry run's sync has to see the rows that the merge would leave, so both are rolled back together
        with connection.transaction(force_rollback=True) if dry_run else contextlib.nullcontext():
            seeded = merge(connection, fixtures, bindings=settings.faces, dry_run=dry_run, keep=dry_run, prune=prune)
            took = f"in {(time.perf_counter() - started) * 1000:.0f} ms"
            lines = list(_seed_lines(seeded, profile.name, str(target), took))
            synced, sync_lines = _sync(settings, console, connection, prepared, lines, dry_run=dry_run)
    _report(console, after, seeded, synced, lines + sync_lines)


def finish_reset(settings: Settings, console: Console, prepared: Prepared, after: ResetReport) -> None:
    """Sync a profile's faces and report, where the reset has brought the rows along."""
    from seedtool.postgres import server
    from seedtool.seeding.layer import remembered

    profile, target = prepared.profile, server.find(settings)
    seeded = remembered(profile, after.seeded or {})
    took = f"in {after.milliseconds['seed']:.0f} ms" if "seed" in after.milliseconds else "from the cached template"
    lines = list(_seed_lines(seeded, profile.name, str(target), took))
    synced, sync_lines = None, list[str]()
    if profile.sync_faces:
        with server.connect(target) as connection:
            synced, sync_lines = _sync(settings, console, connection, prepared, lines)
    _report(console, after, seeded, synced, lines + sync_lines)


def _sync(
    settings: Settings,
    console: Console,
    connection: psycopg.Connection[Any],
    prepared: Prepared,
    lines: list[str],
    *,
    dry_run: bool = False,
) -> tuple[SyncReport | None, list[str]]:
    """Sync where the profile says so; when that fails, `lines` tell what is done already."""
    if not prepared.profile.sync_faces:
        return None, []
    from seedtool.cli.faces import open_aws, show_sync_lines
    from seedtool.faces.sync import sync

    try:
        aws = open_aws(settings)
        if prepared.indexed and aws.embedded and not dry_run:
            _give(console, aws, prepared.indexed)
        synced = sync(connection, settings, aws, dry_run=dry_run)
    except SeedtoolError:
        for line in lines:
            console.note(line)
        raise
    return synced, list(show_sync_lines(synced, aws.where))


def _report(
    console: Console, after: ResetReport | None, seeded: SeedReport, synced: SyncReport | None, lines: list[str]
) -> None:
    from seedtool.cli.database import reset_report

    report = {"reset": reset_report(after) if after else None, "seed": seeded, "sync": synced}
    console.report({key: value for key, value in report.items() if value is not None}, lambda: lines)


def _give(console: Console, aws: Aws, indexed: tuple[IndexedPhoto, ...]) -> None:
    """Let the embedded emulator hold what AWS would hold already."""
    from seedtool.seeding.indexed import index_missing

    given = index_missing(indexed, aws.collection)
    if given:
        console.note(f"{number(given, 'photo')} indexed in {aws.where}, which AWS would hold already")


def _seed_lines(report: SeedReport, profile: str, target: str, took: str) -> Iterable[str]:
    counts = ("inserted", "updated", "deleted", "unchanged")
    totals = {count: sum(getattr(each, count) for each in report.tables) for count in counts}
    changed = [each for each in report.tables if each.inserted or each.updated or each.deleted]
    if changed:
        rows = [(each.table, *(getattr(each, count) for count in counts)) for each in changed]
        yield from table(("table", *counts), rows)
    if report.dry_run:
        for each in changed:
            yield from _change_lines(each)
    verb = "would seed" if report.dry_run else "seeded"
    told = ", ".join(f"{number} {count}" for count, number in totals.items() if number) or "nothing to do"
    yield f"{verb} {profile} into {target}: {number(report.rows, 'row')} {took}; {told}"


def _change_lines(report: TableReport) -> Iterable[str]:
    """List updates and deletes row by row; what is only inserted is told by its count."""
    for change in report.changes:
        if change.action == "delete":
            yield f"  {report.table} {change.key}: would be deleted, its line has left the files"
        elif change.action == "update":
            edited = f" (the file wins over an edit of {', '.join(change.overridden)})" if change.overridden else ""
            yield f"  {report.table} {change.key}: would change {', '.join(change.columns)}{edited}"


@click.command("seed-dump", short_help="Write rows back as seed files.", context_settings=CONTEXT)
@click.option("--table", "tables", metavar="NAME", multiple=True, help="Only this table; may be given again.")
@click.option("--set", "set_name", metavar="NAME", default="local", show_default=True, help="The set to write into.")
@common_options
def seed_dump(*, tables: tuple[str, ...], set_name: str, console: Console, settings: Settings) -> None:
    """Write rows of the database back as seed files, so that they survive the next reset."""
    from seedtool.postgres import server
    from seedtool.seeding.dump import dump

    with server.connect(server.find(settings)) as connection:
        report = dump(connection, tables, settings.seeds, set_name, root=settings.root, bindings=settings.faces)

    def lines() -> Iterable[str]:
        for each in report.files:
            yield f"{each.file}: {number(each.rows, 'row')}" + ("" if each.changed else ", unchanged")
        written = [each.rows for each in report.files if each.changed]
        if written:
            yield f"wrote {number(sum(written), 'row')} into the seed set {report.seed_set}"
        else:
            yield f"the seed set {report.seed_set} is unchanged"

    console.report(report, lines)
