"""db-reset, migrate, guard, cache, fingerprint."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

import click

from seedtool.cli import completing
from seedtool.cli.console import CONTEXT, Console, agreed, common_options, table, type_name
from seedtool.printable import count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager

    from seedtool.cli.console import F
    from seedtool.resetting.cache import Entry
    from seedtool.resetting.guard import Consent
    from seedtool.resetting.reset import ResetPlan, ResetReport
    from seedtool.settings import Settings
    from seedtool.workflows.ahead import Listing
    from seedtool.workflows.reset import Done


def recipe_options(text: str) -> Callable[[F], F]:
    """Give a command --load and --scale. It gets a `recipe`, which may be None, and a `scale`.

    Args:
        text: what --load does there.
    """

    def decorated(function: F) -> F:
        scale = click.option(
            "--scale",
            type=click.FloatRange(min=0, min_open=True),
            default=1.0,
            metavar="N",
            help="Make N times the rows of the recipe [default: 1].",
        )
        load = click.option("--load", "recipe", metavar="RECIPE", shell_complete=completing.recipes, help=text)
        return load(scale(function))

    return decorated


class WithSeed(click.Command):
    """A command that takes profiles by --seed, and says so to who names one without: `db-reset local`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments; an argument too many may be a profile."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            import re

            extra = re.search(r"extra argument \((\w[\w-]*)\)$", error.message)
            if extra is None:
                raise
            raise click.UsageError(f"{error.message}. Did you mean --seed {extra[1]}?", error.ctx) from error


@click.command("db-reset", cls=WithSeed, short_help="Replace the database by a fresh one.", context_settings=CONTEXT)
@click.option("-y", "--yes", is_flag=True, help="Replace a database that seedtool made, without asking.")
@click.option("--confirm", metavar="NAME", help="Replace a database that seedtool did not make. NAME is its name.")
@click.option("--seed", "profile", metavar="PROFILE", shell_complete=completing.profiles, help="Load this profile too.")
@recipe_options("Load generated rows of this recipe too.")
@click.option("--fresh", is_flag=True, help="Run the migrations even when there is a template.")
@click.option("--dry-run", is_flag=True, help="Say what would happen to which database.")
@common_options
def db_reset(
    *,
    yes: bool,
    confirm: str | None,
    profile: str | None,
    recipe: str | None,
    scale: float,
    fresh: bool,
    dry_run: bool,
    console: Console,
    settings: Settings,
) -> None:
    """Replace the database by one that holds the schema of the migrations, and with --seed the rows of a profile.

    With --load, generated rows come upon them, which a recipe describes.

    The new database is a clone of a template, which is kept for the next reset. The database is replaced in one step;
    until then it stays as it is.
    """
    with _listed(settings, None if dry_run else profile) as listing:
        _db_reset(
            profile,
            recipe,
            scale,
            settings=settings,
            console=console,
            listing=listing,
            dry_run=dry_run,
            fresh=fresh,
            yes=yes,
            confirm=confirm,
        )


def _listed(settings: Settings, profile: str | None) -> AbstractContextManager[Listing | None]:
    """Let a child list the collection of a profile, before all else: it imports botocore while we import psycopg."""
    if profile is None:
        return contextlib.nullcontext()
    from seedtool.workflows.ahead import listed_for

    return listed_for(settings, profile)


