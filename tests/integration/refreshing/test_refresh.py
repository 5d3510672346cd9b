"""A database is refreshed from another one: masked, proven, swapped in; and left as it was when anything is wrong."""

import difflib
from pathlib import Path
from types import SimpleNamespace

import msgspec
import psycopg
import pytest

from seedtool.cli.failures import ErrorWithReport
from seedtool.cli.refresh import _findings_shown as findings_shown
from seedtool.errors import (
    NotConfirmed,
    PolicyError,
    ProofFailed,
    Protected,
    Refused,
    SettingsError,
    SyncFailed,
    UsageError,
)
from seedtool.postgres import programs, server
from seedtool.postgres.cluster import open_cluster
from seedtool.resetting import guard
from seedtool.settings import FaceBinding
from seedtool.snapshots import registry
from seedtool.workflows import refresh as workflow
from tests.integration.refreshing.conftest import database as another

pytestmark = pytest.mark.usefixtures("nothing_left")
KEY = "0f6c1b9e5d2a84e7c3b16f0d9a7e5c42"


def run(project, database, **more):
    return workflow.refresh(settings=project, target=database, **{"confirm": database.name, **more})


def dump(database):
    tools = programs.fitting(180000)[0]
    options = ("--schema-only", "--no-owner", "--restrict-key=same", "--exclude-schema=seedtool")
    return programs.run(tools, "pg_dump", *options, target=database, database=database.name).out.splitlines()


def policy_of(project, old, new):
    path = project.root / "policy.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_a_database_is_replaced_by_a_masked_copy_that_was_proven(project, database, filled, production, rows):
    done = run(project, database)
    before = dict(rows(production, "SELECT id, full_name FROM students"))
    after = dict(rows(database, "SELECT id, full_name FROM students"))
    assert after.keys() == before.keys()
    assert not {*before.values()} & {*after.values()}
    for (email,) in rows(database, "SELECT email FROM students"):
        assert email.endswith("@masked.invalid")
    assert {note["color"] for (note,) in rows(database, "SELECT note FROM students")} == {"red"}
    assert rows(database, "SELECT count(*) FROM visits JOIN students s ON s.id = student") == [(300,)]
    assert rows(database, "SELECT bool_and(loud = upper(full_name)) FROM students") == [(True,)]
    assert rows(database, "SELECT title FROM grades WHERE id = '4b'") == [("Cuarto básico (staging)",)]
    assert rows(database, "SELECT count(*) FROM outbox") == [(0,)]
    assert rows(database, "SELECT to_regclass('before'), to_regclass('seedtool.guard')") == [(None, None)]
    with server.connect(database) as connection:  # keys are back, and sequences are ahead
        assert connection.execute(
            "INSERT INTO visits (student, at) VALUES (1, '2026-02-02') RETURNING id"
        ).fetchone() == (301,)
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            connection.execute("INSERT INTO visits (student, at) VALUES (99, '2026-02-02')")

    (record,) = rows(database, "SELECT ran_by, source, policy_hash, key_id, report FROM seedtool.refreshes")
    assert record[2] == done.report.policy_hash
    assert record[3] == done.report.key
    assert record[4]["proof"]["findings"] == []
    assert {each.table: each.rows for each in done.report.tables} == {
        "grades": 2,
        "students": 40,
        "visits": 300,
        "outbox": 0,
    }
    for written in (done.page, done.file):
        text = Path(written).read_text()
        assert done.report.policy_hash in text
        assert "the day of a visit chooses the partition" in text
        assert KEY not in text
        assert not [value for value in before.values() if value in text]
    with open_cluster(database) as cluster:
        assert guard.consent_to_replace(cluster, cluster.database(database.name)) is guard.Consent.YES


