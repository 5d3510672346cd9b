"""Rows that people made or edited: pruning keeps them, and a seed asks before it changes rows it never put there."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

import seedtool
from seedtool.cli.console import Console
from seedtool.cli.seed import seed as command
from seedtool.errors import FixtureError, NotConfirmed, SeedError
from seedtool.postgres.cluster import open_cluster
from seedtool.resetting import guard
from seedtool.seeding.report import RowChange

EDITS = {
    "a value": "UPDATE pupils SET name = 'Otra' WHERE id = 'p3'",
    "a value that becomes empty": "UPDATE pupils SET guardian_id = NULL WHERE id = 'p3'",
    "an empty value that gets one": "UPDATE pupils SET best_friend = 'p1' WHERE id = 'p3'",
    "a column that the file leaves out": "UPDATE pupils SET age = 9 WHERE id = 'p3'",
    "the default of one": "UPDATE pupils SET mood = 'sad' WHERE id = 'p3'",
    "made anew under the key": "DELETE FROM pupils WHERE id = 'p3'; INSERT INTO pupils (id, name) VALUES ('p3', 'New')",
}
WITHOUT_P3 = "id,name,guardian_id,best_friend\np1,Ñandú,g1,p2\np2,Zoë,g1,p1\n"


def pupils(report):
    (found,) = [each for each in report.tables if each.table == "pupils"]
    return found


@pytest.mark.parametrize("edit", EDITS)
def test_a_row_that_somebody_edited_is_kept_and_named(small_school, edit):
    small_school.run(EDITS[edit])
    stored = small_school.rows("SELECT * FROM pupils WHERE id = 'p3'")
    small_school.write("pupils.csv", WITHOUT_P3)
    for dry_run in (True, False):
        report = pupils(small_school.seed(dry_run=dry_run))
        assert (report.deleted, report.kept, report.unchanged) == (0, 1, 2)
        (change,) = report.changes
        assert (change.action, change.key) == ("keep", "p3")
        assert change.columns
        assert small_school.rows("SELECT * FROM pupils WHERE id = 'p3'") == stored
    # from then on it is a row of people
    assert pupils(small_school.seed()).changes == ()
    assert small_school.rows("SELECT * FROM pupils WHERE id = 'p3'") == stored


def test_rows_nobody_touched_are_deleted_beside_one_that_is_kept(small_school):
    small_school.run("UPDATE pupils SET name = 'Otra' WHERE id = 'p3'")
    small_school.remove("pupils.csv")
    report = pupils(small_school.seed())
    assert (report.deleted, report.kept) == (2, 1)
    assert [(each.action, each.key) for each in report.changes] == [("keep", "p3"), ("delete", "p1"), ("delete", "p2")]
    assert small_school.rows("SELECT id, name FROM pupils") == [("p3", "Otra")]


def test_an_edit_that_was_taken_back_is_none(small_school):
    small_school.run("UPDATE pupils SET name = 'Otra' WHERE id = 'p3'")
    small_school.run("UPDATE pupils SET name = 'Ana' WHERE id = 'p3'")
    small_school.write("pupils.csv", WITHOUT_P3)
    assert pupils(small_school.seed()).changes == (RowChange(action="delete", key="p3"),)


def test_a_row_whose_file_changed_since_it_was_inserted_is_deleted(small_school):
    small_school.write("pupils.csv", WITHOUT_P3 + "p3,Ana María,g3,\n")
    small_school.seed()
    small_school.write("pupils.csv", WITHOUT_P3)
    assert pupils(small_school.seed()).deleted == 1


def test_a_column_that_the_file_stopped_naming_is_no_edit(small_school):
    small_school.write("pupils.csv", "id,name\np1,Ñandú\np2,Zoë\np3,Ana Tres\n")
    small_school.seed()
    small_school.write("pupils.csv", "id,name\np1,Ñandú\np2,Zoë\n")
    assert pupils(small_school.seed()).deleted == 1


def test_a_row_that_another_set_took_over_is_deleted_with_that_set(small_school):
    small_school.write("pupils.csv", WITHOUT_P3)
    small_school.write("pupils.csv", "id,name,guardian_id\np3,Ana Dos,g2\n", "other")
    small_school.seed("local", "other")
    small_school.remove("pupils.csv", "other")
    assert pupils(small_school.seed("local", "other")).deleted == 1


def test_the_face_that_a_sync_links_is_no_edit(small_school):
    small_school.write("pupil_faces.csv", "id,pupil_id,external_image_id\nf1,p1,i1\n")
    small_school.seed()
    small_school.run("UPDATE pupil_faces SET face_id = 'linked'")
    small_school.write("pupil_faces.csv", "id,pupil_id,external_image_id\n")
    assert small_school.counts(small_school.seed())["pupil_faces"] == (0, 0, 0, 1)


def test_what_a_trigger_stores_is_no_edit(small_school):
    small_school.run(
        "CREATE FUNCTION lowered() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.email := lower(NEW.email) || '!';"
        " RETURN NEW; END $$;"
        "CREATE TRIGGER lowered BEFORE INSERT OR UPDATE ON guardians FOR EACH ROW EXECUTE FUNCTION lowered()"
    )
    small_school.write("guardians.csv", "id,email,phone\ng1,one@x.example,+56 1\ng2,two@x.example,\ng9,NINE,\n")
    small_school.seed()
    small_school.write("guardians.csv", "id,email,phone\ng1,one@x.example,+56 1\ng2,two@x.example,\n")
    assert small_school.counts(small_school.seed())["guardians"] == (0, 0, 2, 1)


def test_columns_that_a_migration_dropped_or_added_are_no_edit(small_school):
    small_school.run("ALTER TABLE pupils DROP COLUMN best_friend, ADD COLUMN house text DEFAULT 'red'")
    small_school.write("pupils.csv", "id,name,guardian_id\np1,Ñandú,g1\np2,Zoë,g1\n")
    assert pupils(small_school.seed()).deleted == 1


def test_values_of_every_kind_that_nobody_edited_are_deleted(project):
    """Digests are of the text that PostgreSQL gives, which is the same whatever the session's settings are."""
    project.run(
        "CREATE TABLE kinds (id int PRIMARY KEY, at timestamptz, span interval, data bytea, ratio float8, price numeric,"
        " extra jsonb, raw json, tags text[], code char(5), days daterange, dot point)"
    )
    header = "id,at,span,data,ratio,price,extra,raw,tags,code,days,dot\n"
    row = '1,2026-03-01T10:00:00-03:00,1 mon,\\x00ff,0.1,1.50,"{""a"": 1}","{""a"":  1}","{a,b}",ab,"[2026-01-01,)","(1,2)"\n'
    project.write("kinds.csv", header + row)
    project.seed()
    project.run("SET TimeZone = 'America/Santiago'; SET DateStyle = 'German'; SET IntervalStyle = 'iso_8601'")
    project.run("SET bytea_output = 'escape'; SET extra_float_digits = -5")
    project.write("kinds.csv", header)
    (report,) = project.seed().tables
    assert (report.deleted, report.kept) == (1, 0)


