"""Linking tables' rows to the faces of collections, in SQL, and what there is to tell about it.

Pages of ListFaces are COPYed into a temporary table; memory does not grow with the collections. Which FaceId a row
gets: the one it has, as long as its collection still holds that under *this row's* external image id; else, of the
faces under its id, the one with the highest confidence, ties by FaceId, or where the binding has a box, the one that
lies where the row says (see `boxes`). A row that holds a real FaceId which the collection no longer has, with no other
face under its id, is reported as missing and left: it may be the wrong collection or account that was asked. A row that
holds a face which the collection has under the id of *another* row points at somebody else, and goes back to its
placeholder.
"""

from collections.abc import Callable, Iterable, Sequence

import psycopg

from seedtool.faces import bindings
from seedtool.faces.bindings import Bound
from seedtool.faces.linking.listing import copy_faces
from seedtool.faces.linking.report import EXAMPLES, BindingReport, Tally, Unlinked
from seedtool.faces.linking.table import Table
from seedtool.faces.rekognition.collection import PAGE, Collection

__all__ = ["EXAMPLES", "BindingReport", "Tally", "Unlinked", "link_all"]


def link_all(
    connection: psycopg.Connection,
    bound: Sequence[Bound],
    open_collection: Callable[[str], Collection],
    *,
    page_size: int = PAGE,
    announce: Callable[[Iterable[str]], None] = lambda _: None,
    tell: Callable[[int], None] = lambda _: None,
    write: bool = True,
) -> tuple[BindingReport, ...]:
    """Link the rows of all tables inside the caller's transaction; each collection is listed once.

    Args:
        connection: inside a transaction.
        bound: the tables.
        open_collection: gives the gateway to a collection.
        page_size: faces a page.
        announce: told the collections before any of them is listed.
        tell: told the number of faces listed.
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
    located = []
    for each in bound:
        found = each.in_use(connection)
        wanted.update(dict.fromkeys(id_ for id_ in found if id_ is not None))
        if each.collection is not None and not each.binding.by_row:
            wanted[each.collection] = None
        located.append(each.located(found))
    announce(wanted)
    with bindings.database_errors(", ".join(each.binding.table for each in bound)):
        listed = copy_faces(connection, tuple(wanted), open_collection, page_size=page_size, tell=tell)
    if listed.missing and not listed.numbers:
        raise next(iter(listed.missing.values()))
    tables = [Table(connection, each, listed) for each in located]
    return tuple(report for table in tables for report in table.link(tables, write=write))
