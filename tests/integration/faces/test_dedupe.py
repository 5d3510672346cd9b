"""Double enrollments are cleaned up, and nothing else is ever deleted."""

import os
import signal
import threading
from pathlib import Path

import msgspec
import pytest

from seedtool.errors import SchemaError, SettingsError
from seedtool.faces import dedupe as module
from seedtool.faces.dedupe import dedupe
from seedtool.faces.rekognition import collection as gateway
from seedtool.faces.sync import sync
from seedtool.postgres import server
from seedtool.settings import FaceBinding
from tests import processes

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def owned(mine):
    return msgspec.structs.replace(mine, owned_collections=(mine.collection,))


@pytest.fixture
def attended(school):
    """Writes who was seen in a class, by FaceId."""
    school.execute("CREATE TABLE sightings (id int, face_id text)")

    def write(face_id):
        school.execute("INSERT INTO sightings VALUES (1, %s)", [face_id])
        school.commit()

    return write


@pytest.fixture
def index(collection, portrait):
    """Indexes a student's photo under an id and returns the FaceId."""
    return lambda student, photo, external: (
        collection.index_faces(portrait(student, photo), external).faces[0].face.face_id
    )


@pytest.fixture
def there(collection):
    return lambda: {face.face_id for page in collection.list_pages() for face in page}


def test_the_linked_face_is_kept_and_strangers_are_left_alone(school, owned, aws, index, there, face_rows, linked):
    kept, double, third = (index(n, p, "student-001-photo-1") for n, p in ((1, 1), (1, 2), (9, 1)))
    orphans = {index(2, p, "student-002-photo-1") for p in (1, 2)}  # no row of ours
    temporary = index(3, 1, "temp_attendance_7_photo1")
    face_rows(("student-001-photo-1", double))
    look = dedupe(school, owned, aws, dry_run=True)
    assert (look.dry_run, look.found, look.collections[0].duplicates.count) == (True, 2, 2)
    assert there() == {kept, double, third, temporary, *orphans}
    report = dedupe(school, owned, aws)
    assert (report.ok, report.collections[0].deleted, report.collections[0].temporary.count) == (True, 2, 0)
    assert there() == {double, temporary, *orphans}
    assert linked() == {"student-001-photo-1": double}
    assert dedupe(school, owned, aws, dry_run=True).found == 0


def test_where_no_face_is_linked_the_one_that_a_sync_would_take_is_kept(
    school, owned, aws, index, there, face_rows, linked
):
    for student, photo in ((1, 1), (1, 2), (9, 1)):
        index(student, photo, "student-001-photo-1")
    face_rows("student-001-photo-1")
    assert dedupe(school, owned, aws).collections[0].deleted == 2
    assert linked() == {"student-001-photo-1": "placeholder:student-001-photo-1"}  # the database is a sync's business
    sync(school, owned, aws, strict=True)
    assert there() == set(linked().values())


def test_a_face_that_further_columns_name_is_kept(school, owned, aws, index, there, face_rows, attended):
    kept, seen, double = (index(n, p, "student-001-photo-1") for n, p in ((1, 1), (1, 2), (9, 1)))
    temporary = index(3, 1, "temp_attendance_7_photo1")
    face_rows(("student-001-photo-1", kept))
    attended(seen)
    attended(temporary)
    settings = msgspec.structs.replace(owned, face_references=("public.sightings.face_id",))
    report = dedupe(school, settings, aws, temporary=True).collections[0]
    assert (report.duplicates.count, report.deleted, report.temporary.count) == (1, 1, 0)
    assert report.in_use.examples == (f"student-001-photo-1 {seen}",)
    assert there() == {kept, seen, temporary}
    # a row that comes while the faces are being deleted is waited for, and spares its face
    double = index(9, 2, "student-001-photo-1")
    assert dedupe(school, settings, aws, dry_run=True).found == 1
    attended(double)
    assert dedupe(school, settings, aws).collections[0].deleted == 0


