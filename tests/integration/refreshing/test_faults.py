"""What broke other tools that copy databases; the number is that of their report."""

import shutil
import subprocess

import pytest
from psycopg.conninfo import conninfo_to_dict

from seedtool.errors import DatabaseError
from seedtool.postgres import programs
from seedtool.refreshing.subset import Root, choose
from tests.integration.refreshing.conftest import database
from tests.integration.refreshing.test_copy import Mask


def test_a_row_that_is_dropped_on_the_way_is_an_error(origin, empty, run, refresh):
    """xataio/pgstream 973: rows were dropped, and the exit code was 0."""
    run(origin, "CREATE TABLE t (id int, v int); INSERT INTO t SELECT g, g FROM generate_series(1, 9) g")
    run(
        origin,
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN IF NEW.id = 5 THEN RETURN NULL; END IF; NEW.v := 1; RETURN NEW; END $$",
    )
    run(origin, "CREATE TRIGGER few BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()")
    with pytest.raises(DatabaseError, match="sent 9 rows, and the target took 8"):
        refresh(origin, empty, t={"left_out": frozenset({"v"}), "triggers": frozenset({"few"})})


@pytest.mark.parametrize(
    ("ddl", "masks"),
    [
        ("CREATE TABLE t (a text UNIQUE)", {"a": Mask(lambda _: "one")}),
        ("CREATE TABLE t (a text); CREATE UNIQUE INDEX ON t (lower(a))", {"a": Mask(lambda value: "aA"[int(value) % 2])}),
        ("CREATE TABLE t (a text, EXCLUDE USING btree (a WITH =))", {"a": Mask(lambda _: "one")}),
        ("CREATE TABLE p (a text PRIMARY KEY); CREATE TABLE t (a text REFERENCES p)", {"a": Mask(lambda value: value + "x")}),
    ],
)  # fmt: skip
def test_a_key_that_does_not_hold_is_an_error(origin, empty, run, refresh, ddl, masks):
    """xataio/pgstream 1093: the errors of pg_restore were passed over."""
    run(origin, ddl)
    values = "SELECT g::text FROM generate_series(1, 3) g"
    if "REFERENCES" in ddl:
        run(origin, f"INSERT INTO p {values}")
    run(origin, f"INSERT INTO t {values}")
    with pytest.raises(DatabaseError) as failure:
        refresh(origin, empty, {"t": masks})
    assert "post-data" in failure.value.message
    assert "(a)=" not in str(failure.value)
    assert "refresh check" in failure.value.remedy


def test_an_index_of_one_partition_alone(origin, empty, run, refresh, rows):
    """xataio/pgstream 1093: indexes of partitions were not attached; here one is, and one has no parent."""
    run(
        origin,
        "CREATE TABLE t (a text PRIMARY KEY, b text) PARTITION BY RANGE (a); CREATE TABLE t_1 PARTITION OF t DEFAULT",
    )
    run(origin, "CREATE UNIQUE INDEX ON t_1 (b); INSERT INTO t SELECT g, g FROM generate_series(1, 3) g")
    refresh(origin, empty, {"t_1": {"b": Mask(str)}})
    query = (
        "SELECT c.relname, indisvalid, inhparent::regclass::text FROM pg_index JOIN pg_class c ON c.oid = indexrelid"
        " LEFT JOIN pg_inherits ON inhrelid = indexrelid WHERE indrelid IN ('t'::regclass, 't_1'::regclass) ORDER BY 1"
    )
    assert rows(empty, query) == rows(origin, query) == [
        ("t_1_b_idx", True, None), ("t_1_pkey", True, "t_pkey"), ("t_pkey", True, None),
    ]  # fmt: skip
    run(empty, "DROP TABLE t")
    with pytest.raises(DatabaseError, match="post-data"):
        refresh(origin, empty, {"t_1": {"b": Mask(lambda _: "one")}})


def test_rows_of_a_table_that_inherits_come_once(rental, empty, refresh, rows):
    """xataio/pgstream 909."""
    refresh(rental, empty)
    for query in ("SELECT tableoid::regclass::text, * FROM people ORDER BY 1, 2", "SELECT * FROM actors ORDER BY 1"):
        assert rows(empty, query) == rows(rental, query)


def test_infinite_dates_and_what_is_no_number(origin, empty, run, refresh, rows):
    """xataio/pgstream 451, in each of the three ways."""
    columns = "a date, b timestamptz, c float8, d numeric, e interval, f daterange"
    values = "('-infinity', 'infinity', 'NaN', '-Infinity', '-1 mons +00:00:00.000001', '(,)'), ('4713-01-01 BC', '294276-12-31', '-0', 'NaN', '0', 'empty')"
    for name, more in (("binary_one", ""), ("text_one", ", x regclass"), ("masked", ", x text")):
        run(origin, f"CREATE TABLE {name} ({columns}{more}); INSERT INTO {name} VALUES {values}")
    copied, _ = refresh(origin, empty, {"masked": {"x": Mask(str)}})
    assert [copied[name].how for name in ("binary_one", "text_one", "masked")] == ["binary", "text", "masked"]
    for name in copied:
        query = f"SELECT t::text FROM {name} t"
        assert rows(empty, query) == rows(origin, query)


