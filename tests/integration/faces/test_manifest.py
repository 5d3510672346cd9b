"""A manifest of photos: all of it checked before anything is sent, enrolled side by side, taken up after a kill."""

import errno
import os
import signal
import threading
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from seedtool.errors import CredentialsError, FixtureError, PhotoError, ServiceUnavailable
from seedtool.faces.enroll import enroll, enroll_manifest, running
from seedtool.faces.rekognition import collection as gateway
from seedtool.faces.rekognition.service import Aws
from seedtool.faces.sync import sync
from seedtool.postgres import server
from tests import processes

ROOT = Path(__file__).resolve().parents[3]
PORTRAITS = ROOT / "seeds" / "photos" / "students"

LOCKS = """
SELECT count(*) FROM pg_locks
WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


def portrait(student, photo=1):
    return PORTRAITS / f"student-{student:03}" / f"photo-{photo}.jpg"


@pytest.fixture
def manifest(tmp_path):
    """Writes a manifest: lines of (student number, path), or a whole text."""

    def write(lines):
        path = tmp_path / "manifest.csv"
        if not isinstance(lines, str):
            lines = "student_id,photo\n" + "".join(f"student-{n:03},{photo}\n" for n, photo in lines)
        path.write_text(lines, encoding="utf-8")
        return path

    return write


@pytest.fixture
def two_each(manifest):
    return manifest([(n, portrait(n, p)) for n in range(1, 7) for p in (1, 2)])


def test_photos_of_many_students_are_enrolled_and_a_second_run_sends_nothing(
    school, mine, aws, photos, state, two_each, hearing
):
    seen = []
    report = enroll_manifest(school, mine, aws, photos, two_each, listener=hearing(lambda *done: seen.append(done)))
    assert report.ok
    assert (report.uploads, report.calls["IndexFaces"], len(report.photos), report.failures) == (12, 12, 12, ())
    assert seen[-1] == (12, 12)
    rows, keys, faces = state()
    assert [row[:2] for row in rows] == faces
    assert [row[0] for row in rows] == [f"student-{n:03}-photo-{p}" for n in range(1, 7) for p in (1, 2)]
    assert photos.get("students/student-003/photo-2.jpg") == portrait(3, 2).read_bytes()  # in the manifest's order
    assert [photo.source for photo in report.photos] == [f"manifest.csv:{line}" for line in range(2, 14)]
    assert len(report.seed_lines) == 13
    again = enroll_manifest(school, mine, aws, photos, two_each)
    assert again.ok
    assert {photo.outcome for photo in again.photos} == {"already enrolled"}
    assert (again.uploads, again.calls.get("IndexFaces", 0)) == (0, 0)
    assert state() == (rows, keys, faces)
    assert school.execute(LOCKS).fetchone() == (0,)


def test_the_same_photo_twice_and_one_enrolled_by_hand_are_skipped(school, mine, aws, photos, state, manifest):
    enroll(school, mine, aws, photos, "student-001", [portrait(1, 2)])
    path = manifest([(1, portrait(1, 1)), (1, portrait(1, 1)), (1, portrait(1, 2))])
    report = enroll_manifest(school, mine, aws, photos, path)
    assert [photo.outcome for photo in report.photos] == ["enrolled", "already enrolled", "already enrolled"]
    assert [row[0] for row in state()[0]] == ["student-001-photo-1", "student-001-photo-2"]


def test_a_failure_stands_alone_and_takes_no_number(school, mine, aws, photos, state, manifest, tmp_path):
    (tmp_path / "half.jpg").write_bytes(portrait(1).read_bytes()[:900])
    (tmp_path / "class.jpg").write_bytes(
        next(iter(sorted((ROOT / "seeds/photos/classes").rglob("*.jpg")))).read_bytes()
    )
    path = manifest([(1, "half.jpg"), (1, portrait(1, 1)), (2, "class.jpg"), (3, portrait(3))])
    report = enroll_manifest(school, mine, aws, photos, path)
    assert not report.ok
    assert [photo.outcome for photo in report.photos] == ["refused", "enrolled", "refused", "enrolled"]
    assert [photo.source for photo in report.failures] == ["manifest.csv:2", "manifest.csv:4"]
    assert "half" not in msgspec.json.encode(report.failures).decode()  # names of files hold names of people
    rows, keys, faces = state()
    assert [row[0] for row in rows] == ["student-001-photo-1", "student-003-photo-1"]
    assert (len(keys), [row[:2] for row in rows]) == (2, faces)


def test_rows_that_the_database_refuses_do_not_take_the_others_along(school, mine, aws, photos, state, two_each):
    school.execute("ALTER TABLE student_faces ADD CONSTRAINT no_more CHECK (student_id <> 'student-002')")
    school.commit()
    report = enroll_manifest(school, mine, aws, photos, two_each)
    assert Counter(photo.outcome for photo in report.photos) == {"enrolled": 10, "failed": 2}
    rows, keys, faces = state()
    assert (len(keys), [row[:2] for row in rows]) == (10, faces)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "manifest.csv:1: no column student_id"),
        ("student-001,a.jpg\n", "manifest.csv:1: no column student_id"),
        ("student_id,path\n", "manifest.csv:1: no column photo"),
        ("student_id,photo,photo\n", "manifest.csv:1, column photo: "),
        ("student_id,photo\nstudent-001\n", "manifest.csv:2, column photo: "),
        ("student_id,photo\n,a.jpg\n", "manifest.csv:2, column student_id: the cell is empty"),
        ("student_id,photo\nstudent-001,\n", "manifest.csv:2, column photo: the cell is empty"),
        ("student_id,photo\nñandú 1,a.jpg\n", "manifest.csv:2, column student_id: "),
        (
            "student_id,photo\nstudent-001,a.jpg\n\nstudent-001,b.jpg\n",
            "manifest.csv:4, column photo: there is no such",
        ),
        ("student_id,photo\nstudent-001,.\n", "manifest.csv:2, column photo: this is not a file"),
        ("student_id,photo\nstudent-001,a\0.jpg\n", "manifest.csv:2"),
        ("student_id,photo\nstudent-001,ftp://x/a.jpg\n", "manifest.csv:2, column photo: "),
        ('student_id,photo\nstudent-001,"a.jpg"x\n', "manifest.csv:2, column photo: "),
        (
            "student_id,photo\nstudent-001,a.jpg\nstudent-002,a.jpg\n",
            "manifest.csv:3, column photo: the same photo as on",
        ),
        (
            "student_id,photo\nstudent-01,a.jpg\n",
            "manifest.csv:2, column student_id: the table students has no row student-01",
        ),
        ("student_id;photo\nstudent-001;b.jpg\n", "manifest.csv:2, column photo: there is no such file"),
    ],
)
def test_a_wrong_manifest_is_told_with_its_place_before_anything_is_sent(
    school, mine, aws, photos, manifest, tmp_path, text, fault
):
    (tmp_path / "a.jpg").write_bytes(portrait(1).read_bytes())
    with pytest.raises(FixtureError) as caught:
        enroll_manifest(school, mine, aws, photos, manifest(text))
    assert caught.value.message.startswith(fault)
    assert caught.value.remedy
    assert str(tmp_path) not in caught.value.message
    assert aws.calls == Counter()


def test_other_wrong_lines_are_counted_and_close_students_offered(school, mine, aws, photos, manifest, tmp_path):
    with pytest.raises(FixtureError, match=r"3, 4, 5, 6, 7, 8, 9, 10, 11, 12 and 8 ") as caught:
        enroll_manifest(school, mine, aws, photos, manifest([(1, f"{n}.jpg") for n in range(19)]))
    assert (caught.value.line, caught.value.column) == (2, "photo")
    with pytest.raises(FixtureError) as caught:
        enroll_manifest(school, mine, aws, photos, manifest([(1, portrait(1)), (112, portrait(2))]))
    assert "student-0" in caught.value.remedy
    with pytest.raises(PhotoError) as missing:
        enroll_manifest(school, mine, aws, photos, tmp_path / "nobody.csv")
    assert str(missing.value.place["file"]).endswith("nobody.csv")
    assert os.strerror(errno.ENOENT) in missing.value.message
    latin = tmp_path / "latin.csv"
    latin.write_bytes("student_id,photo\nstudent-001,niño.jpg\n".encode("latin-1"))
    with pytest.raises(FixtureError, match="UTF-8") as caught:
        enroll_manifest(school, mine, aws, photos, latin)
    assert (caught.value.line, caught.value.column) == (2, "photo")
    assert caught.value.file.endswith("latin.csv")


def test_a_manifest_as_excel_writes_it(school, mine, aws, photos, tmp_path):
    (tmp_path / "niño.jpg").write_bytes(portrait(1).read_bytes())
    path = tmp_path / "manifest.csv"
    path.write_bytes('\ufeffphoto;nombre;student_id\r\nniño.jpg;"a;b";student-001\r\n;;\r\n'.encode())
    assert enroll_manifest(school, mine, aws, photos, path).ok


def test_students_in_collections_of_their_own(school, mine, aws, photos, two_each, endpoint):
    names = {n: f"{mine.collection}-{n}" for n in range(1, 7)}
    for n, name in names.items():
        school.execute("UPDATE students SET aws_collection_id = %s WHERE id = %s", [name, f"student-{n:03}"])
    school.commit()
    binding = msgspec.structs.replace(mine.faces[0], collection_column="students.aws_collection_id")
    settings = msgspec.structs.replace(mine, faces=(binding,))
    report = enroll_manifest(school, settings, aws, photos, two_each)
    assert (report.ok, report.created, len(report.photos)) == (True, True, 12)
    for n, name in names.items():
        faces = [face for page in aws.collection(name).list_pages() for face in page]
        assert {face.external_image_id for face in faces} == {f"student-{n:03}-photo-1", f"student-{n:03}-photo-2"}
    assert sync(school, settings, aws, strict=True).ok


def test_a_student_whom_somebody_else_is_enrolling_waits(school, database, mine, aws, photos, two_each):
    with server.connect(database) as other:
        running.wait_for(other, "student-003")
        timer = threading.Timer(0.5, other.rollback)
        timer.start()
        report = enroll_manifest(school, mine, aws, photos, two_each)
        timer.join()
    assert report.ok
    assert len(report.photos) == 12


def test_two_runs_of_the_same_manifest_at_once(school, database, mine, aws, photos, state, two_each):
    def run():
        with server.connect(database) as connection:
            reports.append(enroll_manifest(connection, mine, aws, photos, two_each))

    reports = []
    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(report.ok for report in reports)
    rows, keys, faces = state()
    assert (len(keys), len(rows), [row[:2] for row in rows]) == (12, 12, faces)


def test_an_answer_that_was_lost_is_taken_up_by_the_next_run(school, mine, aws, photos, state, two_each, monkeypatch):
    index_faces = gateway.Collection.index_faces

    def lose(self, image, external_image_id, **options):
        indexed = index_faces(self, image, external_image_id, **options)
        if external_image_id.startswith("student-002"):
            raise ServiceUnavailable("the line went dead")
        return indexed

    with monkeypatch.context() as patch:
        patch.setattr(gateway.Collection, "index_faces", lose)
        report = enroll_manifest(school, mine, aws, photos, two_each)
    assert [failure.person for failure in report.failures] == ["student-002", "student-002"]
    assert enroll_manifest(school, mine, aws, photos, two_each).ok
    rows, keys, faces = state()
    assert (len(keys), len(rows), [row[:2] for row in rows]) == (12, 12, faces)


def test_expired_credentials_stop_the_run(school, mine, photos, stub, two_each):
    answers = {"DescribeCollection": {"FaceCount": 0}, "ListFaces": {"Faces": []}}
    stub.answer = lambda operation, *_: (
        (200, answers[operation])
        if operation in answers
        else (400, {"__type": "ExpiredTokenException", "message": "expired"})
    )
    with pytest.raises(CredentialsError):
        enroll_manifest(school, mine, Aws(mine, stub.url), photos, two_each, workers=2)
    assert sum(b"Image" in request[3] for request in stub.requests) <= 4
    assert list(photos.keys()) == []
    assert school.execute(LOCKS).fetchone() == (0,)


def test_ctrl_c_finishes_what_is_in_flight(school, mine, aws, photos, state, two_each, monkeypatch):
    index_faces = gateway.Collection.index_faces

    def interrupted(self, *arguments, **options):
        os.kill(os.getpid(), signal.SIGINT)
        return index_faces(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(gateway.Collection, "index_faces", interrupted)
        report = enroll_manifest(school, mine, aws, photos, two_each, workers=1)
    assert report.interrupted
    rows, keys, faces = state()
    assert 1 <= len(rows) == len(keys) == len(report.photos) < 12
    assert [row[:2] for row in rows] == faces
    assert enroll_manifest(school, mine, aws, photos, two_each).ok


_VICTIM = """
import os, signal, sys, threading
import msgspec, psycopg
from pathlib import Path
from seedtool.faces.rekognition.service import Aws
from seedtool.faces.rekognition import collection
from seedtool.faces.enroll import enroll_manifest, manifest as manifests
from seedtool.faces.photos import FolderStore, store
from seedtool.settings import FaceBinding, load

