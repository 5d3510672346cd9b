"""sync-faces, enroll, recognize."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from seedtool.cli.console import CONTEXT, Console, check_collection, common_options, number, table
from seedtool.errors import ImageRefused, SeedtoolError, ServiceUnavailable, SettingsError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import psycopg

    from seedtool.faces.aws import Aws
    from seedtool.faces.enroll.photo import EnrollReport
    from seedtool.faces.recognize import RecognizeReport
    from seedtool.faces.sync import SyncReport
    from seedtool.settings import Settings


def open_aws(settings: Settings) -> Aws:
    """Return the AWS side that the settings name; starts the emulator when it is `embedded`.

    Raises:
        SettingsError: it is `live`, and the endpoint that was named is this project's emulator.
    """
    from seedtool.faces.aws import Aws

    if settings.aws == "live":
        aws = Aws(settings)
        _refuse_emulator(settings, aws)
        return aws
    from seedtool.cli.servers import ensure_emulator

    return Aws(settings, ensure_emulator(settings))


def _refuse_emulator(settings: Settings, aws: Aws) -> None:
    """Refuse to take the emulator, which `seedtool env` names to other programs, for AWS."""
    from urllib.parse import urlsplit

    from seedtool.cli.servers import emulator_dir
    from seedtool.emulator import process

    try:
        emulator = process.find(emulator_dir(settings))
    except process.EmulatorError as error:
        raise ServiceUnavailable(error.message, remedy=error.remedy) from error
    if emulator is None or aws.endpoint is None:
        return
    named, own = urlsplit(aws.endpoint), urlsplit(emulator)
    if named.port == own.port and named.hostname in {own.hostname, "localhost"}:
        raise SettingsError(
            f'aws = "live", but Rekognition\'s endpoint is {aws.endpoint}, the embedded emulator',
            remedy="unset AWS_ENDPOINT_URL_REKOGNITION (seedtool env exports it; .env may hold it, too), "
            'or set aws = "embedded".',
        )


def identity(connection: psycopg.Connection, settings: Settings, aws: Aws, collection: str | None) -> str:
    """Return what is shown before rows or faces are written: account, region and the collections that rows are in.

    Args:
        connection: to the target.
        settings: the face bindings.
        aws: the AWS side.
        collection: a collection given on the command line.

    Raises:
        CredentialsError: there are no credentials, or they are wrong or expired.
    """
    from seedtool.faces import bindings

    ids: set[str | None] = set()
    who = str(aws.who())
    try:
        with connection.transaction():
            for bound in bindings.bind(connection, settings, collection):
                ids |= set(bound.collections(connection)) if bound.binding.by_row else {bound.collection}
    except SeedtoolError:
        return who  # the command will meet it, too, and tell it
    return who + _told(ids)


def _destination(
    connection: psycopg.Connection,
    settings: Settings,
    aws: Aws,
    collection: str | None,
    student_id: str | None,
    manifest: Path | None,
) -> str:
    """Return what is shown before photos are enrolled: account, region and the collections their faces go to."""
    from seedtool.faces import bindings
    from seedtool.faces.enroll import manifest as manifests
    from seedtool.faces.enroll.table import table_of

    who = str(aws.who())
    try:
        bound = table_of(connection, settings, collection)
        students = [student_id] if student_id is not None else []
        if manifest is not None:
            students = list(dict.fromkeys(line.student_id for line in manifests.read(manifest, settings.root)))
        with connection.transaction():
            if not students:
                return who + _told(bindings.used(connection, bound))
            return who + _told(bindings.collections_of(connection, bound, students).values())
    except SeedtoolError:
        return who  # the command will meet it, too, and tell it in its order


def _told(ids: Iterable[str | None]) -> str:
    from seedtool.faces.enroll.table import named

    known = {id_ for id_ in ids if id_ is not None}
    return f", collection{'s' * (len(known) > 1)} {named(known)}" if known else ""


collection_option = click.option(
    "--collection", metavar="ID", callback=check_collection, help="The collection [default: that of the face binding]."
)


@click.command("sync-faces", short_help="Turn placeholders into real FaceIds.", context_settings=CONTEXT)
@collection_option
@click.option("--dry-run", is_flag=True, help="Report the same and change nothing.")
@click.option("--strict", is_flag=True, help="Fail (exit 1) while a row is not linked to a face.")
@common_options
def sync_faces(*, collection: str | None, dry_run: bool, strict: bool, console: Console, settings: Settings) -> int:
    """Put the real FaceIds in the place of the placeholders, by one pass over the collection.

    Nothing is uploaded and nothing is indexed: the collection still knows every photo by its ExternalImageId.
    """
    from seedtool.database import server
    from seedtool.faces.sync import sync

    target = server.find(settings)
    aws = open_aws(settings)
    with server.connect(target) as connection:
        if not aws.embedded:
            console.note(f"{identity(connection, settings, aws, collection)}; {target}")
        report = sync(connection, settings, aws, collection=collection, dry_run=dry_run, strict=strict)
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


@click.command(short_help="Upload and index photos, write their rows.", context_settings=CONTEXT)
@click.argument("student_id", required=False)
@click.argument("photos", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="PHOTO...")
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
    from seedtool.database import server
    from seedtool.faces import photos as stores

    ways = [all_photos, manifest is not None, student_id is not None]
    if sum(ways) != 1 or (student_id is not None and not photos) or (replaced and not all_photos):
        raise UsageError(
            "name a student and at least one photo, or --manifest FILE, or --all (with --replaced, if you like)",
            remedy="seedtool enroll STUDENT_ID PHOTO...",
        )
    target = server.find(settings)
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
                from seedtool.faces.enroll.students import enroll_manifest

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
    told = [f"{count} {outcome}" for outcome, count in Counter(photo.outcome for photo in report.photos).items()]
    told += [f"{report.adopted} linked to a face that was there"] * bool(report.adopted)
    told += [f"{report.unchanged} were enrolled before"] * bool(report.unchanged)
    done = f"{', '.join(told) or 'nothing to do'}; {number(report.uploads, 'upload')}, {calls_line(report.calls)}"
    yield f"{done}; into {report.collection}, {where}" if report.collection else done
    if report.seed_lines:
        header, *rows = report.seed_lines
        path = settings.seeds / "local" / f"{settings.faces[0].table.rpartition('.')[2]}.csv"
        shown = path.relative_to(settings.root) if path.is_relative_to(settings.root) else path
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


@click.command(short_help="Tell who is in a photo.", context_settings=CONTEXT)
@click.argument("photo", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@collection_option
@common_options
def recognize(*, photo: Path, collection: str | None, console: Console, settings: Settings) -> int:
    """Tell who is in a photo, by the collection and the database."""
    from seedtool.database import server
    from seedtool.faces.recognize import recognize as look

    aws = open_aws(settings)
    with server.connect(server.find(settings)) as connection, console.progress("faces") as progress:
        try:
            report = look(connection, settings, aws, photo.read_bytes(), collection=collection, progress=progress)
        except ImageRefused as error:
            raise ImageRefused(f"{photo}: {error.message}", remedy=error.remedy) from error
    console.report(report, lambda: _recognize_lines(report, aws.where))
    return 0 if report.ok else 1


def _recognize_lines(report: RecognizeReport, where: str) -> Iterable[str]:
    if report.faces:
        rows = []
        for face in report.faces:
            who = f"{face.name or ''} ({face.student_id})".strip() if face.student_id else "?"
            sure = f"{face.similarity:.1f} %" if face.similarity is not None else "-"
            also = f"also: {', '.join(face.also)}" if face.also else ""
            rows.append((face.number, who, sure, face.why or also))
        yield from table(("face", "who", "similarity", "remark"), rows)
        for remedy in dict.fromkeys(face.remedy for face in report.faces if face.remedy):
            yield f"  {remedy}"
    else:
        yield "there is no face in the picture"
    where += ", which proves plumbing, not recognition" * (report.mode == "embedded")
    yield f"{report.recognized} of {number(len(report.faces), 'face')} recognised in {report.collection} ({where})"
    if report.left_behind:
        left = number(len(report.left_behind), "temporary face")
        yield f"{left} could not be deleted: {', '.join(report.left_behind)}"


def calls_line(calls: dict[str, int]) -> str:
    """Return what was called, for the end of a report."""
    return "AWS calls: " + (", ".join(f"{number} {name}" for name, number in sorted(calls.items())) or "none")