def test_a_parent_that_a_kept_row_refers_to_is_refused_with_both_names(small_school, approved):
    small_school.run("UPDATE pupils SET name = 'Otra' WHERE id = 'p3'")
    small_school.write("pupils.csv", WITHOUT_P3)
    small_school.write("guardians.csv", "id,email,phone\ng1,one@x.example,+56 1\ng3,three@x.example,\n")
    before = small_school.everything()
    with pytest.raises(SeedError, match=r"row g2 of guardians .* row p3 of pupils") as caught:
        small_school.seed()
    assert caught.value.place == {"table": "guardians"}
    approved(caught.value)
    assert small_school.everything() == before


def test_a_value_that_a_kept_row_holds_is_not_free(small_school, approved):
    small_school.run("UPDATE guardians SET phone = '+56 9' WHERE id = 'g3'")
    small_school.write(
        "guardians.csv", "id,email,phone\ng1,one@x.example,+56 1\ng2,two@x.example,\ng4,three@x.example,\n"
    )
    with pytest.raises(FixtureError, match="row g3") as caught:
        small_school.seed()
    assert (caught.value.file, caught.value.column) == ("seeds/local/guardians.csv", "email")
    approved(caught.value)


@pytest.fixture
def strange(small_school, settings, database):
    """The settings of a project whose database seedtool never made; it holds rows of people under keys of the files."""
    small_school.run("INSERT INTO guardians VALUES ('g7', 'old@x.example', '1'), ('g8', 'same@x.example', '2')")
    small_school.run("INSERT INTO pupils (id, name) VALUES ('p7', 'Vieja')")
    small_school.write("guardians.csv", "id,email,phone\ng1,,\ng7,new@x.example,1\ng8,same@x.example,2\ng9,,\n")
    small_school.write("pupils.csv", "id,name\np7,Nueva\n")
    made = msgspec.structs.replace(
        settings, root=small_school.root, seeds=small_school.root / "seeds", database_url=database.conninfo, faces=()
    )
    (made.seeds / "profiles.toml").write_text('[own]\nsets = ["local"]\n')
    return made