def test_another_key_masks_another_way_and_the_records_of_earlier_copies_stay(project, database, rows):
    names = []
    for key in (KEY, KEY[::-1]):
        run(msgspec.structs.replace(project, refresh_key=key), database)
        names.append(rows(database, "SELECT email FROM students ORDER BY id"))
    assert not {*names[0]} & {*names[1]}
    assert len(rows(database, "SELECT FROM seedtool.refreshes")) == 2  # the records of the copies before it stay


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ('born = { mask = "shift", subject = "id" }\n', "", "no line"),  # greenmask 321
        ('email = "email"', 'email = "null"\nadress = "keep"', "vanished"),
        ('full_name = { mask = "full_name", locale = "es_CL" }', 'full_name = "null"', "mask"),  # greenmask 465
        ('email = "email"', 'email = "first_name"', "unique"),  # pgstream 1136
        ('grade = "keep"', 'grade = "token"', "reference"),
    ],
    ids=["no line", "vanished", "null", "unique", "reference"],
)
def test_a_policy_that_does_not_fit_stops_the_run_before_a_row_is_read(
    project, database, filled, production, approved, old, new, kind, rows
):
    policy_of(project, old, new)
    read = "SELECT coalesce(sum(seq_scan + coalesce(idx_scan, 0)), 0) FROM pg_stat_user_tables"
    before = rows(production, read)
    with pytest.raises(PolicyError) as refused:
        run(project, database)
    assert kind in {each.kind for each in refused.value.findings}
    assert refused.value.place["file"] == "policy.toml"
    approved(refused.value)
    assert rows(database, "SELECT to_regclass('before') IS NOT NULL") == [(True,)]
    assert rows(production, read) == before
    found = workflow.check_policy(settings=project)
    assert [each.kind for each in found.findings] == [each.kind for each in refused.value.findings]


def test_a_wrong_keep_is_found_by_the_proof_and_nothing_is_replaced(project, database, filled, production, rows):
    policy_of(project, 'email = "email"', 'email = "keep"')
    before = templates(database)
    with pytest.raises(ProofFailed) as refused:
        run(project, database)
    assert {"students.email"} <= {f"{each['table']}.{each['column']}" for each in refused.value.findings}
    assert rows(database, "SELECT to_regclass('before') IS NOT NULL") == [(True,)]
    page = max((project.state_dir / "refreshes").glob("*.html")).read_text()
    assert "refused the copy" in page
    said = f"{refused.value.message} {refused.value.findings} {page}"
    assert not [name for (name,) in rows(production, "SELECT full_name FROM students") if name in said]
    assert templates(database) <= before  # nothing of the copy is left


def templates(database):
    """Return the names of the templates on the server, those of other tests included."""
    with open_cluster(database) as cluster:
        return {each.name for each in cluster.private_databases() if each.kind == "template"}


def test_after_sql_that_brings_something_personal_is_found(project, database):
    (project.root / "after.sql").write_text(
        "CREATE TABLE extra (note text); INSERT INTO extra VALUES ('ask pupil0.sof@familia.example');"
    )
    with pytest.raises(ProofFailed) as refused:
        run(project, database)
    assert ("extra", "note") in {(each["table"], each["column"]) for each in refused.value.findings}


def test_after_sql_that_fails_names_its_file(project, database, approved):
    (project.root / "after.sql").write_text("UPDATE grades SET titel = 'x'")
    with pytest.raises(PolicyError) as refused:
        run(project, database)
    assert refused.value.place["file"] == "after.sql"
    assert refused.value.place["code"] == "42703"
    approved(refused.value)


@pytest.mark.parametrize(
    ("content", "line"), [(b"SELECT 1;\nSELECT 2;\0 DROP TABLE outbox", 2), ("SELECT 'ño'".encode("latin-1"), None)]
)
def test_after_sql_that_the_server_would_not_read_whole_stops_before_the_rows(project, database, content, line):
    (project.root / "after.sql").write_bytes(content)
    with pytest.raises(PolicyError, match=r"UTF-8|line 2: there is a NUL") as refused:
        workflow.plan_refresh(settings=project, target=database)
    assert refused.value.place.get("line") == line
    (project.root / "after.sql").write_bytes(b"\xef\xbb\xbfSELECT 1")
    assert workflow.plan_refresh(settings=project, target=database).tables


def test_the_last_proven_copy_is_used_again_only_when_asked(project, database, production, rows):
    with pytest.raises(UsageError) as refused:
        run(project, database, reuse=True)
    assert refused.value.place["option"] == "--reuse"
    cells = msgspec.structs.replace(project, refresh=msgspec.structs.replace(project.refresh, proof="cells"))
    first = run(cells, database)
    with server.connect(database) as connection:
        connection.execute("DELETE FROM visits")
    with pytest.raises(UsageError):  # it was proven by whole cells alone
        run(project, database, reuse=True)
    gone = msgspec.structs.replace(cells, refresh_from="postgresql://nobody@127.0.0.1:1/gone")
    again = workflow.refresh(settings=gone, target=database, yes=True, reuse=True)
    assert (again.report.outcome, again.report.began) == ("reused", first.report.began)
    assert rows(database, "SELECT count(*) FROM visits") == [(300,)]
    with pytest.raises(UsageError):
        run(msgspec.structs.replace(cells, refresh_key=KEY[::-1]), database, reuse=True)


