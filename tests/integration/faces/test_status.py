"""Drift between rows, faces and photos: each kind is told, with what to run, and nothing is changed."""

import datetime as dt
import os

import msgspec
import psycopg
import pytest

from seedtool.faces.dedupe import dedupe
from seedtool.faces.enroll import enroll, enroll_all
from seedtool.faces.recognize import recognize
from seedtool.faces.rekognition.service import Aws
from seedtool.faces.status import status
from seedtool.faces.sync import sync

A, B, C, D, E, F, G = (f"{letter * 8}-0000-4000-8000-000000000000" for letter in "abcdef0")


def counts(report, number=0):
    return {finding.what: finding.count for finding in report.collections[number].findings}


def test_nothing_to_tell(school, mine, aws, photos, face_rows):
    face_rows("student-001-photo-1", "student-002-photo-1")
    enroll_all(school, mine, aws, photos)
    report = status(school, mine, aws)
    assert (report.ok, report.photos) == (True, "checked")
    told = report.collections[0]
    assert (told.collection, told.exists, told.tables) == (mine.collection, True, ("student_faces",))
    assert (told.rows, told.faces, told.linked, told.findings) == (2, 2, 2, ())
    assert msgspec.json.decode(msgspec.json.encode(report))["collections"][0]["rows"] == 2


def test_each_kind_of_drift_is_told_and_nothing_is_changed(school, mine, stub, listing, face_rows, linked):
    face_rows(
        "student-001-photo-1",  # its face is there
        ("student-002-photo-1", B),  # linked
        ("student-003-photo-1", C),  # not in the collection
        "student-004-photo-1",  # not indexed
        ("student-005-photo-1", D),  # linked, with a duplicate
        ("student-006-photo-1", F),  # its face is there under another id
    )
    listing(
        [
            (A, "student-001-photo-1", 99.0),
            (B, "student-002-photo-1", 99.0),
            (D, "student-005-photo-1", 99.0),
            (E, "student-005-photo-1", 99.9),
            (F, "someone/else", 99.0),
            (G, None, 99.0),
            (A.replace("a", "1"), "student-099-photo-1", 99.0),
            (A.replace("a", "2"), "a-face-of-another-program", 99.0),
            (A.replace("a", "3"), "temp_attendance_7_photo1", 99.0),
        ],
        size=4,
    )
    before = linked()
    report = status(school, mine, Aws(mine, stub.url))
    assert not report.ok
    assert (report.collections[0].rows, report.collections[0].faces, report.collections[0].linked) == (6, 9, 2)
    assert counts(report) == {
        "rows that a sync would link": 1,
        "placeholders: not indexed": 1,
        "rows whose face is not in the collection": 1,
        "rows whose face is there under another id or none": 1,
        "further faces under a linked id (duplicates)": 1,
        "faces of people that this database does not have": 1,
        "faces that this database does not know": 1,
        "faces indexed without an external image id": 1,
        "temporary faces that an attendance run left behind": 1,
    }
    findings = {finding.what: finding for finding in report.collections[0].findings}
    assert all(finding.run and (finding.examples or "sync" in finding.run) for finding in findings.values())
    gone = findings["faces of people that this database does not have"]
    assert not gone.ours
    assert gone.run.endswith(
        f"aws rekognition delete-faces --collection-id {mine.collection} --face-ids {A.replace('a', '1')}"
    )
    assert linked() == before
    assert school.execute("SELECT to_regclass('pg_temp.seedtool_listed')").fetchone() == (None,)


def test_a_deleted_student_leaves_faces_that_are_told(school, mine, aws, photos, face_rows):
    face_rows("student-001-photo-1", "student-002-photo-1")
    enroll_all(school, mine, aws, photos)
    school.execute("DELETE FROM students WHERE id = 'student-002'")
    school.commit()
    report = status(school, mine, aws)
    assert counts(report) == {"faces of people that this database does not have": 1}
    assert "student-002-photo-1" in report.collections[0].findings[0].examples[0]
    assert report.ok  # they may be another database's


def test_a_collection_that_does_not_exist(school, mine, aws, face_rows):
    face_rows("student-001-photo-1")
    report = status(school, mine, aws)
    assert not report.collections[0].exists
    assert report.collections[0].rows == 1
    assert "enroll --all" in report.collections[0].findings[0].run


def test_one_table_a_collection(school, mine, aws, photos, face_rows):
    names = [f"{mine.collection}-{n}" for n in (1, 2, 3)]
    for n, name in enumerate(names, start=1):
        school.execute("UPDATE students SET aws_collection_id = %s WHERE id = %s", [name, f"student-{n:03}"])
    face_rows(*(f"student-{n:03}-photo-1" for n in (1, 2)))
    binding = msgspec.structs.replace(mine.faces[0], collection_column="students.aws_collection_id")
    settings = msgspec.structs.replace(mine, faces=(binding,))
    enroll_all(school, settings, aws, photos)
    face_rows("student-003-photo-1")
    aws.collection(names[0]).index_faces(photos.get("students/student-002/photo-1.jpg"), "temp_attendance_1_photo1")
    report = status(school, settings, aws)
    assert [(told.collection, told.exists, told.rows) for told in report.collections] == [
        (names[0], True, 1),
        (names[1], True, 1),
        (names[2], False, 1),
    ]
    assert counts(report) == {"temporary faces that an attendance run left behind": 1}
    assert counts(report, 1) == {}
    assert counts(report, 2) == {"the collection does not exist": 1}


