"""What a seed does to the rows that are there: its own, changed ones, and those that people made."""

import pytest

from seedtool.errors import FixtureError, SeedError
from seedtool.seeding.report import RowChange


def changes(report, table):
    return next(each.changes for each in report.tables if each.table == table)


def test_the_same_files_change_nothing_the_second_time(small_school):
    report = small_school.seed()
    assert small_school.counts(report) == {"guardians": (0, 0, 3, 0), "pupils": (0, 0, 3, 0)}
    assert report.rows == 6
    assert report.sets == ("local",)


def test_rows_that_differ_are_updated_and_equal_ones_left_alone(small_school):
    versions = "SELECT id, xmin::text FROM pupils ORDER BY id"
    before = dict(small_school.rows(versions))
    small_school.write("pupils.csv", "id,name,guardian_id,best_friend\np1,Ñandú,g1,p2\np2,Zoé,g1,p1\np3,Ana,g2,\n")
    report = small_school.seed()
    assert small_school.counts(report)["pupils"] == (0, 1, 2, 0)
    after = dict(small_school.rows(versions))
    assert [key for key in before if before[key] != after[key]] == ["p2"]
    assert changes(report, "pupils") == (RowChange(action="update", key="p2", columns=("name",)),)


def test_values_equal_by_their_type_are_left_alone(project):
    project.run(
        "CREATE TABLE kinds (id int PRIMARY KEY, n numeric, j jsonb, a text[], i interval, t timestamptz, o json)"
    )
    project.write("kinds.csv", 'id,n,j,a,i,t,o\n1,1.0,"{""a"": 1, ""b"": 2}",{x},1 day,2026-01-01T12:00:00Z,{}\n')
    project.seed()
    project.write(
        "kinds.csv",
        'id,n,j,a,i,t,o\n1,1.00,"{""b"":2,""a"":1.0}","{""x""}",1 day 00:00,2026-01-01T09:00:00-03:00,{ }\n',
    )
    assert project.counts(project.seed()) == {"kinds": (0, 0, 1, 0)}


def test_columns_that_a_file_does_not_name_are_left_alone(small_school):
    small_school.run("UPDATE pupils SET age = 9")
    small_school.write("pupils.csv", "id,name\np1,Otra\np2,Zoë\np3,Ana\n")
    small_school.seed()
    assert small_school.rows("SELECT name, age, best_friend FROM pupils WHERE id = 'p1'") == [("Otra", 9, "p2")]


def test_yaml_rows_may_name_different_columns(project):
    project.write(
        "pupils.yaml",
        "- id: p1\n  name: no\n  tags: [yes, 'a \"b\"', ~, 12:30]\n"
        "  extra: {on: [1, no, true, 2026-01-01, 1.5, 0x1f, ~]}\n"
        "- &a {id: p2, name: Ana, mood: sad}\n- <<: *a\n  id: p3\n"
        "- id: p4\n  name: 007\n  age: ~\n  born: 2026-03-31\n",
    )
    project.seed()
    assert project.rows("SELECT id, name, mood::text, tags, extra, born::text FROM pupils ORDER BY id") == [
        (
            "p1",
            "no",
            "glad",
            ["yes", 'a "b"', None, "12:30"],
            {"on": [1, "no", True, "2026-01-01", 1.5, "0x1f", None]},
            None,
        ),
        ("p2", "Ana", "sad", None, None, None),
        ("p3", "Ana", "sad", None, None, None),
        ("p4", "007", "glad", None, None, "2026-03-31"),
    ]


