"""The command: what is to be done, with whom, after a yes; then the run, and what it did."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from seedtool.cli.console import CONTEXT, Console, common_options
from seedtool.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from seedtool.backfill import Options, Progress, Report
    from seedtool.postgres.server import Target
    from seedtool.settings import Settings


@click.command(short_help="Index every photo of the library, once.", context_settings=CONTEXT)
@click.option("--user-id", metavar="UUID", help="This user alone.")
@click.option("--dry-run", is_flag=True, help="List what would be processed; no AWS call, no write.")
@click.option("--limit", metavar="N", type=click.IntRange(min=1), help="Assets of each user at most.")
@click.option("--skip-prompt", "--yes", "yes", is_flag=True, help="Do not ask.")
@click.option("--batch-size", metavar="N", type=click.IntRange(1, 1000), default=10, help="Assets in flight [10].")
@click.option("--max-cost", metavar="USD", type=click.FloatRange(min=0), help="End before it would cost more.")
@click.option("--retry-failed", is_flag=True, help="Also what failed before.")
@click.option("--reindex", is_flag=True, help="Also what was done before: delete its faces and index anew.")
@click.option("--interactive", is_flag=True, help="Choose from a menu.")
@click.option("--html", metavar="FILE", type=click.Path(path_type=Path), help="Write the report as a page, too.")
@click.option("--endpoint", metavar="URL", help="Let an application process the photos.")
@common_options
def backfill(
    *,
    yes: bool,
    dry_run: bool,
    interactive: bool,
    html: Path | None,
    endpoint: str | None,
    console: Console,
    settings: Settings,
    **chosen: Any,  # noqa: ANN401 - the options of the engine, by their names there
) -> int:
    """Index the photos of all users, the oldest first, and decide who is on them.

    It tells beforehand what it would cost, and asks. Interrupted or killed, the same command goes on.
    """
    from seedtool import backfill as engine
    from seedtool.backfill.page import PageFile
    from seedtool.cli.backfill import announcing
    from seedtool.postgres import server

    _refuse_contradictions(dry_run=dry_run, html=html, endpoint=endpoint, interactive=interactive, **chosen)
    page = PageFile(html) if html is not None else None
    if interactive:
        answer = announcing.choose(console)
        if answer is None:
            return 0
        dry_run = bool(answer.pop("dry_run", False))
        chosen |= answer
    options = engine.Options(**chosen)
    target = server.find(settings)
    if dry_run:
        with server.connect(target) as connection:
            announcing.dry_run(connection, settings, options, console)
        return 0
    where, run = _way(settings, target, options, endpoint)
    with server.connect(target) as connection:
        plan = engine.plan(connection, settings, options)
    announcing.announce(console, plan, f"{where}; {target}", priced=endpoint is None)
    announcing.agree(plan, yes=yes)
    return _run(run, settings, str(target), where, page, console, decides=endpoint is None)


def _refuse_contradictions(
    *,
    dry_run: bool,
    html: Path | None,
    endpoint: str | None,
    interactive: bool,
    user_id: str | None,
    limit: int | None,
    max_cost: float | None,
    **_: object,
) -> None:
    if interactive and (dry_run or user_id is not None or limit is not None):
        raise UsageError("--interactive asks for --dry-run, --user-id and --limit", remedy="Leave them out.")
    if dry_run and html is not None:
        raise UsageError("a dry run does nothing that a page could tell", remedy="Leave --html out.")
    if endpoint is not None and max_cost is not None:
        raise UsageError(
            "--max-cost counts AWS's calls, and with --endpoint the application makes them",
            remedy="Bound it by --limit or --user-id.",
        )


def _way(
    settings: Settings, target: Target, options: Options, endpoint: str | None
) -> tuple[str, Callable[..., Report]]:
    """Return with whom the run will work, to be shown, and the run."""
    from functools import partial

    from seedtool import backfill as engine

    if endpoint is not None:
        from seedtool.backfill.endpoint import Endpoint

        way = Endpoint(endpoint, settings.backfill_token, options.batch_size)
        return f"the application at {way.where}", partial(engine.run_by, way, settings, target, options)
    from seedtool.faces import photos
    from seedtool.workflows.aws import open_aws

    aws = open_aws(settings)
    return str(aws.who()), partial(engine.run, settings, target, aws, photos.store(settings, aws), options)


def _run(
    run: Callable[..., Report],
    settings: Settings,
    database: str,
    where: str,
    page: Any,  # noqa: ANN401 - a PageFile, or None
    console: Console,
    *,
    decides: bool,
) -> int:
    """Run, with the line, and tell what was done, also when it ends by an error."""
    from datetime import UTC, datetime

    from seedtool.backfill.page import render
    from seedtool.cli.backfill.line import Line
    from seedtool.cli.backfill.summary import lines

    line = Line(console)

    def show(progress: Progress) -> None:
        line(progress)

    def tell(report: Report, *, whole: bool) -> None:
        line.clear()
        # with --json an error is the one object on stdout
        if whole or not console.as_json:
            console.report(report, lambda: lines(report, settings.backfill.prices, where))
        if page is not None:
            ended = datetime.now(UTC)
            page.write(render(report, settings.backfill, where=where, database=database, ended=ended, decides=decides))
            console.note(f"the report is in {page.path}")

    try:
        report = run(progress=show, partial=lambda report: tell(report, whole=False))
    finally:
        line.clear()
    tell(report, whole=True)
    return 130 if report.interrupted else 0 if report.ok else 1
