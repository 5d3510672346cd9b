"""Tables of other projects, bound as `init` binds them: keys of each type, another schema, names in mixed case."""

import shutil
from pathlib import Path

import msgspec
import pytest

from seedtool.errors import SchemaError
from seedtool.faces.dedupe import dedupe
from seedtool.faces.enroll import enroll, enroll_all, enroll_manifest
from seedtool.faces.photos import store
from seedtool.faces.recognize import recognize
from seedtool.faces.rekognition.service import Aws
from seedtool.faces.status import status
from seedtool.faces.sync import sync
from seedtool.settings import FaceBinding, load
from seedtool.workflows import doctor
from seedtool.workflows.adopt import adopt

PROJECTS = Path(__file__).resolve().parents[2] / "projects"
UUIDS = "c0ffee00-0000-4000-8000-00000000000"

TABLES = """
CREATE SCHEMA IF NOT EXISTS {schema};
CREATE TABLE {schema}.{pupils} (id {key} PRIMARY KEY, "{label}" text NOT NULL);
CREATE TABLE {schema}.{photos} (
    id {photo_key} PRIMARY KEY, "{person}" {key} NOT NULL REFERENCES {schema}.{pupils},
    aws_face_id {face}, external_id text, "{photo}" text
)"""

PLAIN = {"pupils": "pupils", "photos": "pupil_photos", "label": "full_name", "person": "pupil_id", "photo": "photo_key"}
MIXED = {
    "pupils": '"Pupils"',
    "photos": '"PupilPhotos"',
    "label": "DisplayName",
    "person": "pupilId",
    "photo": "photoKey",
}


def doctored(settings):
    check = {each.name: each for each in doctor.examine(settings=settings)}["faces"]
    return check.state, check.detail


@pytest.fixture
def database(databases):
    """Empty: the school's tables would be found, too."""
    made = databases.create()
    yield made
    databases.drop(made)


@pytest.mark.parametrize(
    ("shape", "first"),
    [
        ({**PLAIN, "schema": "public", "key": "int", "photo_key": "serial", "face": "text"}, "1"),
        (
            {
                **MIXED,
                "schema": '"School"',
                "key": "bigint",
                "photo_key": "bigint GENERATED ALWAYS AS IDENTITY",
                "face": "uuid",
            },
            "1",
        ),
        (
            {
                **PLAIN,
                "schema": "public",
                "key": "uuid",
                "photo_key": "uuid",
                "face": "varchar(40)",
            },
            f"{UUIDS}1",
        ),
        ({**MIXED, "schema": "app", "key": "text", "photo_key": "varchar(40)", "face": "text"}, "ana"),
    ],
    ids=["integer", "bigint", "uuid", "text"],
)
def test_faces_of_adopted_tables(shape, first, connection, database, mine, endpoint, portrait, tmp_path, monkeypatch):
    second = first[:-1] + ("2" if first[-1] == "1" else "b")
    people, photos = f"{shape['schema']}.{shape['pupils']}", f"{shape['schema']}.{shape['photos']}"
    connection.execute(TABLES.format(**shape))
    connection.execute(f"INSERT INTO {people} VALUES (%s, 'One'), (%s, 'Two')", [first, second])
    connection.commit()
    shutil.copytree(PROJECTS / "library", tmp_path / "library")
    report = adopt(settings=load(tmp_path / "library", environ={"HOME": "/", "DATABASE_URL": database.url}))
    faces = load(tmp_path / "library", environ={"HOME": "/"}).faces
    assert len(faces) == 1, report
    settings = msgspec.structs.replace(mine, faces=faces, owned_collections=(mine.collection,))
    aws = Aws(settings, endpoint)
    kept = store(settings, aws)
    for pupil in (1, 2):
        (tmp_path / f"{pupil}.jpg").write_bytes(portrait(pupil))
    (tmp_path / "1b.jpg").write_bytes(portrait(1, 2))
    assert enroll(connection, settings, aws, kept, first, [tmp_path / "1.jpg"]).failures == ()
    (tmp_path / "photos.csv").write_text(f"{shape['person']},photo\n{first},1.jpg\n{first},1b.jpg\n{second},2.jpg\n")
    report = enroll_manifest(connection, settings, aws, kept, tmp_path / "photos.csv")
    assert [photo.outcome for photo in report.photos] == ["already enrolled", "enrolled", "enrolled"]
    (face,) = recognize(connection, settings, aws, portrait(2)).faces
    assert (face.person, face.name) == (second, "Two")
    connection.execute(f"UPDATE {photos} SET aws_face_id = NULL")
    connection.commit()
    assert enroll_all(connection, settings, aws, kept).adopted == 3
    connection.execute(f"UPDATE {photos} SET aws_face_id = NULL")
    connection.commit()
    assert sync(connection, settings, aws, strict=True).synced == 3
    assert status(connection, settings, aws).ok
    looked = msgspec.structs.replace(settings, database_url=database.url)
    monkeypatch.setattr(doctor, "open_aws", lambda _: aws)  # the settings name no endpoint
    assert doctored(looked) == ("ok", "no row holds a placeholder; 3 of 3 FaceIds are in their collection")
    connection.execute(
        f"UPDATE {photos} SET aws_face_id = %s WHERE external_id <> %s",
        [UUIDS + "9", report.photos[1].external_image_id],
    )
    connection.commit()
    state, said = doctored(looked)
    assert (state, said.split(" rows of ")[0]) == ("wrong", "1 of 3")
    connection.execute(f"UPDATE {photos} SET aws_face_id = NULL")
    connection.commit()
    assert (doctored(looked)[0], "have no FaceId yet" in doctored(looked)[1]) == ("note", True)
    sync(connection, settings, aws, strict=True)
    assert dedupe(connection, settings, aws).found == 0


@pytest.mark.parametrize("key", ["int PRIMARY KEY", "serial PRIMARY KEY, school int NOT NULL"])
def test_a_column_that_nobody_fills_is_told_before_a_photo_is_indexed(
    key, connection, mine, endpoint, tmp_path, portrait
):
    connection.execute(
        f"CREATE TABLE pupil_photos (id {key}, pupil_id int, face_id text, external_image_id text, photo_key text)"
    )
    connection.commit()
    binding = FaceBinding(table="pupil_photos", person="pupil_id", photo="photo_key")
    settings = msgspec.structs.replace(mine, faces=(binding,))
    aws = Aws(settings, endpoint)
    (tmp_path / "1.jpg").write_bytes(portrait(1))
    with pytest.raises(SchemaError) as refused:
        enroll(connection, settings, aws, store(settings, aws), "1", [tmp_path / "1.jpg"])
    assert refused.value.place["column"] == ("school" if "school" in key else "id")
    assert "seedtool enroll --all" in refused.value.remedy
    # a trigger may fill it
    connection.execute(
        "CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN NEW.{refused.value.place['column']} := 7; RETURN NEW; END $$;"
        " CREATE TRIGGER fill BEFORE INSERT ON pupil_photos FOR EACH ROW EXECUTE FUNCTION fill()"
    )
    connection.commit()
    assert enroll(connection, settings, aws, store(settings, aws), "1", [tmp_path / "1.jpg"]).ok