def _db_reset(
    profile: str | None,
    recipe: str | None,
    scale: float,
    *,
    settings: Settings,
    console: Console,
    listing: Listing | None,
    dry_run: bool,
    fresh: bool,
    yes: bool,
    confirm: str | None,
) -> None:
    from seedtool.cli import seed as seeding
    from seedtool.postgres import server
    from seedtool.workflows import reset as workflow

    if dry_run:
        rows = workflow.generated(settings, recipe, scale=scale)
        plan = workflow.plan_reset(profile, generated=rows, settings=settings, fresh=fresh)
        _report_plan(plan, console, fresh=fresh, profile=profile)
        return
    target = server.find(settings)
    steps = {
        "build": f"building the template of {target.name} from the migrations ...",
        "load": f"loading the rows of {recipe} ...",
    }
    listener = console.listener(steps)
    prepared = workflow.prepared(settings, profile, listener)
    rows = workflow.generated(settings, recipe, scale=scale, listener=listener)

    def run(consent: Consent) -> Done:
        with listener.live(), seeding.rows_shown_on_failure(console, profile, target):
            return workflow.reset_prepared(
                settings, target, prepared, rows, consent=consent, fresh=fresh, listing=listing, listener=listener
            )

    def look() -> Consent:
        return workflow.plan_reset(profile, generated=rows, settings=settings, target=target).consent

    done = agreed(run, look, target, yes=yes, confirm=confirm)
    loaded = {} if done.loaded is None else {"load": done.loaded}
    if done.seeded is None or profile is None:
        console.report(
            {"reset": _shown(done.reset), **loaded}, lambda: [*_reset_lines(done.reset), *_loaded_lines(done)]
        )
        return
    for line in [*_reset_lines(done.reset), *_loaded_lines(done)]:
        console.note(line)
    seeding.report(
        console, done.seeded, profile, target, more={"reset": _shown(done.reset), **loaded}, in_cache=done.in_cache
    )


def _loaded_lines(done: Done) -> list[str]:
    if done.loaded is None:
        return []
    from_where = " from the cached template" if done.in_cache else ""
    return [f"loaded {done.loaded.recipe}: {count(done.loaded.rows, 'row')}{from_where}"]


def _shown(report: ResetReport) -> dict[str, object]:
    """Return a reset's report as it is printed: what was seeded is printed apart."""
    import msgspec

    return {key: value for key, value in msgspec.structs.asdict(report).items() if key != "results"}


def _report_plan(plan: ResetPlan, console: Console, *, fresh: bool, profile: str | None) -> None:
    import msgspec

    shown = {**msgspec.structs.asdict(plan), "consent": plan.consent.name.lower()}
    console.report({"plan": shown}, lambda: _plan_lines(plan, fresh=fresh, profile=profile))


def _plan_lines(plan: ResetPlan, *, fresh: bool, profile: str | None) -> list[str]:
    from seedtool.resetting.guard import Consent
    from seedtool.resetting.in_place import leaving_note

    what = "replace" if plan.exists else "create"
    how = f"the template {plan.template}{', a spare made ahead' if plan.spare else ''}"
    if plan.template is None or fresh:
        how = "a new template, built from the migrations"
        if profile is not None:
            how += f" and {profile}"
            if plan.schema and not fresh:
                how = f"a new template, that of the schema with {profile} loaded"
    lines = [f"would {what} {plan.database} by a clone of {how}"]
    if plan.in_place is not None:
        why = plan.in_place.why
        lines = [
            f"would rebuild the schemas of {plan.database} in one transaction: {why}",
            f"would drop {', '.join(plan.in_place.drops) or 'nothing'}",
        ]
        if note := leaving_note(plan.in_place):
            lines.append(note)
    if plan.sessions:
        which = "" if plan.in_place is None else ", where they hold locks"
        lines.append(f"would end {count(plan.sessions, 'session')} on it{which}")
    if plan.slots:
        lines.append(f"would drop {slots_line(plan.slots)}")
    if profile is not None and plan.in_place is not None:
        lines.append(f"would then seed {profile}")
    needs = {Consent.NONE: "no confirmation", Consent.YES: "--yes", Consent.NAME: "its name: --confirm NAME"}
    lines.append(f"needs {needs[plan.consent]}; nothing was changed")
    return lines


