"""What a seed left is noted, and empty tables are loaded by COPY: quicker ways that may make no difference."""

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedtool.errors import BlockedError, FixtureError, SeedError
from seedtool.listener import Listener


def forget(project):
    """Take away what makes the next seed of the table `slow` quicker: what was noted, and that it has no page."""
    if project.rows("SELECT to_regclass('seedtool.ledger') IS NOT NULL") == [(True,)]:
        project.run("DELETE FROM seedtool.ledger WHERE seed_set = ''")
    if not project.rows("SELECT FROM slow"):
        project.run("INSERT INTO slow (id) VALUES (-1); DELETE FROM slow")


def noted(project):
    return {relation for (relation,) in project.rows("SELECT relation FROM seedtool.ledger WHERE seed_set = ''")}


keys = st.integers(1, 4)
values = st.sampled_from(["", "a", "b", "ä"])
steps = st.one_of(
    st.tuples(st.just("file"), st.dictionaries(keys, st.tuples(values, values))),
    st.tuples(st.just("insert"), keys, values),
    st.tuples(st.just("update"), keys, values),
    st.tuples(st.just("delete"), keys),
    st.tuples(st.just("more"), st.dictionaries(st.integers(3, 6), st.tuples(values, values))),
    st.tuples(st.just("keep")),
    st.tuples(st.just("same")),
)


@settings(max_examples=40)
@given(st.lists(steps, min_size=1, max_size=6))
def test_the_quicker_ways_make_no_difference(project, story):
    """Two tables live the same; before each seed of the second, everything that could make it quicker is taken away."""
    for table in ("quick", "slow"):
        project.run(f"CREATE TABLE IF NOT EXISTS {table} (id int PRIMARY KEY, name text, note text)")
        project.run(f"TRUNCATE {table}")
        project.write(f"{table}.csv", "id,name,note\n", table)
        project.write(f"{table}.csv", "id,name,note\n", f"{table}-more")
    project.run("DROP SCHEMA IF EXISTS seedtool CASCADE")
    for step, *rest in story:
        assert live(project, "quick", step, *rest) == live(project, "slow", step, *rest)
        assert project.rows("SELECT * FROM quick ORDER BY id") == project.rows("SELECT * FROM slow ORDER BY id")
        assert ledger_of(project, "quick") == ledger_of(project, "slow")


def live(project, table, step, *rest):
    """Do a step of the story with a table, seed it, and return what the seed did."""
    match step, rest:
        case (("file" | "more"), [rows]):
            lines = [f"{key},{name},{note}\n" for key, (name, note) in rows.items()]
            project.write(
                f"{table}.csv", "id,name,note\n" + "".join(lines), table if step == "file" else f"{table}-more"
            )
        case "insert", [key, value]:
            project.run(f"INSERT INTO {table} VALUES ({key}, '{value}') ON CONFLICT DO NOTHING")
        case "update", [key, value]:
            project.run(f"UPDATE {table} SET note = '{value}' WHERE id = {key}")
        case "delete", [key]:
            project.run(f"DELETE FROM {table} WHERE id = {key}")
    if table == "slow":
        forget(project)
    try:
        report = project.seed(f"{table}-more" if step == "more" else table, prune=step != "keep")
    except FixtureError as error:
        return error.line, error.column
    return [(each.inserted, each.updated, each.unchanged, each.deleted) for each in report.tables]


def ledger_of(project, table):
    if project.rows("SELECT to_regclass('seedtool.ledger') IS NULL") == [(True,)]:
        return []
    return project.rows(
        f"SELECT replace(seed_set, '{table}', ''), key, content FROM seedtool.ledger WHERE relation = 'public.{table}'"
        " AND seed_set <> '' ORDER BY 1, 2"
    )


def test_a_seed_of_the_same_files_writes_nothing(small_school):
    before = small_school.everything()
    places = small_school.rows("SELECT ctid, xmin FROM pupils UNION ALL SELECT ctid, xmin FROM seedtool.ledger")
    report = small_school.seed()
    assert small_school.counts(report) == {"guardians": (0, 0, 3, 0), "pupils": (0, 0, 3, 0)}
    assert small_school.everything() == before
    assert places == small_school.rows("SELECT ctid, xmin FROM pupils UNION ALL SELECT ctid, xmin FROM seedtool.ledger")


def test_a_column_that_changed_its_type_is_compared(small_school):
    small_school.run("ALTER TABLE guardians ALTER phone TYPE varchar(20) USING phone || ' x'")
    assert small_school.counts(small_school.seed())["guardians"] == (0, 1, 2, 0)


