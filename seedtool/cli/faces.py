"""sync-faces, enroll, recognize, faces status, faces dedupe (and faces review, which `review` has)."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from seedtool.cli import output
from seedtool.cli.console import CONTEXT, Console, agree_to, check_collection, common_options, table
from seedtool.cli.review import review
from seedtool.errors import UsageError
from seedtool.printable import count

if TYPE_CHECKING:
    from collections.abc import Iterable

    from seedtool.faces.dedupe import DedupeReport
    from seedtool.faces.enroll.photo import EnrollReport
    from seedtool.faces.recognize import RecognizeReport
    from seedtool.faces.status import StatusReport
    from seedtool.faces.sync import SyncReport
    from seedtool.settings import Settings

collection_option = click.option(
    "--collection",
    metavar="ID",
    callback=check_collection,
    help="Use this collection [default: that of the face binding].",
)


def calls_line(calls: dict[str, int]) -> str:
    """Return what was called, for the end of a report."""
    return "AWS calls: " + (", ".join(f"{number} {name}" for name, number in sorted(calls.items())) or "none")


@click.command("sync-faces", short_help="Replace placeholders by real FaceIds.", context_settings=CONTEXT)
@collection_option
@click.option("--dry-run", is_flag=True, help="Say what would be linked; change nothing.")
@click.option("--strict", is_flag=True, help="Exit with 1 when a row is not linked to a face.")
@common_options
def sync_faces(*, collection: str | None, dry_run: bool, strict: bool, console: Console, settings: Settings) -> int:
    """Replace the placeholders of the rows by the real FaceIds, in one pass over the collection.

    Nothing is uploaded and nothing is indexed: the collection still knows every photo by its ExternalImageId.
    """
    from seedtool.workflows import faces as workflow
    from seedtool.workflows.face_service import open_aws

    aws = open_aws(settings)
    listener = console.listener({})
    with listener.live():
        listener.step("sync")
        report = workflow.sync(
            collection=collection,
            dry_run=dry_run,
            strict=strict,
            settings=settings,
            aws=aws,
            listener=listener,
        )
    console.report(report, lambda: show_sync_lines(report, aws.where))
    return 0 if report.ok else 1


def show_sync_lines(report: SyncReport, where: str) -> Iterable[str]:
    """Yield what a sync did, and for what is left over, why and the cure.

    Args:
        report: the report.
        where: which AWS it was (`FaceService.where`).
    """
    for each in report.bindings:
        verb = "would link" if report.dry_run else "linked"
        left = sum(each.placeholders.values())
        done = f"{verb} {each.synced + each.relinked} of {count(each.rows, 'row')}"
        within = f"{count(each.faces, 'face')} in {each.collection}" if each.collection else "in no collection"
        yield (
            f"{each.table}: {done}, {each.unchanged} unchanged, {count(left, 'placeholder')} left ({within}, {where})"
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
                counted = name if tally.count != 1 else re.sub(r"\b(face|row)s\b", r"\1", name, count=1)
                yield f"  {tally.count} {counted}: {', '.join(tally.examples)}{more}"
        for cure in each.cures:
            yield f"  {cure}"
    yield f"{calls_line(report.calls)}; in {report.seconds * 1000:.0f} ms"


@click.command(short_help="Store photos, index them, and write their rows.", context_settings=CONTEXT)
@click.argument("student_id", required=False)
@click.argument("photos", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="[PHOTO...]")
@click.option("--all", "all_photos", is_flag=True, help="Enroll every photo that a row names and the collection lacks.")
@click.option(
    "--replaced", is_flag=True, help="With --all: enroll photos again that were replaced after they were indexed."
)
@click.option(
    "--manifest",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Enroll the photos of a csv file with the columns student_id and photo.",
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
    """Store photos, index them under the ids that you chose, and write their rows.

    A picture with no face, with several, too big or in a wrong format is refused, and nothing half-done stays.
    """
    from seedtool.workflows import faces as workflow
    from seedtool.workflows.face_service import open_aws

    ways = [all_photos, manifest is not None, student_id is not None]
    if sum(ways) != 1 or (student_id is not None and not photos) or (replaced and not all_photos):
        raise UsageError(
            "the command does not say whose photos to enroll",
            remedy="Give a person and photos (seedtool enroll STUDENT_ID PHOTO...), or --manifest FILE, or --all,"
            " which --replaced may follow.",
        )
    aws = open_aws(settings)
    with console.working("photos") as listener:
        if student_id is not None:
            report = workflow.enroll(
                student_id, photos, collection=collection, settings=settings, aws=aws, listener=listener
            )
        elif manifest is not None:
            report = workflow.enroll_manifest(
                manifest, collection=collection, settings=settings, aws=aws, listener=listener
            )
        else:
            report = workflow.enroll_all(
                replaced=replaced, collection=collection, settings=settings, aws=aws, listener=listener
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
    line = f"{', '.join(done) or 'nothing to do'}; {count(report.uploads, 'upload')}, {calls_line(report.calls)}"
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
    elif any(photo.outcome == "enrolled" and photo.person is not None for photo in report.photos):
        yield f"to keep them across resets: seedtool seed-dump --table {settings.faces[0].table}"
    if report.interrupted:
        yield "interrupted; run the same command again for the rest"


def _begins_with(path: Path, header: str) -> bool:
    """Return whether a seed file has this very header, so that lines without it can be appended."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            return file.readline().rstrip() == header
    except (OSError, UnicodeDecodeError):
        return False