def test_json_rows_keep_their_digits(project):
    rows = (
        '[{"id": "p1", "name": "no", "tags": ["yes", "a \\"b\\"", null, 7], "age": 12},\n'
        ' {"id": "p2", "name": "\\ud83d\\ude00/\\/", "extra": {"on": [1, 1.50, true, null, {"a": "b"}], "big": 12345678901234567890}},\n'
        '\t{"name": "Ana", "id": "p3", "mood": "sad", "born": null, "extra": "[1]"}]'
    )
    project.write("pupils.json", rows)
    project.write("last.sql", "UPDATE pupils SET age = 40 WHERE id = 'p3'")
    report = project.seed()
    assert report.scripts == ("seeds/local/last.sql",)
    assert project.rows("SELECT id, name, mood::text, age, tags, extra::text FROM pupils ORDER BY id") == [
        ("p1", "no", "glad", 12, ["yes", 'a "b"', None, "7"], None),
        ("p2", "😀//", "glad", None, None, '{"on": [1, 1.50, true, null, {"a": "b"}], "big": 12345678901234567890}'),
        ("p3", "Ana", "sad", 40, None, "[1]"),
    ]
    project.write("pupils.json", "[]")
    project.write("last.sql", "")
    project.seed()
    assert project.rows("SELECT id FROM pupils") == [("p3",)]  # an edit of the script's counts as somebody's


def test_python_values_become_values_of_the_columns(project):
    project.run("""CREATE TABLE kinds (id uuid PRIMARY KEY, b bytea, i interval, t timestamptz, n numeric, f float8[],
                   j jsonb, tags text[], ok bool, d date)""")
    project.write(
        "kinds.py",
        "import datetime, decimal, uuid\n"
        "def rows():\n"
        "    yield dict(id=uuid.UUID(int=1), b=b'\\0\\xff', i=datetime.timedelta(days=1, seconds=2), ok=True,\n"
        "        t=datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc), n=decimal.Decimal('1.50'),\n"
        "        f=[1.5, float('inf'), None], j=['a', {'b': None}], tags=('x', 'y, \"z\"', 'NULL'), d=None)\n",
    )
    project.seed()
    assert project.rows("SELECT id::text, b, i::text, t::text, n::text, f, j, tags, ok, d FROM kinds") == [
        (
            "00000000-0000-0000-0000-000000000001", b"\0\xff", "1 day 00:00:02", "2026-01-01 00:00:00+00", "1.50",
            [1.5, float("inf"), None], ["a", {"b": None}], ["x", 'y, "z"', "NULL"], True, None,
        )
    ]  # fmt: skip
    assert not list(project.root.rglob("*.pyc"))


def test_python_fixtures_may_import_from_the_project(project):
    (project.root / "people.py").write_text("NAMES = ['Ana']\n")
    project.write(
        "pupils.py", "from people import NAMES\ndef rows():\n    return [{'id': n, 'name': n} for n in NAMES]\n"
    )
    project.seed()
    assert project.rows("SELECT id FROM pupils") == [("Ana",)]


def test_rows_that_refer_to_one_another_in_a_circle_go_in(project):
    project.run("""
        CREATE TABLE hens (id int PRIMARY KEY, egg_id int NOT NULL);
        CREATE TABLE eggs (id int PRIMARY KEY, hen_id int NOT NULL REFERENCES hens);
        ALTER TABLE hens ADD FOREIGN KEY (egg_id) REFERENCES eggs""")
    project.write("hens.csv", "id,egg_id\n1,1\n")
    project.write("eggs.csv", "id,hen_id\n1,1\n")
    project.seed()
    assert project.rows("SELECT * FROM hens, eggs") == [(1, 1, 1, 1)]
    project.write("hens.csv", "id,egg_id\n")
    project.write("eggs.csv", "id,hen_id\n")
    assert project.counts(project.seed()) == {"eggs": (0, 0, 0, 1), "hens": (0, 0, 0, 1)}


def test_composite_references_need_all_their_columns(project, approved):
    project.run("""
        CREATE TABLE rooms (building text, number int, PRIMARY KEY (building, number));
        CREATE TABLE seats (id int PRIMARY KEY, building text, number int,
                            FOREIGN KEY (building, number) REFERENCES rooms)""")
    project.write("rooms.csv", "building,number\nA,1\n")
    project.write("seats.csv", "id,building,number\n1,A,1\n2,A,\n")
    project.seed()
    project.write("seats.csv", "id,building,number\n1,A,1\n2,A,2\n")
    with pytest.raises(FixtureError) as caught:
        project.seed()
    assert (caught.value.file, caught.value.line, caught.value.column) == ("seeds/local/seats.csv", 3, "building")
    assert "building, number = A, 2" in caught.value.message
    approved(caught.value)


