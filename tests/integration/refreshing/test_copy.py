"""A database copied whole, and what the copy has of the first."""

import difflib

import psycopg
import pytest
from psycopg import sql

from seedtool.errors import DatabaseError, PolicyError, SchemaError
from seedtool.postgres import programs, server
from seedtool.refreshing import transfer
from seedtool.refreshing.blocks import Column
from seedtool.refreshing.masks import mask as made
from seedtool.refreshing.source import Source
from seedtool.refreshing.subset import Root, choose
from seedtool.refreshing.transfer import TableCopy
from seedtool.values.cells import Cells
from tests.integration.refreshing.conftest import _refresh, database


class Mask:
    """Makes of each value what a function makes of it."""

    def __init__(self, function):
        self.function = function

    def apply(self, cells: Column, _=None):
        whole = cells.buffer.tobytes()
        places = zip(cells.starts.tolist(), cells.ends.tolist(), cells.nulls.tolist(), strict=True)
        return Cells.of([None if null else self.function(whole[start:end].decode()) for start, end, null in places])


def dump(target, database):
    tools = programs.fitting(180000)[0]
    done = programs.run(
        tools, "pg_dump", "--schema-only", "--no-owner", "--restrict-key=same", target=target, database=database.name
    )
    assert done.code == 0, done.errors
    return done.out.splitlines()


def contents(database):
    """Return the rows of each table as COPY writes them, sorted, but for what the server computes."""
    found = {}
    with server.connect(database) as connection:
        tables = connection.execute(
            "SELECT c.oid::regclass::text FROM pg_class c WHERE relkind IN ('r', 'm') AND relispopulated AND relnamespace >= 2200"
            " AND relnamespace::regnamespace::text IN ('public', 'ledger')"
        ).fetchall()
        for (name,) in tables:
            with connection.cursor().copy(f"COPY (SELECT * FROM ONLY {name}) TO STDOUT") as copy:
                found[name] = sorted(b"".join(copy).splitlines())
    return found


@pytest.fixture(scope="module")
def copied(target, rental):
    """The rental shop, copied with nothing masked."""
    with database(target, "refresh_copied") as made:
        yield made, *_refresh(rental, made)


def test_every_object_of_the_schema_is_there(target, rental, copied):
    differences = list(difflib.unified_diff(dump(target, rental), dump(target, copied[0]), lineterm="", n=1))
    assert differences == []


def test_every_row_is_there_and_nothing_fired(rental, copied):
    made, tables, notes = copied
    assert notes == []
    before, after = contents(rental), contents(made)
    hashed = [name for name in before if name.startswith("reviews_")]  # an enum's hash differs between databases
    for found in (before, after):
        found["reviews"] = sorted(line for name in hashed for line in found.pop(name))
    assert after == before
    assert tables["audit"].rows == len(before["audit"]) == 30
    assert {tables[name].how for name in ("inventory", "rentals", "payments_1", "sessions", "staff")} == {"binary"}
    assert {tables[name].how for name in ("customers", "stores", "films")} == {"text"}


def test_indexes_of_partitions_are_attached_and_valid(rental, copied, rows):
    query = (
        "SELECT c.relname, i.indisvalid, p.inhparent::regclass::text FROM pg_index i JOIN pg_class c ON c.oid = indexrelid"
        " LEFT JOIN pg_inherits p ON p.inhrelid = c.oid WHERE indrelid >= 16384 AND c.relname !~ '^pg_' ORDER BY 1"
    )
    assert rows(copied[0], query) == rows(rental, query)


def test_sequences_go_on_where_they_were(rental, copied, rows, run):
    query = "SELECT sequencename, last_value FROM pg_sequences ORDER BY 1"
    assert rows(copied[0], query) == rows(rental, query)
    assert rows(copied[0], "INSERT INTO films (title) VALUES ('new') RETURNING id") == [(410,)]


