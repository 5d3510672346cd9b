"""Subsets: whatever rows are asked for, every reference of a copied row leads to a copied row, and nothing else comes."""

import random
from fractions import Fraction

import pytest

from seedtool.errors import SchemaError
from seedtool.postgres import server
from seedtool.refreshing.source import Source
from seedtool.refreshing.subset import Reference, Root, choose
from tests.integration.refreshing.conftest import database


def chosen(source, rows=None, roots=(), children=None, virtual=()):
    """Choose rows; tables are named as in SQL, and the answer has the rows of each by `query`."""
    catalog = source.catalog
    keys = [Reference(catalog.find(key[0]).oid, key[1], catalog.find(key[2]).oid, *key[3:]) for key in virtual]
    found = choose(
        source, {catalog.find(name).oid: what for name, what in (rows or {}).items()},
        [Root(table=catalog.find(name), where=where) for name, where in roots],
        children=None if children is None else {catalog.find(name).oid for name in children}, virtual=keys,
    )  # fmt: skip
    return {str(catalog.tables[oid]): places for oid, places in found.items()}


def keys(source, found, table, columns):
    """Return these columns of the chosen rows of a table."""
    places = found[table]
    if places is None:
        return set(source.holder.execute(f"SELECT {columns} FROM ONLY {table}"))
    texts = [text for some in places.texts(1000) for text in some]
    query = f"SELECT {columns} FROM ONLY {table} WHERE ctid = ANY (%s::tid[])"
    return set(source.holder.execute(query, ["{" + ",".join(texts) + "}"]).fetchall())


def test_parents_come_always_children_as_asked_and_siblings_not(rental):
    with Source.open(rental) as source:
        found = chosen(source, roots=[("customers", "id IN (3, 4)")], children=["rentals"])
        assert keys(source, found, "customers", "id") == {(3,), (4,)}
        rented = keys(source, found, "rentals", "id, store, film, copy")
        assert {row[0] for row in rented} == {number for number in range(1, 201) if number % 40 + 1 in {3, 4}}
        assert keys(source, found, "inventory", "store, film, copy") == {row[1:] for row in rented}  # a composite key
        stores = keys(source, found, "stores", "id, code")
        assert {code for _, code in stores} >= {
            "code1",
            "code2",
        }  # customers refer to the code, which is no primary key
        # each store's manager, whose manager and mentor are staff, too; their own stores
        assert {row[0] for row in keys(source, found, "staff", "id")} == {1, 2, 3}
        payments = [name for name in found if name.startswith("ledger.payments")]
        assert len(payments) == 4
        assert all(len(found[name]) == 0 for name in [*payments, "ledger.refunds"])
        assert found["people"] is None  # no reference leads there


def test_children_of_partitions_and_partitioned_children(rental):
    with Source.open(rental) as source:
        found = chosen(source, roots=[("customers", "id = 11")])
        paid = set()
        for name in found:
            if name.startswith("ledger.payments"):
                paid |= keys(source, found, name, "id, at, customer")
        assert paid
        assert {row[2] for row in paid} == {11}
        assert (
            len(paid) == source.holder.execute("SELECT count(*) FROM ledger.payments WHERE customer = 11").fetchone()[0]
        )
        refunded = chosen(source, roots=[("ledger.refunds", "payment = 50")])
        assert sum(len(refunded[name]) for name in refunded if name.startswith("ledger.payments")) == 1


def test_two_self_references_down_to_the_end(rental):
    with Source.open(rental) as source:
        found = chosen(source, roots=[("staff", "id = 4")], children=["staff"])
        below, above = {4}, {4}
        rows = {row[0]: row[1:] for row in source.holder.execute("SELECT id, manager, mentor FROM staff")}
        while new := {number for number, bosses in rows.items() if set(bosses) & below} - below:
            below |= new
        above |= below
        while new := {boss for number in above for boss in rows[number] if boss} - above:
            above |= new
        managers = {1, 2, 3}  # of the stores
        assert {row[0] for row in keys(source, found, "staff", "id")} == above | managers


def test_virtual_keys_with_a_condition_and_another_type(rental):
    virtual = [
        ("notes", ("about",), "customers", ("id",), "about_kind = 'customer'", "notes about customers"),
        ("notes", ("about",), "films", ("id",), "about_kind = 'film' AND about LIKE '1%'", "notes about films"),
    ]
    with Source.open(rental) as source:
        down = chosen(source, roots=[("customers", "id = 7")], children=["notes"], virtual=virtual)
        assert keys(source, down, "notes", "about_kind, about") == {("customer", "7")}
        up = chosen(source, roots=[("notes", "about = '110'")], virtual=virtual, children=[])
        assert keys(source, up, "films", "id") == {(110,)}
        assert len(up["customers"]) == 0


def test_samples_take_their_parents_along_and_are_the_same_each_time(rental):
    with Source.open(rental) as source:
        rows = {"rentals": "all", "customers": Fraction(1, 10), "ledger.refunds": Fraction(1, 2)}
        found = chosen(source, rows)
        assert keys(source, found, "customers", "id") >= keys(source, found, "rentals", "customer")
        rows |= {"rentals": "none", "ledger.payments": "none", "ledger.refunds": "none"}
        assert len(chosen(source, rows)["rentals"]) == 0
        assert len(chosen(source, rows)["customers"]) < 40
        again, once = chosen(source, rows), chosen(source, rows)
        assert all(list(once[name].numbers) == list(again[name].numbers) for name in once if once[name] is not None)


def test_a_table_without_rows_that_rows_refer_to_is_refused(rental):
    with Source.open(rental) as source, pytest.raises(SchemaError) as refusal:
        chosen(source, {"customers": "none"})
    assert refusal.value.place["table"] == "customers"


