"""faces status, faces dedupe (and faces review, which `review` has): the faces of a collection, looked after."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from seedtool.cli.console import CONTEXT, Console, asked, common_options, number, table
from seedtool.cli.faces import calls_line, collection_option, identity
from seedtool.cli.review import review
from seedtool.errors import NotConfirmed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from seedtool.faces.dedupe import DedupeReport
    from seedtool.faces.status import StatusReport
    from seedtool.settings import Settings


@click.group(short_help="Drift between rows, faces and photos; double enrollments.", context_settings=CONTEXT)
def faces() -> None:
    """Look after the faces of a collection."""


faces.add_command(review)


@faces.command("status", short_help="Tell the drift, and what to run.", context_settings=CONTEXT)
@collection_option
@common_options
def status_command(*, collection: str | None, console: Console, settings: Settings) -> int:
    """Tell how far rows, faces and photos have drifted apart, and what to run. Changes nothing."""
    from seedtool.faces.status import status
    from seedtool.postgres import server
    from seedtool.workflows.aws import open_aws

    aws = open_aws(settings)
    with server.connect(server.find(settings)) as connection, console.progress("faces") as progress:
        report = status(connection, settings, aws, collection=collection, progress=progress)
    console.report(report, lambda: _status_lines(report, aws.where))
    return 0


def _status_lines(report: StatusReport, where: str) -> Iterable[str]:
    for each in report.collections:
        name = each.collection or "(no collection)"
        tables = ", ".join(each.tables)
        counts = f"{number(each.rows, 'row')} of {tables}, {each.linked} linked, {number(each.faces, 'face')}"
        yield f"{name} ({where}): {counts}"
        if each.findings:
            rows = [
                (finding.count, finding.what, ", ".join(finding.examples[:3]) + ", ..." * (len(finding.examples) > 3))
                for finding in each.findings
            ]
            yield from (f"  {line}" for line in table(("", "what", "for example"), rows))
            for run in dict.fromkeys(finding.run for finding in each.findings if finding.run):
                what = ", ".join(finding.what for finding in each.findings if finding.run == run)
                yield f"  {what}: {run}"
    if report.photos != "checked":
        yield f"photos were not looked at: {report.photos}"
    yield f"{'nothing to mend' if report.ok else 'see above for what to run'}; {calls_line(report.calls)}"


@faces.command("dedupe", short_help="Delete double enrollments.", context_settings=CONTEXT)
@collection_option
@click.option("--dry-run", is_flag=True, help="Only tell.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--temporary", is_flag=True, help="Also what attendance runs left behind; not during one.")
@common_options
def dedupe_command(
    *, collection: str | None, dry_run: bool, yes: bool, temporary: bool, console: Console, settings: Settings
) -> int:
    """Delete the faces beside the one that a row is linked to, in collections named by the setting owned_collections.

    It looks first, tells what would go, and asks. Faces that this database does not know are never deleted.
    """
    from seedtool.faces.dedupe import dedupe
    from seedtool.postgres import server

    target = server.find(settings)
    from seedtool.workflows.aws import open_aws

    aws = open_aws(settings)
    with server.connect(target) as connection:
        console.note(f"{identity(connection, settings, aws, collection)}; {target}")
        if dry_run or not yes:
            with console.progress("faces") as progress:
                report = dedupe(
                    connection, settings, aws, collection=collection, temporary=temporary, progress=progress
                )
            if dry_run or not report.found:
                console.report(report, lambda: _dedupe_lines(report))
                return 0
            for line in _dedupe_lines(report):
                click.echo(line, err=True)
            question = f"Delete {number(report.found, 'face')}? They cannot be brought back."
            if not sys.stdin.isatty() or not asked(lambda: click.confirm(question, err=True)):
                raise NotConfirmed(
                    f"{number(report.found, 'face')} would be deleted and nobody agreed; nothing was deleted",
                    remedy="Run it with --yes.",
                )
        with console.progress("faces") as progress:
            report = dedupe(
                connection,
                settings,
                aws,
                collection=collection,
                dry_run=False,
                temporary=temporary,
                progress=progress,
            )
    console.report(report, lambda: _dedupe_lines(report))
    return 130 if report.interrupted else 0 if report.ok else 1


def _dedupe_lines(report: DedupeReport) -> Iterable[str]:
    for each in report.collections:
        for name, tally, note in (
            ("duplicate", each.duplicates, ""),
            ("duplicate", each.in_use, " kept, for a row points there"),
            ("temporary face", each.temporary, ""),
        ):
            if tally.count:
                more = ", ..." if tally.count > len(tally.examples) else ""
                yield f"{each.collection}: {number(tally.count, name)}{note}: {', '.join(tally.examples)}{more}"
        if report.dry_run and not each.owned and (each.duplicates.count or each.temporary.count):
            yield f"  {each.collection} is not named in owned_collections, so nothing of it would be deleted"
        for face_id, why in each.failed.items():
            yield f"  {face_id} could not be deleted: {why}"
        if each.spared:
            yield f"  {number(each.spared, 'face')} spared: a row came to point at it"
    if report.dry_run:
        yield f"{number(report.found, 'face')} would be deleted; {calls_line(report.calls)}"
    else:
        yield f"{number(sum(each.deleted for each in report.collections), 'face')} deleted; {calls_line(report.calls)}"
    if report.interrupted:
        yield "interrupted; run the same command again for the rest"
