"""Tables that are as the last seed of the same files left them, so that nothing has to be compared.

The ledger has a line of each seeded table: a hash of its files, and a digest of its rows. It has no seed set and an
empty key, which no row's line has.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec
from psycopg import sql

from seedtool.files.hashing import Digest, hash_file
from seedtool.postgres.catalog import ValueType
from seedtool.seeding.fixtures import Fixture
from seedtool.seeding.ledger import LEDGER
from seedtool.seeding.outcome import has_changes
from seedtool.seeding.seed_files import reads_day
from seedtool.seeding.staging import Cursor, Staged

#: raised when the same files or rows make another hash or digest than before
_FORMAT = b"unchanged 1"

#: Types whose values no clock and no catalog has a part in.
_STEADY = frozenset({
    "int2", "int4", "int8", "numeric", "float4", "float8", "bool", "text", "varchar", "bpchar", "char", "name",
    "citext", "uuid", "bytea", "json", "jsonb", "inet", "cidr", "macaddr",
})  # fmt: skip


class Files(msgspec.Struct, frozen=True):
    """The files of a table at one moment.

    Args:
        hash: of all that shapes the table's rows.
        fixtures: the files.
    """

    hash: str
    fixtures: tuple[Fixture, ...]

    def are_as_read(self) -> bool:
        """Tell whether no file was written since it was read."""
        return all(each.read_stamp() == each.stamp for each in self.fixtures)


class Left(msgspec.Struct, frozen=True):
    """A table as a seed left it, as the ledger holds it.

    Args:
        files: the hash of its files.
        rows: how many rows the files have.
        digest: the digest of the table's rows.
    """

    files: str
    rows: int
    digest: str


def hash_files(sources: Iterable[Staged]) -> dict[int, Files]:
    """Return the files of each table whose rows depend on nothing else, by the table's oid."""
    hashed = {each.table.oid: _files(each) for each in sources}
    return {oid: files for oid, files in hashed.items() if files is not None}


def find_unchanged(
    cursor: Cursor, sources: Iterable[Staged], files: Mapping[int, Files], recorded: Mapping[str, Collection[str]]
) -> dict[int, Staged]:
    """Find the tables whose files and rows are as the last seed left them.

    Args:
        cursor: in the merge's transaction.
        sources: the tables of the files.
        files: what `hash_files` returned.
        recorded: the tables, schema and name, of which the ledger holds rows of the sets, each with these sets.

    Returns:
        The tables with the number of the files' rows, by oid.
    """
    # a set that has no file of the table any more may have left rows there while it was not loaded
    sources = [
        each
        for each in sources
        if each.table.oid in files
        and {*recorded.get(each.table.qualified, ())} <= {batch.fixture.seed_set for batch in each.batches}
    ]
    known = {
        relation: msgspec.convert(content, Left)
        for relation, content in cursor.execute(
            sql.SQL(
                "SELECT relation, content FROM {} WHERE seed_set = '' AND key = '{{}}' AND relation = ANY({})"
            ).format(LEDGER, sql.Literal([each.table.qualified for each in sources]))
        )
    }
    as_before = [
        each
        for each in sources
        if (left := known.get(each.table.qualified)) is not None and left.files == files[each.table.oid].hash
    ]
    return {
        each.table.oid: msgspec.structs.replace(each, rows=known[each.table.qualified].rows)
        for each, digest in zip(as_before, _digests(cursor, [_digest(each) for each in as_before]), strict=True)
        if digest == known[each.table.qualified].digest
    }