# the ledger -----------------------------------------------------------------------------------------------------------


def test_rows_whose_line_has_left_are_deleted_children_first(small_school):
    small_school.write("guardians.csv", "id,email\ng1,one@x.example\n")
    small_school.write("pupils.csv", "id,name,guardian_id,best_friend\np1,Ñandú,g1,\n")
    report = small_school.seed()
    assert small_school.counts(report) == {"guardians": (0, 0, 1, 2), "pupils": (0, 1, 0, 2)}
    assert [each.key for each in changes(report, "pupils") if each.action == "delete"] == ["p2", "p3"]
    assert small_school.rows("SELECT id FROM guardians UNION SELECT id FROM pupils") == [("g1",), ("p1",)]


def test_no_prune_keeps_them_until_a_later_seed(small_school):
    small_school.write("pupils.csv", "id,name\np1,Ñandú\np2,Zoë\n")
    assert small_school.counts(small_school.seed(prune=False))["pupils"] == (0, 0, 2, 0)
    assert small_school.counts(small_school.seed())["pupils"] == (0, 0, 2, 1)


@pytest.mark.parametrize("how", ["header", "no file", "empty list"])
def test_a_table_without_lines_gives_up_all_its_rows(small_school, how):
    small_school.write("pupils.csv", "id,name\n")
    if how != "header":
        small_school.remove("pupils.csv")
    if how == "empty list":
        small_school.write("pupils.yaml", "[]\n")
    assert small_school.counts(small_school.seed())["pupils"] == (0, 0, 0, 3)


def test_rows_that_people_made_are_never_deleted(small_school):
    small_school.run("INSERT INTO pupils (id, name) VALUES ('p4', 'Nueva')")
    small_school.write("pupils.csv", "id,name\np1,Ñandú\np2,Zoë\np3,Ana\np4,Nombre\n")
    small_school.seed()
    small_school.write("pupils.csv", "id,name\np1,Ñandú\np2,Zoë\np3,Ana\n")
    assert small_school.counts(small_school.seed())["pupils"] == (0, 0, 3, 0)
    assert small_school.rows("SELECT name FROM pupils WHERE id = 'p4'") == [("Nombre",)]


@pytest.mark.parametrize(
    ("table", "row", "key"),
    [
        ("marks", "('p3', 'art', 5)", "pupil_id=p3, subject=art"),  # ON DELETE CASCADE
        ("notes", "(7, 'seen', 'p3')", "7"),  # ON DELETE SET NULL
        ("pupil_faces", "('f1', 'p3', 'x', 'y')", "f1"),  # NO ACTION
    ],
)
def test_a_delete_that_would_reach_a_row_of_people_is_refused_with_its_name(small_school, table, row, key, approved):
    small_school.run(f"INSERT INTO {table} VALUES {row}")
    small_school.write("pupils.csv", "id,name\np1,Ñandú\np2,Zoë\n")
    before = small_school.everything()
    with pytest.raises(SeedError) as caught:
        small_school.seed()
    assert caught.value.place == {"table": "pupils"}
    for name in ("row p3 of pupils", f"row {key} of {table}"):
        assert name in caught.value.message
    assert "--no-prune" in caught.value.remedy
    approved(caught.value)
    assert small_school.everything() == before
    small_school.seed(prune=False)


def test_a_line_that_still_refers_to_a_line_that_left_is_named(small_school, approved):
    small_school.write("guardians.csv", "id,email\ng1,one@x.example\n")
    with pytest.raises(FixtureError) as caught:
        small_school.seed()
    assert (caught.value.file, caught.value.line, caught.value.column) == ("seeds/local/pupils.csv", 4, "guardian_id")
    assert "g2 of guardians" in caught.value.message
    approved(caught.value)