def test_the_database_that_was_replaced_is_kept_where_that_is_set(project, database, filled, rows):
    keeping = msgspec.structs.replace(project, refresh=msgspec.structs.replace(project.refresh, keep_old=True))
    run(keeping, database)
    (kept,) = registry.snapshots(database)
    assert kept.name == "before-refresh"
    with server.connect(database, database.maintenance, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {database.name}_old TEMPLATE {kept.database}")
        found = rows(database.at(f"{database.name}_old"), "SELECT to_regclass('before') IS NOT NULL")
        connection.execute(f"DROP DATABASE {database.name}_old")
    assert found == [(True,)]
    registry.delete(database, ["before-refresh"])


def test_what_no_policy_makes_good_is_refused_first(project, database, filled, production, rows):
    with pytest.raises(Refused):
        run(project, production)
    with pytest.raises(NotConfirmed):
        workflow.refresh(settings=project, target=database)
    with open_cluster(database) as cluster:
        guard.protect(cluster, database.name)
        with pytest.raises(Protected):
            run(project, database)
        guard.unprotect(cluster, database.name)
    with pytest.raises(SettingsError) as refused:
        run(msgspec.structs.replace(project, refresh_key=None), database)
    assert "SEEDTOOL_REFRESH_KEY" in refused.value.remedy
    with pytest.raises(UsageError):
        run(msgspec.structs.replace(project, refresh_from=None), database)
    assert rows(database, "SELECT to_regclass('before') IS NOT NULL") == [(True,)]


def test_a_production_that_looks_like_a_masked_copy_is_refused(project, database):
    run(project, database)
    copied = msgspec.structs.replace(project, refresh_from=database.conninfo)
    other = database.at(f"{database.name}_2")
    with pytest.raises(Exception, match="already holds a value of the range") as refused:
        workflow.refresh(settings=copied, target=other)
    assert refused.value.place["column"] == "email"


def test_a_plan_reads_no_row_and_changes_nothing(project, database, production, rows):
    plan = workflow.plan_refresh(settings=project, target=database)
    assert {each.table: (each.chosen, len(each.masked)) for each in plan.tables} == {
        "grades": ("all rows", 0),
        "outbox": ("no rows", 0),
        "students": ("all rows", 4),
        "visits": ("all rows", 0),
    }
    assert plan.consent is guard.Consent.NONE
    assert rows(database, "SELECT to_regclass('students')") == [(None,)]


def test_a_subset_brings_what_its_rows_refer_to(project, database, rows):
    policy_of(project, "[tables.grades]", "subset = \"students WHERE grade = '4b'\"\n[tables.grades]")
    done = run(project, database)
    assert rows(database, "SELECT DISTINCT grade FROM students") == [("4b",)]
    assert rows(database, "SELECT id FROM grades") == [("4b",)]
    assert rows(database, "SELECT count(*) FROM visits") == [(150,)]
    assert {each.table: each.chosen for each in done.report.tables}["students"] == "subset"


def test_a_preview_shows_shapes_and_no_value(project, production, rows):
    shown = {(each.table, each.column): each for each in workflow.preview_masks(settings=project)}
    email = shown["students", "email"]
    assert email.before in {"a9.a@a.a", "a99.a@a.a"}
    assert email.after.endswith("@a.a")
    assert not [name for (name,) in rows(production, "SELECT full_name FROM students") if name in str(shown)]
    policy_of(project, '{ mask = "full_name", locale = "es_CL" }', '"bijective"')
    with pytest.raises(PolicyError, match="students, column full_name: bijective masks whole numbers"):
        workflow.preview_masks(settings=project)


def test_a_draft_leaves_what_nothing_tells_to_a_person(project, database, production, rows):
    text = workflow.draft_policy(settings=project)
    assert 'email = "email"' in text
    assert 'loud = "keep" # computed' in text
    assert 'note = "decide"' in text
    assert 'student = "keep" # as students.id' in text
    assert not [name for (name,) in rows(production, "SELECT full_name FROM students") if name in text]
    (project.root / "policy.toml").write_text(text)
    found = workflow.check_policy(settings=project)
    assert {each.kind for each in found.findings} <= {"undecided", "mask"}
    with pytest.raises(PolicyError):
        run(project, database)


def test_a_draft_knows_names_of_columns_in_any_writing(project, database, rows):
    with server.connect(database) as connection:
        connection.execute("""
            CREATE TABLE alumnos (id int PRIMARY KEY, nombre text, "Apellido Paterno" text, "E-mail" text, "Teléfono" text,
                "Dirección" text, "Fecha.Nacimiento" date, "firstName" text, face_id uuid, "externalImageId" text,
                foto text, "photo.url" text, coleccion text, face_embedding float4[], object_kind text);
            CREATE TABLE ramos (id int PRIMARY KEY, nombre text)""")
    text = workflow.draft_policy(settings=msgspec.structs.replace(project, refresh_from=database.conninfo))
    lines = dict(line.split(" # ")[0].split(" = ", 1) for line in text.splitlines() if " = " in line)
    assert lines["nombre"] == '"decide"'  # of `ramos`, the last one: a subject's
    assert 'nombre = "first_name"' in text
    assert [lines[each] for each in ('"Apellido Paterno"', "E-mail", '"Teléfono"', '"Dirección"', "firstName")] == [
        '"last_name"',
        '"email"',
        '"phone"',
        '"address"',
        '"first_name"',
    ]
    assert lines['"Fecha.Nacimiento"'].startswith('{ mask = "shift"')
    for each in ("face_id", "externalImageId", "foto", '"photo.url"', "coleccion", "face_embedding"):
        assert lines[each] == '"decide"'
        assert "# decide: " in text.split(f"{each} = ")[1].splitlines()[0]


def test_a_schema_of_every_kind_comes_from_its_draft_to_its_copy(project, database, rental, rows):
    """Partitions by the hash of an enum, a view that is not filled, names with blanks and quotes, tsvectors, domains."""
    here = msgspec.structs.replace(project, refresh_from=rental.conninfo)
    text = workflow.draft_policy(settings=here)
    assert '[tables."Ticket Lines"]' in text
    text = text.replace('"decide"', '{ mask = "keep", reason = "nobody" }').replace('subject = "..."', 'subject = "id"')
    (project.root / "policy.toml").write_text(text)
    assert workflow.check_policy(settings=here).findings == ()
    done = run(here, database)
    for table in ("reviews", "films", '"Ticket Lines"', "ledger.payments"):
        assert rows(database, f"SELECT count(*) FROM {table}") == rows(rental, f"SELECT count(*) FROM {table}")
    assert done.report.rows > 900
    vectors = "SELECT count(*) FROM films WHERE fulltext = to_tsvector('simple', coalesce(title, '') || ' ' || coalesce(description, ''))"
    assert rows(database, vectors) == rows(database, "SELECT count(*) FROM films")


@pytest.fixture
def kinds(target):
    """A database with an object of every kind, as far as the server knows them."""
    older, _, newer = (Path(__file__).parent / "kinds.sql").read_text(encoding="utf-8").partition("-- new in 17 and 18")
    newer, _, last = newer.partition("-- an event trigger")
    with another(target, "refresh_kinds") as made:
        with server.connect(made, autocommit=True) as connection:
            new = newer if connection.info.server_version >= 180000 else ""
            for statement in f"{older}{new}--{last}".split(";\n"):
                connection.execute(statement)
        yield made


def test_every_kind_of_object_is_in_the_copy_as_it_was(project, database, kinds, rows):
    """An event trigger that forbids migrations, and a partition on a server out of reach, are no fault of the copy."""
    here = msgspec.structs.replace(project, refresh_from=kinds.conninfo)
    text = workflow.draft_policy(settings=here).replace('"decide"', '{ mask = "keep", reason = "nobody" }')
    assert 'fpart = "no rows" # a foreign table' in text
    (project.root / "policy.toml").write_text(text)
    run(here, database)
    assert list(difflib.unified_diff(dump(kinds), dump(database), lineterm="", n=1)) == []
    for table in ("parent", "child", "kid", "plist", "rowref", "am_table", "empty_cols", "self", "mv"):
        assert rows(database, f"SELECT count(*) FROM {table}") == rows(kinds, f"SELECT count(*) FROM {table}")


def test_sequences_at_their_ends_and_partitions_of_partitions_are_no_finding(project, database, target, rows):
    """PostgreSQL 17 and later give a partition's partition no identity where it is attached to one that has none yet."""
    ddl = """
        CREATE SEQUENCE used_up; SELECT setval('used_up', 9223372036854775807); CREATE SEQUENCE in_a_text;
        CREATE TABLE ends (
            a bigint DEFAULT nextval('used_up'), b text DEFAULT 'x' || nextval('in_a_text'),
            c int GENERATED BY DEFAULT AS IDENTITY (MAXVALUE 5), d int GENERATED ALWAYS AS IDENTITY (MAXVALUE 3 CYCLE));
        INSERT INTO ends (a) SELECT g FROM generate_series(1, 5) g; INSERT INTO ends (a, c) VALUES (9223372036854775807, 99);
        CREATE TABLE years (id int GENERATED ALWAYS AS IDENTITY, at int, mail text DEFAULT 'root') PARTITION BY RANGE (at);
        CREATE TABLE leaf (gone int, mail text DEFAULT 'leaf', at int, id int NOT NULL); ALTER TABLE leaf DROP gone;
        CREATE TABLE inner_one (at int, id int NOT NULL, mail text) PARTITION BY LIST (at);
        ALTER TABLE inner_one ATTACH PARTITION leaf DEFAULT;
        ALTER TABLE years ATTACH PARTITION inner_one FOR VALUES FROM (0) TO (9);
        INSERT INTO years (at, mail) SELECT g, 'pupil' || g || '@familia.example' FROM generate_series(1, 8) g"""
    (project.root / "policy.toml").write_text(
        '[tables.ends]\na = "keep"\nb = "keep"\nc = "keep"\nd = "keep"\n'
        '[tables.years]\nid = "keep"\nat = "keep"\nmail = "email"\n'
    )
    with another(target, "refresh_ends", ddl) as origin:
        run(msgspec.structs.replace(project, refresh_from=origin.conninfo), database)
        for query in (
            "SELECT sequencename, last_value FROM pg_sequences ORDER BY 1", "SELECT * FROM ends ORDER BY a, c",
            "SELECT tableoid::regclass::text, id, at FROM years ORDER BY 2",
        ):  # fmt: skip
            assert rows(database, query) == rows(origin, query)


def test_settings_of_the_two_databases_change_nothing(project, database, filled, production, rows):
    (project.root / "after.sql").write_text("SELECT pg_sleep(0.1); UPDATE grades SET title = 'x' WHERE id = '4b'")
    settings = (
        "DateStyle = 'SQL, DMY'", "standard_conforming_strings = off", "quote_all_identifiers = on",
        "default_transaction_read_only = on", "row_security = off", "extra_float_digits = -15",
        "client_encoding = 'LATIN1'", "idle_in_transaction_session_timeout = '50ms'", "xmloption = 'document'",
    )  # fmt: skip
    with server.connect(database, database.maintenance, autocommit=True) as connection:
        for name in (production.name, filled.name):
            for setting in settings:
                connection.execute(f'ALTER DATABASE "{name}" SET {setting}')
        try:
            done = run(project, database)
        finally:
            connection.execute(f'ALTER DATABASE "{production.name}" RESET ALL')
        connection.execute(f'ALTER DATABASE "{database.name}" RESET ALL')
    assert (done.report.rows, done.report.proof.findings) == (342, ())
    assert rows(database, "SELECT count(*) FROM students WHERE full_name = upper(full_name)") == [(0,)]


def test_faces_that_cannot_be_indexed_or_linked_are_an_error_after_the_swap(project, database, filled, production):
    (project.root / "photos").mkdir()
    (project.root / "photos" / "7.jpg").write_bytes(b"a photo")
    binding = FaceBinding(table="faces", face_id="face", external_image_id="image", collection="staging", photo="photo")
    faced = msgspec.structs.replace(
        project, faces=(binding,), refresh_photos=str(project.root / "photos"), photos_url=str(project.root / "photos")
    )
    with server.connect(production, autocommit=True) as connection:
        connection.execute("CREATE TABLE faces (image text PRIMARY KEY, face text, photo text)")
        connection.execute("INSERT INTO faces VALUES ('pupil-7', NULL, '7.jpg')")
        policy_of(
            project,
            "[tables.grades]",
            """faces = "reindex"
reindex = "SELECT image FROM faces"
[tables.faces]
image = "token"
face = "keep"
photo = "token"
[tables.grades]""",
        )
        try:
            with pytest.raises(SyncFailed) as failed:
                run(faced, database)
        finally:
            connection.execute("DROP TABLE faces")
    assert "the photo store of the copy holds production's photos" in failed.value.message
    assert "The copy is in place, and proven" in failed.value.remedy
    assert failed.value.exit_code == 1
    done = failed.value.seeded
    assert any(note.startswith("the photos are not indexed: ") for note in done.report.notes)
    assert "the photos are not indexed" in Path(done.page).read_text(encoding="utf-8")

    told = []
    with pytest.raises(ErrorWithReport) as shown, findings_shown(SimpleNamespace(note=told.append)):
        raise failed.value
    assert shown.value.report == {"refresh": done}
    assert told[0].startswith(f"replaced {database} by a masked copy")