def _reset_lines(report: ResetReport) -> list[str]:
    took = f"{sum(report.milliseconds.values()):.0f} ms"
    if report.in_place is not None:
        how = "in one transaction" if report.in_place.atomic else "in two steps"
        lines = [f"rebuilt the schemas of {report.database} in {took} ({how}: {report.in_place.why})"]
        if report.sessions_ended:
            lines.append(f"ended {count(report.sessions_ended, 'session')} in its way")
        return lines
    what = "replaced" if report.replaced else "created"
    built = [
        word
        for step, word in (("build", "migrations run"), ("seed", "seeds loaded"), ("load", "rows generated"))
        if step in report.milliseconds
    ]
    how = "by a spare of the cached template" if report.spare else "from the cached template"
    if built:
        how = f"{', '.join(built)}, template kept"
    lines = [f"{what} {report.database} in {took} ({how})"]
    if report.sessions_ended:
        lines.append(f"ended {count(report.sessions_ended, 'session')} on it")
    if report.slots_dropped:
        lines.append(f"dropped {slots_line(report.slots_dropped)}")
    return lines


def slots_line(slots: Sequence[str]) -> str:
    """Name the logical replication slots that go with a database."""
    whose = "its reader has" if len(slots) == 1 else "their readers have"
    return f"{count(len(slots), 'logical replication slot')} on it ({', '.join(slots)}): {whose} to start anew"


@click.command(short_help="Run the migrations on the database as it is.", context_settings=CONTEXT)
@common_options
def migrate(*, console: Console, settings: Settings) -> None:
    """Run the migrations up to the newest revision. The database is created when it does not exist."""
    from seedtool.workflows import reset as workflow

    listener = console.listener({})
    with listener.live():
        report = workflow.migrate(settings=settings, listener=listener)

    def lines() -> list[str]:
        if not report.applied:
            return [f"{report.database} is at the newest revision"]
        return [f"{report.database}: applied {', '.join(report.applied)}"]

    console.report(report, lines)


@click.group(short_help="Protect a database from resets and seeds.", context_settings=CONTEXT)
def guard() -> None:
    """Protect a database from being replaced or seeded."""


@guard.command("status", short_help="Say what a reset of the database would need.")
@common_options
def guard_status(*, console: Console, settings: Settings) -> None:
    """Say whether the database is protected, and what a reset of it would need."""
    from seedtool.workflows import database as workflow

    report = workflow.guard_status(settings=settings)
    words = {
        "none": "may be replaced: there is nothing to lose",
        "yes": "was made by seedtool and may be replaced with --yes",
        "name": "holds data and was not made by seedtool: a reset needs its name",
        "refused": "is protected: it is never replaced or seeded",
    }
    lines = [f"{report.database} {words[report.consent]}"]
    if report.copy_of_protected:
        lines.append("it was restored from a protected database, and is not protected itself: seedtool guard protect")
    console.report(report, lambda: lines)


@guard.command("protect", short_help="Forbid to replace or seed the database.")
@common_options
def guard_protect(*, console: Console, settings: Settings) -> None:
    """Forbid to replace or seed the database. No flag of another command overrides it."""
    from seedtool.workflows import database as workflow

    target = workflow.protect(settings=settings)
    console.report(
        {"database": str(target), "protected": True},
        lambda: [f"{target} is protected: it is never replaced or seeded until seedtool guard unprotect"],
    )


@guard.command("unprotect", short_help="Allow to replace and seed the database again.")
@click.option("--confirm", metavar="NAME", help="The name of the database; without it you are asked.")
@common_options
def guard_unprotect(*, confirm: str | None, console: Console, settings: Settings) -> None:
    """Allow to replace and seed the database again. It asks for the name of the database."""
    from seedtool.postgres import server
    from seedtool.workflows import database as workflow

    target = server.find(settings)
    if confirm is None and sys.stdin.isatty() and type_name(target):
        confirm = target.name
    workflow.unprotect(confirm or "", target=target)
    console.report({"database": str(target), "protected": False}, lambda: [f"{target} is no longer protected"])


