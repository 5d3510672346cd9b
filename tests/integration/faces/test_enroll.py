"""Enrollment end to end: the store on disk, the collection over HTTP, the rows in PostgreSQL."""

import os
import signal
import threading
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from PIL import Image

from seedtool.errors import BlockedError, CredentialsError, ResourceNotFound, ServiceUnavailable, UsageError
from seedtool.faces.enroll.person import enroll
from seedtool.faces.enroll.rows import enroll_all
from seedtool.faces.photos import FolderStore
from seedtool.faces.rekognition import collection as gateway
from seedtool.faces.rekognition.service import Aws
from seedtool.faces.sync import sync
from seedtool.listener import Listener
from seedtool.postgres import cluster, server
from tests import processes

ROOT = Path(__file__).resolve().parents[3]
PORTRAITS = ROOT / "seeds" / "photos" / "students"


def portrait_path(student, photo=1):
    return PORTRAITS / f"student-{student:03}" / f"photo-{photo}.jpg"


@pytest.fixture
def group(tmp_path):
    """A picture with the faces of a class."""
    return next(iter(sorted((ROOT / "seeds" / "photos" / "classes").rglob("*.jpg"))))


def test_a_photo_is_stored_indexed_and_written(school, mine, aws, photos, state):
    report = enroll(school, mine, aws, photos, "student-001", [portrait_path(1, 1), portrait_path(1, 2)])
    assert report.ok
    rows, keys, faces = state()
    assert [row[0] for row in rows] == ["student-001-photo-1", "student-001-photo-2"]
    assert keys == ["students/student-001/photo-1.jpg", "students/student-001/photo-2.jpg"]
    assert faces == [(row[0], row[1]) for row in rows]
    assert photos.get(keys[0]) == portrait_path(1).read_bytes()
    assert report.uploads == 2
    assert report.calls["IndexFaces"] == 2
    assert report.seed_lines == (
        "id,student_id,external_image_id,photo_url",
        "face-student-001-1,student-001,student-001-photo-1,students/student-001/photo-1.jpg",
        "face-student-001-2,student-001,student-001-photo-2,students/student-001/photo-2.jpg",
    )
    stored = school.execute("SELECT quality_score, indexed_at IS NOT NULL FROM student_faces").fetchall()
    assert all(0 < quality <= 100 and indexed for quality, indexed in stored)
    assert msgspec.json.decode(msgspec.json.encode(report))["photos"][0]["outcome"] == "enrolled"


def test_each_photo_is_committed_by_itself(school, database, mine, aws, photos, hearing):
    def committed(done, total):
        with server.connect(database) as other:
            counts.append(other.execute("SELECT count(*) FROM student_faces").fetchone()[0])

    counts = []
    school.execute("SELECT 1")  # a transaction is open
    enroll(
        school,
        mine,
        aws,
        photos,
        "student-001",
        [portrait_path(1, 1), portrait_path(1, 2)],
        listener=hearing(committed),
    )
    assert counts == [1, 2]


def test_the_collection_is_created_when_it_is_missing(school, mine, aws, photos):
    assert enroll(school, mine, aws, photos, "student-001", [portrait_path(1)]).created


def test_the_same_photo_again_is_not_enrolled_twice(school, mine, aws, photos, state):
    enroll(school, mine, aws, photos, "student-001", [portrait_path(1)])
    before = state()
    report = enroll(school, mine, aws, photos, "student-001", [portrait_path(1)])
    assert [photo.outcome for photo in report.photos] == ["already enrolled"]
    assert report.ok
    assert report.uploads == 0
    assert state() == before