def test_what_types_send_that_means_something_else_elsewhere(origin, empty, run, refresh, rows):
    """Oids of the user's own types and of tables differ between databases, and binary COPY sends them."""
    run(empty, "CREATE TYPE earlier AS ENUM ('x'); CREATE TABLE earlier_too ()")
    run(
        origin,
        "CREATE TYPE mood AS ENUM ('b', 'a'); CREATE TYPE pair AS (m mood, n int); CREATE DOMAIN moods AS mood[];"
        " CREATE TYPE moodrange AS RANGE (subtype = mood);"
        " CREATE TABLE a (v mood); CREATE TABLE b (v mood[]); CREATE TABLE c (v pair); CREATE TABLE d (v moods);"
        " CREATE TABLE e (v moodrange); CREATE TABLE f (v regclass); CREATE TABLE g (v regclass[]);"
        " CREATE TABLE h (v moodmultirange); CREATE TABLE i (v regtype); CREATE TABLE j (v int4multirange)",
    )
    for name, value in {
        "a": "a", "b": "{a,b}", "c": "(a,1)", "d": "{b}", "e": "[b,a]", "f": "c", "g": "{c,d}", "h": "{[b,a]}", "i": "mood",
        "j": "{[1,2)}",
    }.items():  # fmt: skip
        run(origin, f"INSERT INTO {name} VALUES ('{value}')")
    copied, _ = refresh(origin, empty)
    assert {name for name, each in copied.items() if each.how == "binary"} == {"a", "e"}
    for name in copied:
        assert rows(empty, f"SELECT v::text FROM {name}") == rows(origin, f"SELECT v::text FROM {name}")


def test_what_holds_passwords_and_sends_things_out_stays_behind(origin, empty, run, refresh, rows):
    run(
        origin,
        "CREATE EXTENSION hstore; COMMENT ON EXTENSION hstore IS 'ours'; CREATE EXTENSION postgres_fdw;"
        " CREATE SERVER other FOREIGN DATA WRAPPER postgres_fdw;"
        " CREATE USER MAPPING FOR postgres SERVER other OPTIONS (user 'u', password 'secret');"
        " CREATE FOREIGN TABLE remote (a int) SERVER other; CREATE TABLE t (h hstore); INSERT INTO t VALUES ('a=>1');"
        " CREATE PUBLICATION out FOR TABLE t; CREATE SCHEMA seedtool; CREATE TABLE seedtool.marks (m text)",
    )
    run(origin, "CREATE TABLE of_extension (a int); ALTER EXTENSION hstore ADD TABLE of_extension")
    run(origin, "SELECT 1; GRANT SELECT ON t TO PUBLIC; ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC")
    refresh(origin, empty, without=("of_extension", "marks"))
    assert rows(empty, "SELECT h -> 'a' FROM t") == [("1",)]
    assert rows(empty, "SELECT count(*) FROM pg_user_mapping") == [(0,)]
    assert rows(empty, "SELECT count(*) FROM pg_publication") == [(0,)]
    assert rows(empty, "SELECT to_regclass('seedtool.marks'), to_regclass('remote')::text") == [(None, "remote")]
    assert rows(empty, "SELECT relacl FROM pg_class WHERE relname = 't'") == [(None,)]


def test_pgbench(origin, empty, refresh, rows):
    """A schema that nobody here designed: its own generator fills it."""
    tools = programs.fitting(180000)[0]
    host = conninfo_to_dict(origin.conninfo)["host"]
    subprocess.run(
        [tools.folder / "pgbench", "-i", "-q", "-s", "1", "--partitions=3", "--foreign-keys", "-h", host, "-U", "postgres", origin.name],
        check=True, capture_output=True,
    )  # fmt: skip

    def one_in_a_thousand(source):
        root = Root(table=source.catalog.find("pgbench_accounts"), where="aid % 1000 = 1")
        return choose(source, {}, [root])

    names = {f"pgbench_accounts_{number}": {"filler": Mask(lambda _: "x" * 84)} for number in (1, 2, 3)}
    copied, _ = refresh(origin, empty, names, one_in_a_thousand)
    assert rows(empty, "SELECT count(*), min(filler) FROM pgbench_accounts") == [(100, "x" * 84)]
    assert rows(empty, "SELECT count(*) FROM pgbench_branches") == [(1,)]
    assert copied["pgbench_tellers"].rows == 0  # siblings: tellers refer to the branch, not to accounts


@pytest.mark.torture
def test_a_disk_that_is_full(target, origin, run, refresh, tmp_path, home):
    """The copy's server has 40 MB for it; the rows need 80."""
    disk = home / "full"
    disk.mkdir(mode=0o700)
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", disk], capture_output=True, check=False
    ).returncode:
        pytest.skip("this user may not mount")
    try:
        shutil.chown(disk, "postgres", "postgres")
        run(target.at("postgres"), f"CREATE TABLESPACE small LOCATION '{disk}'")
        run(
            origin,
            "CREATE TABLE t (id int, a text); INSERT INTO t SELECT g, repeat('x', 800) FROM generate_series(1, 100000) g",
        )
        with database(target, "refresh_small", "", "TABLESPACE small") as made:
            for masks in ({}, {"t": {"a": Mask(str)}}):
                with pytest.raises(DatabaseError) as failure:
                    refresh(origin, made, masks)
                assert failure.value.place == {"table": "t", "code": "53100"}
                assert "room" in failure.value.remedy
                run(made, "DROP TABLE t")
        run(target.at("postgres"), "DROP TABLESPACE small")
    finally:
        subprocess.run(["umount", "-l", disk], check=True)