def test_a_new_line_that_refers_to_a_line_that_left_is_named(small_school, approved):
    small_school.write("guardians.csv", "id,email\ng1,one@x.example\ng2,two@x.example\n")
    small_school.write("pupils.csv", "id,name,guardian_id,best_friend\np1,Ñandú,g3,p2\np2,Zoë,g1,p1\np3,Ana,g2,\n")
    with pytest.raises(FixtureError) as caught:
        small_school.seed()
    assert (caught.value.file, caught.value.line, caught.value.column) == ("seeds/local/pupils.csv", 2, "guardian_id")
    assert "id = g3" in caught.value.message
    approved(caught.value)


def test_a_key_can_be_renamed_with_its_unique_value_and_its_children(small_school):
    small_school.write(
        "guardians.csv", "id,email,phone\ng9,one@x.example,+56 1\ng2,two@x.example,\ng3,three@x.example,\n"
    )
    small_school.write("pupils.csv", "id,name,guardian_id,best_friend\np1,Ñandú,g9,p2\np2,Zoë,g9,p1\np3,Ana,g2,\n")
    report = small_school.seed()
    assert small_school.counts(report) == {"guardians": (1, 0, 2, 1), "pupils": (0, 2, 1, 0)}


def test_a_line_may_move_to_another_set(small_school):
    small_school.write("pupils.csv", "id,name\np1,Ñandú\np2,Zoë\n")
    small_school.write("pupils.csv", "id,name\np3,Ana\n", "more")
    assert small_school.counts(small_school.seed("more")) == {"pupils": (0, 0, 1, 0)}
    assert small_school.counts(small_school.seed())["pupils"] == (0, 0, 2, 0)
    assert small_school.rows('SELECT seed_set FROM seedtool.ledger WHERE key = \'{"id": "p3"}\'') == [("more",)]
    small_school.write("pupils.csv", "id,name\n", "more")
    assert small_school.counts(small_school.seed("more")) == {"pupils": (0, 0, 0, 1)}


def test_another_sets_rows_are_not_pruned(small_school):
    small_school.write("pupils.csv", "id,name\np9,Otro\n", "more")
    small_school.seed("more")
    small_school.seed()
    assert small_school.rows("SELECT count(*) FROM pupils") == [(4,)]


def test_a_row_that_a_person_deleted_comes_back(small_school):
    small_school.run("DELETE FROM pupils WHERE id = 'p3'")
    assert small_school.counts(small_school.seed())["pupils"] == (1, 0, 2, 0)


def test_a_dropped_table_is_forgotten(small_school):
    small_school.run("CREATE TABLE extra (id int PRIMARY KEY)")
    small_school.write("extra.csv", "id\n1\n")
    small_school.seed()
    small_school.remove("extra.csv")
    small_school.run("DROP TABLE extra")
    small_school.seed()
    assert small_school.rows("SELECT count(*) FROM seedtool.ledger WHERE relation LIKE '%extra'") == [(0,)]


# dry run --------------------------------------------------------------------------------------------------------------


def test_a_dry_run_tells_what_would_happen_and_changes_nothing(small_school):
    small_school.run(
        "UPDATE pupils SET name = 'Ana María' WHERE id = 'p3'; UPDATE guardians SET phone = '2' WHERE id = 'g2'"
    )
    small_school.write(
        "guardians.csv", "id,email,phone\ng1,uno@x.example,+56 1\ng2,two@x.example,\ng3,three@x.example,\n"
    )
    small_school.write("pupils.csv", "id,name,guardian_id,best_friend\np1,Ñandú,g1,\np3,Ana,g1,\np4,Eva,g1,\n")
    before = small_school.everything()
    report = small_school.seed(dry_run=True)
    assert report.dry_run
    assert changes(report, "guardians") == (
        RowChange(action="update", key="g1", columns=("email",)),
        RowChange(action="update", key="g2", columns=("phone",), overridden=("phone",)),
    )
    assert changes(report, "pupils") == (
        RowChange(action="insert", key="p4"),
        RowChange(action="update", key="p1", columns=("best_friend",)),
        RowChange(action="update", key="p3", columns=("name", "guardian_id"), overridden=("name",)),
        RowChange(action="delete", key="p2"),
    )
    assert small_school.everything() == before
    assert small_school.seed().tables == report.tables