@pytest.mark.parametrize(
    "where",
    [
        "nobody = 1",
        "id = ",
        "id = 'x'",
        "id > 100 % 0",
        "id = 1) OR (true",
        "true; SELECT 1",
        "true)) TO PROGRAM 'true' --",
    ],
)
def test_a_wrong_condition_is_told_and_leaves_the_snapshot(rental, where):
    with Source.open(rental) as source:
        with pytest.raises(SchemaError) as refusal:
            chosen(source, roots=[("customers", where)])
        assert refusal.value.place["table"] == "customers"
        assert "'x'" not in refusal.value.message
        assert len(chosen(source, roots=[("customers", "name LIKE 'Cliente%' -- all")])["customers"]) == 40


def test_a_subset_without_a_row_is_refused(rental):
    with Source.open(rental) as source, pytest.raises(SchemaError, match="finds no row: customers WHERE false and"):
        chosen(source, roots=[("customers", "false"), ("staff", "id < 0")])


def test_a_copied_subset_meets_every_key(rental, empty, refresh, rows):
    def places(source):
        catalog = source.catalog
        return choose(source, {}, [Root(table=catalog.find("customers"), where="id % 10 = 0")])

    copied, _ = refresh(rental, empty, places=places)
    assert rows(empty, "SELECT id FROM customers ORDER BY 1") == [(10,), (20,), (30,), (40,)]
    assert copied["rentals"].rows == 20
    assert rows(empty, "SELECT count(*) FROM people") == rows(rental, "SELECT count(*) FROM people")


GRAPH = """
CREATE TABLE a (x int, y int, up int, other int, PRIMARY KEY (x, y), z int UNIQUE);
CREATE TABLE b (id int PRIMARY KEY, x int, y int, c int, me int REFERENCES b, me_too int REFERENCES b,
  FOREIGN KEY (x, y) REFERENCES a) PARTITION BY RANGE (id);
CREATE TABLE b_low PARTITION OF b FOR VALUES FROM (0) TO (10);
CREATE TABLE b_high PARTITION OF b FOR VALUES FROM (10) TO (1000);
CREATE TABLE c (id int PRIMARY KEY, z int REFERENCES a (z));
ALTER TABLE b ADD FOREIGN KEY (c) REFERENCES c;
ALTER TABLE a ADD FOREIGN KEY (up) REFERENCES b, ADD FOREIGN KEY (other) REFERENCES a (z);
"""
#: table, columns, references, columns
EDGES = [
    ("b", ("x", "y"), "a", ("x", "y")), ("b", ("me",), "b", ("id",)), ("b", ("me_too",), "b", ("id",)),
    ("b", ("c",), "c", ("id",)), ("c", ("z",), "a", ("z",)), ("a", ("up",), "b", ("id",)),
    ("a", ("other",), "a", ("z",)),
]  # fmt: skip


def test_any_graph_of_rows(target):
    """Rows with random references, in cycles of tables and within them: compared with the plainest walk in Python."""
    with database(target, "refresh_graph", GRAPH) as made:
        for seed in range(12):
            draw = random.Random(seed)  # noqa: S311 - rows, not secrets
            data = {
                "a": [{"x": n, "y": n % 3, "z": n, "up": None, "other": None} for n in range(12)],
                "b": [{"id": n, "x": None, "y": None, "c": None, "me": None, "me_too": None} for n in range(20)],
                "c": [{"id": n, "z": None} for n in range(8)],
            }
            for table, columns, meant, referenced in EDGES:
                for row in data[table]:
                    if draw.random() < 0.4:
                        other = draw.choice(data[meant])
                        row.update({one: other[two] for one, two in zip(columns, referenced, strict=True)})
            with server.connect(made) as connection:
                connection.execute("TRUNCATE a, b, c")
                connection.execute("SET session_replication_role = replica")
                for table, rows in data.items():
                    for row in rows:
                        marks = ", ".join(["%s"] * len(row))
                        connection.execute(
                            f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", list(row.values())
                        )
            root, number = draw.choice(["a", "b", "c"]), draw.randrange(8)
            column = "x" if root == "a" else "id"
            children = draw.choice([None, [], ["b"], ["a", "c"]])
            with Source.open(made) as source:
                found = chosen(source, roots=[(root, f"{column} = {number}")], children=children)
                got = {table: set() for table in data}
                for table, columns in (("a", "x"), ("b_low", "id"), ("b_high", "id"), ("c", "id")):
                    got[table[0]] |= {row[0] for row in keys(source, found, table, columns)}
            assert got == walked(data, root, number, children), seed


def walked(data, root, number, children):
    first = {"a": "x", "b": "id", "c": "id"}
    down, up = set(), set()
    waiting = [(root, number, True)]
    while waiting:
        table, key, is_down = waiting.pop()
        if (table, key) in (down if is_down else up | down):
            continue
        (down if is_down else up).add((table, key))
        row = next(row for row in data[table] if row[first[table]] == key)
        for own, columns, meant, referenced in EDGES:
            if own == table and all(row[name] is not None for name in columns):
                waiting += [
                    (meant, other[first[meant]], False) for other in data[meant]
                    if all(other[two] == row[one] for one, two in zip(columns, referenced, strict=True))
                ]  # fmt: skip
            if meant == table and is_down and (children is None or own in children):
                waiting += [
                    (own, other[first[own]], True) for other in data[own]
                    if all(other[one] == row[two] for one, two in zip(columns, referenced, strict=True))
                ]  # fmt: skip
    found = {table: set() for table in data}
    for table, key in down | up:
        found[table].add(key)
    return found
