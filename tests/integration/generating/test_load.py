"""A recipe is loaded into a database that may be in use."""

import os
import socket
from types import SimpleNamespace

import msgspec
import pytest
from psycopg.conninfo import make_conninfo

from seedtool.errors import (
    BlockedError,
    LoadInterrupted,
    NotConfirmed,
    ProfileError,
    Protected,
    RecipeError,
    UsageError,
)
from seedtool.generating import loading, putting_off
from seedtool.postgres.copying import send_while_making
from seedtool.seeding.profiles import load_profiles
from seedtool.workflows import database as databases
from tests.integration.generating.school import School


def test_rows_come_with_their_parents_and_nothing_else_changes(school):
    before = school.structure()
    report = school.load()
    assert school.structure() == before
    assert {each.table: each.rows for each in report.tables} == {"families": 30, "pupils": 60, "photos": 60}
    assert report.rows == 150
    assert report.kept == []
    children = school.query("SELECT count(p) FROM families f LEFT JOIN pupils p ON p.family_id = f.id GROUP BY f.id")
    assert {count for (count,) in children} == {1, 2, 3}
    assert school.query("SELECT id, url FROM photos ORDER BY id LIMIT 2") == [
        (1, school.value("SELECT 'pupils/' || pupil_id || '/1.jpg' FROM photos WHERE id = 1")),
        (2, school.value("SELECT 'pupils/' || pupil_id || '/2.jpg' FROM photos WHERE id = 1")),
    ]
    school.execute("INSERT INTO photos (pupil_id) VALUES ('pupil-0001')")  # the sequence stands behind ours
    assert school.value("SELECT max(id) FROM photos") == 61


def test_the_server_has_rows_to_work_on_while_the_next_are_made(school):
    with school.connect() as connection, connection.cursor() as cursor:
        with (
            cursor.copy("COPY families (id, name) FROM STDIN") as copy,
            socket.socket(fileno=os.dup(connection.pgconn.socket)) as sent,
        ):
            before = sent.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
            send_while_making(connection)
            copy.write(b"family-1\tSoto\n")
            on_the_way = sent.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
            # a kernel may allow no more, and over TCP it sees to it by itself
            assert on_the_way > before or before >= 2**19 or sent.family != socket.AF_UNIX
        assert cursor.execute("SELECT name FROM families").fetchall() == [("Soto",)]


def test_loading_again_changes_nothing(school):
    school.load()
    before = [school.checksum(table) for table in ("families", "pupils", "photos")]
    assert school.load().rows == 0
    assert [school.checksum(table) for table in ("families", "pupils", "photos")] == before


def test_a_larger_scale_adds_rows_and_changes_none(school):
    school.load()
    before = {table: school.checksum(table) for table in ("families", "pupils", "photos")}
    school.execute("INSERT INTO photos (pupil_id, url) VALUES ('pupil-0001', 'of a person')")
    report = school.load(scale=3)
    assert school.checksum("families", "id <= 'family-0030'") == before["families"]
    assert school.checksum("pupils", "id <= 'pupil-0060'") == before["pupils"]
    assert school.checksum("photos", "id <= 60") == before["photos"]
    assert school.value("SELECT count(*) FROM families") == 90
    assert school.value("SELECT count(*) FROM photos") == 1 + next(
        each.rows for each in report.tables if each.table == "photos"
    )
    assert {each.table for each in report.kept} == {"families", "pupils", "photos"}
    assert all(each.why == "it has rows" for each in report.kept)


def test_that_indexes_stay_is_told_where_it_costs_time(school, monkeypatch):
    notes = []
    listener = SimpleNamespace(note=notes.append, step=lambda *_: None, progress=lambda *_, **__: None)
    school.load()
    school.load(scale=2, listener=listener)
    assert not [each for each in notes if "indexes stay" in each]
    monkeypatch.setattr(loading, "WORTH_THREADS", 1)
    school.load(scale=3, listener=listener)
    assert notes == ["indexes stay while rows come, which is slower: families, pupils, photos (they have rows)"]


