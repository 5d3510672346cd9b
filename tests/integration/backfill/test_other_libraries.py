"""Libraries of other shapes: backfilled, reviewed, interrupted and indexed again like the shipped one."""

import re
import shutil
import threading
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from psycopg import sql

from seedtool.backfill import FaceProcessor, Options, Run, connect, corrections, counts, listing, plan, review
from seedtool.backfill.review import Choice
from seedtool.errors import SchemaError, SettingsError, UsageError
from seedtool.faces import photos
from seedtool.faces.rekognition.service import Aws
from seedtool.review_page.server import Page
from seedtool.settings import Backfill, load
from seedtool.workflows.doctor import examine

from .conftest import RULES, picture
from .test_kills import killed
from .test_review_page import Browser

GALLERY = Path(__file__).resolve().parents[2] / "projects" / "gallery"

#: Shapes: what makes the tables, and the settings of them.
SHAPES = {
    "quoted names, another schema, keys by uuid, no boxes, links that are deleted for good": (
        """
        CREATE SCHEMA "Sign In";
        CREATE TABLE "Sign In"."User Accounts" ("User Id" uuid PRIMARY KEY DEFAULT gen_random_uuid(),
            "E-Mail" text NOT NULL, "Since" date NOT NULL DEFAULT now(), "Gone" boolean);
        CREATE TABLE "Photo Album" ("Photo Id" uuid PRIMARY KEY DEFAULT gen_random_uuid(),
            "Owner" uuid NOT NULL REFERENCES "Sign In"."User Accounts", "URL" text, "100 % ok" boolean DEFAULT true,
            "Uploaded" timestamptz NOT NULL, "Extra" json);
        CREATE TABLE "Person" ("Person Id" uuid PRIMARY KEY, "Owner" uuid NOT NULL, "Full Name" text NOT NULL,
            "Portrait" uuid, "Erased" timestamptz);
        CREATE TABLE "Face" ("Face Id" uuid PRIMARY KEY, "Photo" uuid NOT NULL REFERENCES "Photo Album",
            "AWS" uuid NOT NULL);
        CREATE TABLE "Face of Person" ("Face" uuid PRIMARY KEY REFERENCES "Face", "Who" uuid REFERENCES "Person",
            "By" varchar(10));
        """,
        {
            "user_label": "E-Mail",
            "users": {"table": "Sign In.User Accounts", "key": "User Id", "created_at": "Since", "deleted": "Gone"},
            "assets": {
                "table": "Photo Album",
                "key": "Photo Id",
                "user": "Owner",
                "storage_url": "URL",
                "approved": "100 % ok",
                "created_at": "Uploaded",
                "data": "Extra",
                "where": "\"URL\" NOT LIKE '%.gif'",
            },
            "persons": {
                "table": "Person",
                "key": "Person Id",
                "user": "Owner",
                "person_name": "Full Name",
                "avatar": "Portrait",
                "deleted": "Erased",
            },
            "faces": {"table": "Face", "key": "Face Id", "asset": "Photo", "face_id": "AWS"},
            "links": {"table": "Face of Person", "face": "Face", "person": "Who", "assigned_by": "By"},
        },
    ),
    "keys of text, the journal's own collections": (
        """
        CREATE TABLE members (id text PRIMARY KEY DEFAULT 'm' || gen_random_uuid(), email text);
        CREATE TABLE pictures (id varchar(60) PRIMARY KEY DEFAULT 'p' || gen_random_uuid(),
            user_id text NOT NULL REFERENCES members, storage_url text NOT NULL, created_at timestamptz);
        CREATE TABLE groups (id text PRIMARY KEY, user_id text NOT NULL, name text NOT NULL, deleted boolean
            NOT NULL DEFAULT false);
        CREATE TABLE heads (id text PRIMARY KEY, user_id text NOT NULL, asset_id varchar(60) NOT NULL,
            rekognition_face_id text NOT NULL, bounding_box jsonb, confidence float8, needs_assignment boolean NOT NULL,
            deleted boolean NOT NULL DEFAULT false);
        CREATE TABLE joins (face_id text NOT NULL, person_group_id text NOT NULL, confidence float4, assigned_by text,
            deleted boolean NOT NULL DEFAULT false, updated_at timestamptz);
        """,
        {
            "users": {"table": "members"},
            "assets": {"table": "pictures"},
            "persons": {"table": "groups"},
            "faces": {"table": "heads"},
            "links": {"table": "joins"},
        },
    ),
}