@pytest.mark.parametrize(
    ("name", "kind", "place"),
    [
        ("face_id", SettingsError, {}),
        ("sighting.face_id", SchemaError, {"table": "sighting"}),
        ("sightings.faceid", SchemaError, {"table": "sightings", "column": "faceid"}),
    ],
    ids=["face_id", "sighting.face_id", "sightings.faceid"],
)
def test_a_further_column_that_is_not_there(school, owned, aws, attended, name, kind, place, approved):
    attended(None)
    settings = msgspec.structs.replace(owned, face_references=(name,))
    with pytest.raises(kind) as caught:
        dedupe(school, settings, aws, dry_run=True)
    assert caught.value.place == {"setting": "face_references", **place}
    approved(caught.value)


def test_only_in_collections_that_settings_name(school, mine, aws, index, there, face_rows):
    index(1, 1, "student-001-photo-1")
    index(1, 2, "student-001-photo-1")
    face_rows("student-001-photo-1")
    assert dedupe(school, mine, aws, dry_run=True).collections[0].owned is False  # looking is free
    with pytest.raises(SettingsError) as caught:
        dedupe(school, mine, aws)
    assert caught.value.place == {"setting": "owned_collections"}
    assert f'owned_collections = ["{mine.collection}"]' in caught.value.remedy
    assert len(there()) == 2


def test_a_face_that_any_row_points_at_is_never_deleted(school, owned, aws, index, there, face_rows):
    kept, double = index(1, 1, "student-001-photo-1"), index(1, 2, "student-001-photo-1")
    face_rows(("student-001-photo-1", kept), ("student-002-photo-1", double))
    assert dedupe(school, owned, aws).collections[0].deleted == 0
    # nor one whose row the binding leaves out
    left_out = FaceBinding(table="student_faces", where="student_id = 'student-001'")
    narrow = msgspec.structs.replace(owned, faces=(left_out,))
    assert dedupe(school, narrow, aws).collections[0].deleted == 0
    assert there() == {kept, double}


def test_rows_that_share_an_id_say_nothing(school, owned, aws, index, there, face_rows):
    index(1, 1, "student-001-photo-1")
    index(1, 2, "student-001-photo-1")
    school.execute("ALTER TABLE student_faces DROP CONSTRAINT IF EXISTS uq_student_faces_external_image_id")
    school.execute("ALTER TABLE student_faces DROP CONSTRAINT IF EXISTS student_faces_external_image_id_key")
    school.execute("DROP INDEX IF EXISTS uq_student_faces_external_image_id")
    school.commit()
    face_rows("student-001-photo-1", "student-001-photo-1")
    assert dedupe(school, owned, aws).collections[0].deleted == 0
    assert len(there()) == 2


def test_a_photo_of_several_people_has_no_duplicates(school, owned, aws, collection, there):
    picture = next(iter(sorted((ROOT / "seeds/photos/classes").rglob("*.jpg")))).read_bytes()
    collection.index_faces(picture, "5f0c3c50-0000-4000-8000-000000000000")
    school.execute("CREATE TABLE library (id text PRIMARY KEY, face_id text, external_image_id text, box jsonb)")
    school.execute("INSERT INTO library VALUES ('1', 'placeholder:x', '5f0c3c50-0000-4000-8000-000000000000', NULL)")
    school.commit()
    before = there()
    assert len(before) > 1
    settings = msgspec.structs.replace(owned, faces=(FaceBinding(table="library", box="box"),))
    assert dedupe(school, settings, aws).found == 0
    assert there() == before


def test_temporary_faces_go_when_asked(school, owned, aws, index, there, face_rows):
    kept, left = index(1, 1, "student-001-photo-1"), index(3, 1, "temp_attendance_7_photo1")
    face_rows(("student-001-photo-1", kept))
    assert dedupe(school, owned, aws, temporary=True, dry_run=True).collections[0].temporary.examples == (
        f"temp_attendance_7_photo1 {left}",
    )
    assert dedupe(school, owned, aws, temporary=True).collections[0].deleted == 1
    assert there() == {kept}


