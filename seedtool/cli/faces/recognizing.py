"""recognize."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from seedtool.cli.console import CONTEXT, Console, common_options, number, table
from seedtool.cli.faces.door import collection_option
from seedtool.errors import ImageRefused

if TYPE_CHECKING:
    from collections.abc import Iterable

    from seedtool.faces.recognize import RecognizeReport
    from seedtool.settings import Settings


@click.command(short_help="Tell who is in a photo.", context_settings=CONTEXT)
@click.argument("photo", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@collection_option
@common_options
def recognize(*, photo: Path, collection: str | None, console: Console, settings: Settings) -> int:
    """Tell who is in a photo, by the collection and the database."""
    from seedtool.faces.recognize import recognize as look
    from seedtool.postgres import server
    from seedtool.workflows.aws import open_aws

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