def test_a_dry_run_leaves_no_ledger_in_a_database_that_had_none(project):
    project.write("pupils.csv", "id,name\np1,Ana\n")
    assert project.counts(project.seed(dry_run=True)) == {"pupils": (1, 0, 0, 0)}
    assert "ledger" not in project.everything()


# identities -----------------------------------------------------------------------------------------------------------


def test_the_next_row_without_an_id_does_not_meet_the_seeded_ones(project):
    project.run(
        "CREATE TABLE always (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int);"
        "CREATE TABLE old (id serial PRIMARY KEY)"
    )
    project.write("notes.csv", "id,body\n1,a\n5,b\n")
    project.write("always.csv", "id,n\n3,1\n")
    project.write("old.csv", "id\n9\n")
    project.seed()
    project.seed()
    project.run("INSERT INTO notes DEFAULT VALUES; INSERT INTO always (n) VALUES (1); INSERT INTO old DEFAULT VALUES")
    assert project.rows("SELECT max(id) FROM notes") == [(6,)]
    assert project.rows("SELECT max(id) FROM always") == [(4,)]
    assert project.rows("SELECT max(id) FROM old") == [(10,)]
    project.write("old.csv", "id\n2\n")
    project.seed()
    project.run("INSERT INTO old DEFAULT VALUES")
    assert project.rows("SELECT max(id) FROM old") == [(11,)]


def test_partitioned_tables_and_schemas_of_their_own_are_seeded(project, approved):
    project.run("""
        CREATE SCHEMA archive;
        CREATE TABLE archive."Old Marks" (id int PRIMARY KEY, year int);
        CREATE TABLE visits (id int, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
        CREATE TABLE visits_2026 PARTITION OF visits FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')""")
    project.write("archive.Old Marks.csv", "id,year\n1,1999\n")
    project.write("visits.csv", "id,day\n1,2026-03-01\n")
    report = project.seed()
    assert project.counts(report) == {"archive.Old Marks": (1, 0, 0, 0), "visits": (1, 0, 0, 0)}
    project.write("visits.csv", "id,day\n1,2025-03-01\n")
    with pytest.raises(FixtureError) as caught:
        project.seed()
    assert (caught.value.file, caught.value.line) == ("seeds/local/visits.csv", 2)
    assert "PARTITION OF visits" in caught.value.remedy
    approved(caught.value)


def test_a_trigger_may_fill_in_what_must_not_be_null(project, approved):
    project.run("""
        CREATE TABLE posts (id int PRIMARY KEY, slug text NOT NULL);
        CREATE FUNCTION slug() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN IF NEW.id < 9 THEN NEW.slug := 'post-' || NEW.id; END IF; RETURN NEW; END $$;
        CREATE TRIGGER slug BEFORE INSERT ON posts FOR EACH ROW EXECUTE FUNCTION slug()""")
    project.write("posts.csv", "id\n1\n")
    project.seed()
    assert project.rows("SELECT slug FROM posts") == [("post-1",)]
    project.write("posts.csv", "id\n1\n9\n")
    with pytest.raises(FixtureError) as caught:
        project.seed()
    assert (caught.value.file, caught.value.line, caught.value.column) == ("seeds/local/posts.csv", 3, "slug")
    approved(caught.value)


def test_within_a_transaction_the_seed_is_the_callers_to_commit(project):
    project.write("pupils.csv", "id,name\np1,Ana\n")
    project.connection.execute("SELECT 1")
    project.seed()
    project.seed()
    project.connection.rollback()
    assert project.rows("SELECT count(*) FROM pupils") == [(0,)]


# faces ----------------------------------------------------------------------------------------------------------------

FACES = "SELECT id, face_id FROM pupil_faces ORDER BY id"


@pytest.fixture
def faces(small_school):
    small_school.write("pupil_faces.csv", "id,pupil_id,external_image_id\nf1,p1,p1-photo-1\nf2,p2,p2-photo-1\n")
    small_school.seed()
    return small_school