def test_without_a_photo_store_the_rest_is_told(school, mine, aws, collection, face_rows):
    face_rows("student-001-photo-1")
    report = status(school, msgspec.structs.replace(mine, aws="live", photos_url=None, region="us-east-1"), aws)
    assert "photos_url" in report.photos
    assert counts(report) == {"placeholders: not indexed": 1}


@pytest.fixture
def indexed_long_ago(school, photos):
    """Sets the clocks back: what is indexed and stored was so an hour ago."""

    def turn():
        school.execute("UPDATE student_faces SET indexed_at = now() - interval '1 hour'")
        school.commit()
        then = (dt.datetime.now(dt.UTC) - dt.timedelta(hours=1, minutes=5)).timestamp()
        for key in list(photos.keys()):
            os.utime(photos._path(key), (then, then))

    return turn


def test_a_replaced_photo_is_told_indexed_again_and_its_old_face_deleted(
    school, mine, aws, photos, face_rows, portrait, linked, indexed_long_ago, collection, tmp_path
):
    settings = msgspec.structs.replace(mine, seeds=tmp_path / "no-seeds", owned_collections=(mine.collection,))
    for n in (1, 2):
        photos.put(f"students/student-{n:03}/photo-1.jpg", portrait(n))
    face_rows("student-001-photo-1", "student-002-photo-1")
    enroll_all(school, settings, aws, photos)
    indexed_long_ago()
    old = linked()
    assert status(school, settings, aws).ok
    photos.put("students/student-002/photo-1.jpg", portrait(2, 2))
    report = status(school, settings, aws)
    assert counts(report) == {"photos that were replaced after they were indexed": 1}
    assert "student-002" in report.collections[0].findings[0].examples[0]
    assert "--replaced" in report.collections[0].findings[0].run
    assert enroll_all(school, settings, aws, photos).calls.get("IndexFaces", 0) == 0
    again = enroll_all(school, settings, aws, photos, replaced=True)
    assert (again.ok, again.calls["IndexFaces"]) == (True, 1)
    new = linked()
    assert new["student-001-photo-1"] == old["student-001-photo-1"]
    assert new["student-002-photo-1"] != old["student-002-photo-1"]
    assert counts(status(school, settings, aws)) == {"further faces under a linked id (duplicates)": 1}
    assert dedupe(school, settings, aws).collections[0].deleted == 1
    assert status(school, settings, aws).ok
    assert {face.face_id for page in collection.list_pages() for face in page} == set(new.values())


def test_a_seed_that_changed_is_a_replaced_photo(
    school, mine, aws, photos, face_rows, portrait, linked, indexed_long_ago, tmp_path
):
    settings = msgspec.structs.replace(mine, seeds=tmp_path / "seeds")
    seeded = settings.seeds / "photos" / "students" / "student-001" / "photo-1.jpg"
    seeded.parent.mkdir(parents=True)
    seeded.write_bytes(portrait(1))
    face_rows("student-001-photo-1")
    enroll_all(school, settings, aws, photos)
    indexed_long_ago()
    assert status(school, settings, aws).ok
    seeded.write_bytes(portrait(1, 2))
    assert counts(status(school, settings, aws)) == {"photos that were replaced after they were indexed": 1}
    assert enroll_all(school, settings, aws, photos, replaced=True).uploads == 1
    assert photos.get("students/student-001/photo-1.jpg") == portrait(1, 2)
    assert sync(school, settings, aws, strict=True).ok


def test_the_same_picture_written_again_is_no_second_face(
    school, mine, aws, photos, face_rows, linked, indexed_long_ago, portrait, tmp_path
):
    settings = msgspec.structs.replace(mine, seeds=tmp_path / "no-seeds")
    photos.put("students/student-001/photo-1.jpg", portrait(1))
    face_rows("student-001-photo-1")
    enroll_all(school, settings, aws, photos)
    indexed_long_ago()
    before = linked()
    photos.put("students/student-001/photo-1.jpg", portrait(1))  # a bucket that was copied
    assert not status(school, settings, aws).ok
    assert enroll_all(school, settings, aws, photos, replaced=True).ok
    assert linked() == before
    assert status(school, settings, aws).ok


def test_enrolling_by_hand_is_no_replacement(school, mine, aws, photos, portrait, tmp_path):
    (tmp_path / "a.jpg").write_bytes(portrait(1))
    enroll(school, mine, aws, photos, "student-001", [tmp_path / "a.jpg"])
    assert status(school, mine, aws).ok


def test_no_row_is_locked(school, mine, aws, collection, database, face_rows, portrait):
    face = collection.index_faces(portrait(1), "student-001-photo-1").faces[0].face.face_id
    face_rows("student-001-photo-1", ("student-002-photo-1", face))  # one to link, one that holds its face
    with psycopg.connect(database.conninfo) as other:
        other.execute("SELECT FROM student_faces FOR UPDATE")
        school.execute("SET lock_timeout = '2s'")
        school.commit()
        told = counts(status(school, mine, aws))
    assert told == {"rows that a sync would link": 1, "rows that point at another row's face": 1}


def test_every_report_tells_where_rekognition_is(school, mine, aws, photos, collection, endpoint, portrait):
    reports = [
        sync(school, mine, aws),
        status(school, mine, aws),
        dedupe(school, mine, aws, dry_run=True),
        recognize(school, mine, aws, portrait(1)),
        enroll_all(school, mine, aws, photos),
        enroll(school, mine, aws, photos, "student-001", []),
    ]
    assert {(report.mode, report.region, report.endpoint) for report in reports} == {
        ("embedded", "us-east-1", endpoint)
    }