def test_a_row_that_is_linked_while_we_delete_keeps_its_face(
    school, database, owned, aws, index, there, face_rows, monkeypatch
):
    kept, double = index(1, 1, "student-001-photo-1"), index(1, 2, "student-001-photo-1")
    face_rows(("student-001-photo-1", kept), "student-002-photo-1")
    delete = module._delete

    def link_first(*arguments):
        with server.connect(database) as other:
            other.execute("UPDATE student_faces SET face_id = %s WHERE student_id = 'student-002'", [double])
        return delete(*arguments)

    monkeypatch.setattr(module, "_delete", link_first)
    report = dedupe(school, owned, aws)
    assert (report.collections[0].deleted, report.collections[0].spared) == (0, 1)
    assert there() == {kept, double}


def test_whoever_links_a_row_waits_until_the_faces_are_gone(
    school, database, owned, aws, index, face_rows, monkeypatch
):
    kept, double = index(1, 1, "student-001-photo-1"), index(1, 2, "student-001-photo-1")
    face_rows(("student-001-photo-1", kept), "student-002-photo-1")
    order = []
    delete_faces = gateway.Collection.delete_faces

    def write():
        with server.connect(database) as other:
            other.execute("UPDATE student_faces SET face_id = %s WHERE student_id = 'student-002'", [double])
        order.append("written")

    def slowly(self, face_ids):
        writer.start()
        writer.join(0.3)
        order.append("deleted")
        return delete_faces(self, face_ids)

    writer = threading.Thread(target=write)
    monkeypatch.setattr(gateway.Collection, "delete_faces", slowly)
    dedupe(school, owned, aws)
    writer.join()
    assert order == ["deleted", "written"]


def test_ctrl_c_stops_between_two_lots(school, owned, aws, index, there, face_rows, monkeypatch):
    faces = [index(1, p, "student-001-photo-1") for p in (1, 2)] + [index(2, p, "student-002-photo-1") for p in (1, 2)]
    face_rows("student-001-photo-1", "student-002-photo-1")
    monkeypatch.setattr(module, "BATCH", 1)
    delete_faces = gateway.Collection.delete_faces

    def interrupted(self, face_ids):
        os.kill(os.getpid(), signal.SIGINT)
        return delete_faces(self, face_ids)

    with monkeypatch.context() as patch:
        patch.setattr(gateway.Collection, "delete_faces", interrupted)
        report = dedupe(school, owned, aws)
    assert (report.interrupted, report.collections[0].deleted) == (True, 1)
    assert len(there()) == len(faces) - 1
    assert dedupe(school, owned, aws).collections[0].deleted == 1


_VICTIM = """
import os, signal, sys
import msgspec, psycopg
from pathlib import Path
from seedtool.faces import dedupe
from seedtool.faces.rekognition.service import Aws
from seedtool.faces.rekognition import collection
from seedtool.settings import FaceBinding, load

conninfo, endpoint, name, when = sys.argv[1:]
whole = collection.Collection.delete_faces

def die(*arguments):
    if when == "after":
        whole(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)

collection.Collection.delete_faces = die
dedupe.BATCH = 1
settings = msgspec.structs.replace(
    load(Path.cwd()),
    collection=name,
    owned_collections=(name,),
    faces=(FaceBinding(table="student_faces"),),
    face_references=(),
)
with psycopg.connect(conninfo) as connection:
    dedupe.dedupe(connection, settings, Aws(settings, endpoint))
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_killed_run_is_finished_by_the_next(
    school, database, owned, aws, endpoint, index, there, face_rows, linked, when
):
    for n in (1, 2):
        for photo in (1, 2):
            index(n, photo, f"student-{n:03}-photo-1")
    face_rows("student-001-photo-1", "student-002-photo-1")
    killed = processes.run(database.conninfo, endpoint, owned.collection, when, code=_VICTIM, cwd=ROOT)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(there()) == (4 if when == "before" else 3)
    assert dedupe(school, owned, aws).ok
    sync(school, owned, aws, strict=True)
    assert there() == set(linked().values())
