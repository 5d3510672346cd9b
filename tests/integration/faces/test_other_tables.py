"""Faces in the tables of another project: other names, other types, no column that only the reference schema has."""

import msgspec
import pytest

from seedtool.errors import FixtureError, SchemaError, UsageError
from seedtool.faces.dedupe import dedupe
from seedtool.faces.enroll import enroll, enroll_all, enroll_manifest
from seedtool.faces.photos import store
from seedtool.faces.recognize import recognize
from seedtool.faces.rekognition.service import Aws
from seedtool.faces.status import status
from seedtool.faces.sync import sync
from seedtool.settings import FaceBinding

_TABLES = """
CREATE TABLE pupils (number int PRIMARY KEY, called text NOT NULL);
INSERT INTO pupils SELECT n, 'Pupil ' || n FROM generate_series(1, 6) n;
CREATE TABLE pupil_photos (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, pupil_id int NOT NULL REFERENCES pupils,
    aws_face_id {face_type}, external_id text, photo_key text
)"""


@pytest.fixture(params=["text", "uuid"])
def pupils(request, connection):
    connection.execute(_TABLES.format(face_type=request.param))
    connection.commit()
    return connection


@pytest.fixture
def bound(mine):
    """Settings that bind that table."""
    binding = FaceBinding(
        table="pupil_photos",
        face_id="aws_face_id",
        external_image_id="external_id",
        person="pupil_id",
        photo="photo_key",
        label=("called",),
        id_template="pupil.{person}:{n}",
        photo_template="pupils/{person}_{n}.jpg",
    )
    return msgspec.structs.replace(mine, faces=(binding,), owned_collections=(mine.collection,))


@pytest.fixture
def aws(bound, endpoint):
    return Aws(bound, endpoint)


@pytest.fixture
def kept(bound, aws):
    return store(bound, aws)


def rows(connection):
    found = connection.execute(
        "SELECT pupil_id, external_id, photo_key, aws_face_id IS NOT NULL FROM pupil_photos ORDER BY external_id DESC"
    ).fetchall()
    connection.commit()
    return found


def test_from_the_first_photo_to_a_reset(pupils, bound, aws, kept, portrait, tmp_path):
    for pupil in range(1, 5):
        (tmp_path / f"{pupil}.jpg").write_bytes(portrait(pupil))
    (tmp_path / "1b.jpg").write_bytes(portrait(1, 2))
    # one pupil
    report = enroll(pupils, bound, aws, kept, "1", [tmp_path / "1.jpg"])
    assert (report.ok, report.photos[0].person, report.photos[0].photo) == (True, "1", "pupils/1_1.jpg")
    assert msgspec.to_builtins(report)["photos"][0]["student_id"] == "1"  # JSON keeps its names
    # a manifest
    manifest = tmp_path / "photos.csv"
    manifest.write_text("pupil_id,photo\n1,1.jpg\n1,1b.jpg\n2,2.jpg\n")
    report = enroll_manifest(pupils, bound, aws, kept, manifest)
    assert [photo.outcome for photo in report.photos] == ["already enrolled", "enrolled", "enrolled"]
    # rows that the application wrote
    kept.put("theirs/three.jpg", portrait(3))
    pupils.execute("INSERT INTO pupil_photos (pupil_id, external_id, photo_key) VALUES (3, 'p3', 'theirs/three.jpg')")
    pupils.commit()
    assert enroll_all(pupils, bound, aws, kept).ok
    assert rows(pupils) == [
        (2, "pupil.2:1", "pupils/2_1.jpg", True),
        (1, "pupil.1:2", "pupils/1_2.jpg", True),
        (1, "pupil.1:1", "pupils/1_1.jpg", True),
        (3, "p3", "theirs/three.jpg", True),
    ]
    # who is it?
    (face,) = recognize(pupils, bound, aws, portrait(2)).faces
    assert (face.person, face.name) == ("2", "Pupil 2")
    # after a reset
    pupils.execute("UPDATE pupil_photos SET aws_face_id = NULL")
    pupils.commit()
    assert status(pupils, bound, aws).collections[0].findings[0].what == "rows that a sync would link"
    assert sync(pupils, bound, aws, strict=True).synced == 4
    found = status(pupils, bound, aws)
    assert (found.ok, found.photos, found.collections[0].linked) == (True, "checked", 4)
    assert dedupe(pupils, bound, aws).found == 0
    # a pupil who is gone leaves faces
    pupils.execute("DELETE FROM pupil_photos WHERE pupil_id = 2; DELETE FROM pupils WHERE number = 2")
    pupils.commit()
    (finding,) = status(pupils, bound, aws).collections[0].findings
    assert (finding.what, finding.ours) == ("faces of people that this database does not have", False)


def test_mistakes_name_the_columns_of_this_table(pupils, bound, aws, kept, portrait, tmp_path):
    (tmp_path / "1.jpg").write_bytes(portrait(1))
    with pytest.raises(UsageError, match="77") as unknown:
        enroll(pupils, bound, aws, kept, "77", [tmp_path / "1.jpg"])
    assert unknown.value.place == {"table": "pupils"}
    manifest = tmp_path / "photos.csv"
    manifest.write_text("student_id,photo\n1,1.jpg\n")
    with pytest.raises(FixtureError) as caught:
        enroll_manifest(pupils, bound, aws, kept, manifest)
    assert "pupil_id,photo" in caught.value.remedy
    pupils.execute("INSERT INTO pupil_photos (pupil_id, external_id) VALUES (1, 'x')")
    pupils.commit()
    (failure,) = enroll_all(pupils, bound, aws, kept).failures
    assert "photo_key" in failure.remedy


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"person": "pupil"}, "pupil_id"),
        ({"photo": "photo_keys"}, "photo_key"),
        ({"indexed_at": "photo_kez"}, "photo_key"),
        ({"label": ("caled",)}, "called"),
    ],
)
def test_a_column_that_the_settings_name_has_to_be_there(pupils, bound, aws, wrong, named):
    settings = msgspec.structs.replace(bound, faces=(msgspec.structs.replace(bound.faces[0], **wrong),))
    with pytest.raises(SchemaError) as caught:
        sync(pupils, settings, aws)
    assert named in caught.value.remedy


def test_a_command_says_which_column_of_a_binding_it_lacks(pupils, bound, aws, kept, tmp_path, portrait):
    plain = FaceBinding(table="pupil_photos", face_id="aws_face_id", external_image_id="external_id")
    settings = msgspec.structs.replace(bound, faces=(plain,))
    (tmp_path / "1.jpg").write_bytes(portrait(1))
    for call, field in (
        (lambda: enroll(pupils, settings, aws, kept, "1", [tmp_path / "1.jpg"]), "person"),
        (lambda: enroll_all(pupils, settings, aws, kept), "photo"),
        (lambda: recognize(pupils, settings, aws, portrait(1)), "person"),
    ):
        with pytest.raises(SchemaError) as caught:
            call()
        assert f'{field} = "' in caught.value.remedy
    aws.collection(settings.collection).ensure()
    assert sync(pupils, settings, aws).ok  # which needs neither
