"""Photos that Rekognition reads from S3 by itself: moto's S3 beside the emulator, as S3 is beside Rekognition."""

import uuid

import msgspec
import pytest

from seedtool.emulator import process
from seedtool.errors import InvalidRequest
from seedtool.faces.enroll import enroll, enroll_all, enroll_manifest
from seedtool.faces.photos import Addresses, store
from seedtool.faces.port import S3Location
from seedtool.faces.rekognition.service import Aws


@pytest.fixture(scope="module")
def rekognition_url(s3_url, tmp_path_factory):
    """An emulator that reads S3Objects from that S3."""
    state = tmp_path_factory.mktemp("emulator")
    with pytest.MonkeyPatch.context() as environment:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            environment.setenv(name, "test")
        endpoint = process.ensure(state, arguments=("--s3-endpoint", s3_url))
    yield endpoint
    process.stop(state)


@pytest.fixture
def near(mine, s3_url, rekognition_url, s3_client):
    """Live settings whose photos are in a bucket of the collections' region."""
    return _settings(mine, s3_url, rekognition_url, s3_client, None)


@pytest.fixture
def far(mine, s3_url, rekognition_url, s3_client):
    """Live settings whose photos are in a bucket of another region."""
    return _settings(mine, s3_url, rekognition_url, s3_client, "eu-west-1")


def _settings(mine, s3_url, rekognition_url, s3_client, region):
    name = f"photos-{uuid.uuid4().hex[:12]}"
    s3_client.create_bucket(
        Bucket=name, **({"CreateBucketConfiguration": {"LocationConstraint": region}} if region else {})
    )
    variables = {
        "AWS_ACCESS_KEY_ID": "AKIATEST",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_ENDPOINT_URL_S3": s3_url,
        "AWS_ENDPOINT_URL_REKOGNITION": rekognition_url,
    }
    return msgspec.structs.replace(
        mine,
        aws="live",
        region="us-east-1",
        photos_url=f"s3://{name}/school",
        seeds=mine.root / "nowhere",
        aws_variables=variables,
    )


def opened(settings):
    """The AWS side, the photo store, and a list that fills with what IndexFaces is given to look at."""
    aws = Aws(settings)
    aws.collection(settings.collection).ensure()
    given = []
    aws.rekognition().meta.events.register(
        "provide-client-params.rekognition.IndexFaces", lambda params, **_: given.append(params["Image"])
    )
    return aws, store(settings, aws), given


def is_object(image, key):
    return set(image) == {"S3Object"} and image["S3Object"]["Name"] == key


def test_photos_in_a_bucket_of_the_region_are_read_there(school, near, portrait, face_rows):
    aws, photos, given = opened(near)
    for number in (1, 2):
        photos.put(f"students/student-00{number}/photo-1.jpg", portrait(number))
    face_rows("student-001-photo-1", "student-002-photo-1")
    report = enroll_all(school, near, aws, photos)
    assert (report.ok, report.calls["IndexFaces"], report.calls["HeadBucket"]) == (True, 2, 1)
    assert "GetObject" not in report.calls
    given.sort(key=str)
    assert is_object(given[0], "school/students/student-001/photo-1.jpg")
    assert is_object(given[1], "school/students/student-002/photo-1.jpg")
    best = aws.collection(near.collection).search_faces(report.photos[0].face_id, threshold=0)
    assert [match.face.external_image_id for match in best] == ["student-002-photo-1"]  # they were really read


def test_photos_that_enroll_has_uploaded_are_read_there_too(school, near, portrait, tmp_path):
    aws, photos, given = opened(near)
    (tmp_path / "1.jpg").write_bytes(portrait(1))
    (tmp_path / "2.jpg").write_bytes(portrait(2))
    (tmp_path / "manifest.csv").write_text("student_id,photo\nstudent-002,2.jpg\n")
    assert enroll(school, near, aws, photos, "student-001", [tmp_path / "1.jpg"]).ok
    assert enroll_manifest(school, near, aws, photos, tmp_path / "manifest.csv").ok
    assert is_object(given[0], "school/students/student-001/photo-1.jpg")
    assert is_object(given[1], "school/students/student-002/photo-1.jpg")


