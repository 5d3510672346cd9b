"""db-reset, migrate, guard."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from seedtool.cli.console import CONTEXT, Console, agreed, common_options, number, type_name
from seedtool.errors import DatabaseError, NotConfirmed

if TYPE_CHECKING:
    from collections.abc import Callable

    from seedtool.postgres.cluster import Cluster
    from seedtool.postgres.server import Target
    from seedtool.resetting.guard import Consent
    from seedtool.resetting.reset import ResetPlan, ResetReport
    from seedtool.settings import Settings
    from seedtool.workflows.reset import Done


@click.command("db-reset", short_help="Rebuild the schema from the migrations.", context_settings=CONTEXT)
@click.option("-y", "--yes", is_flag=True, help="Replace a database that seedtool made, without asking.")
@click.option("--confirm", metavar="NAME", help="Replace any database, by its name.")
@click.option("--seed", "profile", metavar="PROFILE", help="Seed this profile afterwards.")
@click.option("--fresh", is_flag=True, help="Ignore the cached template and run the migrations.")
@click.option("--dry-run", is_flag=True, help="Tell what would happen, and to which database.")
@common_options
def db_reset(
    *,
    yes: bool,
    confirm: str | None,
    profile: str | None,
    fresh: bool,
    dry_run: bool,
    console: Console,
    settings: Settings,
) -> None:
    """Rebuild the schema from the Alembic migrations, through a cached template.

    The target is replaced in one step; until then it stays as it is.
    """
    from seedtool.cli import seed as seeding
    from seedtool.postgres import server
    from seedtool.workflows import reset as workflow
    from seedtool.workflows.seed import prepare_profile

    if dry_run:
        plan = workflow.plan_reset(profile, settings=settings, fresh=fresh)
        _report_plan(plan, console, fresh=fresh, profile=profile)
        return
    target = server.find(settings)
    listener = console.listener({"build": f"building the template of {target.name} from the migrations ..."})
    prepared = prepare_profile(settings, profile, listener) if profile is not None else None

    def run(consent: Consent) -> Done:
        with seeding.rows_shown_on_failure(console, profile, target):
            return workflow.reset_prepared(settings, target, prepared, consent=consent, fresh=fresh, listener=listener)

    def look() -> Consent:
        return workflow.plan_reset(profile, settings=settings, target=target).consent

    done = agreed(run, look, target, yes=yes, confirm=confirm)
    if done.seeded is None or profile is None:
        console.report({"reset": _shown(done.reset)}, lambda: _reset_lines(done.reset))
        return
    for line in _reset_lines(done.reset):
        console.note(line)
    seeding.report(console, done.seeded, profile, target, reset=_shown(done.reset), in_cache=done.in_cache)


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
        lines = [
            f"would rebuild the schemas of {plan.database} in one transaction: this role may not create databases",
            f"would drop {', '.join(plan.in_place.drops) or 'nothing'}",
        ]
        if note := leaving_note(plan.in_place):
            lines.append(note)
    if plan.sessions:
        which = "" if plan.in_place is None else ", where they hold locks"
        lines.append(f"would end {number(plan.sessions, 'session')} on it{which}")
    if profile is not None and plan.in_place is not None:
        lines.append(f"would then seed {profile}")
    needs = {Consent.NONE: "no confirmation", Consent.YES: "--yes", Consent.NAME: "its name: --confirm NAME"}
    lines.append(f"needs {needs[plan.consent]}; nothing was changed")
    return lines


def _reset_lines(report: ResetReport) -> list[str]:
    took = f"{sum(report.milliseconds.values()):.0f} ms"
    if report.in_place is not None:
        how = "in one transaction" if report.in_place.atomic else "in two steps"
        lines = [f"rebuilt the schemas of {report.database} in {took} ({how}: this role may not create databases)"]
        if report.sessions_ended:
            lines.append(f"ended {number(report.sessions_ended, 'session')} in its way")
        return lines
    what = "replaced" if report.replaced else "created"
    built = [
        word for step, word in (("build", "migrations run"), ("seed", "seeds loaded")) if step in report.milliseconds
    ]
    how = "by a spare of the cached template" if report.spare else "from the cached template"
    if built:
        how = f"{', '.join(built)}, template kept"
    lines = [f"{what} {report.database} in {took} ({how})"]
    if report.sessions_ended:
        lines.append(f"ended {number(report.sessions_ended, 'session')} on it")
    return lines


@click.command(short_help="Bring the database to the newest revision.", context_settings=CONTEXT)
@common_options
def migrate(*, console: Console, settings: Settings) -> None:
    """Bring the database to the newest revision, and create it when it does not exist."""
    from seedtool.workflows import reset as workflow

    report = workflow.migrate(settings=settings)

    def lines() -> list[str]:
        if not report.applied:
            return [f"{report.database} is at the newest revision"]
        return [f"{report.database}: applied {', '.join(report.applied)}"]

    console.report(report, lines)


@click.group(short_help="Protect a database from being replaced or seeded.", context_settings=CONTEXT)
def guard() -> None:
    """Protect a database from being replaced or seeded."""


@guard.command("status", short_help="Tell what a reset of the target would need.")
@common_options
def guard_status(*, console: Console, settings: Settings) -> None:
    """Tell whether the target is protected, and what a reset of it would need."""
    from seedtool.errors import Protected
    from seedtool.postgres import server
    from seedtool.postgres.cluster import open_cluster
    from seedtool.resetting import guard as guards

    target = server.find(settings)
    with open_cluster(target) as cluster:
        facts = cluster.database(target.name)
        try:
            needs = guards.consent_to_replace(target, facts).name.lower()
        except Protected:
            needs = "refused"
    report = {
        "database": str(target),
        "exists": facts is not None,
        "protected": facts is not None and facts.protected,
        "managed": facts is not None and facts.managed,
        "consent": needs,
    }
    words = {
        "none": "may be replaced: there is nothing to lose",
        "yes": "was made by seedtool and may be replaced with --yes",
        "name": "holds data and was not made by seedtool: a reset needs its name",
        "refused": "is protected: it is never replaced or seeded",
    }
    console.report(report, lambda: [f"{target} {words[needs]}"])


@guard.command("protect", short_help="Forbid that the target is replaced or seeded.")
@common_options
def guard_protect(*, console: Console, settings: Settings) -> None:
    """Forbid that the target is replaced or seeded, whatever flag is given."""
    from seedtool.postgres import server
    from seedtool.resetting import guard as guards

    target = server.find(settings)
    _change_mark(target, guards.protect)
    console.report(
        {"database": str(target), "protected": True},
        lambda: [f"{target} is protected: it is never replaced or seeded until seedtool guard unprotect"],
    )


@guard.command("unprotect", short_help="Take the protection mark away.")
@click.option("--confirm", metavar="NAME", help="The database's name, instead of typing it.")
@common_options
def guard_unprotect(*, confirm: str | None, console: Console, settings: Settings) -> None:
    """Take the protection mark away; asks for the database's name."""
    from seedtool.postgres import server
    from seedtool.resetting import guard as guards
    from seedtool.workflows.reset import given_consent

    target = server.find(settings)
    given_consent(target, yes=False, confirm=confirm)
    if confirm is None and not (sys.stdin.isatty() and type_name(target)):
        raise NotConfirmed(f"{target} stays protected: its name was not given", remedy=f"Type --confirm {target.name}.")
    _change_mark(target, guards.unprotect)
    console.report({"database": str(target), "protected": False}, lambda: [f"{target} is no longer protected"])


def _change_mark(target: Target, change: Callable[[Cluster, str], None]) -> None:
    from seedtool.postgres.cluster import open_cluster

    with open_cluster(target) as cluster:
        if cluster.database(target.name) is None:
            raise DatabaseError(
                f"the database {target.name} does not exist", remedy="Run seedtool db-reset to make it."
            )
        change(cluster, target.name)
