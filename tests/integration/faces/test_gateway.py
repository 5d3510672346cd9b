"""The gateways at the wire: the emulator's real answers, and what a stub can say that no service should."""

import json
import time

import msgspec
import pytest

from seedtool.backfill.calls import Meter
from seedtool.errors import (
    AccessDenied,
    AwsError,
    CredentialsError,
    InvalidRequest,
    ResourceNotFound,
    ServiceUnavailable,
    Throttled,
)
from seedtool.faces.photos import store
from seedtool.faces.rekognition.service import Aws

A, B, C, D = (f"{letter * 8}-0000-4000-8000-000000000000" for letter in "abcd")


@pytest.fixture
def live(mine, stub):
    """Live settings, whose every service is the stub."""
    variables = {
        "AWS_ACCESS_KEY_ID": "AKIATEST",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_ENDPOINT_URL": stub.url,
    }
    return msgspec.structs.replace(mine, aws="live", region="us-east-1", aws_variables=variables)


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)


def test_a_collection_from_its_creation_to_the_deletion_of_its_faces(aws, mine, portrait):
    collection = aws.collection(mine.collection)
    with pytest.raises(ResourceNotFound):
        collection.describe()
    assert collection.ensure()
    assert not collection.ensure()
    faces = {
        external: collection.index_faces(portrait(student, photo), external).faces[0].face
        for external, student, photo in (("a", 1, 1), ("b", 1, 2), ("c", 2, 1))
    }
    assert collection.describe().faces == 3
    assert collection.describe().arn.endswith(f"collection/{mine.collection}")
    best = collection.search_faces(faces["a"].face_id)[0]
    assert (best.face.external_image_id, best.similarity > 95) == ("b", True)
    assert collection.search_faces(faces["a"].face_id, threshold=99.999) == ()
    assert [face.face_id for face in collection.under("c", "nobody")] == [faces["c"].face_id]
    there = [face.face_id for page in collection.list_pages(face_ids=[faces["b"].face_id, D]) for face in page]
    assert there == [faces["b"].face_id]
    deleted = collection.delete_faces([faces["c"].face_id, D])
    assert deleted.deleted == (faces["c"].face_id,)
    assert (deleted.gone, deleted.failed) == ((D,), {})
    with pytest.raises(ResourceNotFound, match=faces["c"].face_id):
        collection.search_faces(faces["c"].face_id)


def test_what_the_service_refuses_is_told_in_its_own_words(collection):
    with pytest.raises(InvalidRequest, match="externalImageId") as caught:
        collection.index_faces(b"\xff\xd8\xff", "not allowed/")
    assert caught.value.__cause__ is not None


def test_the_next_page_is_under_way_while_this_one_is_used(collection, portrait, aws):
    for student in range(1, 6):
        collection.index_faces(portrait(student), f"s{student}")
    pages = collection.list_pages(2)
    assert len(next(pages)) == 2
    for _ in range(200):
        if aws.calls["ListFaces"] == 2:
            break
        time.sleep(0.01)
    assert aws.calls["ListFaces"] == 2
    assert [len(page) for page in pages] == [2, 1]
    assert aws.calls["ListFaces"] == 3


def test_a_collection_that_somebody_creates_at_the_same_moment(live, stub):
    stub.answer = lambda operation, *_: (
        (400, {"__type": "ResourceNotFoundException", "message": "x"})
        if operation == "DescribeCollection"
        else (400, {"__type": "ResourceAlreadyExistsException", "message": "x"})
    )
    assert not Aws(live).collection("school").ensure()


@pytest.mark.parametrize(
    ("answer", "kind", "attempts"),
    [
        ((400, {"__type": "ThrottlingException", "message": "slow down"}), Throttled, 5),
        ((500, {"__type": "ThrottlingException", "message": "slow down"}), Throttled, 5),
        ((400, {"__type": "ProvisionedThroughputExceededException", "message": "x"}), Throttled, 5),
        ((500, {"__type": "InternalServerError", "message": "x"}), ServiceUnavailable, 5),
        ((503, b"<html>busy</html>"), ServiceUnavailable, 5),
        ((200, b'{"Faces": [], "Next'), ServiceUnavailable, 5),
        ((200, b"<html>sign in</html>"), ServiceUnavailable, 5),
        ((200, b""), ServiceUnavailable, 5),
        ((200, b"null"), ServiceUnavailable, 5),
        ((200, b"[]"), ServiceUnavailable, 5),
        (None, ServiceUnavailable, 5),
        ((400, {"__type": "AccessDeniedException", "message": "x"}), AccessDenied, 1),
        ((400, {"__type": "UnrecognizedClientException", "message": "x"}), CredentialsError, 1),
        ((400, {"__type": "InvalidParameterException", "message": "x"}), InvalidRequest, 1),
        ((400, {"__type": "ServiceQuotaExceededException", "message": "x"}), InvalidRequest, 1),
    ],
)
def test_a_sick_service(live, stub, impatient, answer, kind, attempts):
    stub.answer = lambda *_: answer
    aws = Aws(live)
    with pytest.raises(kind) as caught:
        list(aws.collection("school").list_pages())
    assert type(caught.value) is kind
    assert attempts is None or len(stub.requests) == attempts
    assert aws.calls == {"ListFaces": 1}


