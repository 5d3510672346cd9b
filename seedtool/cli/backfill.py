"""backfill: index every photo that was uploaded before the collections existed."""

from __future__ import annotations

import sys
from itertools import islice
from typing import TYPE_CHECKING

import click

from seedtool.cli.console import CONTEXT, Console, asked, common_options, number, table
from seedtool.cli.faces import calls_line, open_aws
from seedtool.errors import NotConfirmed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import psycopg

    from seedtool.backfill import Options, Plan, Report
    from seedtool.settings import Settings

# Users, and assets, that a dry run's text names before it says how many more there are.
_SHOWN = 20


@click.command(short_help="Index every photo of the library, once.", context_settings=CONTEXT)
@click.option("--user-id", metavar="UUID", help="This user alone.")
@click.option("--dry-run", is_flag=True, help="List what would be processed; no AWS call, no write.")
@click.option("--limit", metavar="N", type=click.IntRange(min=1), help="Assets of each user at most.")
@click.option("--skip-prompt", "--yes", "yes", is_flag=True, help="Do not ask.")
@click.option("--batch-size", metavar="N", type=click.IntRange(1, 1000), default=10, help="Assets in flight [10].")
@click.option("--max-cost", metavar="USD", type=click.FloatRange(min=0), help="End before it would cost more.")
@click.option("--retry-failed", is_flag=True, help="Also what failed before.")
@click.option("--reindex", is_flag=True, help="Also what was done before: delete its faces and index anew.")
@common_options
def backfill(
    *,
    user_id: str | None,
    dry_run: bool,
    limit: int | None,
    yes: bool,
    batch_size: int,
    max_cost: float | None,
    retry_failed: bool,
    reindex: bool,
    console: Console,
    settings: Settings,
) -> int:
    """Index the photos of all users, the oldest first, and decide who is on them.

    It tells beforehand what it would cost, and asks. Interrupted or killed, the same command goes on.
    """
    from seedtool import backfill as engine
    from seedtool.database import server
    from seedtool.faces import photos

    options = engine.Options(
        user_id=user_id,
        limit=limit,
        batch_size=batch_size,
        max_cost=max_cost,
        retry_failed=retry_failed,
        reindex=reindex,
    )
    target = server.find(settings)
    if dry_run:
        with server.connect(target) as connection:
            _dry_run(connection, settings, options, console)
        return 0
    aws = open_aws(settings)
    with server.connect(target) as connection:
        plan = engine.plan(connection, settings, options)
    console.note(f"{aws.who()}; {target}")
    for line in _plan_lines(plan):
        console.note(line)
    if plan.assets and not yes and not (sys.stdin.isatty() and asked(lambda: click.confirm("Begin?", err=True))):
        raise NotConfirmed("nobody agreed, and nothing was done", remedy="Run it with --yes.")
    with console.progress("photos") as bar:
        report = engine.run(
            settings,
            target,
            aws,
            photos.store(settings, aws),
            options,
            progress=(lambda told: bar(told.done, told.total)) if bar is not None else None,
        )
    console.report(report, lambda: _report_lines(report, aws.where))
    return 130 if report.interrupted else 0 if report.ok else 1


def _dry_run(connection: psycopg.Connection, settings: Settings, options: Options, console: Console) -> None:
    import msgspec

    from seedtool import backfill as engine

    plan = engine.plan(connection, settings, options)
    if console.as_json:
        _stream(plan, engine.listing(connection, options))
        return
    if console.quiet:
        return
    for line in _plan_lines(plan):
        click.echo(line)
    users = list(islice(engine.counts(connection, options), _SHOWN))
    if users:
        for line in table(("user", "assets"), users):
            click.echo(f"  {line}")
        if plan.users > len(users):
            click.echo(f"  ... and {number(plan.users - len(users), 'more user')}")
        # user by user: all of them would be sorted for the first few
        own = (msgspec.structs.replace(options, user_id=user) for user, _ in users)
        first = islice((each for one in own for each in engine.listing(connection, one)), _SHOWN)
        for line in table(("asset", "file"), ((each.asset_id, each.file_name) for each in first)):
            click.echo(f"  {line}")
        if plan.assets > _SHOWN:
            click.echo(f"  ... and {number(plan.assets - _SHOWN, 'more asset')}; --json lists all")


def _stream(plan: Plan, assets: Iterator[object]) -> None:
    """Print one JSON object without holding all of it: a million assets are 150 MB."""
    import msgspec

    encode = msgspec.json.Encoder(order="sorted").encode
    head = encode(plan).decode()[:-1]
    out = sys.stdout
    out.write(f'{head},"listed":[')
    for place, each in enumerate(assets):
        out.write(("," if place else "") + encode(each).decode())
    out.write("]}\n")


def _plan_lines(plan: Plan) -> Iterable[str]:
    yield f"{number(plan.assets, 'asset')} of {number(plan.users, 'user')} to process, {plan.skipped} left alone" + (
        f" ({plan.failed_before} of them failed before: --retry-failed)" if plan.failed_before else ""
    )
    yield f"collections {plan.collection_prefix}...: {plan.collections} there, {plan.new_collections} new"
    calls = ", ".join(f"{count} {name}" for name, count in plan.calls.items())
    yield f"about {plan.cost:.2f} dollars: {calls} at {plan.faces_a_photo:g} faces a photo (prices of {plan.prices_of})"


def _report_lines(report: Report, where: str) -> Iterable[str]:
    for failure in report.errors:
        yield f"{failure.file_name} (asset {failure.asset_id}, user {failure.user_id}): {failure.cause}"
        if failure.remedy:
            yield f"  {failure.remedy}"
    yield from report.notes
    yield (
        f"{number(report.users, 'user')}, {number(report.assets, 'asset')}: {report.succeeded} succeeded, "
        f"{report.failed} failed, {report.skipped} skipped" + f", {report.left} left" * bool(report.left)
    )
    yield (
        f"{number(report.faces, 'face')} detected, {report.auto_assigned} assigned, {report.needs_person} await a "
        f"person ({report.suggested} with suggestions), {report.dropped} too small"
    )
    yield f"{report.cost:.4f} dollars; {calls_line(report.calls)}; {where}; in {report.seconds:.1f} s"
    if report.users_elsewhere:
        yield f"another run is at work on {number(report.users_elsewhere, 'user')}"
    if report.stopped:
        yield f"ended early: {report.stopped}; run the same command again with more for the rest"
    if report.interrupted:
        yield "interrupted; run the same command again for the rest"
    if report.needs_person:
        yield "faces await a person: seedtool faces review"