class Library:
    """A library of some shape: put users and photos in, run, look. It knows the tables from the settings only."""

    def __init__(self, connection, target, settings, endpoint):
        self.db, self.target, self.settings, self.endpoint = connection, target, settings, endpoint
        self.rules = settings.backfill
        self.aws = Aws(settings, endpoint)
        self.store = photos.store(settings, self.aws)
        self._count = 0

    def _insert(self, binding, **values):
        given = {getattr(binding, field): value for field, value in values.items() if getattr(binding, field)}
        there = connection_columns(self.db, binding.table)
        given = {name: value for name, value in given.items() if name in there}
        statement = sql.SQL("INSERT INTO {} ({}) VALUES ({}) RETURNING {}::text").format(
            sql.Identifier(*binding.table.split(".")),
            sql.SQL(", ").join(map(sql.Identifier, given)),
            sql.SQL(", ").join(sql.Placeholder() * len(given)),
            sql.Identifier(binding.key),
        )
        found = self.db.execute(statement, list(given.values())).fetchone()[0]
        self.db.commit()
        return found

    def user(self, name):
        self._count += 1
        users = self.rules.users
        label = {self.rules.user_label: f"{name}@example.cl"}
        statement = sql.SQL("INSERT INTO {} ({}) VALUES (%s) RETURNING {}::text").format(
            sql.Identifier(*users.table.split(".")), sql.Identifier(*label), sql.Identifier(users.key)
        )
        found = self.db.execute(statement, list(label.values())).fetchone()[0]
        self.db.commit()
        return found

    def photo(self, user, *names, **values):
        self._count += 1
        key = f"{user}/{self._count}.jpg"
        self.store.put(key, picture(*names, seed=self._count))
        at = datetime(2026, 2, 1, tzinfo=UTC) + timedelta(minutes=self._count)
        return self._insert(self.rules.assets, user=user, storage_url=key, created_at=at, **values)

    def new_run(self, **options):
        self.db.commit()
        return Run(self.settings, self.target, FaceProcessor(self.settings, self.aws, self.store), Options(**options))

    def run(self, **options):
        return self.new_run(**options).execute()

    def faces(self):
        """(photo, left, person's name, waits, skipped) of each face that is not deleted."""
        statement = sql.SQL("""
            SELECT f.asset_id::text, round((f.bounding_box ->> 'Left')::numeric, 2)::float8, p.name,
                f.needs_assignment, f.skipped
            FROM {faces} f JOIN {assets} a ON a.id = f.asset_id LEFT JOIN {links} l ON l.face_id = f.id AND NOT l.deleted
            LEFT JOIN {persons} p ON p.id = l.person_group_id WHERE NOT f.deleted ORDER BY a.created_at, a.id, 2""")
        self.db.forget_shape()
        shape = self.db.shape
        relations = {name: shape.relation(name, has_journal=True) for name in ("faces", "assets", "links", "persons")}
        found = self.db.execute(statement.format(**relations), {}).fetchall()
        self.db.commit()
        return found

    def consistent(self):
        """Assert that rows and collections hold the same faces."""
        self.db.forget_shape()
        faces = self.db.shape.relation("faces", has_journal=True)
        rows = {}
        for user, asset, face_id in self.db.execute(
            sql.SQL("SELECT user_id::text, asset_id::text, rekognition_face_id FROM {} f WHERE NOT deleted").format(
                faces
            ),
            {},
        ):
            rows.setdefault(user, []).append((asset, face_id))
        assert rows
        for user, expected in rows.items():
            pages = self.aws.collection(f"{self.rules.collection_prefix}{user}").list_pages()
            assert sorted((face.external_image_id, face.face_id) for page in pages for face in page) == sorted(expected)
        self.db.commit()

    def waiting(self, **options):
        found = list(review.waiting(self.db, **options))
        self.db.commit()
        return found

    def choose(self, *choices):
        found = review.choose(self.db, [Choice(what=what, face=face, person=who) for what, face, who in choices])
        self.db.commit()
        return found

    def search(self, user):
        return review.search_again(self.db, self.aws, self.rules, [user])