def test_triggers_and_policies_are_there(copied, rows):
    made = copied[0]
    ((audited,),) = rows(made, "SELECT count(*) FROM audit")
    with server.connect(made) as connection:
        connection.execute("INSERT INTO films (title, last_update) VALUES ('Fox', '2020-01-01')")
        assert connection.execute(
            "SELECT fulltext::text, words::text, last_update::date::text FROM films WHERE title = 'Fox'"
        ).fetchone() == ("'fox':1", "'fox':1", "2030-01-01")
        assert connection.execute("SELECT count(*) FROM audit").fetchone() == (audited + 1,)
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            connection.execute("INSERT INTO inventory VALUES (1, 9999, 1)")


def test_masked_columns_are_masked_and_what_depends_on_them_is_computed_anew(rental, empty, refresh, rows):
    masks = {
        "films": {"title": Mask(lambda value: "Masked\t" + value[5:]), "description": Mask(lambda _: "a\\N story")},
        "customers": {"name": Mask(lambda _: None), "email": Mask(lambda value: value.upper())},
        "staff": {"email": Mask(lambda value: value.replace("shop", "ñ"))},
    }
    tables, _ = refresh(rental, empty, masks)
    assert {name for name, each in tables.items() if each.how == "masked"} == {"films", "customers", "staff"}
    assert rows(empty, "SELECT DISTINCT description FROM films") == [("a\\N story",)]
    assert rows(empty, "SELECT title, fulltext::text, words::text FROM films WHERE id = 140") == [
        ("Masked\t5", "'5':2 'mask':1 'n':4 'stori':5", "'5':2 'masked':1")
    ]
    assert rows(empty, "SELECT count(*) FROM audit") == [(30,)]
    assert rows(empty, "SELECT count(name), min(email), count(*) FROM customers") == [(0, "C10@MAIL.EXAMPLE", 40)]
    assert rows(empty, "SELECT count(*), count(name) FROM names") == [(40, 0)]  # a materialized view
    assert rows(empty, 'SELECT (SELECT count(name) FROM "A name"), count FROM a_first') == [(0, 40)]
    filled = "SELECT relname, relispopulated FROM pg_class WHERE relkind = 'm' ORDER BY 1"
    assert rows(empty, filled) == rows(rental, filled)
    kept = "SELECT id, year, rated, ratings, extras, contacts, rate::text, half_year FROM films ORDER BY 1"
    assert rows(empty, kept) == rows(rental, kept)
    kept = "SELECT id, born::text, born_at::text, home, ref, prefs::text, plain::text, worth::text, source FROM customers ORDER BY 1"
    assert rows(empty, kept) == rows(rental, kept)


def test_a_value_that_does_not_fit_is_told_without_it(rental, empty, refresh):
    for masks, place in [
        (
            {"staff": {"email": Mask(lambda value: "secret of " + value[:2])}},
            {"table": "staff", "column": "email", "code": "23514"},
        ),
        ({"films": {"year": Mask(lambda value: "x" + value)}}, {"table": "films", "column": "year", "code": "22P02"}),
        ({"films": {"title": Mask(lambda _: None)}}, {"table": "films", "column": "title", "code": "23502"}),
    ]:
        with server.connect(empty, autocommit=True) as connection:
            connection.execute("DROP SCHEMA public, ledger CASCADE" if place["table"] != "staff" else "SELECT 1")
            connection.execute("CREATE SCHEMA IF NOT EXISTS public")
        with pytest.raises(DatabaseError) as failure:
            refresh(rental, empty, masks)
        assert failure.value.place == place
        assert "secret" not in str(failure.value)
        assert "x19" not in str(failure.value)
        assert failure.value.remedy


def test_a_mask_that_fails_is_told_without_the_value(rental, empty, refresh):
    with pytest.raises(DatabaseError) as failure:
        refresh(rental, empty, {"staff": {"email": Mask(int)}})
    assert failure.value.place == {"table": "staff", "column": "email"}
    assert "shop.example" not in str(failure.value)
    assert failure.value.__suppress_context__