def test_after_a_reset_numbers_of_photos_that_were_never_seeded_are_not_given_out_again(
    school, mine, aws, photos, state, linked
):
    enroll(school, mine, aws, photos, "student-001", [portrait_path(1, 1)])
    face = linked()["student-001-photo-1"]
    school.execute("DELETE FROM student_faces")
    school.commit()
    other = enroll(school, mine, aws, photos, "student-001", [portrait_path(1, 2)])
    assert other.photos[0].external_image_id == "student-001-photo-2"
    school.execute("DELETE FROM student_faces")
    school.commit()
    # the very same photo gets its number and its face back
    same = enroll(school, mine, aws, photos, "student-001", [portrait_path(1, 1)])
    assert same.photos[0].external_image_id == "student-001-photo-1"
    assert same.photos[0].face_id == face
    assert same.uploads == 0


def test_a_face_whose_photo_is_gone_keeps_its_number(school, mine, aws, photos, collection, portrait):
    collection.index_faces(portrait(1, 2), "student-001-photo-1")
    report = enroll(school, mine, aws, photos, "student-001", [portrait_path(1)])
    assert report.photos[0].external_image_id == "student-001-photo-2"


def test_a_png_is_kept_as_jpeg(school, mine, aws, photos, tmp_path):
    path = tmp_path / "portrait.png"
    Image.open(portrait_path(1)).save(path)
    report = enroll(school, mine, aws, photos, "student-001", [path])
    assert report.ok
    assert photos.get("students/student-001/photo-1.jpg").startswith(b"\xff\xd8\xff")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: Image.new("RGB", (300, 300), "grey").save(path), "no face"),
        (lambda path: path.write_bytes(b"GIF89a nonsense"), "GIF"),
        (lambda path: path.write_bytes(portrait_path(1).read_bytes()[:900]), "truncated"),
        (lambda path: Image.open(portrait_path(1)).resize((60, 75)).save(path), "60 x 75"),
    ],
)
def test_a_refused_photo_leaves_nothing_behind(school, mine, aws, photos, state, tmp_path, make, reason):
    before = state()
    path = tmp_path / "photo.jpg"
    make(path)
    report = enroll(school, mine, aws, photos, "student-001", [path, portrait_path(1)])
    assert [photo.outcome for photo in report.photos] == ["refused", "enrolled"]
    assert reason in report.photos[0].reason
    assert report.photos[0].remedy
    assert str(tmp_path) not in msgspec.json.encode(report).decode()
    assert not report.ok
    rows, keys, faces = state()
    assert (len(rows), len(keys), len(faces)) == (1, 1, 1)
    assert before == ([], [], [])


def test_several_faces_are_refused_and_deleted_again(school, mine, aws, photos, state, group):
    report = enroll(school, mine, aws, photos, "student-001", [group])
    assert report.photos[0].outcome == "refused"
    assert "faces in the picture" in report.photos[0].reason
    assert state() == ([], [], [])


def test_a_heavy_photo_is_scaled_to_what_rekognition_takes_and_its_face_region_survives(
    school, mine, aws, photos, collection, tmp_path, portrait
):
    with Image.open(portrait_path(1)) as small:
        region = small.info["xmp"]  # in parts of width and height, so that it scales along
    path = tmp_path / "heavy.jpg"
    Image.effect_noise((2400, 3000), 90).convert("RGB").save(path, quality=95, xmp=region)
    assert path.stat().st_size > 5 * 1024 * 1024
    assert enroll(school, mine, aws, photos, "student-001", [path]).ok
    assert (
        photos.get("students/student-001/photo-1.jpg") == path.read_bytes()
    )  # kept as it is; only the sent one shrinks
    other = collection.index_faces(portrait(1, 2), "other").faces[0].face
    found = collection.search_faces(other.face_id, threshold=95)
    assert [match.face.external_image_id for match in found] == ["student-001-photo-1"]


def test_a_file_that_is_not_there(school, mine, aws, photos, tmp_path):
    report = enroll(school, mine, aws, photos, "student-001", [tmp_path / "nobody.jpg"])
    assert report.photos[0].outcome == "failed"
    assert report.photos[0].reason == "nobody.jpg: No such file or directory"


