"""sync-faces."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from seedtool.cli.console import CONTEXT, Console, common_options, number
from seedtool.cli.faces.door import calls_line, collection_option, told

if TYPE_CHECKING:
    from collections.abc import Iterable

    from seedtool.faces.sync import SyncReport
    from seedtool.settings import Settings


@click.command("sync-faces", short_help="Turn placeholders into real FaceIds.", context_settings=CONTEXT)
@collection_option
@click.option("--dry-run", is_flag=True, help="Report the same and change nothing.")
@click.option("--strict", is_flag=True, help="Fail (exit 1) while a row is not linked to a face.")
@common_options
def sync_faces(*, collection: str | None, dry_run: bool, strict: bool, console: Console, settings: Settings) -> int:
    """Put the real FaceIds in the place of the placeholders, by one pass over the collection.

    Nothing is uploaded and nothing is indexed: the collection still knows every photo by its ExternalImageId.
    """
    from seedtool.faces.sync import sync
    from seedtool.postgres import server

    target = server.find(settings)
    from seedtool.workflows.aws import open_aws

    aws = open_aws(settings)

    def announce(ids: Iterable[str]) -> None:
        if not aws.embedded:
            console.note(f"{aws.who()}{told(ids)}; {target}")

    with server.connect(target) as connection:
        report = sync(
            connection, settings, aws, collection=collection, dry_run=dry_run, strict=strict, announce=announce
        )
    console.report(report, lambda: show_sync_lines(report, aws.where))
    return 0 if report.ok else 1


def show_sync_lines(report: SyncReport, where: str) -> Iterable[str]:
    """Yield what a sync did, and for what is left over, why and the cure.

    Args:
        report: the report.
        where: `Aws.where`: which AWS it was.
    """
    for each in report.bindings:
        verb = "would link" if report.dry_run else "linked"
        left = sum(each.placeholders.values())
        done = f"{verb} {each.synced + each.relinked} of {number(each.rows, 'row')}"
        within = f"{number(each.faces, 'face')} in {each.collection}" if each.collection else "in no collection"
        yield (
            f"{each.table}: {done}, {each.unchanged} unchanged, {number(left, 'placeholder')} left ({within}, {where})"
        )
        for row in each.unlinked:
            instead = f", seems to be {row.instead}" if row.instead else ""
            yield f"  {row.row}: {row.external_image_id or 'no external image id'} is {row.why}{instead}"
        if left > len(each.unlinked):
            yield f"  ... and {left - len(each.unlinked)} more"
        for name, tally in (
            ("further faces under an id that is linked (duplicates)", each.duplicates),
            ("faces that this database does not know (orphans; another may, they are left alone)", each.orphans),
            ("faces indexed without an external image id", each.unnamed),
            ("temporary faces that an attendance run left behind (never linked)", each.temporary),
            ("rows whose face is in the collection under another id", each.elsewhere),
            ("rows whose face is not in the collection", each.missing),
            ("rows that pointed at another row's face, and hold a placeholder again", each.misassigned),
        ):
            if tally.count:
                more = ", ..." if tally.count > len(tally.examples) else ""
                # "1 faces that ..." reads badly
                told = name if tally.count != 1 else re.sub(r"\b(face|row)s\b", r"\1", name, count=1)
                yield f"  {tally.count} {told}: {', '.join(tally.examples)}{more}"
        for cure in each.cures:
            yield f"  {cure}"
    yield f"{calls_line(report.calls)}; in {report.seconds * 1000:.0f} ms"