@click.command(short_help="Say who is in a photo.", context_settings=CONTEXT)
@click.argument("photo", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@collection_option
@common_options
def recognize(*, photo: Path, collection: str | None, console: Console, settings: Settings) -> int:
    """Say who is in a photo. The collection knows the faces, and the database knows the people."""
    from seedtool.workflows import faces as workflow
    from seedtool.workflows.face_service import open_aws

    aws = open_aws(settings)
    with console.working("faces") as listener:
        report = workflow.recognize(photo, collection=collection, settings=settings, aws=aws, listener=listener)
    console.report(report, lambda: _recognize_lines(report, aws.where))
    return 0 if report.ok else 1


def _recognize_lines(report: RecognizeReport, where: str) -> Iterable[str]:
    if report.faces:
        rows = []
        for face in report.faces:
            who = f"{face.name or ''} ({face.person})".strip() if face.person else "?"
            sure = f"{face.similarity:.1f} %" if face.similarity is not None else "-"
            also = f"also: {', '.join(face.also)}" if face.also else ""
            rows.append((face.number, who, sure, face.why or also))
        yield from table(("face", "who", "similarity", "remark"), rows)
        for remedy in dict.fromkeys(face.remedy for face in report.faces if face.remedy):
            yield f"  {remedy}"
    else:
        yield "there is no face in the picture"
    where += ", which proves plumbing, not recognition" * (report.mode == "embedded")
    yield f"{report.recognized} of {count(len(report.faces), 'face')} recognised in {report.collection} ({where})"
    if report.left_behind:
        left = count(len(report.left_behind), "temporary face")
        yield f"{left} could not be deleted: {', '.join(report.left_behind)}"


@click.group(short_help="Compare rows, faces and photos; review and clean up.", context_settings=CONTEXT)
def faces() -> None:
    """Compare rows, faces and photos, name faces, and delete duplicates."""


faces.add_command(review)


@faces.command("status", short_help="Compare rows, faces and photos.", context_settings=CONTEXT)
@collection_option
@common_options
def status_command(*, collection: str | None, console: Console, settings: Settings) -> int:
    """Say where rows, faces and photos do not fit together, and what to run. It changes nothing."""
    from seedtool.workflows import faces as workflow
    from seedtool.workflows.face_service import open_aws

    aws = open_aws(settings)
    with console.working("faces") as listener:
        report = workflow.faces_status(collection=collection, settings=settings, aws=aws, listener=listener)
    console.report(report, lambda: _status_lines(report, aws.where))
    return 0


def _status_lines(report: StatusReport, where: str) -> Iterable[str]:
    for each in report.collections:
        name = each.collection or "(no collection)"
        tables = ", ".join(each.tables)
        counts = f"{count(each.rows, 'row')} of {tables}, {each.linked} linked, {count(each.faces, 'face')}"
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
    yield f"{'nothing to repair' if report.ok else 'see above for what to run'}; {calls_line(report.calls)}"


@faces.command("dedupe", short_help="Delete duplicate faces.", context_settings=CONTEXT)
@collection_option
@click.option("--dry-run", is_flag=True, help="Say what would be deleted; delete nothing.")
@click.option("--yes", is_flag=True, help="Delete without asking.")
@click.option("--temporary", is_flag=True, help="Delete temporary faces too. Do not use it while recognize runs.")
@common_options
def dedupe_command(
    *, collection: str | None, dry_run: bool, yes: bool, temporary: bool, console: Console, settings: Settings
) -> int:
    """Delete duplicate faces: those whose row is linked to another face of the same photo.

    It first says what it would delete, and asks. It works only in collections that the setting owned_collections
    names. It never deletes a face that this database does not know.
    """
    from seedtool.postgres import server
    from seedtool.workflows import faces as workflow
    from seedtool.workflows.face_service import open_aws

    target, aws = server.find(settings), open_aws(settings)
    console.note(f"{workflow.destination(collection=collection, settings=settings, target=target, aws=aws)}; {target}")

    def dedupe(*, dry_run: bool) -> DedupeReport:
        with console.working("faces") as listener:
            return workflow.dedupe_faces(
                collection=collection,
                dry_run=dry_run,
                temporary=temporary,
                settings=settings,
                aws=aws,
                listener=listener,
            )

    if dry_run or not yes:
        found = dedupe(dry_run=True)
        if dry_run or not found.found:
            console.report(found, lambda: _dedupe_lines(found))
            return 0
        for line in _dedupe_lines(found):
            output.say(line)
        what = count(found.found, "face")
        fault = f"{what} would be deleted and nobody agreed; nothing was deleted"
        agree_to(f"Delete {what}? They cannot be restored.", yes=yes, fault=fault)
    report = dedupe(dry_run=False)
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
                yield f"{each.collection}: {count(tally.count, name)}{note}: {', '.join(tally.examples)}{more}"
        if report.dry_run and not each.owned and (each.duplicates.count or each.temporary.count):
            yield f"  {each.collection} is not named in owned_collections, so nothing of it would be deleted"
        for face_id, why in each.failed.items():
            yield f"  {face_id} could not be deleted: {why}"
        if each.spared:
            yield f"  {count(each.spared, 'face')} spared: a row came to point at it"
    if report.dry_run:
        yield f"{count(report.found, 'face')} would be deleted; {calls_line(report.calls)}"
    else:
        yield f"{count(sum(each.deleted for each in report.collections), 'face')} deleted; {calls_line(report.calls)}"
    if report.interrupted:
        yield "interrupted; run the same command again for the rest"