def connection_columns(connection, table):
    name = sql.Identifier(*table.split(".")).as_string(connection)
    rows = connection.execute("SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0", [name])
    return {column for (column,) in rows}


@pytest.fixture(scope="session")
def blank():
    """These libraries have tables of their own."""
    return "template0"


@pytest.fixture
def make(database, mine, endpoint):
    """Makes a library from SQL and the settings of its tables."""
    opened = []

    def made(schema, rules):
        # keys that are numbers come again in each database, so each has collections of its own
        rules = msgspec.structs.replace(rules, collection_prefix=f"test-{uuid.uuid4().hex[:8]}-")
        settings = msgspec.structs.replace(mine, backfill=rules)
        connection = connect(rules, database)
        connection.execute(schema)
        connection.commit()
        opened.append(connection)
        return Library(connection, database, settings, endpoint)

    yield made
    for each in opened:
        each.close()


@pytest.fixture
def gallery(make, tmp_path):
    """The library of tests/projects/gallery."""
    shutil.copytree(GALLERY, tmp_path / "gallery")
    rules = load(tmp_path / "gallery", environ={"HOME": str(tmp_path)}).backfill
    schema = (GALLERY / "migrations/versions/gallery.sql").read_text()
    return make(schema, msgspec.structs.replace(rules, **RULES))


def of_shape(make, name):
    schema, tables = SHAPES[name]
    return make(schema, msgspec.convert(RULES | tables, Backfill))


def test_a_gallery_is_backfilled_reviewed_resumed_and_indexed_again(gallery):
    ana, ben = gallery.user("ana"), gallery.user("ben")
    first = gallery.photo(ana, "Mia", "Leo")
    second = gallery.photo(ana, "Mia~96")
    third = gallery.photo(ana, "Mia~96", "Nora")
    hidden = gallery._insert(gallery.rules.assets, user=ana, storage_url="x.jpg")
    gallery.db.execute("UPDATE photos SET visibility = 'hidden' WHERE id = %s", [hidden])
    other = gallery.photo(ben, "Mia")
    closed = gallery.user("closed")
    gallery.photo(closed, "Mia")
    gallery.db.execute("UPDATE accounts SET closed_at = now() WHERE id = %s", [closed])
    gallery.db.commit()

    planned = plan(gallery.db, gallery.settings, Options())
    assert (planned.users, planned.assets, planned.collections) == (2, 4, 0)
    assert list(counts(gallery.db, Options())) == [(ana, 3), (ben, 1)]
    assert [each.asset_id for each in listing(gallery.db, Options(user_id=ana))] == [first, second, third]
    report = gallery.run()
    assert (report.succeeded, report.failed, report.faces) == (4, 0, 6)
    gallery.consistent()
    assert gallery.run().assets == 0
    assert plan(gallery.db, gallery.settings, Options()).skipped == 4
    shown = gallery.db.execute("SELECT count(*) FROM photos WHERE scanned_at IS NOT NULL").fetchone()
    assert shown == (4,)

    mia, leo, mia2, *_ = gallery.waiting(user_id=ana)
    assert [each.asset_id for each in gallery.waiting()] == [first, first, second, third, third, other]
    assert [each.face_id for each in mia2.suggestions] == [mia.face_id]
    (named,) = gallery.choose(("new", mia.face_id, "Mia"))
    assert named.new_person
    found = gallery.search(ana)
    assert {each.person_id for each in found.linked} == {named.person_id}
    assert len(found.linked) == 2
    nora = gallery.waiting(user_id=ana)[-1]
    gallery.choose(("skip", nora.face_id, ""), ("assign", leo.face_id, "mia"))
    with pytest.raises(UsageError, match="does not wait"):
        gallery.choose(("assign", leo.face_id, "Mia"))
    assert gallery.waiting(user_id=ana) == []
    before = gallery.faces()
    assert [row[2] for row in before] == ["Mia", "Mia", "Mia", "Mia", None, None]
    assert [row[4] for row in before] == [False, False, False, False, True, False]

    again = gallery.run(reindex=True)
    assert (again.succeeded, again.failed) == (4, 0)
    assert gallery.faces() == before
    gallery.consistent()

    link = corrections.take_away(gallery.db, leo.face_id, named.person_id)
    assert [each.face_id for each in gallery.waiting(user_id=ana)] == [leo.face_id]
    corrections.give_back(gallery.db, leo.face_id, named.person_id, link)
    assert gallery.faces() == before


