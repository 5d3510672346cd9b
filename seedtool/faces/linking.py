"""Linking the rows of tables to the faces of collections, in SQL, and the report about it.

The pages of a listing are COPYed into a temporary table; memory does not grow with the collections. A row gets this
FaceId:

- the one that it has, as long as its collection holds that under the external image id of this row;
- else the face under its id with the highest confidence, ties by FaceId; where the binding has a box, the face whose
  box overlaps the row's (see `boxes`).

A row keeps a FaceId that the collection does not have, when no other face is under its id, and is reported as missing:
the wrong collection or account may have been asked. A row whose face the collection has under the id of another row
points at somebody else, and gets its placeholder back.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, LiteralString

import msgspec
import psycopg
from psycopg import errors as pg
from psycopg import sql

from seedtool.faces import boxes
from seedtool.faces import linking_statements as statements
from seedtool.faces.bindings import Bound, key_name
from seedtool.faces.external_id import TEMPORARY_PREFIX
from seedtool.faces.listing import Listed, copy_faces
from seedtool.faces.port import FaceService
from seedtool.listener import SILENT, Listener
from seedtool.postgres.copying import see_every_row
from seedtool.postgres.psycopg_errors import translated

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


def cures(
    reasons: Iterable[str], collection: str | None, *, template: str, exists: bool, unnamed: int
) -> tuple[str, ...]:
    """Return what to do about rows without a face, by why they have none."""
    cures = {
        "no collection": f"The collection {collection} does not exist: index its photos (seedtool enroll --all creates "
        "it; seedtool backfill --reindex for the photo library), or check that account and region are the ones that "
        "hold the faces."
        if collection
        else "These rows name no collection: fill the column, or correct the query, that the face binding names.",
        "not indexed": f"No photo is indexed under these ids in {collection}: run seedtool enroll --all (seedtool "
        "backfill --reindex for the photo library), or check that account, region and collection are the ones that "
        "hold the faces.",
        "indexed otherwise": "These photos are indexed under another id: write that id into the seed file, or run "
        "seedtool enroll --all to index them under this one as well.",
        "shared": "Several rows share one external image id, so it cannot tell which face is whose.",
        "no overlap": "These photos are indexed, but no free face lies where the rows' boxes are: index them again, or "
        "delete the rows of faces that are no longer on it.",
        "no id": f"These rows have no external image id: fill it ({template}) and index the photo under it.",
    }
    if unnamed:
        cures["not indexed"] += (
            f" Faces without an id there: {unnamed}. Nobody can tell whose they are, so index these photos again."
        )
    reasons = [*reasons]
    if not exists and "no collection" not in reasons:
        reasons.append("no collection")  # its rows hold real FaceIds, which cannot be looked up
    return tuple(cures[why] for why in reasons)


def link_all(
    connection: psycopg.Connection,
    bound: Sequence[Bound],
    aws: FaceService,
    *,
    page_size: int | None = None,
    write: bool = True,
    listener: Listener = SILENT,
) -> tuple[BindingReport, ...]:
    """Link the rows of all tables inside the caller's transaction; each collection is listed once.

    Args:
        connection: inside a transaction.
        bound: the tables.
        aws: the face service.
        listener: hears the number of faces listed.
        page_size: faces a page; None for the most that the service gives.
        write: False only reports: no row is touched, and so none is locked. Rows that point at another row's face are
            reported, and not counted among the placeholders that they would become.

    Returns:
        A report for each table and each collection that its rows are in, or that it is in altogether.

    Raises:
        ResourceNotFound: none of the collections exists.
        AwsError: a listing failed.
        DatabaseError: a statement failed.
    """
    wanted: dict[str, None] = {}
    located = []
    see_every_row(connection)
    for each in bound:
        found = each.in_use(connection)
        wanted.update(dict.fromkeys(id_ for id_ in found if id_ is not None))
        if each.collection is not None and not each.binding.by_row:
            wanted[each.collection] = None
        located.append(each.located(found))
    with translated(", ".join(each.binding.table for each in bound)):
        listed = copy_faces(connection, tuple(wanted), aws, page_size=page_size, listener=listener)
    if listed.missing and not listed.numbers:
        raise next(iter(listed.missing.values()))
    tables = [Table(connection, each, listed) for each in located]
    return tuple(report for table in tables for report in table.link(tables, write=write))


#: `work_mem` of the update in kB. PostgreSQL allows a hash table twice that; that of a million rows takes 70 MB. With
#: the default of 4 MB it is cut into 16 batches, and the update goes over the table and its indexes 16 times: 10.0 s of
#: the server's time instead of 8.0.
UPDATE_MEMORY = 64 * 1024

_KINDS = ("synced", "relinked", "unsure", "without", "further")


class Table:
    """One table's rows, in a transaction in which its collections have been listed.

    Args:
        connection: inside that transaction.
        bound: the table.
        listed: the collections.
    """

    def __init__(self, connection: psycopg.Connection, bound: Bound, listed: Listed) -> None:
        self._connection = connection
        self._bound = bound
        self._listed = listed
        self._boxed = bound.binding.box is not None
        self.rows = sql.SQL(statements.ROWS).format(rows=bound.rows)
        self._numbers: list[int] = []
        self._known: sql.Composable = sql.SQL("")

    def link(self, tables: Sequence["Table"], *, write: bool) -> list[BindingReport]:
        """Link the rows and return a report for each collection; what any of the tables knows is no orphan."""
        with translated(self._bound.binding.table):
            rows = self._collections()
            if not rows:
                return []
            self._numbers = [self._listed.numbers[id_] for id_ in rows if id_ in self._listed.numbers]
            self._known = self._known_to(tables)
            self._compare()
            counts, faces_alone = self._settled_counts()

            def some(*kinds: str) -> bool:
                return any(count[kind] for count in counts.values() for kind in kinds)

            tallies = self._question(some("unsure"), write)
            if write and some("synced", "relinked"):
                self._write()
            left = some("without") or tallies["misassigned"].total
            reasons, unlinked = self._unlinked() if left else ({}, {})
            tallies |= self._leftovers(some("further"), faces_alone)
        nothing = dict.fromkeys(_KINDS, 0)
        return [
            self._report(id_, count, counts.get(id_, nothing), reasons.get(id_, {}), unlinked.get(id_, ()), tallies)
            for id_, count in rows.items()
        ]

    def _collections(self) -> dict[str | None, int]:
        """Return how many rows are in each collection, those that the table is in without a row too."""
        rows = self._bound.collections(self._connection)
        own = self._bound.collection
        if own is not None and (not self._bound.binding.by_row or not rows):
            rows.setdefault(own, 0)
        return rows

    def _known_to(self, tables: Sequence["Table"]) -> sql.Composable:
        """Return a query of the ids that rows have, but for those that a comparison with this table's has found."""
        shared = sql.SQL("SELECT collection, external_image_id FROM pg_temp.seedtool_shared")
        others = [
            sql.SQL("SELECT collection, external_image_id FROM {} r").format(table.rows)
            for table in tables
            if table is not self
        ]
        return sql.SQL("({})").format(sql.SQL(" UNION ALL ").join([shared, *others]))

    def _compare(self) -> None:
        """Compare rows and faces; `seedtool_rest` is what is left over."""
        self._run(statements.DROP)
        if self._boxed:
            boxes.match_photos(self._connection, self._complete)
            compared = [statements.NONE_SHARED, statements.EXTRA, statements.REST_BY_BOX]
        elif self._bound.unique_image:
            compared = [statements.NONE_SHARED, statements.REST]
        else:
            compared = [statements.SHARED, statements.ANALYZE_SHARED, statements.REST]
        for statement in (*compared, statements.ANALYZE_REST):
            self._run(statement)

    def _settled_counts(self) -> tuple[dict[str | None, dict[str, int]], bool]:
        """Settle where a row has several faces to choose from; return what `_counts` does."""
        counts, faces_alone = self._counts()
        if any(count["relinked"] or count["further"] for count in counts.values()) and not self._boxed:
            self._run(statements.KEEP)
            self._run(statements.TWICE)
            counts, _ = self._counts()
        return counts, faces_alone

    def _counts(self) -> tuple[dict[str | None, dict[str, int]], bool]:
        """Return the counts of each collection that leaves something, and whether faces are left."""
        lines = self._run(statements.COUNTS).fetchall()
        counts = {id_: dict(zip(_KINDS, numbers, strict=True)) for is_row, id_, *numbers in lines if is_row}
        return counts, any(not is_row for is_row, *_ in lines)

    def _question(self, unsure: bool, write: bool) -> dict[str, "_Tallies"]:
        """Look whose the faces are that rows hold and that are not under their ids; take other people's away."""
        if not unsure:
            return {name: _Tallies() for name in ("misassigned", "elsewhere", "missing")}
        self._run(statements.UNSURE)
        tallies = {
            "misassigned": self._tally(statements.MISASSIGNED),
            "elsewhere": self._tally(statements.ELSEWHERE),
            "missing": self._tally(statements.MISSING),
        }
        if write and tallies["misassigned"].total:
            self._run(statements.UNASSIGN)
            self._run(statements.UNASSIGNED)
        return tallies

    def _write(self) -> None:
        """Write the real FaceIds. Rows that exchange theirs under a unique index first let go of what they have."""
        (before,) = self._connection.execute(statements.MEMORY).fetchone() or (0,)
        self._connection.execute(statements.SET_MEMORY, [f"{max(before, UPDATE_MEMORY)}kB"])
        if not self._bound.unique_face:
            self._run(statements.UPDATE)
        else:
            try:
                with self._connection.transaction():
                    self._run(statements.UPDATE)
            except pg.UniqueViolation:
                self._run(statements.LET_GO)
                self._run(statements.UPDATE)
        self._connection.execute(statements.SET_MEMORY, [f"{before}kB"])

    def _unlinked(self) -> tuple[dict[str | None, dict[str, int]], dict[str | None, tuple[Unlinked, ...]]]:
        self._run(statements.UNLINKED)
        reasons: dict[str | None, dict[str, int]] = defaultdict(dict)
        for id_, why, count in self._run(statements.REASONS):
            reasons[id_][why] = count
        first: dict[str | None, list[Unlinked]] = defaultdict(list)
        for id_, key, external, why, instead in self._run(statements.FIRST_UNLINKED):
            first[id_].append(Unlinked(row=key, external_image_id=external, why=why, instead=instead))
        return reasons, {id_: tuple(rows) for id_, rows in first.items()}

    def _leftovers(self, further: bool, faces_alone: bool) -> dict[str, "_Tallies"]:
        nothing = _Tallies()
        duplicates = statements.BOX_DUPLICATES if self._boxed else statements.DUPLICATES
        orphans = statements.BOX_ORPHANS if self._boxed else statements.ORPHANS
        return {
            "duplicates": self._tally(duplicates) if further or self._boxed else nothing,
            "orphans": self._tally(orphans) if faces_alone or self._boxed else nothing,
            "unnamed": self._tally(statements.UNNAMED) if faces_alone else nothing,
            "temporary": self._tally(statements.TEMPORARY) if faces_alone else nothing,
        }

    def _report(
        self,
        id_: str | None,
        rows: int,
        counts: dict[str, int],
        placeholders: dict[str, int],
        unlinked: tuple[Unlinked, ...],
        tallies: dict[str, "_Tallies"],
    ) -> BindingReport:
        exists = id_ is not None and id_ not in self._listed.missing
        found = {name: tally.by_collection.get(id_, Tally()) for name, tally in tallies.items()}
        left = sum(counts[name] for name in ("synced", "relinked", "unsure", "without"))
        return BindingReport(
            table=self._bound.binding.table,
            collection=id_,
            exists=exists,
            rows=rows,
            faces=self._listed.faces.get(id_ or "", 0),
            synced=counts["synced"],
            relinked=counts["relinked"],
            unchanged=max(0, rows - left),  # a row may have left since they were counted
            placeholders=placeholders,
            unlinked=unlinked,
            cures=cures(
                placeholders,
                id_,
                template=self._bound.binding.id_template,
                exists=exists,
                unnamed=found["unnamed"].count,
            ),
            duplicates=found["duplicates"],
            orphans=found["orphans"],
            unnamed=found["unnamed"],
            temporary=found["temporary"],
            elsewhere=found["elsewhere"],
            missing=found["missing"],
            misassigned=found["misassigned"],
        )

    def _tally(self, query: LiteralString) -> "_Tallies":
        found = self._connection.execute(
            sql.SQL(statements.TALLY).format(query=self._complete(query), examples=sql.Literal(EXAMPLES))
        ).fetchall()
        return _Tallies(
            sum(total for _, total, _ in found), {id_: Tally(total, tuple(ids)) for id_, total, ids in found}
        )

    def _run(self, statement: LiteralString) -> psycopg.Cursor[Any]:
        return self._connection.execute(self._complete(statement))

    def _complete(self, statement: LiteralString) -> sql.Composed:
        bound = self._bound
        names = [key_name(number) for number in range(1, len(bound.binding.key) + 1)]

        def same(alias: str) -> sql.Composed:
            pairs = zip(names, bound.binding.key, strict=True)
            return sql.SQL(" AND ").join(
                sql.SQL("{}.{} = t.{}").format(sql.Identifier(alias), name, sql.Identifier(column))
                for name, column in pairs
            )

        marked = sql.SQL(statements.UNMARKED if bound.unique_image else statements.MARKED).format(rows=self.rows)
        keys = sql.SQL(", ").join(sql.SQL("r.{}").format(name) for name in names)
        return sql.SQL(statement).format(
            rows=self.rows,
            marked=marked,
            row=sql.SQL("r.spot") if bound.plain else keys,
            known=self._known,
            numbers=sql.SQL("{}::int[]").format(sql.Literal(self._numbers)),
            table=bound.table,
            face_id=bound.face_id,
            face_type=bound.face_type,
            external_image_id=bound.external_image_id,
            keys=keys,
            no_keys=sql.SQL(", ").join([sql.NULL] * len(names)),
            same_u=same("u"),
            same_p=same("p"),
            empty=bound.empty,
            temporary=sql.Literal(TEMPORARY_PREFIX),
            examples=sql.Literal(EXAMPLES),
        )


class _Tallies(msgspec.Struct, frozen=True):
    """One tally a collection, and how many in all."""

    total: int = 0
    by_collection: dict[str | None, Tally] = {}