def test_an_answer_that_was_cut_is_asked_for_again(live, stub, impatient):
    face = {"FaceId": A, "ExternalImageId": "a", "BoundingBox": {}, "Confidence": 99.0}
    answers = {
        "ListFaces": {"Faces": [face]},
        "IndexFaces": {"FaceRecords": [{"Face": face}], "UnindexedFaces": []},
        "SearchFaces": {"SearchedFaceId": A, "FaceMatches": []},
        "DeleteFaces": {"DeletedFaces": [A]},
        "DescribeCollection": {"FaceCount": 1},
    }
    stub.answer = lambda operation, _, n: (
        200,
        answers[operation] if n % 2 == 0 else json.dumps(answers[operation])[:-1].encode(),
    )
    aws = Aws(live)
    collection = aws.collection("school")
    assert [[each.face_id for each in page] for page in collection.list_pages()] == [[A]]
    assert collection.index_faces(b"x", "a").faces[0].face.face_id == A  # the same picture under the same id: one face
    assert collection.search_faces(A) == ()
    assert collection.delete_faces([A]).deleted == (A,)
    assert collection.describe().faces == 1
    assert len(stub.requests) == 10
    assert sum(aws.calls.values()) == 5


def test_a_throttled_call_slows_the_next_ones_down(live, stub, impatient):
    stub.answer = lambda _, __, n: (
        (400, {"__type": "ThrottlingException", "message": "x"}) if n == 1 else (200, {"Faces": []})
    )
    started = time.monotonic()
    collection = Aws(msgspec.structs.replace(live, region="eu-central-1")).collection("school")
    for _ in range(4):
        assert list(collection.list_pages()) == []
    # no quota is known here before the first answer; then four attempts at 5 a second less 30 %: one goes at once,
    # three wait 0.29 s each
    assert time.monotonic() - started > 0.8


def test_each_attempt_is_metered_and_throttled_answers_are_counted(live, stub, impatient):
    stub.answer = lambda _, __, n: (
        (400, {"__type": "ThrottlingException", "message": "x"}) if n == 1 else (200, {"Faces": []})
    )
    meter = Meter({}, None)
    aws = Aws(live)
    collection = aws.collection("school")
    with aws.metered(meter):
        list(collection.list_pages())
    list(collection.list_pages())
    assert (meter.calls, meter.throttled) == ({"ListFaces": 2}, {"ListFaces": 1})
    assert aws.calls == {"ListFaces": 2}


def test_who_is_told_by_sts_and_a_network_without_sts_is_no_obstacle(live, stub, impatient):
    body = (
        b"<GetCallerIdentityResponse xmlns='https://sts.amazonaws.com/doc/2011-06-15/'><GetCallerIdentityResult>"
        b"<Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>"
    )
    stub.answer = lambda *_: (200, body)
    assert Aws(live).who() == f"AWS account 123456789012 in us-east-1 at {stub.url}"
    stub.answer = lambda *_: (500, b"")
    assert Aws(live).who() == f"AWS account unknown in us-east-1 at {stub.url}"
    stub.answer = lambda *_: (403, b"<ErrorResponse><Error><Code>ExpiredToken</Code></Error></ErrorResponse>")
    with pytest.raises(CredentialsError):
        Aws(live).who()