def test_a_value_that_its_mask_refuses_is_told_with_its_column(origin, empty, refresh, run):
    run(origin, "CREATE TABLE seats (id int, code text); INSERT INTO seats VALUES (1, '12'), (2, 'B 77')")
    with Source.open(origin) as source:
        column = source.catalog.find("seats").columns["code"]
    with pytest.raises(PolicyError) as refused:
        refresh(origin, empty, {"seats": {"code": made("bijective", column, b"s" * 32)}})
    assert refused.value.place == {"table": "seats", "column": "code"}
    assert refused.value.message.startswith("seats, column code: bijective masks whole numbers")
    assert '"digits" for a text' in refused.value.remedy
    assert "77" not in str(refused.value)


def test_a_masked_partition_key_is_refused_before_a_row_is_read(rental, empty):
    with Source.open(rental) as source:
        for name, column in (("ledger.payments_1", "at"), ("ledger.payments_2_odd", "id"), ("reviews_1", "rated")):
            table = source.catalog.find(name)
            with pytest.raises(SchemaError) as refusal:
                transfer.copy(source, empty, [TableCopy(table=table, masks={column: Mask(str)})])
            assert refusal.value.place == {"table": name, "column": column}


def test_a_tsvector_that_nobody_can_compute_is_refused_beside_masks(origin, empty, run):
    run(origin, "CREATE TABLE t (a text, v tsvector)")
    with Source.open(origin) as source:
        table = source.catalog.find("t")
        with pytest.raises(SchemaError) as refusal:
            transfer.copy(source, empty, [TableCopy(table=table, masks={"a": Mask(str)})])
        assert refusal.value.place == {"table": "t", "column": "v"}


def test_a_trigger_of_the_project_can_be_named_to_compute_a_column(origin, empty, refresh, run, rows):
    run(origin, "CREATE TABLE t (a text, v tsvector NOT NULL); INSERT INTO t VALUES ('Ana', 'ana')")
    run(
        origin,
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.v := to_tsvector(NEW.a); RETURN NEW; END $$",
    )
    run(origin, "CREATE TRIGGER search BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f()")
    options = {"t": {"left_out": frozenset({"v"}), "triggers": frozenset({"search"})}}
    refresh(origin, empty, {"t": {"a": Mask(lambda _: "Eva")}}, **options)
    assert rows(empty, "SELECT a, v::text FROM t") == [("Eva", "'eva':1")]
    assert rows(empty, "SELECT count(*) FROM pg_trigger WHERE tgname = 'search'") == [(1,)]


def test_a_column_that_a_mask_computes_is_never_read(origin, empty, refresh, run, rows):
    run(
        origin,
        "CREATE TABLE t (found text, \"a b\" text, v tsvector NOT NULL); INSERT INTO t VALUES ('Ana', NULL, 'ana')",
    )
    computed = Mask(str)
    computed.computed = "to_tsvector('simple', coalesce(found, '') || ' ' || coalesce(\"a b\", 'none'))"
    refresh(origin, empty, {"t": {"found": Mask(lambda _: "Eva"), "v": computed}})
    assert rows(empty, "SELECT found, v::text FROM t") == [("Eva", "'eva':1 'none':2")]
    assert rows(empty, "SELECT count(*) FROM pg_proc WHERE proname LIKE 'seedtool%'") == [(0,)]
    run(empty, "DROP TABLE t")
    refresh(origin, empty, {"t": {"v": computed}})
    assert rows(empty, "SELECT v::text FROM t") == [("'ana':1 'none':2",)]


