"""Tables without a primary key: another key names their rows, or the whole row does; and tables that inherit."""

import pytest

from seedtool.errors import FixtureError, SeedError
from seedtool.seeding.dump import dump

TAGGED = "CREATE TABLE tagged (pupil_id text REFERENCES pupils, tag text, weight int)"


def counted(report, table="tagged"):
    (found,) = [each for each in report.tables if each.table == table]
    return found.inserted, found.updated, found.unchanged, found.deleted


def dumped(project, *tables):
    dump(project.connection, tables, project.root / "seeds", "local", root=project.root)
    return {table: (project.root / "seeds" / "local" / f"{table}.csv").read_text() for table in tables}


@pytest.fixture
def tagged(small_school):
    """An association table, as SQLAlchemy's Table() makes it; two of its rows are equal, and one has a NULL."""
    small_school.run(TAGGED)
    small_school.write("tagged.csv", "pupil_id,tag,weight\np1,red,1\np1,red,1\np2,blue,\n")
    assert counted(small_school.seed()) == (3, 0, 0, 0)
    return small_school


class TestTheWholeRow:
    def test_the_same_rows_again_change_nothing(self, tagged):
        assert counted(tagged.seed()) == (0, 0, 3, 0)
        assert tagged.rows("SELECT count(*) FROM tagged") == [(3,)]

    def test_one_of_two_equal_rows_leaves(self, tagged):
        tagged.write("tagged.csv", "pupil_id,tag,weight\np1,red,1\np2,blue,\n")
        assert counted(tagged.seed()) == (0, 0, 2, 1)
        assert tagged.rows("SELECT * FROM tagged ORDER BY 1") == [("p1", "red", 1), ("p2", "blue", None)]

    def test_an_edited_line_is_another_row(self, tagged):
        tagged.write("tagged.csv", "pupil_id,tag,weight\np1,red,1\np1,red,1\np2,blue,5\n")
        assert counted(tagged.seed()) == (1, 0, 2, 1)
        assert tagged.rows("SELECT weight FROM tagged WHERE pupil_id = 'p2'") == [(5,)]

    def test_equal_rows_that_people_made_stay(self, tagged):
        tagged.run("INSERT INTO tagged VALUES ('p1', 'red', 1), ('p3', 'red', 1)")
        assert counted(tagged.seed()) == (0, 0, 3, 0)
        tagged.write("tagged.csv", "pupil_id,tag,weight\n")
        assert counted(tagged.seed()) == (0, 0, 0, 3)
        assert tagged.rows("SELECT * FROM tagged ORDER BY 1") == [("p1", "red", 1), ("p3", "red", 1)]

    def test_a_row_that_was_there_before_is_nobodys_but_theirs(self, small_school):
        small_school.run(TAGGED)
        small_school.run("INSERT INTO tagged VALUES ('p1', 'red', 1)")
        small_school.write("tagged.csv", "pupil_id,tag,weight\np1,red,1\n")
        assert counted(small_school.seed()) == (0, 0, 1, 0)
        small_school.remove("tagged.csv")
        small_school.seed()
        assert small_school.rows("SELECT count(*) FROM tagged") == [(1,)]

    def test_a_dry_run_counts_the_same_and_changes_nothing(self, tagged):
        before = tagged.rows("SELECT * FROM tagged ORDER BY 1")
        tagged.write("tagged.csv", "pupil_id,tag,weight\np3,new,1\n")
        assert counted(tagged.seed(dry_run=True)) == (1, 0, 0, 3)
        assert tagged.rows("SELECT * FROM tagged ORDER BY 1") == before

    def test_parents_and_rows_come_and_go_in_one_seed(self, tagged):
        tagged.write("pupils.csv", "id,name\np4,Eva\n")
        tagged.write("tagged.csv", "pupil_id,tag,weight\np4,new,1\n")
        assert counted(tagged.seed()) == (1, 0, 0, 3)

    def test_a_line_that_still_refers_to_a_parent_that_leaves_is_named(self, tagged):
        tagged.write("pupils.csv", "id,name,best_friend\np1,Ñandú,\n")
        with pytest.raises(FixtureError) as caught:
            tagged.seed()
        assert (caught.value.file, caught.value.line, caught.value.column) == ("seeds/local/tagged.csv", 4, "pupil_id")

    def test_a_row_of_people_that_refers_to_a_parent_that_leaves_is_named(self, tagged):
        tagged.run("INSERT INTO tagged VALUES ('p3', 'mine', 1)")
        tagged.write("pupils.csv", "id,name,guardian_id,best_friend\np1,Ñandú,g1,p2\np2,Zoë,g1,p1\n")
        with pytest.raises(SeedError, match="row pupil_id=p3 of tagged"):
            tagged.seed()

    def test_faults_are_named_with_their_lines(self, tagged):
        for text, line, column in [
            ("pupil_id,tag,weight\np1,red,1\np9,x,1\n", 3, "pupil_id"),
            ("pupil_id,tag,weight\np1,red,x\n", 2, "weight"),
            ("pupil_id,tag\np1,red\n", 1, "weight"),
            ("pupil_id,tag,weight,seedtool_row\np1,red,1,x\n", 1, "seedtool_row"),
        ]:
            tagged.write("tagged.csv", text)
            with pytest.raises(FixtureError) as caught:
                tagged.seed()
            assert (caught.value.line, caught.value.column) == (line, column)

    def test_a_unique_column_that_may_be_empty_is_no_key_but_is_checked(self, small_school):
        small_school.run("CREATE TABLE badges (code text UNIQUE, name text)")
        small_school.write("badges.csv", "code,name\nA,one\n,two\n")
        small_school.seed()
        small_school.write("badges.csv", "code,name\nA,other\n,two\n")
        assert counted(small_school.seed(), "badges") == (1, 0, 1, 1)
        small_school.run("INSERT INTO badges VALUES ('B', 'theirs')")
        small_school.write("badges.csv", "code,name\nA,other\nB,two\n")
        with pytest.raises(FixtureError) as caught:
            small_school.seed()
        assert (caught.value.line, caught.value.column) == (3, "code")

    def test_values_that_nothing_compares_and_columns_of_our_names(self, project):
        project.run(
            "CREATE TABLE odd (seedtool_row json, seedtool_number point, seedtool_batch text[], r numeric, t bytea, id"
            " int GENERATED ALWAYS AS IDENTITY, twice int GENERATED ALWAYS AS (2) STORED)"
        )
        header = "seedtool_row,seedtool_number,seedtool_batch,r,t\n"
        project.write("odd.csv", header + '"{""a"":  1}","(1,2)","{a,NULL}",1.50,\\x00\n,,,,\n,,,,\n')
        assert counted(project.seed(), "odd") == (3, 0, 0, 0)
        assert counted(project.seed(), "odd") == (0, 0, 3, 0)
        dumped(project, "odd")
        assert counted(project.seed(), "odd") == (0, 0, 3, 0)
        project.write("odd.csv", header)
        assert counted(project.seed(), "odd") == (0, 0, 0, 3)

    def test_a_trigger_that_changes_the_rows_is_named(self, tagged):
        tagged.run(
            "CREATE FUNCTION loud() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.tag := upper(NEW.tag);"
            " RETURN NEW; END $$; CREATE TRIGGER loud BEFORE INSERT ON tagged FOR EACH ROW EXECUTE FUNCTION loud()"
        )
        before = tagged.rows("SELECT * FROM tagged ORDER BY 1")
        tagged.write("tagged.csv", "pupil_id,tag,weight\np3,green,1\n")
        with pytest.raises(SeedError, match="trigger loud of tagged"):
            tagged.seed()
        assert tagged.rows("SELECT * FROM tagged ORDER BY 1") == before

    def test_a_dump_brings_the_same_rows_back_in_the_same_order(self, tagged):
        tagged.run("INSERT INTO tagged VALUES ('p3', '', NULL), ('p3', NULL, 0)")
        text = dumped(tagged, "tagged")["tagged"]
        assert text.splitlines() == ["pupil_id,tag,weight", "p1,red,1", "p1,red,1", "p2,blue,", 'p3,"",', "p3,,0"]
        tagged.run("DELETE FROM tagged")
        assert counted(tagged.seed()) == (5, 0, 0, 0)
        assert dumped(tagged, "tagged")["tagged"] == text