def test_at_once_and_in_two_steps_the_rows_are_the_same(school):
    school.load(scale=3)
    at_once = [school.checksum(table) for table in ("families", "pupils", "photos")]
    school.execute("TRUNCATE families, pupils, photos RESTART IDENTITY; DROP SCHEMA seedtool CASCADE")
    school.load(scale=1)
    school.load(scale=3)
    assert [school.checksum(table) for table in ("families", "pupils", "photos")] == at_once


def test_workers_make_the_same_rows(school):
    one = school.load()
    school.execute("TRUNCATE families, pupils, photos RESTART IDENTITY; DROP SCHEMA seedtool CASCADE")
    two = school.load(workers=2)
    assert two.tables == one.tables


def test_another_random_seed_makes_other_rows_of_the_same_number(school):
    school.load()
    before = school.checksum("families")
    with pytest.raises(UsageError) as raised:
        school.load(random_seed="2")
    assert raised.value.place["option"] == "--random-seed"
    school.execute("TRUNCATE families, pupils, photos; DROP SCHEMA seedtool CASCADE")
    school.load(random_seed="2")
    assert school.value("SELECT count(*) FROM pupils") == 60
    assert school.checksum("families") != before


@pytest.mark.parametrize(
    ("change", "kind", "cure"),
    [
        (("families = 30", "families = 31"), RecipeError, "seedtool seed unload district"),
        (("", ""), UsageError, "--scale 2"),
    ],
)
def test_a_load_that_is_not_the_earlier_one_is_refused(school, change, kind, cure):
    school.load(scale=2)
    path = school.settings.seeds / "district.toml"
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(kind) as raised:
        school.load(scale=1 if change == ("", "") else 2)
    assert cure in raised.value.remedy


def test_the_guard_is_asked(school):
    with pytest.raises(NotConfirmed):
        school.load(confirm=None)
    databases.protect(settings=school.settings, target=school.target)
    with pytest.raises(Protected):
        school.load()
    assert school.value("SELECT count(*) FROM families") == 0