def test_an_unknown_student_is_told_with_a_close_one(school, mine, aws, photos):
    with pytest.raises(UsageError) as caught:
        enroll(school, mine, aws, photos, "student-01", [portrait_path(1)])
    assert caught.value.place == {"table": "students"}
    assert "student-0" in caught.value.remedy
    with pytest.raises(UsageError, match="ExternalImageId"):
        enroll(school, mine, aws, photos, "Ñuñoa 1", [portrait_path(1)])
    assert aws.calls == Counter()


def test_a_failing_insert_leaves_nothing_behind(school, mine, aws, photos, state):
    school.execute("ALTER TABLE student_faces ADD CONSTRAINT no_more CHECK (student_id <> 'student-001')")
    school.commit()
    report = enroll(school, mine, aws, photos, "student-001", [portrait_path(1)])
    assert report.photos[0].outcome == "failed"
    assert state() == ([], [], [])


def test_a_deferred_constraint_that_fails_at_the_commit_leaves_nothing_behind(school, mine, aws, photos, state):
    school.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN RAISE 'not today' USING ERRCODE = '23514'; END$$;"
        " CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON student_faces DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    school.commit()
    report = enroll(school, mine, aws, photos, "student-001", [portrait_path(1)])
    assert report.photos[0].reason == "student_faces: not today"
    assert state() == ([], [], [])


def test_an_answer_that_was_lost_leaves_nothing_behind(school, mine, aws, photos, state, monkeypatch):
    index_faces = gateway.Collection.index_faces

    def lose(self, *arguments, **options):
        index_faces(self, *arguments, **options)
        raise ServiceUnavailable("the line went dead")

    monkeypatch.setattr(gateway.Collection, "index_faces", lose)
    report = enroll(school, mine, aws, photos, "student-001", [portrait_path(1)])
    assert report.photos[0].outcome == "failed"
    assert state() == ([], [], [])


def test_two_enrollments_at_once_never_choose_the_same_number(school, database, mine, aws, photos, state):
    def run(photo):
        with server.connect(database) as connection:
            reports.append(enroll(connection, mine, aws, photos, "student-001", [portrait_path(1, photo)]))

    reports = []
    threads = [threading.Thread(target=run, args=[photo]) for photo in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(report.ok for report in reports)
    rows, keys, faces = state()
    assert [row[0] for row in rows] == ["student-001-photo-1", "student-001-photo-2"]
    assert (len(keys), len({face for _, face in faces})) == (2, 2)


@pytest.mark.parametrize("name", ["seedtool.enroll:student-001", "seedtool.enroll_all:student_faces"])
def test_it_tells_whom_it_waits_for_and_does_not_wait_for_ever(
    school, database, mine, aws, photos, state, face_rows, monkeypatch, name
):
    monkeypatch.setattr(cluster, "QUIET_WAIT", 0.1)
    monkeypatch.setattr(cluster, "LONGEST_WAIT", 1)
    face_rows("student-001-photo-1")
    heard = []
    listener = Listener()
    listener.note = heard.append
    before = state()
    with server.connect(database, autocommit=True, application="a colleague") as other:
        other.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [name])
        one = () if "all" in name else ("student-001", [portrait_path(1)])
        with pytest.raises(BlockedError, match="a colleague"):
            (enroll if one else enroll_all)(school, mine, aws, photos, *one, listener=listener)
    assert [text for text in heard if "a colleague" in text] == heard != []
    assert state() == before
    assert enroll_all(school, mine, aws, photos).ok


