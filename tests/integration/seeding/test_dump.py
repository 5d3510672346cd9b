"""What a dump writes, a seed brings back."""

import datetime as dt
import shutil
import uuid
from decimal import Decimal

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import sql
from psycopg.types.json import Jsonb

from seedtool.errors import SchemaError, SeedError, UsageError
from seedtool.seeding.dump import dump
from seedtool.seeding.fixtures import read_fixtures
from seedtool.seeding.merge import seed
from seedtool.settings import FaceBinding

BINDINGS = (FaceBinding(table="pupil_faces"),)

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=20)
texts |= st.sampled_from(
    ["", " ", '"', '""', ",", "\n", "\r", "\r\n", "a\nb", "NULL", "\\N", "\\.", "Ñandú", "'", "{}"]
)
json = st.recursive(
    st.none() | st.booleans() | st.integers() | texts.filter(lambda text: "\0" not in text),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
moments = st.datetimes(dt.datetime(1, 1, 2), dt.datetime(9999, 12, 30))  # noqa: DTZ001 - given a zone below

COLUMNS: dict[str, st.SearchStrategy] = {
    "text": texts,
    "varchar(40)": texts,
    "numeric": st.decimals(allow_nan=False, allow_infinity=False) | st.just(Decimal("NaN")),
    "numeric(8,3)": st.decimals(-9999, 9999, places=3),
    "float8": st.floats(),
    "float4": st.floats(width=32),
    "boolean": st.booleans(),
    "bytea": st.binary(max_size=20),
    "bigint": st.integers(-(2**63), 2**63 - 1),
    "text[]": st.lists(st.none() | texts, max_size=4),
    "int[]": st.lists(st.none() | st.integers(-(2**31), 2**31 - 1), max_size=4),
    "jsonb": json.map(Jsonb),
    "json": json.map(Jsonb),
    "date": st.dates(),
    "time": st.times(),
    "timestamp": moments,
    "timestamptz": moments.map(lambda moment: moment.replace(tzinfo=dt.UTC)),
    "interval": st.timedeltas(dt.timedelta(-10_000), dt.timedelta(10_000)),
    "uuid": st.uuids(),
    "mood": st.sampled_from(["glad", "sad", 'o"d,d']),
    "int4range": st.sampled_from(["empty", "[1,5)", "(,)"]),
    "inet": st.ip_addresses().map(str),
}
NAMES = [f"c{place} {kind}" for place, kind in enumerate(COLUMNS)]


@pytest.fixture
def kinds(connection: psycopg.Connection) -> psycopg.Connection:
    columns = sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind)) for name, kind in zip(NAMES, COLUMNS, strict=True)
    )
    with connection.transaction():
        connection.execute("CREATE TYPE mood AS ENUM ('glad', 'sad', 'o\"d,d')")
        connection.execute(
            sql.SQL('CREATE TABLE "Kinds" (id uuid PRIMARY KEY, {}, twice text GENERATED ALWAYS AS (id::text) STORED)')
            .format(columns)
            .as_string()
            .replace("(id::text)", "('x')")
        )
    return connection


@settings(max_examples=60)
@given(rows=st.lists(st.tuples(st.uuids(), *(st.none() | each for each in COLUMNS.values())), max_size=6))
def test_a_dump_seeds_the_same_rows(kinds, tmp_path, rows):
    unique = {row[0]: row for row in rows}.values()
    everything = 'SELECT * FROM "Kinds" ORDER BY id'
    insert = sql.SQL('INSERT INTO "Kinds" VALUES ({})').format(
        sql.SQL(", ").join([sql.Placeholder()] * (1 + len(NAMES)))
    )
    with kinds.transaction():
        kinds.execute('TRUNCATE "Kinds"')
        for row in unique:
            kinds.execute(insert, row)
        before = kinds.execute(f"SELECT t::text FROM ({everything}) AS t").fetchall()

    report = dump(kinds, ["Kinds"], tmp_path, "kept", root=tmp_path)
    assert report.rows == len(before)
    with kinds.transaction():
        kinds.execute('TRUNCATE "Kinds"')
    seed(kinds, read_fixtures(tmp_path, ["kept"], tmp_path))

    with kinds.transaction():
        assert kinds.execute(f"SELECT t::text FROM ({everything}) AS t").fetchall() == before
    assert dump(kinds, [], tmp_path, "kept", root=tmp_path).files[0].changed is False
    (tmp_path / "kept" / "Kinds.csv").unlink()


def test_a_dump_is_ordered_by_key_and_keeps_the_files_columns(small_school):
    folder = small_school.root / "seeds"
    small_school.run("UPDATE pupils SET name = 'Ana, la \"nueva\"', age = 9 WHERE id = 'p3'")
    small_school.run("INSERT INTO pupils (id, name) VALUES ('p0', '')")
    report = dump(small_school.connection, ["pupils"], folder, "local", root=small_school.root)
    assert [(file.file, file.rows, file.changed) for file in report.files] == [("seeds/local/pupils.csv", 4, True)]
    assert (folder / "local" / "pupils.csv").read_text() == (
        'id,name,guardian_id,best_friend\np0,"",,\np1,Ñandú,g1,p2\np2,Zoë,g1,p1\np3,"Ana, la ""nueva""",g2,\n'
    )
    assert small_school.counts(small_school.seed()) == {"guardians": (0, 0, 3, 0), "pupils": (0, 0, 4, 0)}