class TestAnotherKey:
    def test_a_unique_key_without_nulls_names_the_rows(self, project):
        project.run("CREATE TABLE rooms (code text NOT NULL UNIQUE, name text, note text)")
        project.write("rooms.csv", "code,name\na,One\nb,Two\n")
        assert counted(project.seed(), "rooms") == (2, 0, 0, 0)
        project.run("UPDATE rooms SET note = 'mine' WHERE code = 'a'")
        project.write("rooms.csv", "code,name\na,Uno\n")
        (report,) = project.seed().tables
        assert (report.updated, report.deleted) == (1, 1)
        assert project.rows("SELECT * FROM rooms") == [("a", "Uno", "mine")]
        assert [(each.action, each.key) for each in report.changes] == [("update", "a"), ("delete", "b")]

    def test_the_smallest_one_does(self, project):
        project.run(
            "CREATE TABLE seats (room text NOT NULL, seat int NOT NULL, code text NOT NULL, note text,"
            " UNIQUE (room, seat), UNIQUE (code))"
        )
        project.write("seats.csv", "code,room,seat\nx,r,1\n")
        project.seed()
        project.write("seats.csv", "code,room,seat\nx,r,2\n")
        assert counted(project.seed(), "seats") == (0, 1, 0, 0)

    @pytest.mark.parametrize(
        "index",
        ["UNIQUE (code) WHERE name <> 'x'", "UNIQUE (lower(code))"],
    )
    def test_a_partial_one_and_one_over_an_expression_do_not(self, project, index):
        columns = index.removeprefix("UNIQUE ")
        project.run(f"CREATE TABLE rooms (code text NOT NULL, name text); CREATE UNIQUE INDEX ON rooms {columns}")
        project.write("rooms.csv", "code,name\na,x\nb,y\n")
        project.seed()
        project.write("rooms.csv", "code,name\na,z\nb,y\n")
        assert counted(project.seed(), "rooms") == (1, 0, 1, 1)

    def test_a_dump_of_it_is_ordered_by_it(self, project):
        project.run(
            "CREATE TABLE rooms (name text, code text NOT NULL UNIQUE); INSERT INTO rooms VALUES ('a','2'),('b','1')"
        )
        assert dumped(project, "rooms")["rooms"] == "name,code\nb,1\na,2\n"


