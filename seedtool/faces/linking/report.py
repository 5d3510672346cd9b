"""What there is to tell about one table's rows and one collection's faces."""

from collections.abc import Iterable

import msgspec

#: How many ids a report names at most.
EXAMPLES = 20


class Tally(msgspec.Struct, frozen=True):
    """How many, and the first few ids."""

    count: int = 0
    examples: tuple[str, ...] = ()


class Unlinked(msgspec.Struct, frozen=True, kw_only=True):
    """A row that still holds a placeholder.

    Args:
        row: its key.
        external_image_id: the id its photo should be indexed under.
        why: `not indexed`, `indexed otherwise`, `shared`, `no overlap`, `no id` or `no collection`.
        instead: the id that the photo seems to be indexed under instead.
    """

    row: str
    external_image_id: str | None
    why: str
    instead: str | None = None


class BindingReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a sync found and did for one table's rows in one collection.

    Args:
        table: the table.
        collection: the collection; None for the rows that name none.
        exists: the collection is there.
        rows: rows of the table that are in it.
        faces: faces of the collection.
        synced: placeholders that became real FaceIds.
        relinked: rows whose FaceId was replaced by the one now under their external image id.
        unchanged: rows that were right already.
        placeholders: rows without a face afterwards, by reason (see `Unlinked.why`).
        unlinked: the first of these rows.
        cures: what to do about the placeholders.
        duplicates: further faces under an id that a row is linked by; where boxes tell faces apart, further faces in
            the place of a linked one.
        orphans: faces that this database does not know; another database may, so they are never deleted.
        unnamed: faces that were indexed without an external image id and that no row points at.
        temporary: faces that an attendance run left behind; never linked.
        elsewhere: rows that point at a face which the collection has under another id or none; left as they are, and
            lost at the next reset.
        missing: rows that point at a face which is not in the collection; left as they are.
        misassigned: rows that pointed at the face of another row; they hold a placeholder again.
    """

    table: str
    collection: str | None
    exists: bool
    rows: int
    faces: int
    synced: int = 0
    relinked: int = 0
    unchanged: int = 0
    placeholders: dict[str, int] = {}
    unlinked: tuple[Unlinked, ...] = ()
    cures: tuple[str, ...] = ()
    duplicates: Tally = Tally()
    orphans: Tally = Tally()
    unnamed: Tally = Tally()
    temporary: Tally = Tally()
    elsewhere: Tally = Tally()
    missing: Tally = Tally()
    misassigned: Tally = Tally()

    @property
    def complete(self) -> bool:
        """Whether every row is linked to a face of the collection."""
        return not self.placeholders and not self.missing.count


def cures(reasons: Iterable[str], collection: str | None, *, exists: bool, unnamed: int) -> tuple[str, ...]:
    """Return what to do about rows without a face, by why they have none."""
    told = {
        "no collection": f"The collection {collection} does not exist: index its photos (seedtool enroll --all creates "
        "it), or check that account and region are the ones that hold the faces."
        if collection
        else "These rows name no collection: fill the column, or mend the query, that the face binding takes it from.",
        "not indexed": f"No photo is indexed under these ids in {collection}: run seedtool enroll --all, or check that "
        "account, region and collection are the ones that hold the faces.",
        "indexed otherwise": "These photos are indexed under another id: write that id into the seed file, or run "
        "seedtool enroll --all to index them under this one as well.",
        "shared": "Several rows share one external image id, so it cannot tell which face is whose.",
        "no overlap": "These photos are indexed, but no free face lies where the rows' boxes are: index them again, or "
        "delete the rows of faces that are no longer on it.",
        "no id": "These rows have no external image id: fill it ({student_id}-photo-{n}) and index the photo under it.",
    }
    if unnamed:
        told["not indexed"] += (
            f" {unnamed} faces there carry no id: whose they are cannot be told, so index these photos again."
        )
    reasons = [*reasons]
    if not exists and "no collection" not in reasons:
        reasons.append("no collection")  # its rows hold real FaceIds, which cannot be looked up
    return tuple(told[why] for why in reasons)