def test_a_gallery_is_resumed_after_kills(gallery, faults):
    users = [gallery.user(name) for name in ("ana", "ben")]
    for number in range(24):
        gallery.photo(users[number % 2], *("Mia", f"Stranger {number}")[: 1 + number % 2])
    faults(lag=0.02, latency={"IndexFaces": 0.03})
    rules = msgspec.to_builtins(gallery.rules) | {"visibility": 0.02}
    last = killed(gallery, options={"batch_size": 4}, seed=3, kills=4, rules=rules)
    assert (last["killed"], last["ok"], last["left"]) == (4, True, 0), last
    gallery.consistent()
    assert len(gallery.faces()) == 24 + 12


@pytest.mark.parametrize("shape", SHAPES)
def test_other_shapes(make, shape):
    found = of_shape(make, shape)
    ana = found.user("ana")
    first, second, third = (found.photo(ana, *names) for names in (("Mia", "Leo"), ("Mia~96",), ("Nora",)))
    assert plan(found.db, found.settings, Options()).assets == 3
    report = found.run()
    assert (report.succeeded, report.failed) == (3, 0), report.errors
    found.consistent()
    assert [row[0] for row in found.faces()] == [first, first, second, third]
    mia, leo, mia2, nora = found.waiting()
    assert [each.face_id for each in mia2.suggestions] == [mia.face_id]
    (named,) = found.choose(("new", mia.face_id, "Mia"))
    assert [each.face_id for each in found.search(ana).linked] == [mia2.face_id]
    found.choose(("skip", nora.face_id, ""))
    with pytest.raises(UsageError):
        found.choose(("assign", leo.face_id, "nobody"))
    before = found.faces()
    assert [row[2:] for row in before] == [
        ("Mia", False, False),
        (None, True, False),
        ("Mia", False, False),
        (None, True, True),
    ]
    again = found.run(reindex=True)
    assert (again.succeeded, again.failed) == (3, 0), again.errors
    assert found.faces() == before
    found.consistent()
    users, number = corrections.users(found.db, 10, begins="ANA@")
    assert ([user.email for user in users], number) == (["ana@example.cl"], 1)

    link = corrections.take_away(found.db, mia2.face_id, named.person_id)
    assert {each.face_id for each in found.waiting()} == {leo.face_id, mia2.face_id}
    assert corrections.give_back(found.db, mia2.face_id, named.person_id, link) == (mia2.face_id,)
    (second_person,) = found.choose(("new", leo.face_id, "Leo"))
    moved = corrections.merge(found.db, second_person.person_id, named.person_id)
    assert moved == (leo.face_id,)
    assert corrections.unmerge(found.db, second_person.person_id, named.person_id, moved) == moved
    assert corrections.rename(found.db, named.person_id, "Mia", "Mia Rojas") == "Mia Rojas"
    found.db.commit()
    assert [row[2] for row in found.faces()] == ["Mia Rojas", "Leo", "Mia Rojas", None]