def test_ctrl_c_finishes_the_photo_at_hand_and_stops(school, mine, aws, photos, state, monkeypatch):
    index_faces = gateway.Collection.index_faces

    def interrupted(self, *arguments, **options):
        os.kill(os.getpid(), signal.SIGINT)
        return index_faces(self, *arguments, **options)

    monkeypatch.setattr(gateway.Collection, "index_faces", interrupted)
    report = enroll(school, mine, aws, photos, "student-001", [portrait_path(1, 1), portrait_path(1, 2)])
    assert report.interrupted
    assert not report.ok
    assert len(report.photos) == 1
    assert len(report.seed_lines) == 2
    rows, keys, faces = state()
    assert (len(rows), len(keys), len(faces)) == (1, 1, 1)


def test_a_second_ctrl_c_stops_at_once_and_leaves_nothing_behind(school, mine, aws, photos, state, monkeypatch):
    index_faces = gateway.Collection.index_faces

    def interrupted(self, *arguments, **options):
        index_faces(self, *arguments, **options)
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(gateway.Collection, "index_faces", interrupted)
    with pytest.raises(KeyboardInterrupt):
        enroll(school, mine, aws, photos, "student-001", [portrait_path(1)])
    assert state() == ([], [], [])


def test_all_photos_of_the_rows_are_enrolled_and_a_second_run_has_nothing_to_do(
    school, database, mine, aws, photos, face_rows, state, hearing
):
    face_rows(*(f"student-{n:03}-photo-{p}" for n in range(1, 7) for p in (1, 2)))
    seen = []

    def see(done, total):
        with server.connect(database) as other:
            linked = other.execute("SELECT count(*) FROM student_faces WHERE face_id NOT LIKE 'placeholder:%'")
            seen.append((done, total, linked.fetchone()[0]))

    report = enroll_all(school, mine, aws, photos, listener=hearing(see))
    assert report.ok
    assert (len(report.photos), report.uploads, report.calls["IndexFaces"]) == (12, 12, 12)
    assert seen[-1] == (12, 12, 12)
    rows, keys, faces = state()
    assert sorted((row[0], row[1]) for row in rows) == faces
    assert len(keys) == 12
    again = enroll_all(school, mine, aws, photos)
    assert again.ok
    assert (again.photos, again.uploads, again.unchanged) == ((), 0, 12)
    assert "IndexFaces" not in again.calls


def test_after_a_reset_nothing_is_uploaded_or_indexed_again(school, mine, aws, photos, face_rows, state):
    face_rows("student-001-photo-1", "student-002-photo-1")
    enroll_all(school, mine, aws, photos)
    before = state()
    school.execute("UPDATE student_faces SET face_id = 'placeholder:' || external_image_id")
    school.commit()
    report = enroll_all(school, mine, aws, photos)
    assert (report.adopted, report.uploads, report.calls.get("IndexFaces", 0)) == (2, 0, 0)
    assert state() == before


def test_each_failure_stands_alone(school, mine, aws, photos, face_rows, state, group):
    # 002 is in the store alone, 003 shows a class, 004 is nowhere, 005 leads out of the folder, 006 names nothing
    face_rows(*(f"student-{n:03}-photo-7" for n in range(1, 7)))
    seeds = Path(mine.photos_url).parent / "seeds"
    there = seeds / "photos" / "students" / "student-001" / "photo-7.jpg"
    there.parent.mkdir(parents=True)
    there.write_bytes(portrait_path(1).read_bytes())
    photos.put("students/student-002/photo-7.jpg", portrait_path(2).read_bytes())
    photos.put("students/student-003/photo-7.jpg", group.read_bytes())
    school.execute("UPDATE student_faces SET photo_url = '../../x' WHERE student_id = 'student-005'")
    school.execute("UPDATE student_faces SET photo_url = NULL WHERE student_id = 'student-006'")
    school.commit()
    report = enroll_all(school, msgspec.structs.replace(mine, seeds=seeds), aws, photos)
    assert not report.ok
    outcomes = {photo.external_image_id: (photo.outcome, photo.reason) for photo in report.photos}
    assert [outcomes[f"student-{n:03}-photo-7"][0] for n in range(1, 7)] == [
        *("enrolled", "enrolled", "refused", "failed", "failed", "failed")
    ]
    assert "neither" in outcomes["student-004-photo-7"][1]
    assert "cannot be a photo's key" in outcomes["student-005-photo-7"][1]
    assert "names no photo" in outcomes["student-006-photo-7"][1]
    assert report.uploads == 1
    _, keys, faces = state()
    assert [face[0] for face in faces] == ["student-001-photo-7", "student-002-photo-7"]
    assert len(keys) == 3
    # the refused one was not ours to remove from the store


