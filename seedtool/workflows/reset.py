"""Resetting the database, migrating it, and telling the fingerprint of what would be built."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from seedtool.listener import SILENT, Listener
from seedtool.postgres import server
from seedtool.resetting import guard
from seedtool.resetting import reset as resets
from seedtool.resetting.layers import Layer, fingerprints
from seedtool.schema.layer import Schema
from seedtool.workflows.project import project_settings

if TYPE_CHECKING:
    from seedtool.generating.layer import Generated, LoadedRows
    from seedtool.postgres.server import Target
    from seedtool.resetting.guard import Consent
    from seedtool.resetting.reset import ResetPlan, ResetReport
    from seedtool.seeding.profiles import Profile
    from seedtool.settings import Settings
    from seedtool.workflows.ahead import Listing
    from seedtool.workflows.seed import Prepared, Seeded


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What a reset did.

    Args:
        reset: how the database was replaced.
        seeded: what became of the profile's rows and faces; None without a profile.
        loaded: the generated rows that came with it; None without a recipe.
        in_cache: the rows were in the cached template, and no file was read.
    """

    reset: ResetReport
    seeded: Seeded | None = None
    loaded: LoadedRows | None = None
    in_cache: bool = False


class Migrated(msgspec.Struct, frozen=True, kw_only=True):
    """Which database was migrated, whether it was created, and the revisions that were applied."""

    database: str
    created: bool
    applied: list[str]


def layers_of(
    settings: Settings, profile: Profile | None, generated: Generated | None = None, listener: Listener = SILENT
) -> list[Layer]:
    """Return the stack of a project: its schema, with a profile the rows of that, and generated rows upon them."""
    layers: list[Layer] = [Schema(settings)]
    if profile is not None:
        from seedtool.seeding.layer import Seeds  # a bare reset does without the room of seeding

        layers.append(Seeds(settings, profile, listener))
    if generated is not None:
        layers.append(generated)
    return layers


def generated(
    settings: Settings,
    recipe: str | None,
    *,
    scale: float = 1.0,
    random_seed: str = "1",
    workers: int | None = None,
    listener: Listener = SILENT,
) -> Generated | None:
    """Return the layer of a recipe's rows; None without a recipe.

    Args:
        settings: the project's.
        recipe: the recipe's name, or the path of its file.
        scale: how many times the numbers of the recipe are made.
        random_seed: another one makes other values.
        workers: how many processes of this machine work; None for one for each processor, where there are many rows.
        listener: hears how many rows are there.

    Raises:
        UsageError: there is no such recipe, or the scale is no multiple of its units.
        RecipeError: it cannot be read.
    """
    if recipe is None:
        return None
    from seedtool.generating import recipe as recipes
    from seedtool.generating.layer import Generated

    found = recipes.find(settings.seeds, recipe, settings.root)
    recipes.units_of(found, scale)
    return Generated(found, settings.root, scale=scale, random_seed=random_seed, workers=workers, listener=listener)


def prepared(settings: Settings, profile: str | None, listener: Listener = SILENT) -> Prepared | None:
    """Look at all that a profile needs but its rows (see `prepare_profile`); None without a profile."""
    if profile is None:
        return None
    from seedtool.workflows.seed import prepare_profile

    return prepare_profile(settings, profile, listener)


def reset(
    profile: str | None = None,
    *,
    load: str | None = None,
    scale: float = 1.0,
    random_seed: str = "1",
    settings: Settings | None = None,
    target: Target | None = None,
    yes: bool = False,
    confirm: str | None = None,
    fresh: bool = False,
    listener: Listener = SILENT,
) -> Done:
    """Replace the database by one of the newest schema, with the rows and faces of a profile.

    Args:
        profile: the profile's name; None for the bare schema.
        load: the name of a recipe whose generated rows come upon the profile's; None for none.
        scale: how many times the numbers of that recipe are made.
        random_seed: of that recipe.
        settings: the project's; those of the working folder's project when None.
        target: the database; the one that the settings name when None.
        yes: agree that a database which seedtool made is replaced.
        confirm: the database's name: agree that it is replaced, whoever made it.
        fresh: build the templates anew.
        listener: hears of the steps.

    Raises:
        Protected, NotConfirmed: the guard refuses; nothing was changed.
        MigrationError, FixtureError, SeedError: the template cannot be built; nothing was changed.
        BlockedError: the target cannot be freed; nothing was changed.
        SyncFailed: the database is replaced, and its faces could not be linked.

    Example:
        >>> done = seedtool.reset("full", yes=True)
        >>> done.reset.replaced, done.seeded.sync.placeholders
        (True, 0)
    """
    settings = project_settings(settings)
    target = target or server.find(settings)
    ready = prepared(settings, profile, listener)
    rows = generated(settings, load, scale=scale, random_seed=random_seed, listener=listener)
    consent = guard.given(target, yes=yes, confirm=confirm)
    return reset_prepared(settings, target, ready, rows, consent=consent, fresh=fresh, listener=listener)


