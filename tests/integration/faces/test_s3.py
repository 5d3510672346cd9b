"""Photos in a bucket, on moto's S3 server: MinIO's manner of address, and all a store can do."""

import datetime as dt
import unicodedata
import uuid

import msgspec
import pytest

from seedtool.errors import AwsError, PhotoError, ResourceNotFound
from seedtool.faces.enroll import enroll, enroll_all, enroll_manifest
from seedtool.faces.photos import Addresses, FolderStore, store
from seedtool.faces.rekognition.service import Aws
from seedtool.faces.status import status


@pytest.fixture
def bucketed(mine, s3_url, s3_client, monkeypatch, tmp_path):
    """Settings whose photos are in a bucket of that server, made for this test."""
    monkeypatch.setenv("HOME", str(tmp_path))
    name = f"photos-{uuid.uuid4().hex[:12]}"
    s3_client.create_bucket(Bucket=name)
    return msgspec.structs.replace(
        mine,
        photos_url=f"s3://{name}/school",
        s3_endpoint_url=s3_url,
        aws_variables={"AWS_S3_ACCESS_KEY_ID": "minio", "AWS_S3_SECRET_ACCESS_KEY": "secret"},
    )


@pytest.fixture
def here(bucketed, endpoint):
    """The AWS side: the emulator, and that bucket."""
    return Aws(bucketed, endpoint)


@pytest.fixture
def bucket(bucketed, here):
    return store(bucketed, here)


@pytest.fixture(params=["bucket", "folder"])
def photos(request, tmp_path):
    """Each kind of store in turn: what holds of one holds of the other."""
    return FolderStore(tmp_path / "photos") if request.param == "folder" else request.getfixturevalue("bucket")


def test_a_photo_is_kept_found_compared_stamped_and_removed(photos):
    before = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=2)
    assert photos.get("students/a/photo-1.jpg") is None
    assert not photos.holds("students/a/photo-1.jpg", b"one")
    photos.put("students/a/photo-1.jpg", b"one")
    photos.put("students/b/photo-1.jpg", b"three")
    photos.put("other/photo-1.jpg", b"x")
    assert photos.get("students/a/photo-1.jpg") == b"one"
    assert photos.exists("students/a/photo-1.jpg")
    assert photos.holds("students/a/photo-1.jpg", b"one")
    assert not photos.holds("students/a/photo-1.jpg", b"two")
    assert not photos.holds("students/a/photo-1.jpg", b"longer")
    assert list(photos.keys("students/")) == ["students/a/photo-1.jpg", "students/b/photo-1.jpg"]
    stamps = list(photos.stamps("students/"))
    assert [(stamp.key, stamp.size) for stamp in stamps] == [
        ("students/a/photo-1.jpg", 3),
        ("students/b/photo-1.jpg", 5),
    ]
    assert all(before <= stamp.written_at <= dt.datetime.now(dt.UTC) + dt.timedelta(seconds=2) for stamp in stamps)
    assert photos.uploads == 3
    photos.delete("students/a/photo-1.jpg")
    photos.delete("students/a/photo-1.jpg")
    assert not photos.exists("students/a/photo-1.jpg")
    with pytest.raises(PhotoError):
        photos.put("../x", b"")


def test_keys_over_several_pages(bucket):
    def small_pages(params, **_):
        asked.append(params.get("ContinuationToken"))
        params["MaxKeys"] = 2

    asked = []
    bucket._client.meta.events.register("before-parameter-build.s3.ListObjectsV2", small_pages)
    for number in range(5):
        bucket.put(f"p/{number}.jpg", b"")
    assert list(bucket.keys("p/")) == [f"p/{number}.jpg" for number in range(5)]
    assert len(list(bucket.stamps("p/"))) == 5
    assert len(asked) == 6


def test_a_photo_in_several_pieces_is_compared_by_its_bytes(bucket, s3_client, bucketed):
    name, key = bucketed.photos_url.split("/")[2], "school/a/big.jpg"
    upload = s3_client.create_multipart_upload(Bucket=name, Key=key)["UploadId"]
    part = s3_client.upload_part(Bucket=name, Key=key, UploadId=upload, PartNumber=1, Body=b"bytes")
    s3_client.complete_multipart_upload(
        Bucket=name, Key=key, UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    )
    assert "-" in s3_client.head_object(Bucket=name, Key=key)["ETag"]  # no MD5 of the whole
    assert bucket.holds("a/big.jpg", b"bytes")
    assert not bucket.holds("a/big.jpg", b"other")