def test_a_column_that_the_files_do_not_name_does_not_count(small_school):
    small_school.run("UPDATE pupils SET mood = 'sad'")
    assert small_school.counts(small_school.seed())["pupils"] == (0, 0, 3, 0)
    assert small_school.rows("SELECT DISTINCT mood FROM pupils") == [("sad",)]


@pytest.mark.parametrize(
    ("type_", "value"), [("timestamptz", "now"), ("timestamptz[]", "{now}"), ("tstzrange", '"[now,]"')]
)
def test_a_value_that_reads_the_clock_is_read_again(project, type_, value):
    project.run(f"CREATE TABLE moments (id int PRIMARY KEY, at {type_}, body text)")
    project.write("moments.csv", f"id,at,body\n1,{value},a\n")
    project.seed()
    assert project.counts(project.seed())["moments"] == (0, 1, 0, 0)


def test_a_text_may_say_now(project):
    project.run("CREATE TABLE texts (id int PRIMARY KEY, body text)")
    project.write("texts.csv", "id,body\n1,now\n")
    project.seed()
    assert noted(project) == {"public.texts"}


def test_the_faces_that_a_sync_links_do_not_count(small_school):
    small_school.write("pupil_faces.csv", "id,pupil_id,external_image_id\nf1,p1,p1-photo-1\n")
    small_school.seed()
    small_school.run("UPDATE pupil_faces SET face_id = 'linked'")
    assert small_school.counts(small_school.seed())["pupil_faces"] == (0, 0, 1, 0)
    assert "public.pupil_faces" in noted(small_school)
    assert small_school.rows("SELECT face_id FROM pupil_faces") == [("linked",)]


def test_a_line_that_leaves_is_told_with_the_unchanged_line_that_refers_to_it(small_school):
    small_school.write("guardians.csv", "id,email,phone\ng1,one@x.example,+56 1\n")
    with pytest.raises(FixtureError) as caught:
        small_school.seed()
    assert (caught.value.file, caught.value.line, caught.value.column) == ("seeds/local/pupils.csv", 4, "guardian_id")


def test_nothing_is_noted_while_a_trigger_may_have_changed_rows(project):
    project.run(
        "CREATE TABLE counted (id int PRIMARY KEY, marks int);"
        "CREATE TABLE marks_of (id int PRIMARY KEY, counted_id int REFERENCES counted);"
        "CREATE FUNCTION count_it() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN UPDATE counted SET marks = marks + 1 WHERE id = NEW.counted_id; RETURN NULL; END';"
        "CREATE TRIGGER count_it AFTER INSERT ON marks_of FOR EACH ROW EXECUTE FUNCTION count_it()"
    )
    project.write("counted.csv", "id,marks\n1,0\n")
    project.write("marks_of.csv", "id,counted_id\n1,1\n")
    project.seed()
    assert project.counts(project.seed())["counted"] == (0, 1, 0, 0)  # the file's value, as ever
    assert project.counts(project.seed())["counted"] == (0, 0, 1, 0)
    assert noted(project) == {"public.counted", "public.marks_of"}


def test_nothing_is_noted_where_a_foreign_key_may_have_changed_rows(project):
    project.run(
        "CREATE TABLE codes (id int PRIMARY KEY, code text UNIQUE);"
        "CREATE TABLE users_of (id int PRIMARY KEY, code text REFERENCES codes (code) ON UPDATE CASCADE)"
    )
    project.write("codes.csv", "id,code\n1,a\n")
    project.write("users_of.csv", "id,code\n1,a\n")
    project.seed()
    project.write("codes.csv", "id,code\n1,b\n")
    project.seed()
    with pytest.raises(FixtureError) as caught:
        project.seed()
    assert (caught.value.file, caught.value.column) == ("seeds/local/users_of.csv", "code")


def test_python_fixtures_are_compared_each_time(project):
    project.write("guardians.py", "def rows():\n    return [{'id': 'g1'}]\n")
    project.seed()
    assert noted(project) == set()


def test_what_was_noted_goes_with_the_file(small_school):
    small_school.remove("pupils.csv")
    small_school.seed()
    assert noted(small_school) == {"public.guardians"}