@pytest.mark.parametrize(
    ("old", "new", "line", "table", "column", "cure"),
    [
        ("families = 30", "familys = 40\nfamilies = 30", 3, "familys", None, "Did you mean families?"),
        ("status =", "statos =", 13, "pupils", "statos", "Did you mean status?"),
        ('status = { kind = "choice", values = ["active", "inactive"], weights = [9, 1] }', "", 11, "pupils", "status",
         'status = "word"'),
        ('kind = "choice", values', 'kind = "chioce", values', 13, "pupils", "status", "Did you mean choice?"),
        ("{pupil_id}/{k}", "{pupil}/{k}", 16, "photos", "url", "{parent_id.name}"),
        ("{pupil_id}/{k}", "{pupil_id.nome}/{k}", 16, "photos", "url", "{parent_id.name}"),
        ("family-{n:04}", "family-{n", 8, "families", "id", "twice for themselves"),
        ("family-{n:04}", "family-{k:04}", 8, "families", "id", "{n}"),
        ('"1..3 per families"', '"1..3 per photos"', 4, "pupils", None, "number of rows"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_database_is_told_before_a_row_is_written(school, old, new, line, table, column, cure):
    path = school.settings.seeds / "district.toml"
    text = path.read_text()
    assert old in text
    if "per photos" in new:
        text = text.replace('photos = { per = "pupils", weights = { 0 = 1, 2 = 1 } }', "photos = 10")
    path.write_text(text.replace(old, new))
    with pytest.raises(RecipeError) as raised:
        school.load()
    place = raised.value.place
    assert (place["line"], place["table"], place.get("column")) == (line, table, column)
    assert cure in raised.value.remedy
    assert school.value("SELECT to_regnamespace('seedtool')") is None


def test_an_interrupted_load_is_told_and_resumed(school, monkeypatch):
    before = school.structure()
    with monkeypatch.context() as patched:
        patched.setattr("seedtool.generating.putting_off.build", interrupt)
        with pytest.raises(KeyboardInterrupt):
            school.load()
    assert school.structure() != before
    with pytest.raises(LoadInterrupted) as raised:
        school.load()
    assert "--resume" in raised.value.remedy
    report = school.load(resume=True)
    assert (report.resumed, report.rows) == (True, 0)
    assert school.structure() == before


def interrupt(*_, **__):
    raise KeyboardInterrupt


def test_a_profile_may_not_be_called_as_a_command_is(tmp_path):
    (tmp_path / "profiles.toml").write_text('[load]\nsets = ["local"]\n')
    with pytest.raises(ProfileError) as raised:
        load_profiles(tmp_path)
    assert (raised.value.place["profile"], raised.value.place["file"]) == ("load", "profiles.toml")
    assert "[load-rows]" in raised.value.remedy


@pytest.mark.parametrize("workers", [1, 2])
def test_what_the_database_refuses_leaves_nothing_behind(school, workers):
    before = school.structure()
    school.execute("ALTER TABLE photos ADD CHECK (url NOT LIKE '%pupil-0050%')")
    school.execute("INSERT INTO families VALUES ('people', 'P')")
    with pytest.raises(RecipeError) as raised:
        school.load(workers=workers)
    assert raised.value.place["code"] == "23514"
    assert "photos_url_check" in raised.value.message
    assert "CHECK (" in raised.value.message
    assert [school.value(f"SELECT count(*) FROM {table}") for table in ("families", "pupils", "photos")] == [1, 0, 0]
    school.execute("ALTER TABLE photos DROP CONSTRAINT photos_url_check")
    assert school.structure() == before
    assert school.load().rows == 150


def test_a_key_that_others_broke_meanwhile_is_told_and_theirs_is_kept(school, monkeypatch):
    build = putting_off.build

    def built(*arguments, **options):
        monkeypatch.undo()
        school.execute("INSERT INTO families VALUES ('family-0007', 'Of a person')")
        return build(*arguments, **options)

    monkeypatch.setattr("seedtool.generating.putting_off.build", built)
    with pytest.raises(RecipeError) as raised:
        school.load()
    assert raised.value.place["code"] == "23505"
    assert school.query("SELECT name FROM families") == [("Of a person",)]


def test_a_larger_scale_that_the_database_refuses_leaves_the_smaller_one(school):
    school.load()
    before = {table: school.checksum(table) for table in ("families", "pupils", "photos")}
    school.execute("ALTER TABLE photos ADD CHECK (url NOT LIKE '%pupil-007%')")
    with pytest.raises(RecipeError):
        school.load(scale=2)
    assert {table: school.checksum(table) for table in ("families", "pupils", "photos")} == before
    assert school.load().rows == 0


AWKWARD = {
    "names with blanks and quotes": (
        (
            'CREATE SCHEMA arch; CREATE TABLE arch."Odd ""Name" (id serial PRIMARY KEY, "Col umn" text NOT NULL UNIQUE);'
            'CREATE TABLE kids (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, p int NOT NULL REFERENCES arch."Odd ""Name")'
        ),
        "[rows]\n'arch.Odd \"Name' = 20\nkids = '2 per arch.Odd \"Name'\n",
    ),
    "keys of two columns": (
        (
            "CREATE TABLE tenants (id int PRIMARY KEY);"
            "CREATE TABLE users (tenant_id int NOT NULL REFERENCES tenants, id int NOT NULL, PRIMARY KEY (tenant_id, id));"
            "CREATE TABLE posts (id serial PRIMARY KEY, tenant_id int NOT NULL REFERENCES tenants, user_id int NOT NULL,"
            " FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id))"
        ),
        (
            "[rows]\ntenants = 5\nusers = '4..6 per tenants'\nposts = '10 per tenants'\n[tables.tenants]\nid = '{n}'\n"
            "[tables.users]\nid = '{k}'\n"
        ),
    ),
    "a view that needs a key": (
        "CREATE TABLE a (id int PRIMARY KEY, x text); CREATE VIEW v AS SELECT id, x, count(*) FROM a GROUP BY id",
        "[rows]\na = 10\n[tables.a]\nid = '{n}'\n",
    ),
    "ranges that may not overlap": (
        "CREATE TABLE a (id serial PRIMARY KEY, during int4range NOT NULL, EXCLUDE USING gist (during WITH &&))",
        "[rows]\na = 50\n[tables.a]\nduring = { kind = 'range', length = 10, gap = 2 }\n",
    ),
    "a trigger that fills in": (
        (
            "CREATE TABLE a (id serial PRIMARY KEY, x text NOT NULL, up text); CREATE FUNCTION u() RETURNS trigger LANGUAGE"
            " plpgsql AS $$ BEGIN NEW.up := upper(NEW.x); RETURN NEW; END $$;"
            "CREATE TRIGGER u BEFORE INSERT ON a FOR EACH ROW EXECUTE FUNCTION u()"
        ),
        "[rows]\na = 50\n[tables.a]\nx = 'word'\n",
    ),
    "a table that inherits": (
        "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b () INHERITS (a)",
        "[rows]\na = 5\nb = 5\n[tables.a]\nid = '{n}'\n[tables.b]\nid = '{n}'\n",
    ),
    "partitions that others refer to": (
        (
            "CREATE TABLE a (id int, at date NOT NULL, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);"
            "CREATE TABLE a1 PARTITION OF a FOR VALUES FROM ('2020-01-01') TO ('2023-01-01');"
            "CREATE TABLE a2 PARTITION OF a DEFAULT;"
            "CREATE TABLE b (id serial, a_id int, a_at date, FOREIGN KEY (a_id, a_at) REFERENCES a)"
        ),
        "[rows]\na = 50\nb = '2 per a'\n[tables.a]\nid = '{n}'\n",
    ),
    "nothing to write": ("CREATE TABLE a (id serial PRIMARY KEY); CREATE TABLE b (x int)", "[rows]\na = 3\nb = 4\n"),
    "parents without children": (
        "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id serial PRIMARY KEY, a_id int REFERENCES a)",
        "[rows]\na = 3\nb = { per = 'a', sizes = [0, 0, 5] }\n[tables.a]\nid = '{n}'\n",
    ),
    "columns that checks compare": (
        (
            "CREATE TABLE a (id serial PRIMARY KEY, low int NOT NULL, high int NOT NULL, CHECK (low < high),"
            ' "From" date NOT NULL, "Until" date NOT NULL, CHECK ("From" <= "Until"), cost numeric(8,2) NOT NULL,'
            " price numeric(8,2) NOT NULL, CHECK (price >= cost AND price > 0), created_at timestamptz NOT NULL,"
            " updated_at timestamptz, deleted_at timestamptz, CHECK (updated_at >= created_at),"
            " CONSTRAINT gone CHECK (deleted_at IS NULL OR deleted_at > updated_at AND deleted_at > created_at),"
            " opens time NOT NULL, shuts time NOT NULL, CHECK (opens < shuts), a int, b int, c int, CHECK (a <= b AND b <= c),"
            " CHECK (a < c), rating numeric(2,1) NOT NULL CHECK (rating >= 0.5 AND rating <= 5))"
        ),
        (
            "[rows]\na = 400\n[tables.a]\nlow = { kind = 'integer', min = 1, max = 9 }\nhigh = { kind = 'integer', max = 9 }\n"
            "cost = { kind = 'decimal', min = 1, max = 9 }\nprice = { kind = 'decimal', min = 1, max = 9 }\n"
            "updated_at = 'timestamp'\ndeleted_at = { kind = 'timestamp', nulls = 0.5 }\nopens = 'time'\nshuts = 'time'\n"
            "a = { kind = 'integer', max = 3 }\nb = { kind = 'integer', max = 3 }\nc = { kind = 'integer', max = 3 }\n"
        ),
    ),
    "a key that only some rows have": (
        (
            "CREATE TABLE c (id int PRIMARY KEY); CREATE TABLE o (id serial PRIMARY KEY, c_id int NOT NULL REFERENCES c,"
            " state text NOT NULL, kind text NOT NULL); CREATE UNIQUE INDEX ON o (c_id) WHERE state = 'new';"
            "CREATE UNIQUE INDEX ON o (kind) WHERE state = 'new'"
        ),
        "[rows]\nc = 5\no = 40\n[tables.c]\nid = '{n}'\n[tables.o]\nstate = ['sent', 'paid']\nkind = ['a', 'b']\n",
    ),
    "texts with little room": (
        "CREATE TABLE a (id varchar(12) PRIMARY KEY, x char(6) UNIQUE NOT NULL, y varchar(3) UNIQUE NOT NULL)",
        "[rows]\na = 50\n",
    ),
    "a row that has to refer to one of its own table": (
        "CREATE TABLE a (id int PRIMARY KEY, up int NOT NULL REFERENCES a)",
        "[rows]\na = 30\n[tables.a]\nid = '{n}'\n",
    ),
}


@pytest.mark.parametrize("case", AWKWARD)
def test_awkward_tables_are_loaded_grown_and_unloaded(school, case):
    schema, recipe = AWKWARD[case]
    school.execute(schema)
    school.write(recipe)
    before = school.structure()
    first, second = school.load(), school.load(scale=2)
    gone = school.unload()
    assert sum(each.removed for each in gone.values()) == first.rows + second.rows
    assert school.structure() == before


def test_what_a_role_lacks_is_told_before_a_row_is_written(school):
    role = f"app_{school.target.name}"
    school.execute(
        f"CREATE ROLE {role} LOGIN; GRANT SELECT, INSERT, DELETE ON ALL TABLES IN SCHEMA public TO {role};"
        f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}; GRANT CREATE ON DATABASE {school.target.name} TO {role};"
    )
    owner = school.target
    try:
        school.target = msgspec.structs.replace(owner, conninfo=make_conninfo(owner.conninfo, user=role))
        with pytest.raises(BlockedError) as raised:
            school.load()
        assert "GRANT UPDATE ON SEQUENCE" in raised.value.remedy
        apart = School(school.settings, owner)
        apart.execute(f"GRANT UPDATE ON ALL SEQUENCES IN SCHEMA public TO {role}")
        assert {each.table for each in school.load().kept} == {"families", "pupils", "photos"}  # it owns no table
        assert sum(each.removed for each in school.unload().values()) == 150
        apart.execute("ALTER TABLE pupils ENABLE ROW LEVEL SECURITY")
        with pytest.raises(BlockedError) as raised:
            school.load()
        assert raised.value.place["table"] == "pupils"
        assert apart.value("SELECT count(*) FROM families") == 0
    finally:
        School(school.settings, owner).execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_rows_of_a_partition_leave_the_indexes_of_the_partitioned_table(school):
    school.execute(
        "CREATE TABLE days (id int PRIMARY KEY, x text) PARTITION BY RANGE (id);"
        "CREATE TABLE days_1 PARTITION OF days FOR VALUES FROM (0) TO (100); CREATE TABLE empty ();"
        "CREATE TABLE filled (x int NOT NULL DEFAULT 3)"
    )
    school.write("[rows]\ndays_1 = 50\n")
    assert [each.why for each in school.load().kept] == ["it is a partition"]
    assert school.unload()["days_1"].removed == 50
    school.write("[rows]\ndays_1 = 100\n")
    with pytest.raises(RecipeError, match="it is not within the partition") as raised:
        school.load()
    assert (raised.value.place["column"], "FROM (0) TO (100)" in raised.value.remedy) == ("id", True)
    for table, said, column in (("empty", "no column", None), ("filled", "x = ", "x")):
        school.write(f"[rows]\n{table} = 3\n", table)
        with pytest.raises(RecipeError) as raised:
            school.load(table)
        assert said in f"{raised.value.message} {raised.value.remedy}"
        assert (raised.value.place["table"], raised.value.place.get("column")) == (table, column)