def test_an_emulator_that_is_taken_for_aws_is_told(live, endpoint):
    aws = Aws(msgspec.structs.replace(live, aws_variables=live.aws_variables | {"AWS_ENDPOINT_URL": endpoint}))
    assert str(aws.who()) == f"a seedtool emulator at {endpoint} (us-east-1), not AWS"
    assert aws.where == str(aws.who())
    assert aws.calls == {}
    nobody = Aws(msgspec.structs.replace(live, aws_variables={"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}))
    assert nobody.where == "AWS in us-east-1 at http://127.0.0.1:9"


@pytest.fixture
def bucket(live, stub):
    """A store in a bucket of a stub that keeps objects in a dictionary, and knows no tricks."""
    objects = {}

    def answer(operation, body, _):
        method, _, path = operation.partition(" ")
        path = path.partition("?")[0]
        if method == "PUT":
            objects[path] = body
            return 200, b""
        if method == "DELETE":
            objects.pop(path, None)
            return 204, b""
        if path.rstrip("/") == "/photos":
            keys = "".join(f"<Contents><Key>{key.removeprefix('/photos/')}</Key></Contents>" for key in objects)
            return 200, f"<ListBucketResult>{keys}</ListBucketResult>".encode()
        if path not in objects:
            return 404, b"" if method == "HEAD" else b"<Error><Code>NoSuchKey</Code></Error>"
        return 200, objects[path]

    stub.answer = answer
    stub.objects = objects
    settings = msgspec.structs.replace(live, photos_url="s3://photos/school", s3_endpoint_url=stub.url)
    return store(settings, Aws(settings))


def test_photos_in_a_bucket_are_addressed_by_path_and_sent_plainly(bucket, stub):
    key = "students/student-001/photo-1.jpg"
    assert bucket.get(key) is None
    assert not bucket.exists(key)
    bucket.put(key, b"\xff\xd8bytes")
    assert stub.objects == {f"/photos/school/{key}": b"\xff\xd8bytes"}
    assert bucket.get(key) == b"\xff\xd8bytes"
    assert bucket.exists(key)
    assert list(bucket.keys("students/")) == [key]
    bucket.delete(key)
    bucket.delete(key)
    assert stub.objects == {}
    assert bucket.uploads == 1
    headers = {name.lower(): value for name, value in next(r[2] for r in stub.requests if r[0] == "PUT").items()}
    assert headers["content-type"] == "image/jpeg"
    assert "aws-chunked" not in json.dumps(headers)
    assert not any(name.startswith(("x-amz-checksum", "x-amz-trailer", "x-amz-sdk-checksum")) for name in headers)


def test_errors_of_a_bucket_name_bucket_and_key_and_what_to_allow(bucket, stub, impatient):
    def refused(code, call, status=403, more=b""):
        stub.answer = lambda *_: (status, b"<Error><Code>%s</Code>%s</Error>" % (code, more))
        with pytest.raises(AwsError) as caught:
            call()
        return caught.value

    def read():
        bucket.get("a/b.jpg")

    def write():
        bucket.put("a/b.jpg", b"x")

    denied = refused(b"AccessDenied", write)
    assert isinstance(denied, AccessDenied)
    assert denied.place == {"operation": "s3:PutObject", "code": "AccessDenied"}
    assert denied.message == "s3:PutObject on s3://photos/school/a/b.jpg is not allowed (AccessDenied)"
    for call, permission in (
        (write, "s3:PutObject on the objects of photos"),
        (read, "s3:GetObject on the objects of photos"),
        (lambda: bucket.exists("a/b.jpg"), "s3:GetObject on the objects of photos"),
        (lambda: bucket.delete("a/b.jpg"), "s3:DeleteObject on the objects of photos"),
        (lambda: list(bucket.keys()), "s3:ListBucket on the bucket photos"),
    ):
        assert permission in refused(b"AccessDenied", call).remedy
        assert stub.url in refused(b"AccessDenied", call).remedy  # keys of MinIO are no role in IAM
    missing = refused(b"NoSuchBucket", read, 404)
    assert isinstance(missing, ResourceNotFound)
    assert missing.place["code"] == "NoSuchBucket"
    assert "s3://photos/school/a/b.jpg" in missing.message
    assert f"a bucket photos at {stub.url}" in missing.remedy
    elsewhere = refused(b"AuthorizationHeaderMalformed", read, 400, b"<Region>eu-west-1</Region>")
    assert "s3://photos/school/a/b.jpg" in elsewhere.message
    assert "AWS_REGION=eu-west-1" in elsewhere.remedy
    in_circles = refused(b"PermanentRedirect", read, 301)
    assert f"{stub.url} redirects every request about the bucket photos" in in_circles.message
    assert isinstance(refused(b"SlowDown", write, 503), Throttled)


def test_a_bucket_of_aws_needs_a_permission_in_iam_and_perhaps_a_key_of_kms(live):
    settings = msgspec.structs.replace(live, photos_url="s3://photos", aws_variables={})
    photos = store(settings, Aws(settings))
    error = AccessDenied("x", operation="s3:GetObject", code="AccessDenied")
    for part in ("s3:GetObject on the objects of photos, in IAM", "s3:ListBucket", "kms:Decrypt"):
        assert part in photos._remedy(error)
    assert "S3_ENDPOINT_URL" not in photos._remedy(ResourceNotFound("x", code="NoSuchBucket"))