BAD = {
    "key twice": ("id,email\ng1,a\ng2,b\ng1,c\n", 4, "id"),
    "value twice": ("id,email\ng1,a\ng2,b\ng3,a\n", 4, "email"),
    "too long": ("id,phone\ng1,\ng2,0123456789abc\n", 3, "phone"),
    "no key": ("id,email\ng1,a\n,b\n", 3, "id"),
    "quote": ('id,email\ng1,a\ng2,"b\n', 3, "email"),
    "cells": ("id,email\ng1,a\ng2\n", 3, "email"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_fault_in_the_file_of_an_empty_table_has_its_place(project, name):
    content, line, column = BAD[name]
    project.write("guardians.csv", content)
    with pytest.raises(FixtureError) as caught:
        project.seed()
    assert (caught.value.line, caught.value.column) == (line, column)
    assert project.rows("SELECT FROM guardians") == []


def test_a_missing_reference_from_an_empty_table_has_its_place(project):
    project.write("guardians.csv", "id\ng1\n")
    project.write("pupils.csv", "id,name,guardian_id\np1,A,g1\np2,B,g2\n")
    with pytest.raises(FixtureError) as caught:
        project.seed()
    assert (caught.value.file, caught.value.line, caught.value.column) == ("seeds/local/pupils.csv", 3, "guardian_id")
    assert project.rows("SELECT FROM guardians") == []


def test_a_key_that_the_database_always_makes_is_loaded(project):
    project.run("CREATE TABLE made (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body text DEFAULT 'x')")
    project.write("made.csv", "id\n7\n9\n")
    assert project.counts(project.seed()) == {"made": (2, 0, 0, 0)}
    assert project.rows("SELECT id, body FROM made") == [(7, "x"), (9, "x")]
    assert project.rows("INSERT INTO made DEFAULT VALUES RETURNING id") == [(10,)]


def test_a_rule_is_not_passed_over(project):
    project.run("CREATE TABLE ruled (id int PRIMARY KEY); CREATE RULE no AS ON INSERT TO ruled DO INSTEAD NOTHING")
    project.write("ruled.csv", "id\n1\n")
    with pytest.raises(SeedError, match=r"\bno\b.*\bruled\b") as caught:
        project.seed()
    assert caught.value.place == {"table": "ruled"}


@pytest.mark.parametrize(
    ("lines", "line", "other"),
    [(["g1,two@x.example", "g2,two@x.example"], 3, 2), (["g2,two@x.example", "g9,two@x.example"], 3, 2)],
)
def test_a_value_of_a_row_that_stays_is_told_with_both_places(small_school, lines, line, other):
    small_school.write("guardians.csv", "\n".join(["id,email", *lines, "g3,three@x.example", ""]))
    small_school.remove("pupils.csv")
    with pytest.raises(FixtureError, match=f"guardians.csv:{other}") as caught:
        small_school.seed()
    assert (caught.value.line, caught.value.column) == (line, "email")


def test_only_what_changed_is_written(small_school):
    query = "SELECT ctid FROM pupils WHERE id <> 'p2' UNION ALL SELECT ctid FROM seedtool.ledger WHERE key <> '{\"id\": \"p2\"}'"
    query += " AND seed_set <> '' ORDER BY 1"
    before = small_school.rows(query)
    small_school.write("pupils.csv", "id,name,guardian_id,best_friend\np1,Ñandú,g1,p2\np2,Zoé,g1,p1\np3,Ana,g2,\n")
    assert small_school.counts(small_school.seed())["pupils"] == (0, 1, 2, 0)
    assert small_school.rows(query) == before


def test_a_row_that_the_database_refuses_is_found_among_those_that_change(small_school):
    small_school.run("ALTER TABLE pupils ADD EXCLUDE USING btree (age WITH =)")
    ages = "id,name,guardian_id,best_friend,age\np1,Ñandú,g1,p2,\np2,Zoë,g1,p1,5\np3,Ana,g2,,5\n"
    small_school.write("pupils.csv", ages)
    with pytest.raises(FixtureError) as caught:
        small_school.seed()
    assert (caught.value.file, caught.value.line) == ("seeds/local/pupils.csv", 4)


def test_a_set_that_lost_its_file_while_it_was_not_loaded_is_pruned(project):
    project.run("CREATE TABLE towns (id int PRIMARY KEY)")
    project.write("towns.csv", "id\n1\n", "base")
    project.write("towns.csv", "id\n2\n", "more")
    project.write("guardians.csv", "id\ng1\n", "more")
    project.seed("base", "more")
    project.remove("towns.csv", "more")
    project.seed("base")
    assert project.rows("SELECT id FROM towns ORDER BY id") == [(1,), (2,)]
    assert project.counts(project.seed("base", "more"))["towns"] == (0, 0, 1, 1)
    assert project.rows("SELECT id FROM towns") == [(1,)]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("CREATE DOMAIN amount AS float8", "CREATE DOMAIN amount AS text"),
        ("CREATE TYPE amount AS (n float8)", "CREATE TYPE amount AS (n text)"),
    ],
)
def test_a_type_that_was_made_anew_under_its_name_is_compared(project, before, after):
    value, kind = ("(1.50)", "TYPE") if "TYPE" in before else ("1.50", "DOMAIN")
    project.run(f"{before}; CREATE TABLE prices (id int PRIMARY KEY, amount amount)")
    project.write("prices.csv", f"id,amount\n1,{value}\n")
    project.seed()
    project.run(
        "ALTER TABLE prices ALTER amount TYPE text USING amount::text;"
        f"DROP {kind} amount; {after}; ALTER TABLE prices ALTER amount TYPE amount USING amount::text::amount"
    )
    assert project.counts(project.seed()) == {"prices": (0, 1, 0, 0)}
    assert project.rows("SELECT amount::text FROM prices") == [(value,)]


