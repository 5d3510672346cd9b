"""enroll: a student's photos, a manifest, all that rows name."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from seedtool.cli.console import CONTEXT, Console, common_options, number
from seedtool.cli.faces.door import calls_line, collection_option, told
from seedtool.errors import SeedtoolError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import psycopg

    from seedtool.faces.enroll.photo import EnrollReport
    from seedtool.faces.port import FaceService
    from seedtool.settings import Settings


@click.command(short_help="Upload and index photos, write their rows.", context_settings=CONTEXT)
@click.argument("student_id", required=False)
@click.argument("photos", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="[PHOTO...]")
@click.option("--all", "all_photos", is_flag=True, help="Every photo that a row names and the collection lacks.")
@click.option("--replaced", is_flag=True, help="With --all: also photos that were replaced since they were indexed.")
@click.option(
    "--manifest",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A csv that says which photo is whose: student_id,photo.",
)
@collection_option
@common_options
def enroll(
    *,
    student_id: str | None,
    photos: tuple[Path, ...],
    all_photos: bool,
    replaced: bool,
    manifest: Path | None,
    collection: str | None,
    console: Console,
    settings: Settings,
) -> int:
    """Upload photos, index them under predictable ids, and write the rows.

    A picture with no face, with several, too big or in a wrong format is refused, and nothing half-done stays.
    """
    from seedtool.faces import photos as stores
    from seedtool.postgres import server

    ways = [all_photos, manifest is not None, student_id is not None]
    if sum(ways) != 1 or (student_id is not None and not photos) or (replaced and not all_photos):
        raise UsageError(
            "name a student and at least one photo, or --manifest FILE, or --all (with --replaced, if you like)",
            remedy="seedtool enroll STUDENT_ID PHOTO...",
        )
    target = server.find(settings)
    from seedtool.workflows.aws import open_aws

    aws = open_aws(settings)
    with server.connect(target) as connection:
        store = stores.store(settings, aws)
        into = _destination(connection, settings, aws, collection, student_id, manifest)
        console.note(f"enrolling into {into}; {target}")
        with console.progress("photos") as progress:
            if student_id is not None:
                from seedtool.faces.enroll.student import enroll as enroll_photos

                report = enroll_photos(
                    connection, settings, aws, store, student_id, photos, collection=collection, progress=progress
                )
            elif manifest is not None:
                from seedtool.faces.enroll.manifest import enroll_manifest

                report = enroll_manifest(
                    connection, settings, aws, store, manifest, collection=collection, progress=progress
                )
            else:
                from seedtool.faces.enroll.rows import enroll_all

                report = enroll_all(
                    connection, settings, aws, store, collection=collection, replaced=replaced, progress=progress
                )
    console.report(report, lambda: _enroll_lines(report, settings, aws.where))
    return 130 if report.interrupted else 0 if report.ok else 1


def _enroll_lines(report: EnrollReport, settings: Settings, where: str) -> Iterable[str]:
    for photo in report.failures:
        yield f"{photo.source}: {photo.outcome}: {photo.reason}"
        if photo.remedy:
            yield f"  {photo.remedy}"
    done = [f"{count} {outcome}" for outcome, count in Counter(photo.outcome for photo in report.photos).items()]
    done += [f"{report.adopted} linked to a face that was there"] * bool(report.adopted)
    done += [f"{report.unchanged} were enrolled before"] * bool(report.unchanged)
    line = f"{', '.join(done) or 'nothing to do'}; {number(report.uploads, 'upload')}, {calls_line(report.calls)}"
    yield f"{line}; into {report.collection}, {where}" if report.collection else line
    if report.seed_lines:
        header, *rows = report.seed_lines
        path = settings.seeds / "local" / f"{settings.faces[0].table.rpartition('.')[2]}.csv"
        shown = settings.shown(path)
        dump = f"seedtool seed-dump --table {settings.faces[0].table}"
        if len(rows) > 20:
            yield f"to keep them across resets: {dump}"
        else:
            if _begins_with(path, header):
                yield f"to keep them across resets, add to {shown}:"
            else:
                yield f"to keep them across resets: {dump}, or write into {shown}:"
                yield header
            yield from rows
    if report.interrupted:
        yield "interrupted; run the same command again for the rest"


def _begins_with(path: Path, header: str) -> bool:
    """Tell whether a seed file has this very header, so that lines without it can be appended."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            return file.readline().rstrip() == header
    except (OSError, UnicodeDecodeError):
        return False


def _destination(
    connection: psycopg.Connection,
    settings: Settings,
    aws: FaceService,
    collection: str | None,
    student_id: str | None,
    manifest: Path | None,
) -> str:
    """Return what is shown before photos are enrolled: account, region and the collections their faces go to."""
    from seedtool.faces import bindings
    from seedtool.faces.enroll.manifest import read_manifest
    from seedtool.faces.enroll.running import table_of

    who = str(aws.who())
    try:
        bound = table_of(connection, settings, collection)
        students = [student_id] if student_id is not None else []
        if manifest is not None:
            students = list(dict.fromkeys(line.student_id for line in read_manifest(manifest, settings.root)))
        with connection.transaction():
            if not students:
                return who + told(bindings.used(connection, bound))
            return who + told(bindings.collections_of(connection, bound, students).values())
    except SeedtoolError:
        return who  # the command will meet it, too, and tell it in its order