def test_a_library_without_persons_is_indexed_and_links_nobody(make):
    schema = """
        CREATE TABLE users (id serial PRIMARY KEY, email text);
        CREATE TABLE assets (id serial PRIMARY KEY, user_id int, storage_url text, person_id int);
        CREATE TABLE faces (id serial PRIMARY KEY, asset_id int, rekognition_face_id text)"""
    rules = msgspec.convert(RULES | {"persons": {"table": ""}}, Backfill)
    found = make(schema, rules)
    ana = found.user("ana")
    for names in (("Mia",), ("Mia",)):
        found.photo(ana, *names)
    assert found.run().succeeded == 2
    found.consistent()
    first, second = found.waiting()
    assert [each.face_id for each in second.suggestions] == [first.face_id]
    with pytest.raises(SchemaError, match="no table of persons") as refused:
        found.choose(("new", first.face_id, "Mia"))
    assert "[tool.seedtool.backfill.persons]" in refused.value.remedy
    found.db.rollback()
    found.choose(("skip", first.face_id, ""))
    assert [each.face_id for each in found.waiting()] == [second.face_id]
    assert found.run(reindex=True).succeeded == 2
    assert [row[4] for row in found.faces()] == [True, False]


WRONG = {
    "assets.table": ({"assets": {"table": "photoz"}}, "photoz", "Did you mean photos?"),
    "faces.box": ({"faces": {"box": "frames"}}, "frames", "Did you mean frame?"),
    "faces.asset": ({"faces": {"asset": "asset_id"}}, "asset_id", 'asset = "..."'),
    "assets.approved": ({"assets": {"approved": "title"}}, "boolean", 'approved = ""'),
    "assets.user": ({"assets": {"user": "title"}}, "key of accounts is integer", "refers to accounts"),
    "assets.where": ({"assets": {"where": "visible = 1"}}, 'column "visible" does not exist', "where"),
    "users.where": ({"users": {"where": "true; DROP TABLE photos"}}, "syntax error", "where"),
    "persons.key": ({"persons": {"key": ""}}, "key names nothing", "default"),
    "user_label": ({"user_label": "mail"}, "no column mail", "user_label"),
}


def test_errors_in_the_settings_are_told_with_key_table_and_cure(gallery):
    def planned(given):
        with connect(msgspec.convert(given, Backfill), gallery.target) as connection:
            plan(connection, gallery.settings, Options())

    for key, (changes, fault, cure) in WRONG.items():
        given = msgspec.to_builtins(gallery.rules)
        for name, change in changes.items():
            given[name] = change if isinstance(change, str) else given[name] | change
        with pytest.raises((SchemaError, SettingsError)) as refused:
            planned(given)
        assert fault in refused.value.message, key
        assert cure in refused.value.remedy, key
        assert (refused.value.place["setting"], refused.value.place["key"]) == ("backfill", key)


def test_a_key_that_new_rows_do_not_get_and_a_journal_of_another_library_are_refused(gallery):
    gallery.db.execute("ALTER TABLE people ALTER id DROP IDENTITY")
    gallery.db.commit()
    with pytest.raises(SchemaError, match="no default") as refused:
        gallery.run()
    assert "ADD GENERATED BY DEFAULT AS IDENTITY" in refused.value.remedy
    gallery.db.execute("ALTER TABLE people ALTER id ADD GENERATED BY DEFAULT AS IDENTITY")
    gallery.db.execute("CREATE SCHEMA seedtool; CREATE TABLE seedtool.backfill_assets (asset_id uuid PRIMARY KEY)")
    gallery.db.commit()
    with pytest.raises(SchemaError, match="of another library") as refused:
        gallery.run()
    assert refused.value.place["table"] == "seedtool.backfill_assets"


def test_the_doctor_looks_at_the_tables_that_settings_name(gallery):
    def check(library):
        origins = {**library.settings.origins, "backfill": "pyproject.toml"}
        settings = msgspec.structs.replace(library.settings, database_url=library.target.url, origins=origins)
        (found,) = [each for each in examine(settings=settings) if each.name == "backfill"]
        return found

    found = check(gallery)
    assert found.state == "ok"
    assert "assets in photos" in found.detail
    gallery.db.execute("ALTER TABLE photos RENAME COLUMN location TO place")
    gallery.db.commit()
    found = check(gallery)
    assert found.state == "wrong"
    assert all(word in found.detail for word in ("photos", "location"))
    assert "[tool.seedtool.backfill.assets]" in found.cure