class Meanwhile(Listener):
    """Another session writes once the rows are compared, and before they are written."""

    def __init__(self, conninfo, statement):
        self.conninfo, self.statement = conninfo, statement

    def step(self, name):
        if name == "write":
            with psycopg.connect(self.conninfo, autocommit=True) as other:
                other.execute(f"SET lock_timeout = '100ms'; {self.statement}")


@pytest.mark.parametrize(
    "statement", ["DELETE FROM guardians WHERE id = 'g3'", "UPDATE guardians SET email = 'mine' WHERE id = 'g2'"]
)
def test_what_others_write_during_a_seed_is_seen_by_the_next(small_school, database, statement):
    small_school.write("guardians.csv", "id,email\ng1,one@x.example\ng2,two@x.example\ng3,three@x.example\ng4,\n")
    small_school.seed(listener=Meanwhile(database.conninfo, statement))
    assert "public.guardians" not in noted(small_school)
    report = small_school.counts(small_school.seed())["guardians"]
    assert report in {(1, 0, 3, 0), (0, 1, 3, 0)}
    assert small_school.rows("SELECT id, email FROM guardians ORDER BY id") == [
        ("g1", "one@x.example"), ("g2", "two@x.example"), ("g3", "three@x.example"), ("g4", None)
    ]  # fmt: skip


def test_nobody_else_inserts_into_a_table_that_is_loaded(project, database):
    """Every row of such a table is recorded as the seed's, so another one would be pruned some day."""
    project.write("guardians.csv", "id\ng1\n")
    with pytest.raises(BlockedError):  # of the other session
        project.seed(listener=Meanwhile(database.conninfo, "INSERT INTO guardians VALUES ('mine')"))
    assert project.counts(project.seed()) == {"guardians": (1, 0, 0, 0)}


def test_an_empty_table_that_somebody_is_about_to_write_is_not_waited_for(project, database):
    project.write("guardians.csv", "id\ng1\ng2\n")
    with psycopg.connect(database.conninfo) as other:
        other.execute("LOCK TABLE guardians IN ROW EXCLUSIVE MODE")
        assert project.counts(project.seed()) == {"guardians": (2, 0, 0, 0)}
        other.execute("INSERT INTO guardians VALUES ('mine')")
    project.write("guardians.csv", "id\ng1\n")
    assert project.counts(project.seed()) == {"guardians": (0, 0, 1, 1)}
    assert project.rows("SELECT id FROM guardians ORDER BY id") == [("g1",), ("mine",)]


def test_a_role_that_may_only_insert_seeds_new_rows(project):
    """It cannot keep others from writing an empty table, so its rows are staged, and none is updated."""
    project.write("guardians.csv", "id,email\n")
    project.seed()
    role = f"seeding_inserter_{project.connection.info.dbname}"
    project.run(
        f"CREATE ROLE {role}; GRANT SELECT, INSERT ON guardians TO {role}; GRANT USAGE ON SCHEMA seedtool TO {role};"
        f"GRANT ALL ON seedtool.ledger TO {role}; SET ROLE {role}"
    )
    project.write("guardians.csv", "id,email\ng1,\n")
    assert project.counts(project.seed())["guardians"] == (1, 0, 0, 0)
    project.write("guardians.csv", "id,email\ng1,\ng2,\n")
    assert project.counts(project.seed())["guardians"] == (1, 0, 1, 0)
    project.write("guardians.csv", "id,email\ng1,a\n")
    with pytest.raises(BlockedError) as caught:
        project.seed()
    assert caught.value.place["code"] == "42501"  # insufficient_privilege
    project.connection.rollback()
    project.run(f"RESET ROLE; DROP OWNED BY {role}; DROP ROLE {role}")