def test_a_seeded_file_replaces_another_one_and_a_refusal_puts_that_back(
    school, mine, aws, photos, face_rows, state, group
):
    face_rows("student-001-photo-1", "student-002-photo-1")
    photos.put("students/student-001/photo-1.jpg", portrait_path(5).read_bytes())
    photos.put("students/student-002/photo-1.jpg", portrait_path(6).read_bytes())
    seeds = Path(mine.photos_url).parent / "seeds"
    for student, picture in ((1, portrait_path(1)), (2, group)):
        there = seeds / "photos" / "students" / f"student-{student:03}" / "photo-1.jpg"
        there.parent.mkdir(parents=True)
        there.write_bytes(picture.read_bytes())
    enroll_all(school, msgspec.structs.replace(mine, seeds=seeds), aws, photos)
    assert photos.get("students/student-001/photo-1.jpg") == portrait_path(1).read_bytes()
    assert photos.get("students/student-002/photo-1.jpg") == portrait_path(6).read_bytes()


def test_a_row_that_vanishes_meanwhile_leaves_no_face_behind(
    school, database, mine, aws, photos, face_rows, state, monkeypatch
):
    face_rows("student-001-photo-1")
    index_faces = gateway.Collection.index_faces

    def vanish(self, *arguments, **options):
        with server.connect(database) as other:
            other.execute("DELETE FROM student_faces")
        return index_faces(self, *arguments, **options)

    monkeypatch.setattr(gateway.Collection, "index_faces", vanish)
    report = enroll_all(school, mine, aws, photos)
    assert report.photos[0].outcome == "failed"
    assert state() == ([], [], [])


