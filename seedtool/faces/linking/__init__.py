"""Linking tables' rows to the faces of collections, in SQL, and what there is to tell about it.

Pages of ListFaces are COPYed into a temporary table; memory does not grow with the collections. Which FaceId a row
gets: the one it has, as long as its collection still holds that under *this row's* external image id; else, of the
faces under its id, the one with the highest confidence, ties by FaceId, or where the binding has a box, the one that
lies where the row says (see `boxes`). A row that holds a real FaceId which the collection no longer has, with no other
face under its id, is reported as missing and left: it may be the wrong collection or account that was asked. A row that
holds a face which the collection has under the id of *another* row points at somebody else, and goes back to its
placeholder.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, LiteralString

import msgspec
import psycopg
from psycopg import errors as pg
from psycopg import sql

from seedtool.faces import bindings, boxes
from seedtool.faces.aws.collection import PAGE, Collection
from seedtool.faces.bindings import Bound, key_name
from seedtool.faces.external_id import TEMPORARY_PREFIX
from seedtool.faces.linking import statements
from seedtool.faces.linking.listing import Listed, copy_faces
from seedtool.faces.linking.report import EXAMPLES, BindingReport, Tally, Unlinked, cures

__all__ = ["EXAMPLES", "BindingReport", "Tally", "Unlinked", "link", "link_all"]


def link(
    connection: psycopg.Connection,
    bound: Bound,
    collection: Collection,
    *,
    page_size: int = PAGE,
    tell: Callable[[int], None] = lambda _: None,
) -> BindingReport:
    """Link one table's rows of one collection inside the caller's transaction.

    Leaves two tables behind: `seedtool_listed`, the collection's faces, and `seedtool_shared`, the ids that cannot
    tell faces apart.

    Args:
        connection: inside a transaction.
        bound: the table; where its rows name collections, those of this one are linked.
        collection: the collection.
        page_size: faces a page.
        tell: told the number of faces listed.

    Raises:
        ResourceNotFound: there is no such collection.
    """
    narrowed = [bound.narrowed(collection.id)]
    reports = link_all(connection, narrowed, lambda _: collection, page_size=page_size, tell=tell, always=True)
    return reports[0]


def link_all(
    connection: psycopg.Connection,
    bound: Sequence[Bound],
    open_collection: Callable[[str], Collection],
    *,
    page_size: int = PAGE,
    tell: Callable[[int], None] = lambda _: None,
    always: bool = False,
    write: bool = True,
) -> tuple[BindingReport, ...]:
    """Link the rows of all tables inside the caller's transaction; each collection is listed once.

    Args:
        connection: inside a transaction.
        bound: the tables.
        open_collection: gives the gateway to a collection.
        page_size: faces a page.
        tell: told the number of faces listed.
        always: list a table's own collection though no row is in it.
        write: False only tells: no row is touched, and so none is locked. Rows that point at another row's face are
            told, and not counted among the placeholders that they would become.

    Returns:
        A report for each table and each collection that its rows are in, or that it is in altogether.

    Raises:
        ResourceNotFound: none of the collections exists.
        AwsError: a listing failed.
        DatabaseError: a statement failed.
    """
    wanted: dict[str, None] = {}
    for each in bound:
        wanted.update(dict.fromkeys(id_ for id_ in each.collections(connection) if id_ is not None))
        if each.collection is not None and (always or not each.binding.by_row):
            wanted[each.collection] = None
    with bindings.database_errors(", ".join(each.binding.table for each in bound)):
        listed = copy_faces(connection, tuple(wanted), open_collection, page_size=page_size, tell=tell)
    if listed.missing and not listed.numbers:
        raise next(iter(listed.missing.values()))
    tables = [_Table(connection, each, listed) for each in bound]
    return tuple(report for table in tables for report in table.link(tables, write=write))


class _Table:
    """One table's rows, and the statements about them."""

    def __init__(self, connection: psycopg.Connection, bound: Bound, listed: Listed) -> None:
        self._connection = connection
        self._bound = bound
        self._listed = listed
        self.rows = sql.SQL(statements.ROWS).format(rows=bound.rows)
        self._numbers: list[int] = []
        self._known: sql.Composable = self.rows

    def link(self, tables: Sequence["_Table"], *, write: bool) -> list[BindingReport]:
        """Link the rows and return a report for each collection; what any of the tables knows is no orphan."""
        with bindings.database_errors(self._bound.binding.table):
            self._run(statements.DROP)
            self._choose()
            counts = self._counts()
            self._numbers = [self._listed.numbers[id_] for id_ in counts if id_ in self._listed.numbers]
            known = (sql.SQL("SELECT collection, external_image_id FROM {} r").format(table.rows) for table in tables)
            self._known = sql.SQL("({})").format(sql.SQL(" UNION ALL ").join(known))
            tallies = self._question(any(count.pop("unsure") for count in counts.values()), write)
            if write and any(count["synced"] or count["relinked"] for count in counts.values()):
                self._run(statements.PLANNED)
                self._write()
            without = sum(count.pop("without") for count in counts.values()) + tallies["misassigned"].total
            reasons, unlinked = self._unlinked() if without else ({}, {})
            tallies |= {name: self._tally(statement) for name, statement in self._leftovers().items()}
        return [
            self._report(id_, count, reasons.get(id_, {}), unlinked.get(id_, ()), tallies)
            for id_, count in counts.items()
        ]

    def _choose(self) -> None:
        """Say which face each row should have."""
        if self._bound.binding.box is not None:
            boxes.match_photos(self._connection, self._complete)
            self._run(statements.NONE_SHARED)
            self._run(statements.EXTRA)
            return
        for statement in (statements.CHOSEN, statements.SETTLE_SEVERAL, statements.SHARED, statements.DROP_SHARED):
            self._run(statement)
        # without statistics the planner takes a join of thousands for one of a few, and loops
        self._connection.execute("ANALYZE pg_temp.seedtool_chosen, pg_temp.seedtool_shared")

    def _counts(self) -> dict[str | None, dict[str, int]]:
        """Return the counts of each collection, those that the table is in without a row too."""
        cursor = self._run(statements.COUNTS)
        names = [column.name for column in cursor.description or ()][1:]
        counts: dict[str | None, dict[str, int]] = {
            id_: dict(zip(names, numbers, strict=True)) for id_, *numbers in cursor.fetchall()
        }
        own = self._bound.collection
        if own is not None and (not self._bound.binding.by_row or not counts):
            counts.setdefault(own, dict.fromkeys(names, 0))
        return counts

    def _question(self, unsure: bool, write: bool) -> dict[str, "_Tallies"]:
        """Look whose the faces are that rows hold and that are not under their ids; take other people's away."""
        if not unsure:
            return {name: _Tallies() for name in ("misassigned", "elsewhere", "missing")}
        for statement in (statements.STRAY, statements.ANALYZE_STRAY, statements.UNSURE):
            self._run(statement)
        tallies = {
            "misassigned": self._tally(statements.MISASSIGNED),
            "elsewhere": self._tally(statements.ELSEWHERE),
            "missing": self._tally(statements.MISSING),
        }
        if write and tallies["misassigned"].total:
            self._run(statements.UNASSIGN)
        return tallies

    def _write(self) -> None:
        """Write the real FaceIds. Rows that exchange theirs under a unique index first let go of what they have."""
        if not self._bound.unique_face:
            self._run(statements.UPDATE)
            return
        try:
            with self._connection.transaction():
                self._run(statements.UPDATE)
        except pg.UniqueViolation:
            self._run(statements.LET_GO)
            self._run(statements.UPDATE)

    def _unlinked(self) -> tuple[dict[str | None, dict[str, int]], dict[str | None, tuple[Unlinked, ...]]]:
        for statement in (statements.WITHOUT, statements.ANALYZE_WITHOUT, statements.UNLINKED):
            self._run(statement)
        reasons: dict[str | None, dict[str, int]] = defaultdict(dict)
        for id_, why, count in self._run(statements.REASONS):
            reasons[id_][why] = count
        first: dict[str | None, list[Unlinked]] = defaultdict(list)
        for id_, key, external, why, instead in self._run(statements.FIRST_UNLINKED):
            first[id_].append(Unlinked(row=key, external_image_id=external, why=why, instead=instead))
        return reasons, {id_: tuple(rows) for id_, rows in first.items()}

    def _leftovers(self) -> dict[str, LiteralString]:
        boxed = self._bound.binding.box is not None
        return {
            "duplicates": statements.BOX_DUPLICATES if boxed else statements.DUPLICATES,
            "orphans": statements.BOX_ORPHANS if boxed else statements.ORPHANS,
            "unnamed": statements.UNNAMED,
            "temporary": statements.TEMPORARY,
        }

    def _report(
        self,
        id_: str | None,
        counts: dict[str, int],
        placeholders: dict[str, int],
        unlinked: tuple[Unlinked, ...],
        tallies: dict[str, "_Tallies"],
    ) -> BindingReport:
        exists = id_ is not None and id_ not in self._listed.missing
        told = {name: tally.by_collection.get(id_, Tally()) for name, tally in tallies.items()}
        return BindingReport(
            table=self._bound.binding.table,
            collection=id_,
            exists=exists,
            rows=counts["rows"],
            faces=self._listed.faces.get(id_ or "", 0),
            synced=counts["synced"],
            relinked=counts["relinked"],
            unchanged=counts["unchanged"],
            placeholders=placeholders,
            unlinked=unlinked,
            cures=cures(placeholders, id_, exists=exists, unnamed=told["unnamed"].count),
            duplicates=told["duplicates"],
            orphans=told["orphans"],
            unnamed=told["unnamed"],
            temporary=told["temporary"],
            elsewhere=told["elsewhere"],
            missing=told["missing"],
            misassigned=told["misassigned"],
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

        boxed = bound.binding.box is not None
        return sql.SQL(statement).format(
            rows=self.rows,
            target=sql.SQL(_BY_KEY if boxed else _BY_IMAGE),
            known=self._known,
            numbers=sql.SQL("{}::int[]").format(sql.Literal(self._numbers)),
            table=bound.table,
            face_id=bound.face_id,
            face_type=bound.face_type,
            external_image_id=bound.external_image_id,
            keys=sql.SQL(", ").join(sql.SQL("r.{}").format(name) for name in names),
            same_u=same("u"),
            same_p=same("p"),
            empty=bound.empty,
            unmatched=sql.SQL(_UNMATCHED if boxed else "'shared'"),
            temporary=sql.Literal(TEMPORARY_PREFIX),
            examples=sql.Literal(EXAMPLES),
        )


class _Tallies(msgspec.Struct, frozen=True):
    """One tally a collection, and how many in all."""

    total: int = 0
    by_collection: dict[str | None, Tally] = {}


_BY_IMAGE = """LEFT JOIN pg_temp.seedtool_chosen c
    ON c.collection = r.collection AND c.external_image_id = r.external_image_id"""

_BY_KEY = "LEFT JOIN pg_temp.seedtool_fit c ON c.collection = r.collection AND c.key = r.key"

_UNMATCHED = """CASE WHEN r.box_width > 0 AND r.box_height > 0 AND r.box_left IS NOT NULL AND r.box_top IS NOT NULL
    THEN 'no overlap' ELSE 'shared' END"""