def test_a_new_face_gets_a_placeholder(faces):
    assert faces.rows(FACES) == [("f1", "placeholder:p1-photo-1"), ("f2", "placeholder:p2-photo-1")]


def test_a_seed_never_undoes_a_sync(faces):
    faces.run("UPDATE pupil_faces SET face_id = 'real-' || id")
    assert faces.counts(faces.seed())["pupil_faces"] == (0, 0, 2, 0)
    faces.write("pupil_faces.csv", "id,pupil_id,external_image_id,face_id\nf1,p3,p1-photo-1,other\nf2,p2,p2-photo-1,\n")
    assert faces.counts(faces.seed())["pupil_faces"] == (0, 1, 1, 0)
    assert faces.rows(FACES) == [("f1", "real-f1"), ("f2", "real-f2")]


def test_another_image_means_another_face(faces):
    faces.run("UPDATE pupil_faces SET face_id = 'real-' || id")
    faces.write("pupil_faces.csv", "id,pupil_id,external_image_id\nf1,p1,p1-photo-2\nf2,p2,p2-photo-1\n")
    report = faces.seed()
    assert faces.rows(FACES) == [("f1", "placeholder:p1-photo-2"), ("f2", "real-f2")]
    assert changes(report, "pupil_faces") == (
        RowChange(action="update", key="f1", columns=("external_image_id", "face_id")),
    )


def test_faces_of_one_image_are_told_apart_by_their_key(faces):
    faces.write(
        "pupil_faces.csv", "id,pupil_id,external_image_id\nf3,p1,class\nf4,p2,class\nf5,p1,p1-photo-1\n", "more"
    )
    faces.seed("more")
    assert faces.rows(FACES)[2:] == [
        ("f3", "placeholder:class:f3"),
        ("f4", "placeholder:class:f4"),
        ("f5", "placeholder:p1-photo-1:f5"),
    ]


def test_a_row_that_leaves_its_image_does_not_share_it(faces):
    faces.run("ALTER TABLE pupil_faces ADD UNIQUE (face_id)")
    faces.write("pupil_faces.csv", "id,pupil_id,external_image_id\nf9,p1,p1-photo-1\nf2,p2,p2-photo-1\n")
    faces.seed()  # the key is another
    assert faces.rows(FACES) == [("f2", "placeholder:p2-photo-1"), ("f9", "placeholder:p1-photo-1")]
    faces.write(
        "pupil_faces.csv",
        "id,pupil_id,external_image_id\nf9,p1,p1-photo-2\nf2,p2,p2-photo-1\nf10,p1,p1-photo-1\n",
    )
    faces.seed()  # the image is another, and a new row has the old one
    assert faces.rows(FACES) == [
        ("f10", "placeholder:p1-photo-1"),
        ("f2", "placeholder:p2-photo-1"),
        ("f9", "placeholder:p1-photo-2"),
    ]
    faces.write("pupil_faces.csv", "id,pupil_id,external_image_id\nf9,p1,p1-photo-2\nf2,p2,p2-photo-1\n")
    faces.write(
        "pupil_faces.yaml", "- {id: f10, pupil_id: p1}\n- {id: f11, pupil_id: p1, external_image_id: p1-photo-1}\n"
    )
    faces.seed()  # a row of the files that does not name its image keeps it
    assert faces.rows(FACES)[1] == ("f11", "placeholder:p1-photo-1:f11")


def test_rows_may_exchange_their_images(faces):
    faces.run("ALTER TABLE pupil_faces ADD UNIQUE (face_id)")
    faces.write("pupil_faces.csv", "id,pupil_id,external_image_id\nf1,p1,p2-photo-1\nf2,p2,p1-photo-1\n")
    faces.seed()
    assert faces.rows(FACES) == [("f1", "placeholder:p2-photo-1:f1"), ("f2", "placeholder:p1-photo-1:f2")]


def test_a_real_face_id_in_the_file_is_used_for_a_new_row(faces):
    faces.write("pupil_faces.yaml", "- {id: f3, pupil_id: p3, external_image_id: x, face_id: real}\n")
    faces.seed()
    assert faces.rows(FACES)[2] == ("f3", "real")
