"""`seed photos`: a photo library whose first photos were indexed, and named, before the database came to be."""

import contextlib

import pytest

from seedtool.emulator import process
from seedtool.errors import ResourceNotFound
from seedtool.faces.rekognition.service import Aws
from seedtool.settings import load
from seedtool.workflows.face_service import open_aws

ELENA = "savta-user-00000000-0000-4000-8000-000100010000"
ROWS = "SELECT id::text, rekognition_face_id FROM faces"
NAMED = """
SELECT f.rekognition_face_id, p.name FROM faces f
JOIN face_person_links l ON l.face_id = f.id AND NOT l.deleted JOIN person_groups p ON p.id = l.person_group_id"""


@contextlib.contextmanager
def another_line(path, line):
    before = path.read_bytes()
    path.write_bytes(before + line.encode())
    try:
        yield
    finally:
        path.write_bytes(before)


@pytest.fixture(scope="module")
def library(school):
    collection = open_aws(school.settings).collection(ELENA)
    with contextlib.suppress(ResourceNotFound):  # faces that other tests of the school left would be found, too
        collection.delete_faces([face.face_id for page in collection.list_pages() for face in page])
    school.ok("db-reset --yes --seed photos")
    return school


def test_seeding_twice_changes_nothing_inside_or_outside(library):
    rows, outside = library.query(ROWS), library.outside()
    assert len(rows) == 9
    assert not [face for _, face in rows if face.startswith("placeholder:")]
    again = library.ok("seed photos")
    assert "58 unchanged" in again.out
    assert (library.query(ROWS), library.outside()) == (rows, outside)
    assert again.err == ""

    reset = library.ok("db-reset --yes --seed photos")
    assert "58 inserted" in reset.out
    assert "faces: linked 6 of 6 rows" in reset.out
    assert "faces: linked 3 of 3 rows" in reset.out
    assert (sorted(library.query(ROWS)), library.outside()) == (sorted(rows), outside)


def test_further_photos_are_like_the_faces_that_were_named(library):
    collection = open_aws(library.settings).collection(ELENA)
    named = dict(library.query(NAMED))
    beach = (library.root / "seeds/photos/library/elena/2025-playa.jpg").read_bytes()
    indexed = [each.face.face_id for each in collection.index_faces(beach, "a-test").faces]
    try:
        found = [collection.search_faces(face, threshold=95, just_indexed=True) for face in indexed]
    finally:
        collection.delete_faces(indexed)
    assert sorted(named[matches[0].face.face_id] for matches in found) == ["Elena", "Lucía", "Max", "Ramón"]


def test_a_dry_run_gives_the_emulator_nothing(library):
    line = "a-library,photo-1,ignacia/selfie.jpg\n"
    collection = open_aws(library.settings).collection("a-library")
    with another_line(library.root / "seeds/photos/library/indexed.csv", line):
        library.ok("seed photos --dry-run")
        with pytest.raises(ResourceNotFound):
            collection.describe()
        told = library.ok("seed photos")
    assert "1 photo indexed in the embedded emulator" in told.err
    assert collection.describe().faces == 1


def test_aws_is_given_nothing(library, tmp_path):
    elsewhere = process.ensure(tmp_path / "emulator")
    env = {
        "SEEDTOOL_AWS": "live",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "AKIA",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_ENDPOINT_URL": elsewhere,
        "HOME": str(tmp_path),
    }
    try:
        library.ok("db-reset --yes")
        done = library.run("seed photos --json", env=env)
        left = [face for _, face in library.query(ROWS) if face.startswith("placeholder:")]
        with pytest.raises(ResourceNotFound):
            Aws(load(library.root), elsewhere).collection(ELENA).describe()
    finally:
        process.stop(tmp_path / "emulator")
        library.ok("db-reset --yes --seed photos")
    # the rows are in; the sync says that this account does not hold their faces
    assert (done.code, len(left)) == (1, 9)
    assert done.json["error"]["kind"] == "ResourceNotFound"
    assert done.json["error"]["place"]["code"] == "ResourceNotFoundException"