def test_a_text_that_cannot_be_a_users_key_is_a_usage_error(gallery):
    for wrong in ("ana", "99999999999999", "-1", "1.5", ""):
        with pytest.raises(UsageError) as refused:
            gallery.run(user_id=wrong)
        assert refused.value.place == {"option": "--user-id"}
        assert "accounts" in refused.value.remedy


@pytest.mark.parametrize("shape", ["a gallery with keys of integers", *SHAPES])
def test_the_review_page_shows_and_changes_any_shape(request, make, shape):
    found = of_shape(make, shape) if shape in SHAPES else request.getfixturevalue("gallery")
    ana = found.user("ana")
    for names in (("Mia",), ("Mia~96",), ("Nora",)):
        found.photo(ana, *names)
    found.run()
    before = found.faces()
    mia, mia2, nora = (each.face_id for each in found.waiting())
    found.db.commit()
    page = Page(found.settings, target=found.target, aws=found.aws, search=False)
    thread = threading.Thread(target=page.serve)
    thread.start()
    try:
        browser = Browser(page.url).open()
        shown = browser.ask("/")
        assert shown.faces == [mia, nora]  # the two of Mia are one group
        assert f'name="also" value="{mia2}" checked' in shown.text
        assert "3 faces: ana@example.cl" in shown.text
        named = browser.answer(ana, mia, also=mia2, do="name", name="Mia")
        assert named.json["message"] == "2 faces linked to the new person Mia."
        assert browser.answer(ana, nora, do="skip").status == 200
        assert "2 faces linked to the new person Mia" in browser.ask("/history").text
        person = re.search(r'href="(/person/[^"]+)"', browser.ask(f"/persons?user={ana}").text)[1]
        assert sorted(browser.ask(person).faces) == sorted([mia, mia2])
        assert browser.ask(f"/picture/{mia}/large").status in {200, 404}  # a library may have no boxes
        assert browser.ask(person, {"was": "Mia", "name": "Mia Soto"}).status == 200
        assert browser.ask(person, {"face": mia2}).status == 200
        assert re.search(r'href="(/run/[^"]+)"', browser.ask("/runs").text)
        for _ in range(4):
            assert browser.ask("/undo", {"back": "/"}).status == 200
        assert browser.ask("/").faces == [mia, nora]
    finally:
        page.end()
        thread.join(10)
    assert found.faces() == before


def test_keys_that_cannot_be_ids_of_rekognition_fail_alone_and_are_told(make):
    schema = """
        CREATE TABLE accounts (name text PRIMARY KEY, login text);
        CREATE TABLE photos (file text PRIMARY KEY, owner text NOT NULL REFERENCES accounts, url text, at timestamptz);
        CREATE TABLE sightings (id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, file text NOT NULL, face text);
    """
    tables = {
        "user_label": "login",
        "users": {"table": "accounts", "key": "name"},
        "assets": {"table": "photos", "key": "file", "user": "owner", "storage_url": "url", "created_at": "at"},
        "faces": {"table": "sightings", "key": "id", "asset": "file", "face_id": "face"},
    }
    found = make(schema, msgspec.convert(RULES | tables, Backfill))
    for user in ("ana", "ana maria", "é" * 300):
        found.db.execute("INSERT INTO accounts VALUES (%s)", [user])
        for file in (f"{user[:9]}-1.jpg", f"{user[:9]} 2.jpg", f"{user[:9]}/3.jpg"):
            key = f"{abs(hash(file))}.jpg"
            found.store.put(key, picture("Mia"))
            found.db.execute("INSERT INTO photos VALUES (%s, %s, %s, now())", [file, user, key])
    found.db.commit()
    report = found.run()
    assert (report.succeeded, report.failed, report.left, report.faces) == (1, 2, 6, 1)
    assert [each.asset_id for each in report.errors] == ["ana 2.jpg", "ana/3.jpg"]
    for error in report.errors:
        assert error.asset_id in error.cause
        assert "[tool.seedtool.backfill.assets]" in error.remedy
    assert len(report.notes) == 2
    assert all("[tool.seedtool.backfill.users]" in note for note in report.notes)
    assert report.billed == {"IndexFaces": 1, "SearchFaces": 1}