def reset_prepared(
    settings: Settings,
    target: Target,
    prepared: Prepared | None,
    generated: Generated | None = None,
    *,
    consent: Consent,
    fresh: bool = False,
    listing: Listing | None = None,
    listener: Listener = SILENT,
) -> Done:
    """Do what `reset` does, with a profile and a recipe that were looked at before, and a listing that has begun."""
    layers = layers_of(settings, prepared.profile if prepared else None, generated, listener)
    report = resets.reset(settings, target, layers, consent=consent, fresh=fresh, listener=listener)
    loaded = None
    if generated is not None:
        from seedtool.generating.layer import loaded_rows

        loaded = loaded_rows(report.results[generated.step])
    if prepared is None:
        return Done(reset=report, loaded=loaded, in_cache=not report.built)
    from seedtool.seeding.layer import Seeds, report_of
    from seedtool.workflows.seed import Seeded, link_faces

    rows = report_of(prepared.profile, report.results.get(Seeds.step, {}))
    milliseconds = report.milliseconds.get(Seeds.step, 0.0)
    in_cache = not report.built
    if not prepared.profile.sync_faces:
        seeded = Seeded(seed=rows, sync=None, milliseconds=milliseconds)
        return Done(reset=report, seeded=seeded, loaded=loaded, in_cache=in_cache)
    listener.step("sync")
    with server.connect(target) as connection:
        seeded = link_faces(settings, connection, prepared, rows, milliseconds, listing=listing, listener=listener)
    return Done(reset=report, seeded=seeded, loaded=loaded, in_cache=in_cache)


def plan_reset(
    profile: str | None = None,
    *,
    generated: Generated | None = None,
    settings: Settings | None = None,
    target: Target | None = None,
    fresh: bool = False,
) -> ResetPlan:
    """Look at what `reset` would do with the same arguments, and change nothing.

    Raises:
        Protected: the target carries the protection mark.
        SeedtoolError: a file of the project cannot be read.

    Example:
        >>> seedtool.plan_reset("local").consent.name
        'YES'
    """
    settings = project_settings(settings)
    ready = prepared(settings, profile)
    layers = layers_of(settings, ready.profile if ready else None, generated)
    plan = resets.plan(target or server.find(settings), layers)
    if plan.template is None or fresh:
        for layer in layers:
            layer.check()
    return plan


def migrate(*, settings: Settings | None = None, target: Target | None = None, listener: Listener = SILENT) -> Migrated:
    """Bring the database to the newest revision, and create it when it does not exist.

    Args:
        settings: the project's; those of the working folder's project when None.
        target: the database; the one that the settings name when None.
        listener: hears of the steps.

    Raises:
        MigrationError: a revision failed; those before it are in place.

    Example:
        >>> seedtool.migrate().applied
        []
    """
    settings = project_settings(settings)
    target = target or server.find(settings)
    created, applied = resets.migrate(target, lambda database: _upgrade(database, settings), listener=listener)
    return Migrated(database=str(target), created=created, applied=applied)


def _upgrade(database: Target, settings: Settings) -> list[str]:
    if settings.build_command is not None:
        from seedtool.schema.command import run

        run(database, settings)
        return []  # it alone knows what it applied
    from seedtool.schema.migrations import upgrade

    return upgrade(database, settings)


def fingerprint(
    profile: str | None = None,
    *,
    load: str | None = None,
    scale: float = 1.0,
    settings: Settings | None = None,
) -> str:
    """Return a hash of what shapes a template, as far as no server is needed to know it: the key of a CI's cache.

    Owner, locale and minor version belong to the server, so they are not in it. Of PostgreSQL, the embedded
    server's major version is.

    Args:
        profile: the profile's name; None for the bare schema.
        load: the name of a recipe whose generated rows come upon it; None for none.
        scale: how many times the numbers of the recipe are made.
        settings: the project's; those of the working folder's project when None.

    Raises:
        UsageError: there is no profile or recipe of this name.
        ProfileError, SettingsError, MigrationError: the project's files cannot be found.

    Example:
        >>> seedtool.fingerprint("local") == seedtool.fingerprint()
        False
    """
    from seedtool.postgres import wheel
    from seedtool.workflows.seed import named_profile

    settings = project_settings(settings)
    found = named_profile(settings, profile) if profile is not None else None
    major = wheel.version().split(".")[0] if settings.database_url is None else "external"
    rows = generated(settings, load, scale=scale)
    return fingerprints(layers_of(settings, found, rows), {"postgresql": major})[-1]