def test_photos_in_a_bucket_of_another_region_go_as_bytes(school, far, portrait, face_rows):
    aws, photos, given = opened(far)
    photos.put("students/student-001/photo-1.jpg", portrait(1))
    face_rows("student-001-photo-1")
    report = enroll_all(school, far, aws, photos)
    assert (report.ok, report.calls["GetObject"]) == (True, 1)
    assert given == [{"Bytes": portrait(1)}]


def test_the_emulator_refuses_a_bucket_of_another_region_as_rekognition_does(far, s3_client, portrait):
    aws, _, _ = opened(far)
    name = far.photos_url.split("/")[2]
    s3_client.put_object(Bucket=name, Key="a.jpg", Body=portrait(1))
    with pytest.raises(InvalidRequest) as caught:
        aws.collection(far.collection).index_faces(S3Location(name, "a.jpg"), "a")
    assert caught.value.place == {"operation": "rekognition:IndexFaces", "code": "InvalidS3ObjectException"}


def test_what_rekognition_refuses_there_is_made_to_fit_or_told_plainly(school, near, portrait, face_rows, s3_client):
    aws, photos, given = opened(near)
    heavy = portrait(1).ljust(15 * 1024 * 1024 + 1, b"\0")  # what follows a JPEG's end is nobody's
    photos.put("students/student-001/photo-1.jpg", heavy)
    photos.put("students/student-002/photo-1.jpg", b"GIF89a")
    face_rows("student-001-photo-1", "student-002-photo-1", "student-003-photo-1")
    report = enroll_all(school, near, aws, photos)
    told = {photo.external_image_id: photo for photo in report.photos}
    assert told["student-001-photo-1"].outcome == "enrolled"
    assert told["student-002-photo-1"].reason == "the file is GIF, not JPEG or PNG"
    assert "neither in the seeds' photos nor in the photo store" in told["student-003-photo-1"].reason
    assert len([image for image in given if "Bytes" in image]) == 1
    assert report.calls["IndexFaces"] == 4


def test_an_object_that_a_row_names_elsewhere_in_the_region(school, near, portrait, face_rows, s3_client):
    aws, photos, given = opened(near)
    name = f"elsewhere-{uuid.uuid4().hex[:12]}"
    s3_client.create_bucket(Bucket=name)
    s3_client.put_object(Bucket=name, Key="a b/photo.jpg", Body=portrait(1))
    face_rows("student-001-photo-1")
    school.execute("UPDATE student_faces SET photo_url = %s", [f"s3://{name}/a b/photo.jpg"])
    assert enroll_all(school, near, aws, photos).ok
    assert given == [{"S3Object": {"Bucket": name, "Name": "a b/photo.jpg"}}]


def test_where_the_region_cannot_be_told_bytes_go(near):
    missing = msgspec.structs.replace(near, photos_url="s3://nobody-has-this")
    aws = Aws(missing)
    photos = store(missing, aws)
    assert photos.location("a.jpg") is None
    assert photos.location("b.jpg") is None
    assert aws.calls["HeadBucket"] == 1
    assert Addresses(missing, aws, photos).location("https://example.com/a.jpg") is None


def test_a_store_with_keys_or_an_endpoint_of_its_own_is_out_of_reach(near, s3_url):
    assert store(near, Aws(near)).location("a.jpg") == S3Location(near.photos_url.split("/")[2], "school/a.jpg")
    minio = msgspec.structs.replace(near, s3_endpoint_url=s3_url)
    assert store(minio, Aws(minio)).location("a.jpg") is None
    keys = near.aws_variables | {"AWS_S3_ACCESS_KEY_ID": "minio", "AWS_S3_SECRET_ACCESS_KEY": "secret"}
    own = msgspec.structs.replace(near, aws_variables=keys)
    assert store(own, Aws(own)).location("a.jpg") is None
    embedded = msgspec.structs.replace(near, aws="embedded")
    assert store(embedded, Aws(embedded, "http://127.0.0.1:1")).location("a.jpg") is None