def test_large_tables_are_read_in_ranges_by_several_streams(origin, empty, refresh, run, rows, monkeypatch):
    run(
        origin,
        "CREATE TABLE big (id int, t text); INSERT INTO big SELECT g, repeat('x', g % 200) FROM generate_series(1, 30000) g",
    )
    run(origin, "DELETE FROM big WHERE id % 3 = 0")
    monkeypatch.setattr(transfer, "PART", 200_000)
    monkeypatch.setattr(transfer, "BLOCK", 10_000)
    monkeypatch.setattr(transfer, "_FEW_CORES", 0)
    with Source.open(origin) as source:
        assert len(list(transfer._parts(source, [TableCopy(table=source.catalog.find("big"))], split=True))) > 10
    masked = {"big": {"t": Mask(lambda value: value + "!")}}
    tables, _ = refresh(origin, empty, masked)
    assert tables["big"].rows == 20000
    query = "SELECT count(DISTINCT id), count(*), sum(length(t)) FROM big"
    ((ids, count, length),) = rows(origin, query)
    assert rows(empty, query) == [(ids, count, length + count)]
    run(empty, "DROP TABLE big")
    monkeypatch.setattr(transfer, "_FEW_CORES", 10_000)  # one stream for the table, which truncates it first
    tables, _ = refresh(origin, empty, masked)
    assert rows(empty, query) == [(ids, count, length + count)]


STRANGE = [
    'we"ird',
    "100%",
    "a.b",
    "tab\there",
    "line\nend",
    "select",
    "ñandú",
    "{}",
    "%s",
    "$1",
    "it's",
    "back\\slash",
]


def test_names_of_every_kind(origin, empty, refresh, rows):
    with server.connect(origin) as connection:
        for number, name in enumerate(STRANGE):
            after = STRANGE[number - 1]
            schema, table, column = sql.Identifier(name), sql.Identifier(name, after), sql.Identifier(after)
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(schema))
            connection.execute(
                sql.SQL("CREATE TABLE {} ({} int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, {} text, up int)").format(
                    table, schema, column
                )
            )
            connection.execute(sql.SQL("ALTER TABLE {} ADD FOREIGN KEY (up) REFERENCES {}").format(table, table))
            connection.execute(
                sql.SQL("INSERT INTO {} ({}, up) VALUES ('v', NULL), ('w', 1), ('x', 1)").format(table, column)
            )

    def places(source):
        return choose(
            source, {},
            [Root(table=each, where=sql.SQL("{} = 'w'").format(sql.Identifier(each.name)).as_string(None))
             for each in source.catalog.tables.values()],
        )  # fmt: skip

    masks = {name: {name: Mask(lambda value: value + "\\%")} for name in STRANGE}
    copied, _ = refresh(origin, empty, masks, places)
    assert len(copied) == len(STRANGE)
    for number, name in enumerate(STRANGE):
        query = sql.SQL("SELECT * FROM {} ORDER BY 1").format(sql.Identifier(name, STRANGE[number - 1]))
        assert rows(empty, query) == [(1, "v\\%", None), (2, "w\\%", 1)]


def test_other_encodings(target, empty, refresh, rows):
    with database(target, "refresh_latin", "", "ENCODING LATIN1 LOCALE 'C'") as made:
        with server.connect(made) as connection:
            connection.execute("CREATE TABLE quick (t text); CREATE TABLE slow (t text, r regclass)")
            connection.execute("INSERT INTO quick VALUES ('Ñandú \u00bf'); INSERT INTO slow VALUES ('Ñandú', 'quick')")
        copied, _ = refresh(made, empty, {"slow": {"t": Mask(lambda value: value[::-1])}})
    assert copied["quick"].how == "binary"
    assert rows(empty, "SELECT quick.t, slow.t FROM quick, slow") == [("Ñandú \u00bf", "údnañ".replace("ñ", "Ñ"))]


def test_one_long_value_among_short_ones(origin, empty, refresh, run, rows):
    run(
        origin,
        "CREATE TABLE t (id int, a text, b text); INSERT INTO t SELECT g, 'a' || g, 'b' FROM generate_series(1, 3000) g",
    )
    run(origin, "UPDATE t SET a = repeat('long', 1000000), b = repeat('x', 5000000) WHERE id = 1500")
    refresh(origin, empty, {"t": {"a": Mask(lambda value: value[::-1])}})
    query = "SELECT count(*), sum(length(a)), sum(length(b)), max(length(a)) FROM t"
    assert rows(empty, query) == rows(origin, query)