conninfo, endpoint, name, folder, manifest, step = sys.argv[1:]
lock, count = threading.Lock(), 0

def dies(kind, method, *, after):
    whole = getattr(kind, method)
    def run(*arguments, **options):
        global count
        result = whole(*arguments, **options) if after else None
        with lock:
            count += 1
            if count == 4:
                os.kill(os.getpid(), signal.SIGKILL)
        return result if after else whole(*arguments, **options)
    setattr(kind, method, run)

steps = {
    "before an upload": lambda: dies(FolderStore, "put", after=False),
    "after an upload": lambda: dies(FolderStore, "put", after=True),
    "after indexing": lambda: dies(collection.Collection, "index_faces", after=True),
    "before a commit": lambda: dies(manifests, "insert", after=True),
}
faces = (FaceBinding(table="student_faces"),)
settings = msgspec.structs.replace(load(Path.cwd()), collection=name, photos_url=folder, faces=faces)
aws = Aws(settings, endpoint)
steps[step]()
with psycopg.connect(conninfo) as connection:
    enroll_manifest(connection, settings, aws, store(settings, aws), Path(manifest), workers=4)
"""


@pytest.mark.parametrize("step", ["before an upload", "after an upload", "after indexing", "before a commit"])
def test_a_killed_run_is_taken_up_without_a_second_face_or_upload(
    school, database, mine, endpoint, aws, photos, collection, state, two_each, step
):
    killed = processes.run(
        database.conninfo, endpoint, mine.collection, mine.photos_url, two_each, step, code=_VICTIM, cwd=ROOT
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    rows, keys, faces = state()
    assert len(rows) < 12
    report = enroll_manifest(school, mine, aws, photos, two_each)
    assert report.ok
    assert report.uploads == 12 - len(keys)  # nothing that was there is sent again
    after = state()
    assert [row[:2] for row in after[0]] == after[2]
    assert (len(after[0]), len(after[1])) == (12, 12)
    assert set(faces) <= set(after[2])  # the faces of the killed run are the rows' now
    assert {photo.outcome for photo in report.photos} <= {"enrolled", "already enrolled"}