def test_ctrl_c_finishes_what_is_in_flight_and_starts_no_more(school, mine, aws, photos, face_rows, state, monkeypatch):
    face_rows(*(f"student-{n:03}-photo-1" for n in range(1, 9)))
    index_faces = gateway.Collection.index_faces

    def interrupted(self, *arguments, **options):
        os.kill(os.getpid(), signal.SIGTERM)
        return index_faces(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(gateway.Collection, "index_faces", interrupted)
        report = enroll_all(school, mine, aws, photos, workers=1)
    assert report.interrupted
    rows, keys, faces = state()
    assert sorted((row[0], row[1]) for row in rows if not row[1].startswith("placeholder")) == faces
    assert 1 <= len(faces) == len(keys) == len(report.photos) < 8
    assert enroll_all(school, mine, aws, photos).ok


def test_what_concerns_all_photos_stops_the_run(school, mine, aws, photos, face_rows, monkeypatch, stub):
    face_rows(*(f"student-{n:03}-photo-1" for n in range(1, 13)))
    answers = {"DescribeCollection": {"FaceCount": 0}, "ListFaces": {"Faces": []}}
    stub.answer = lambda operation, *_: (
        (200, answers[operation])
        if operation in answers
        else (400, {"__type": "ExpiredTokenException", "message": "expired"})
    )
    with pytest.raises(CredentialsError) as caught:
        enroll_all(school, mine, Aws(mine, stub.url), photos, workers=2)
    assert "aws sso login" in caught.value.remedy
    assert sum(b"Image" in request[3] for request in stub.requests) <= 4
    assert list(photos.keys()) == []


_VICTIM = """
import os, signal, sys
import msgspec, psycopg
from pathlib import Path
from seedtool.faces import photos
from seedtool.faces.enroll import photo as enrollment, rows as enroll_all, person as enroll
from seedtool.faces.rekognition import collection
from seedtool.faces.rekognition.service import Aws
from seedtool.settings import FaceBinding, load

conninfo, endpoint, name, folder, step, command = sys.argv[1:]

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def then_die(kind, method):
    whole = getattr(kind, method)
    def run(*arguments, **options):
        whole(*arguments, **options)
        die()
    setattr(kind, method, run)

steps = {
    "before the upload": lambda: setattr(photos.FolderStore, "put", die),
    "after the upload": lambda: then_die(photos.FolderStore, "put"),
    "before indexing": lambda: setattr(collection.Collection, "index_faces", die),
    "after indexing": lambda: then_die(collection.Collection, "index_faces"),
    "before the commit": lambda: then_die(enroll, "insert"),
    "before the update": lambda: setattr(enroll_all._Run, "_write", die),
    "after the commit": lambda: setattr(enroll, "seed_lines", die),
}
faces = (FaceBinding(table="student_faces"),)
settings = msgspec.structs.replace(load(Path.cwd()), collection=name, photos_url=folder, faces=faces)
aws = Aws(settings, endpoint)
steps[step]()
with psycopg.connect(conninfo) as connection:
    if command == "one":
        portrait = Path("seeds/photos/students/student-001/photo-1.jpg")
        enroll.enroll(connection, settings, aws, photos.store(settings, aws), "student-001", [portrait])
    else:
        enroll_all.enroll_all(connection, settings, aws, photos.store(settings, aws), workers=2)
"""


@pytest.mark.parametrize(
    ("step", "command"),
    [
        ("before the upload", "one"),
        ("after the upload", "one"),
        ("before indexing", "one"),
        ("after indexing", "one"),
        ("before the commit", "one"),
        ("after the commit", "one"),
        ("after the upload", "all"),
        ("after indexing", "all"),
        ("before the update", "all"),
    ],
)
def test_a_kill_at_any_step_is_repaired_by_the_same_command(
    school, database, mine, endpoint, aws, photos, face_rows, state, step, command
):
    if command == "all":
        face_rows("student-001-photo-1", "student-002-photo-1", "student-003-photo-1")
    killed = processes.run(
        database.conninfo, endpoint, mine.collection, mine.photos_url, step, command, code=_VICTIM, cwd=ROOT
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    if command == "one":
        report = enroll(school, mine, aws, photos, "student-001", [portrait_path(1)])
    else:
        report = enroll_all(school, mine, aws, photos)
    assert report.ok
    rows, keys, faces = state()
    expected = 3 if command == "all" else 1
    assert (len(rows), len(keys), len(faces)) == (expected, expected, expected)
    assert sorted((row[0], row[1]) for row in rows) == faces
    assert sync(school, mine, aws, strict=True).ok


def test_an_enrollment_that_cannot_find_its_collection_again(school, mine, aws, photos, monkeypatch):
    monkeypatch.setattr(gateway.Collection, "ensure", lambda _: False)
    with pytest.raises(ResourceNotFound):
        enroll(school, mine, aws, photos, "student-001", [portrait_path(1)])


def test_a_lost_connection_at_the_commit_is_left_to_the_next_run(school, mine, aws, photos, state, database):
    with server.connect(database) as victim:
        pid = victim.info.backend_pid
        put = photos.put

        def put_and_cut(*arguments):
            put(*arguments)
            school.execute("SELECT pg_terminate_backend(%s)", [pid])
            school.commit()

        photos.put = put_and_cut
        report = enroll(victim, mine, aws, photos, "student-001", [portrait_path(1)])
        photos.put = put
    assert report.photos[0].outcome == "failed"
    assert state() == ([], [], [])
    assert isinstance(photos, FolderStore)
    assert enroll(school, mine, aws, photos, "student-001", [portrait_path(1)]).ok