def test_rows_that_no_seed_put_there_are_changed_only_by_name(small_school, strange, database):
    before = small_school.everything()
    with pytest.raises(NotConfirmed) as refusal:
        seedtool.seed("own", settings=strange, prune=False)
    assert refusal.value.exit_code == 3
    assert "1 of guardians, 1 of pupils" in refusal.value.message
    assert f"--confirm {database.name}" in refusal.value.remedy
    assert small_school.everything() == before
    with pytest.raises(NotConfirmed, match="another"):
        seedtool.seed("own", settings=strange, prune=False, confirm="another")
    done = seedtool.seed("own", settings=strange, prune=False, dry_run=True).seed
    assert {each.table: each.unrecorded for each in done.tables} == {"guardians": 1, "pupils": 1}
    assert done.confirm == database.name
    assert small_school.everything() == before
    done = seedtool.seed("own", settings=strange, prune=False, confirm=database.name).seed
    assert {each.table: (each.updated, each.unrecorded) for each in done.tables} == {
        "guardians": (2, 1),
        "pupils": (1, 1),
    }
    assert done.confirm == ""
    assert small_school.rows("SELECT name FROM pupils WHERE id = 'p7'") == [("Nueva",)]
    # they are no seed's rows now either, and nothing is to be changed any more
    seedtool.seed("own", settings=strange, prune=False)
    small_school.write("guardians.csv", "id,email\ng1,\n")
    assert seedtool.seed("own", settings=strange).seed.tables[0].deleted == 3


def test_a_database_that_seedtool_made_needs_no_name(small_school, strange, database):
    with open_cluster(database) as cluster:
        guard.mark_managed(cluster, database.name)
    done = seedtool.seed("own", settings=strange, prune=False).seed
    assert {each.table: each.updated for each in done.tables} == {"guardians": 2, "pupils": 1}
    assert done.confirm == ""


def test_rows_of_seeds_and_new_rows_need_no_name(small_school, strange):
    small_school.write("guardians.csv", "id,email,phone\ng1,other@x.example,\ng9,,\n")
    small_school.write("pupils.csv", "id,name\np9,Nueva\n")
    small_school.run("UPDATE guardians SET phone = '5' WHERE id = 'g1'")
    done = seedtool.seed("own", settings=strange, prune=False).seed
    assert {each.table: (each.inserted, each.updated) for each in done.tables} == {
        "guardians": (1, 1),
        "pupils": (1, 0),
    }


def test_the_terminal_tells_what_is_kept_and_what_would_need_the_name(small_school, strange, database, capsys):
    small_school.run("UPDATE pupils SET name = 'Otra' WHERE id = 'p3'")

    def told(**options):
        console = Console(as_json=options.pop("json", False), quiet=False, out=sys.stdout)
        given = {"profile": "own", "list_profiles": False, "dry_run": False, "prune": True, "confirm": None} | options
        command.callback.__wrapped__(**given, console=console, settings=strange)
        console.finish(ok=True)
        return capsys.readouterr().out

    small_school.write(
        "guardians.csv", "id,email\ng1,one@x.example\ng2,two@x.example\ng3,three@x.example\ng7,new@x.example\n"
    )
    words = told(dry_run=True)
    assert f"--confirm {database.name}" in words
    assert "pupils p3: would be kept" in words
    assert "name" in words
    found = msgspec.json.decode(told(dry_run=True, json=True))["seed"]
    (table,) = [each for each in found["tables"] if each["table"] == "pupils"]
    assert table["kept"] == 1
    assert {"action": "keep", "key": "p3", "columns": ["name"], "overridden": []} in table["changes"]
    assert found["confirm"] == database.name
    assert "pupils p3: is kept" in told(confirm=database.name)


def test_the_command_ends_with_3(small_school, strange, database):
    (strange.root / "alembic.ini").write_text("[alembic]\nscript_location = migrations\n")
    done = subprocess.run(
        [Path(sys.executable).parent / "seedtool", "seed", "own"],
        cwd=strange.root,
        env={"PATH": "/usr/bin:/bin", "HOME": str(strange.root), "DATABASE_URL": database.conninfo},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert "1 of guardians" in done.stderr