def note_left(cursor: Cursor, loaded: Iterable[Staged], staged: Iterable[Staged], files: Mapping[int, Files]) -> None:
    """Note how a seed leaves tables; forget what was noted of others before.

    Args:
        cursor: in the merge's transaction.
        loaded: the tables that nobody else can have written meanwhile.
        staged: those whose rows others may have changed after they were compared, so each is compared again here.
        files: what `hash_files` returned, of the tables that may be noted.
    """
    queries = [(each, _digest(each)) for each in loaded]
    queries += [
        (each, sql.SQL("CASE WHEN {} THEN NULL ELSE {} END").format(has_changes(each), _digest(each)))
        for each in staged
    ]
    forgotten = {each.table.qualified for each, _ in queries}
    queries = [
        (each, query)
        for each, query in queries
        if (hashed := files.get(each.table.oid)) is not None and hashed.are_as_read()
    ]
    noted = [
        (each, digest)
        for (each, _), digest in zip(queries, _digests(cursor, [query for _, query in queries]), strict=True)
        if digest is not None
    ]
    forgotten -= {each.table.qualified for each, _ in noted}
    lines = [
        sql.SQL("('', {}, '{{}}', {})").format(
            sql.Literal(each.table.qualified),
            sql.Literal(msgspec.json.encode(Left(files[each.table.oid].hash, each.rows, digest)).decode()),
        )
        for each, digest in noted
    ]
    if lines:
        cursor.execute(
            sql.SQL(
                "INSERT INTO {} (seed_set, relation, key, content) VALUES {}"
                " ON CONFLICT (relation, key, seed_set) DO UPDATE SET content = excluded.content"
            ).format(LEDGER, sql.SQL(", ").join(lines))
        )
    if forgotten:
        cursor.execute(
            sql.SQL("DELETE FROM {} WHERE seed_set = '' AND key = '{{}}' AND relation = ANY({})").format(
                LEDGER, sql.Literal([*forgotten])
            )
        )


def _digests(cursor: Cursor, queries: Sequence[sql.Composed]) -> Sequence[str | None]:
    """Return what each query gives. A query alone may run on several cores, and as a part of an INSERT may not."""
    if not queries:
        return ()
    return cursor.execute(sql.SQL("SELECT {}").format(sql.SQL(", ").join(queries))).fetchone() or ()


def _digest(source: Staged) -> sql.Composed:
    """Return the query for the digest of all of a table's rows, in the columns that a seed of its files looks at."""
    columns = [sql.Identifier("t", name) for name in _looked_at(source)]
    return sql.SQL(
        "(SELECT concat(count(*), '/', sum(hashtextextended(ROW({})::text COLLATE \"C\", 0))) FROM {} AS t)"
    ).format(sql.SQL(", ").join(columns), source.table.stored)


def _looked_at(source: Staged) -> list[str]:
    """Return the key and the columns that the files name; without the face's id, which a sync writes."""
    row = source.table.row_key
    key = source.table.primary_key if row is None else row.columns
    names = [*key, *(name for each in source.batches for name in each.batch.columns)]
    managed = source.binding.face_id if source.binding else None
    image = [source.binding.external_image_id] if source.binding else []
    return [name for name in dict.fromkeys([*names, *image]) if name != managed]


def _files(source: Staged) -> Files | None:
    """Return the files of a table; None where its rows may differ although the files do not."""
    columns = [source.table.columns[name] for name in _looked_at(source)]
    kinds = {kind for column in columns for kind in _base_types(column.value)}
    if any(kind.startswith("reg") for kind in kinds):
        return None  # such a value is looked up in the catalog
    digest = Digest()
    digest.add(_FORMAT, *(part.encode() for column in columns for part in (column.name, column.type)))
    # a domain or a composite type may be made anew under its name
    digest.add(b"values", *(msgspec.json.encode(column.value) for column in columns))
    digest.add(b"key", *(name.encode() for name in source.table.primary_key))
    if source.binding is not None:
        digest.add(b"face", source.binding.face_id.encode(), source.binding.external_image_id.encode())
    for each in source.batches:
        digest.add(b"batch", each.fixture.seed_set.encode(), *(name.encode() for name in each.batch.columns))
    fixtures = {each.fixture.path: each.fixture for each in source.batches}
    for path, fixture in fixtures.items():
        if path.suffix.lower() == ".py":
            return None
        try:
            found = hash_file(path, reads_day)
        except OSError as error:
            raise fixture.unreadable(error) from error
        if found.answer and not kinds <= _STEADY:
            return None
        digest.add(b"file", found.digest.encode())
    files = Files(hash=digest.hexdigest(), fixtures=tuple(fixtures.values()))
    return files if files.are_as_read() else None


def _base_types(value: ValueType) -> set[str]:
    """Return the names of the types that a value is made of."""
    parts = [*value.attributes.values(), *([value.part] if value.part else [])]
    return {value.name} if not parts else {name for part in parts for name in _base_types(part)}