class TestPartsOfTables:
    def test_a_partitioned_table_without_a_key(self, project):
        project.run(
            "CREATE TABLE payments (id int NOT NULL, paid date NOT NULL, amount numeric(6,2)) PARTITION BY RANGE (paid);"
            "CREATE TABLE payments_1 PARTITION OF payments FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');"
            "CREATE TABLE payments_2 PARTITION OF payments FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');"
            "ALTER TABLE payments_1 ADD PRIMARY KEY (id)"
        )
        project.write("payments.csv", "id,paid,amount\n1,2026-01-05,1.50\n1,2026-02-05,1.50\n2,2026-02-05,2.50\n")
        assert counted(project.seed(), "payments") == (3, 0, 0, 0)
        text = dumped(project, "payments")["payments"]
        assert len(text.splitlines()) == 4
        assert counted(project.seed(), "payments") == (0, 0, 3, 0)
        # both partitions have a row at the same place; only one leaves
        project.write("payments.csv", "id,paid,amount\n1,2026-02-05,1.50\n2,2026-02-05,2.50\n")
        assert counted(project.seed(), "payments") == (0, 0, 2, 1)
        assert project.rows("SELECT id FROM payments ORDER BY 1") == [(1,), (2,)]

    @pytest.mark.parametrize("key", ["PRIMARY KEY", ""])
    def test_rows_of_tables_that_inherit_are_theirs(self, project, key):
        project.run(
            f"CREATE TABLE cities (id int {key}, name text); CREATE TABLE capitals (land text) INHERITS (cities)"
            + ("; ALTER TABLE capitals ADD PRIMARY KEY (id)" if key else "")
        )
        project.write("cities.csv", "id,name\n1,Valparaíso\n")
        project.write("capitals.csv", "id,name,land\n2,Santiago,Chile\n")
        project.seed()
        assert dumped(project, "cities", "capitals") == {
            "cities": "id,name\n1,Valparaíso\n",
            "capitals": "id,name,land\n2,Santiago,Chile\n",
        }
        report = project.seed()
        assert (counted(report, "cities"), counted(report, "capitals")) == ((0, 0, 1, 0), (0, 0, 1, 0))
        project.run("INSERT INTO capitals VALUES (1, 'Lima', 'Perú')")  # the same key as a row of the other table
        project.write("cities.csv", "id,name\n1,Valpo\n")
        report = project.seed()
        assert project.rows("SELECT name FROM ONLY cities") == [("Valpo",)]
        project.write("cities.csv", "id,name\n")
        assert counted(project.seed(), "cities")[3] == 1
        assert project.rows("SELECT name FROM capitals ORDER BY 1") == [("Lima",), ("Santiago",)]

    def test_a_temporal_key_names_a_row_by_all_of_its_columns(self, project):
        project.run(
            "CREATE TABLE stays (room int4range, at daterange, guest text, PRIMARY KEY (room, at WITHOUT OVERLAPS))"
        )
        project.write(
            "stays.csv", 'room,at,guest\n"[1,2)","[2026-01-01,2026-01-05)",Ana\n"[1,2)","[2026-01-05,2026-01-09)",Eva\n'
        )
        assert counted(project.seed(), "stays") == (2, 0, 0, 0)
        assert counted(project.seed(), "stays") == (0, 0, 2, 0)
        text = dumped(project, "stays")["stays"]
        assert text.startswith("room,at,guest\n")
        assert counted(project.seed(), "stays") == (0, 0, 2, 0)