@click.group(short_help="Show and drop what resets keep on the server.", context_settings=CONTEXT)
def cache() -> None:
    """Show and drop what resets keep on the server: templates and spares."""


@cache.command("list", short_help="List templates and spares.", context_settings=CONTEXT)
@common_options
def cache_list(*, console: Console, settings: Settings) -> None:
    """List what seedtool keeps on the server: templates, spares, and databases that are being made or dropped."""
    from seedtool.workflows import database as workflow

    found = workflow.list_cache(settings=settings)
    size = sum(each.size or 0 for each in found)

    def lines() -> Iterable[str]:
        yield from _entry_lines(found)
        templates = sum(each.kind == "template" for each in found)
        yield (
            f"{count(templates, 'template')} of at most {settings.cache_templates};"
            f" {_size(size)} in all, templates at most {settings.cache_gb:g} GB"
        )

    console.report({"cache": found, "bytes": size}, lines)


@cache.command("prune", short_help="Drop templates that are not needed.", context_settings=CONTEXT)
@click.option("--all", "everything", is_flag=True, help="Drop every template and spare.")
@click.option("--dry-run", is_flag=True, help="Say what would be dropped; drop nothing.")
@common_options
def cache_prune(*, everything: bool, dry_run: bool, console: Console, settings: Settings) -> None:
    """Drop outdated spares, and templates until no more are left than the settings allow.

    Templates that were not used for longest go first. A template stays when it has sessions, when somebody clones it,
    or when it belongs to a role that is not yours. A later reset builds again what it needs.
    """
    from seedtool.workflows import database as workflow

    pruned = workflow.prune_cache(everything=everything, dry_run=dry_run, settings=settings)

    def lines() -> Iterable[str]:
        yield from _entry_lines(pruned.dropped) if pruned.dropped else ()
        for name, why in pruned.kept.items():
            yield f"{name} stays: {why}"
        freed = _size(sum(each.size or 0 for each in pruned.dropped))
        verb = "would drop" if dry_run else "dropped"
        yield f"{verb} {count(len(pruned.dropped), 'database')}, {freed}" if pruned.dropped else "nothing to prune"

    console.report({"dry_run": dry_run, "dropped": pruned.dropped, "kept": pruned.kept}, lines)


def _entry_lines(found: Sequence[Entry]) -> Iterable[str]:
    kinds = {"other": "in work"}
    rows = [
        (each.name, kinds.get(each.kind, each.kind), _size(each.size), _ago(each.made), _ago(each.used), each.purpose)
        for each in found
    ]
    if rows:
        yield from table(("database", "what", "size", "made", "used", "for"), rows)


def _size(size: int | None) -> str:
    from seedtool.files.shown import shown_size

    return "?" if size is None else shown_size(size)


def _ago(time: str | None) -> str:
    """Return how long ago a time was, in one unit."""
    if time is None:
        return "-"
    from datetime import UTC, datetime

    seconds = max((datetime.now(UTC) - datetime.fromisoformat(time)).total_seconds(), 0)
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            return f"{count(int(seconds // length), unit)} ago"
    return "just now"


@click.command(cls=WithSeed, short_help="Print the key of a CI cache.", context_settings=CONTEXT)
@click.option(
    "--seed", "profile", metavar="PROFILE", shell_complete=completing.profiles, help="Include the rows of this profile."
)
@recipe_options("Include generated rows of this recipe.")
@common_options
def fingerprint(*, profile: str | None, recipe: str | None, scale: float, console: Console, settings: Settings) -> None:
    """Print a hash of everything that shapes a template, as the key of a CI cache.

    The hash covers the project's files and PostgreSQL's major version. It needs no server. When a fixture reads the
    day, the hash changes each day.
    """
    from seedtool.workflows import reset as workflow

    digest = workflow.fingerprint(profile, load=recipe, scale=scale, settings=settings)
    console.report({"fingerprint": digest, "profile": profile}, lambda: [digest])