def test_without_tables_the_csv_files_of_the_set_are_refreshed(small_school):
    small_school.write("notes.yaml", "[]\n")
    report = dump(small_school.connection, [], small_school.root / "seeds", "local", root=small_school.root)
    assert [file.table for file in report.files] == ["guardians", "pupils"]


def test_an_empty_table_empties_its_file_only_when_it_is_named(small_school, approved):
    folder = small_school.root / "seeds"
    before = (folder / "local/guardians.csv").read_bytes()
    small_school.write("notes.csv", "id,body\n")
    small_school.run("UPDATE guardians SET phone = '+56 2'")
    small_school.run("DELETE FROM pupils")
    with pytest.raises(SeedError) as caught:
        dump(small_school.connection, [], folder, "local", root=small_school.root)
    assert caught.value.place == {"table": "pupils"}
    approved(caught.value)
    assert "--table" in caught.value.remedy
    assert (folder / "local/guardians.csv").read_bytes() == before
    dump(small_school.connection, ["pupils"], folder, "local", root=small_school.root)
    assert (folder / "local/pupils.csv").read_text() == "id,name,guardian_id,best_friend\n"
    report = dump(small_school.connection, [], folder, "local", root=small_school.root)
    assert {file.table: file.changed for file in report.files} == {"guardians": True, "pupils": False, "notes": False}


def test_a_new_file_has_all_columns_but_computed_ones(small_school):
    dump(small_school.connection, ["pupils"], small_school.root / "seeds", "new", root=small_school.root)
    header = (small_school.root / "seeds/new/pupils.csv").read_text().splitlines()[0]
    assert header == "id,name,guardian_id,best_friend,age,mood,born,tags,extra"


def test_faces_are_dumped_by_their_image_and_only_those_without_one_by_their_id(small_school):
    small_school.run("INSERT INTO pupil_faces VALUES ('f1', 'p1', 'real-1', 'p1-photo-1')")
    folder = small_school.root / "seeds"
    dump(small_school.connection, ["pupil_faces"], folder, "local", root=small_school.root, bindings=BINDINGS)
    assert (folder / "local/pupil_faces.csv").read_text() == "id,pupil_id,external_image_id\nf1,p1,p1-photo-1\n"
    small_school.run("INSERT INTO pupil_faces VALUES ('f2', 'p1', 'real-2', NULL)")
    dump(small_school.connection, ["pupil_faces"], folder, "local", root=small_school.root, bindings=BINDINGS)
    assert (folder / "local/pupil_faces.csv").read_text() == (
        "id,pupil_id,external_image_id,face_id\nf1,p1,p1-photo-1,\nf2,p1,,real-2\n"
    )
    small_school.run("DELETE FROM pupil_faces")
    small_school.seed()
    assert small_school.rows("SELECT face_id FROM pupil_faces ORDER BY id") == [
        ("placeholder:p1-photo-1",),
        ("real-2",),
    ]


def test_nothing_is_written_over_a_file_of_another_kind(small_school, approved):
    folder = small_school.root / "seeds"
    small_school.write("notes.yaml", "[]\n")
    before = (folder / "local/guardians.csv").read_bytes()
    small_school.run("DELETE FROM guardians WHERE id = 'g3'")
    with pytest.raises(SeedError) as caught:
        dump(small_school.connection, ["guardians", "notes"], folder, "local", root=small_school.root)
    assert caught.value.place == {"table": "notes", "file": "seeds/local/notes.yaml"}
    approved(caught.value)
    assert (folder / "local/guardians.csv").read_bytes() == before
    assert not [path for path in (folder / "local").iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("tables", "error", "place"),
    [
        (["pupil"], SchemaError, {"table": "pupil"}),
        (["everyone"], SchemaError, {"table": "everyone"}),
        ([], UsageError, {"option": "--table"}),
    ],
    ids=["pupil", "everyone", "none"],
)
def test_what_cannot_be_dumped_is_told_with_the_cure(small_school, tables, error, place, approved):
    with pytest.raises(error) as caught:
        dump(small_school.connection, tables, small_school.root / "seeds", "new", root=small_school.root)
    assert caught.value.place == place
    approved(caught.value)
    assert not (small_school.root / "seeds/new").exists()


@pytest.mark.parametrize("name", ["local\n", "lo\x00cal", "local\x1b[2J"])
def test_a_set_with_a_control_character_in_its_name_is_refused(small_school, name, approved):
    with pytest.raises(UsageError) as caught:
        dump(small_school.connection, ["pupils"], small_school.root / "seeds", name, root=small_school.root)
    assert caught.value.place == {"option": "--set"}
    approved(caught.value)
    assert name not in caught.value.message


