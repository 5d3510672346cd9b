"""What is found in one collection and its rows, in words, and what to run about it."""

from collections.abc import Sequence

import msgspec

from seedtool.faces.linking import EXAMPLES, BindingReport, Tally


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of drift.

    Args:
        what: which.
        count: how many rows or faces.
        examples: the first few: keys of rows, or external image ids and FaceIds.
        run: what to run, or why there is nothing to run.
        ours: it is this database's to mend; False where the faces may be another database's.
    """

    what: str
    count: int
    examples: tuple[str, ...] = ()
    run: str = ""
    ours: bool = True


class CollectionStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A collection and the tables whose faces are in it.

    Args:
        collection: its id; None for rows that are in none.
        exists: there is such a collection in this account and region.
        tables: the tables.
        rows: their rows.
        faces: the collection's faces.
        linked: rows that hold the FaceId which the collection has under their external image id.
        findings: what is not as it should be; those with a count above 0.
    """

    collection: str | None
    exists: bool
    tables: tuple[str, ...]
    rows: int
    faces: int
    linked: int
    findings: tuple[Finding, ...]


def found_in(
    collection_id: str | None, reports: Sequence[BindingReport], strays: dict[str, Tally], replaced: Sequence[str]
) -> CollectionStatus:
    """Return a collection's status.

    Args:
        collection_id: its id; None for rows that are in none.
        reports: what a sync of each of its tables would do.
        strays: its faces that no row of any table knows, by kind.
        replaced: keys of rows whose photo was replaced.
    """
    findings = [finding for report in reports for finding in _of_rows(report)]
    exists = all(report.exists for report in reports)
    if collection_id is None:
        findings = [Finding(what="rows that are in no collection", count=sum(r.rows for r in reports), run=_NOWHERE)]
    elif not exists:
        findings = [Finding(what="the collection does not exist", count=1, examples=(collection_id,), run=_ABSENT)]
    else:
        findings += _of_faces(strays, collection_id)
    what = "photos that were replaced after they were indexed"
    findings.append(Finding(what=what, count=len(replaced), examples=tuple(replaced[:EXAMPLES]), run=_REPLACED))
    return CollectionStatus(
        collection=collection_id,
        exists=exists,
        tables=tuple(report.table for report in reports),
        rows=sum(report.rows for report in reports),
        faces=max(report.faces for report in reports),
        linked=sum(report.unchanged for report in reports),
        findings=tuple(finding for finding in findings if finding.count),
    )


def _of_rows(report: BindingReport) -> list[Finding]:
    """Return the drift of a table's rows."""
    findings = [
        Finding(
            what="rows that a sync would link", count=report.synced + report.relinked, run="Run seedtool sync-faces."
        ),
        _finding("rows that point at another row's face", report.misassigned, "Run seedtool sync-faces."),
    ]
    for why, count in report.placeholders.items():
        rows = tuple(each.row for each in report.unlinked if each.why == why)
        findings.append(Finding(what=f"placeholders: {why}", count=count, examples=rows, run=_PLACEHOLDERS[why]))
    return [
        *findings,
        _finding("rows whose face is not in the collection", report.missing, _MISSING),
        _finding("rows whose face is there under another id or none", report.elsewhere, _ELSEWHERE),
        _finding("further faces under a linked id (duplicates)", report.duplicates, _DUPLICATES),
    ]


def _of_faces(strays: dict[str, Tally], collection_id: str) -> list[Finding]:
    """Return the drift of a collection's faces: those that no row of any of its tables knows."""
    strangers = strays.get("stranger", Tally())
    ids = " ".join(example.rsplit(" ", 1)[-1] for example in strangers.examples)
    delete = f"aws rekognition delete-faces --collection-id {collection_id} --face-ids {ids}"
    return [
        _finding(
            "faces of students that this database does not have",
            strangers,
            f"Another database may have them. If they were deleted: {delete}",
            ours=False,
        ),
        _finding("faces that this database does not know", strays.get("orphan", Tally()), _ORPHANS, ours=False),
        _finding("faces indexed without an external image id", strays.get("unnamed", Tally()), _UNNAMED, ours=False),
        _finding("temporary faces that an attendance run left behind", strays.get("temporary", Tally()), _TEMPORARY),
    ]


def _finding(what: str, tally: Tally, run: str, *, ours: bool = True) -> Finding:
    return Finding(what=what, count=tally.count, examples=tally.examples, run=run, ours=ours)


_PLACEHOLDERS = {
    "not indexed": "Run seedtool enroll --all.",
    "indexed otherwise": "Write the id that the photo is indexed under into the seed file, or run seedtool enroll --all"
    " to index it under this one as well.",
    "shared": "Give each row an external image id of its own.",
    "no overlap": "No free face lies where these rows' boxes are: index the photos again, or delete the rows.",
    "no collection": "Set AWS_REKOGNITION_COLLECTION, or fill the column that names the row's collection.",
    "no id": "Fill the external image id ({student_id}-photo-{n}), then run seedtool enroll --all.",
}

_DUPLICATES = "Run seedtool faces dedupe. It keeps those that another row points at."
_MISSING = "Are account, region and collection the right ones? Then run seedtool enroll --all."
_ELSEWHERE = "They are lost at the next reset: run seedtool enroll --all to index them under their own ids."
_ORPHANS = "Nothing: another database may know them."
_UNNAMED = "Nothing: whose they are cannot be told. Index the photos again under ids, then delete these."
_TEMPORARY = "While no attendance is being taken: seedtool faces dedupe --temporary."
_REPLACED = "Run seedtool enroll --all --replaced, then seedtool faces dedupe."

_NOWHERE = "Set AWS_REKOGNITION_COLLECTION, or fill the column (mend the query) that names each row's collection."
_ABSENT = "Are account and region the right ones? Then seedtool enroll --all makes it and indexes every photo."