def test_a_bucket_that_is_not_there(bucketed, here):
    missing = store(msgspec.structs.replace(bucketed, photos_url="s3://nobody-has-this"), here)
    with pytest.raises(ResourceNotFound) as caught:
        missing.put("a/b.jpg", b"x")
    assert caught.value.place == {"operation": "s3:PutObject", "code": "NoSuchBucket"}
    assert "PHOTOS_URL" in caught.value.remedy
    with pytest.raises(AwsError) as caught:
        list(missing.stamps())
    assert caught.value.place["code"] == "NoSuchBucket"


def test_an_enrollment_into_a_bucket_its_next_run_and_its_status(
    school, bucketed, here, bucket, s3_client, tmp_path, portrait, face_rows
):
    for number in (1, 2):
        (tmp_path / f"{number}.jpg").write_bytes(portrait(1, number))
    (tmp_path / "3.jpg").write_bytes(portrait(2))
    assert enroll(school, bucketed, here, bucket, "student-001", [tmp_path / "1.jpg"]).uploads == 1
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("student_id,photo\nstudent-001,1.jpg\nstudent-001,2.jpg\nstudent-002,3.jpg\n")
    report = enroll_manifest(school, bucketed, here, bucket, manifest)
    assert [photo.outcome for photo in report.photos] == ["already enrolled", "enrolled", "enrolled"]
    name = bucketed.photos_url.split("/")[2]
    kept = s3_client.get_object(Bucket=name, Key="school/students/student-001/photo-2.jpg")
    assert kept["Body"].read() == portrait(1, 2)
    assert kept["ContentType"] == "image/jpeg"
    # photos that the application put there itself are indexed from there, as bytes: Rekognition cannot read this bucket
    bucket.put("students/student-003/photo-1.jpg", portrait(3))
    face_rows("student-003-photo-1")
    report = enroll_all(school, bucketed, here, bucket)
    assert (report.ok, report.uploads, report.calls["IndexFaces"]) == (True, 0, 1)
    assert status(school, bucketed, here).ok


def test_a_row_may_name_an_object_of_another_bucket(bucketed, here, bucket, s3_client):
    name = f"elsewhere-{uuid.uuid4().hex[:12]}"
    s3_client.create_bucket(Bucket=name)
    s3_client.put_object(Bucket=name, Key="a b/photo.jpg", Body=b"photo")
    addresses = Addresses(bucketed, here, bucket)
    assert addresses.get(f"s3://{name}/a b/photo.jpg") == b"photo"
    assert addresses.get(f"s3://{name}/a%20b/photo.jpg") is None
    assert addresses.get(f"s3://{name}/nobody.jpg") is None
    bucket.put("own.jpg", b"own")
    assert addresses.get("own.jpg") == b"own"


@pytest.mark.parametrize(
    "key",
    [
        "IMG#7.jpg",
        "a?b=c.jpg",
        "a%20b.jpg",
        "a//b.jpg",
        "/a.jpg",
        "a/",
        "a+b &=.jpg",
        "Ñandú.jpg",
        "Jose\u0301.jpg",  # Unicode composes it to another key
        "Jos\u00e9.jpg",
        "a\tb\U0001f600.jpg",
        "s3://a",
        "k" * 1024,
    ],
)
def test_a_key_is_taken_as_it_is(bucketed, here, bucket, s3_client, key):
    name = bucketed.photos_url.split("/")[2]
    s3_client.put_object(Bucket=name, Key=key, Body=key.encode())
    forms = {unicodedata.normalize(form, key) for form in ("NFC", "NFD")}
    for other in {key.split("#")[0], key.split("?")[0], key.replace("%20", " "), key.lstrip("/"), *forms} - {key, ""}:
        s3_client.put_object(Bucket=name, Key=other, Body=b"another photo")
    assert Addresses(bucketed, here, bucket).get(f"s3://{name}/{key}") == key.encode()


def test_a_prefix_is_taken_as_it_is(bucketed, here, s3_client):
    name = bucketed.photos_url.split("/")[2]
    photos = store(msgspec.structs.replace(bucketed, photos_url=f"s3://{name}/2026 #1/a%20b"), here)
    photos.put("photo.jpg", b"x")
    assert [each["Key"] for each in s3_client.list_objects_v2(Bucket=name)["Contents"]] == ["2026 #1/a%20b/photo.jpg"]
    assert list(photos.keys()) == ["photo.jpg"]