@pytest.mark.parametrize("where", ["../outside", "local/../../outside", "", ".", "/absolute"])
def test_a_set_outside_the_seeds_folder_is_refused(small_school, where, approved):
    where = str(small_school.root / "outside") if where == "/absolute" else where
    before = sorted(small_school.root.rglob("*"))
    with pytest.raises(UsageError) as caught:
        dump(small_school.connection, ["pupils"], small_school.root / "seeds", where, root=small_school.root)
    assert caught.value.place == {"option": "--set"}
    assert repr(where) in caught.value.message
    approved(caught.value)
    assert sorted(small_school.root.rglob("*")) == before


@pytest.mark.parametrize("table", ["seedtool.ledger", "alembic_version"])
def test_tables_that_are_not_the_projects_are_refused(small_school, table, approved):
    small_school.run("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
    with pytest.raises(UsageError) as caught:
        dump(small_school.connection, [table], small_school.root / "seeds", "new", root=small_school.root)
    assert caught.value.place == {"option": "--table", "table": table}
    approved(caught.value)
    assert not (small_school.root / "seeds/new").exists()


def test_a_dump_does_not_change_who_may_read_a_file(small_school):
    path = small_school.root / "seeds/local/pupils.csv"
    path.chmod(0o640)
    small_school.run("UPDATE pupils SET name = 'x'")
    dump(small_school.connection, ["pupils"], small_school.root / "seeds", "local", root=small_school.root)
    assert path.stat().st_mode & 0o777 == 0o640


def test_uuid_keys_are_ordered(small_school):
    small_school.run("CREATE TABLE things (id uuid PRIMARY KEY)")
    for number in (3, 1, 2):
        small_school.run(f"INSERT INTO things VALUES ('{uuid.UUID(int=number)}')")
    dump(small_school.connection, ["things"], small_school.root / "seeds", "new", root=small_school.root)
    lines = (small_school.root / "seeds/new/things.csv").read_text().split()
    assert [line[-1] for line in lines[1:]] == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("mark", "delimiter", "end"), [("\ufeff", ";", "\r\n"), ("", "\t", "\n"), ("", ",", "\r\n"), ("\ufeff", ",", "\n")]
)
def test_a_file_keeps_the_form_in_which_it_was_written(small_school, mark, delimiter, end):
    small_school.write("pupils.csv", f"{mark}id{delimiter}name{end}p1{delimiter}old{end}")
    small_school.run("""UPDATE pupils SET name = E'A, B; C\tD' WHERE id = 'p1'""")
    dump(small_school.connection, ["pupils"], small_school.root / "seeds", "local", root=small_school.root)
    lines = (small_school.root / "seeds/local/pupils.csv").read_bytes().decode().split(end)
    assert lines[:2] == [f"{mark}id{delimiter}name", f'p1{delimiter}"A, B; C\tD"']
    assert len(lines) == 5
    report = small_school.seed()
    assert small_school.counts(report)["pupils"] == (0, 0, 3, 0)


def test_a_file_that_is_a_link_stays_one(small_school):
    path = small_school.root / "seeds/local/pupils.csv"
    shared = small_school.root / "shared.csv"
    path.rename(shared)
    path.symlink_to(shared)
    small_school.run("UPDATE pupils SET name = 'Eva' WHERE id = 'p1'")
    dump(small_school.connection, ["pupils"], small_school.root / "seeds", "local", root=small_school.root)
    assert path.is_symlink()
    assert "Eva" in shared.read_text()


def test_a_set_gets_its_own_rows_of_a_table_that_it_shares(project):
    project.write("guardians.csv", "id,email\ng1,one@x.example\ng2,two@x.example\n")
    project.write("guardians.csv", "id,email\nd1,demo@x.example\n", "demo")
    project.write("guardians.csv", "id,email\no1,old@x.example\n", "old")
    project.seed("local", "demo", "old")
    shutil.rmtree(project.root / "seeds/old")  # so its rows are nobody's
    project.run("UPDATE guardians SET email = id || '@x.example'; INSERT INTO guardians VALUES ('h1')")
    reports = {
        name: dump(project.connection, [], project.root / "seeds", name, root=project.root).files[0]
        for name in ("demo", "local")
    }
    files = {name: (project.root / f"seeds/{name}/guardians.csv").read_text().split() for name in reports}
    assert files["demo"] == ["id,email", "d1,d1@x.example", "h1,", "o1,o1@x.example"]
    assert [line.partition(",")[0] for line in files["local"]] == ["id", "g1", "g2", "h1", "o1"]
    assert {name: each.of_others for name, each in reports.items()} == {"demo": 2, "local": 1}
    assert dump(project.connection, ["guardians"], project.root / "seeds", "third", root=project.root).rows == 2
