"""Throttling, slowness, lag and broken connections on demand; signatures; S3Objects."""

import base64
import datetime as dt
import http.client
import http.server
import threading
import time
import urllib.error
import urllib.request
import uuid

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from seedtool.emulator import process


@pytest.fixture
def endpoint(emulator, admin):
    yield emulator.endpoint
    admin(emulator.endpoint, "faults", {})


@pytest.fixture
def account():
    """An account of the test's own: its collections are not the others'."""
    return f"{uuid.uuid4().int % 10**12:012}"


@pytest.fixture
def client(endpoint, connect, account):
    return connect(endpoint, key=account)


def code_of(call, **members):
    with pytest.raises(ClientError) as caught:
        call(**members)
    return caught.value.response["Error"]["Code"], caught.value.response["ResponseMetadata"]["HTTPStatusCode"]


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        ("throttled", ("ThrottlingException", 400), "Slow down; sudden increase in rate of requests"),
        ("throughput", ("ProvisionedThroughputExceededException", 400), "Provisioned rate exceeded"),
        ("unavailable", ("ThrottlingException", 500), "Service Unavailable"),
        ("internal", ("InternalServerError", 500), "Internal server error"),
        (
            "denied",
            ("AccessDeniedException", 400),
            "User: arn:aws:iam::{account}:user/somebody is not authorized to perform: rekognition:ListCollections",
        ),
    ],
)
def test_the_nth_call_fails(endpoint, client, account, admin, fault, error, message):
    admin(endpoint, "faults", {"rules": [{"fault": fault, "operation": "ListCollections", "first": 2}]})
    client.list_collections()
    client.create_collection(CollectionId="not-counted")
    with pytest.raises(ClientError) as caught:
        client.list_collections()
    answer = caught.value.response
    assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == error
    assert answer["Error"]["Message"] == message.format(account=account)
    client.list_collections()


def test_botocore_retries_what_it_should(endpoint, account, admin, monkeypatch):
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)  # up to 15 s, and botocore's affair
    retrying = boto3.client(
        "rekognition",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=account,
        aws_secret_access_key="test",
        config=Config(retries={"mode": "standard", "total_max_attempts": 5}),
    )
    kinds = ["throttled", "internal", "dropped", "unavailable"]
    admin(endpoint, "faults", {"rules": [{"fault": kind, "first": n} for n, kind in enumerate(kinds, 1)]})
    admin(endpoint, "reset-counters", {})
    assert retrying.list_collections()["CollectionIds"] == []
    assert admin(endpoint, "status")["counters"]["ListCollections"] == 5


def test_a_truncated_answer_was_carried_out(endpoint, client, account, admin):
    admin(endpoint, "faults", {"rules": [{"fault": "truncated", "operation": "CreateCollection", "times": None}]})
    headers = {
        "X-Amz-Target": "RekognitionService.CreateCollection",
        "Authorization": f"AWS4-HMAC-SHA256 Credential={account}/20261120/us-east-1/rekognition/aws4_request, "
        f"SignedHeaders=host, Signature={'0' * 64}",
    }
    request = urllib.request.Request(endpoint, b'{"CollectionId": "half"}', headers)
    with pytest.raises(http.client.IncompleteRead), urllib.request.urlopen(request) as answer:
        answer.read()
    assert client.list_collections()["CollectionIds"] == ["half"]


def test_botocore_takes_a_truncated_answer_for_an_empty_one(endpoint, admin):
    """A fact about botocore 1.44 that whoever calls it has to guard against: no error, and no members."""
    admin(endpoint, "faults", {"rules": [{"fault": "truncated"}]})
    client = boto3.client(
        "rekognition",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    assert set(client.list_collections()) == {"ResponseMetadata"}
    assert "CollectionIds" in client.list_collections()


def test_a_dropped_connection_was_not_carried_out(emulator, endpoint, client, admin):
    admin(endpoint, "faults", {"rules": [{"fault": "dropped", "operation": "CreateCollection"}]})
    with pytest.raises(BotoCoreError):
        client.create_collection(CollectionId="nothing")
    assert client.list_collections()["CollectionIds"] == []
    assert "Traceback" not in (emulator.state_dir / "emulator.log").read_text()


def test_the_published_quota_is_five_a_second_for_collection_operations(endpoint, client, account, connect, admin):
    admin(endpoint, "faults", {"tps": "published"})
    for _ in range(5):
        client.list_collections()
    assert code_of(client.list_collections) == ("ProvisionedThroughputExceededException", 400)
    connect(endpoint, key=account, region="eu-west-1").list_collections()  # another region, another bucket
    time.sleep(0.25)
    client.list_collections()


def test_a_full_collection(endpoint, client, admin, picture):
    client.create_collection(CollectionId="c")
    admin(endpoint, "faults", {"faces_per_collection": 2})
    three, two = ({"Bytes": picture(1, *names)} for names in (["A", "B", "C"], ["A", "B"]))
    full = ("ServiceQuotaExceededException", 400)
    assert code_of(client.index_faces, CollectionId="c", Image=three, ExternalImageId="three") == full
    assert client.describe_collection(CollectionId="c")["FaceCount"] == 0  # all faces of a picture or none
    first = client.index_faces(CollectionId="c", Image=two, ExternalImageId="two")["FaceRecords"]
    assert len(client.index_faces(CollectionId="c", Image=two, ExternalImageId="two")["FaceRecords"]) == 2  # known ones
    assert code_of(client.index_faces, CollectionId="c", Image=two) == full
    client.delete_faces(CollectionId="c", FaceIds=[face["Face"]["FaceId"] for face in first])
    client.index_faces(CollectionId="c", Image=two)


def test_latency_and_lag(endpoint, client, admin, picture):
    client.create_collection(CollectionId="c")
    admin(endpoint, "faults", {"latency": {"ListFaces": 0.3}, "lag": 0.5})
    start = time.monotonic()
    client.list_faces(CollectionId="c")
    assert time.monotonic() - start >= 0.3
    record = client.index_faces(CollectionId="c", Image={"Bytes": picture(1)})["FaceRecords"][0]
    face_id = record["Face"]["FaceId"]
    assert code_of(client.search_faces, CollectionId="c", FaceId=face_id)[0] == "InvalidParameterException"
    image = {"Bytes": picture(1)}
    assert client.search_faces_by_image(CollectionId="c", Image=image)["FaceMatches"] == []
    time.sleep(0.5)
    client.search_faces(CollectionId="c", FaceId=face_id)
    assert len(client.search_faces_by_image(CollectionId="c", Image=image)["FaceMatches"]) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"rules": [{"fault": "fire"}]},
        {"rules": [{"fault": "internal", "operation": "DetectLabels"}]},
        {"rules": [{"fault": "internal", "first": 0}]},
        {"lag": -1},
        {"tps": {"ListFaces": 0}},
        {"faces_per_collection": -1},
        {"liveness": {"status": "ALIVE"}},
        {"unknown": 1},
    ],
)
def test_faults_that_make_no_sense_are_refused(emulator, admin, wrong):
    with pytest.raises(urllib.error.HTTPError) as caught:
        admin(emulator.endpoint, "faults", wrong)
    assert caught.value.code == 400
    assert b"remedy" in caught.value.read()
    caught.value.close()
    assert admin(emulator.endpoint, "faults") == {
        "tps": None,
        "latency": 0.0,
        "lag": 0.0,
        "faces_per_collection": 10_000_000,
        "liveness": {"status": "CREATED", "confidence": 99.5, "image": ""},
        "rules": [],
    }


@pytest.fixture(scope="module")
def signing(tmp_path_factory):
    """An emulator that asks for signatures with one key."""
    state = tmp_path_factory.mktemp("signing")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "a/secret+key")
        yield process.ensure(state, arguments=("--require-signature",))
    process.stop(state)


def test_signatures_are_verified_on_request(signing, connect):
    right = connect(signing, key="AKIDEXAMPLE", secret="a/secret+key")
    right.create_collection(CollectionId="signed")
    wrong = connect(signing, key="AKIDEXAMPLE", secret="another")
    assert code_of(wrong.list_collections)[0] == "InvalidSignatureException"
    foreign = connect(signing, key="SOMEBODY", secret="a/secret+key")
    assert code_of(foreign.list_collections)[0] == "UnrecognizedClientException"
    right.meta.events.register(
        "before-send.rekognition", lambda request, **_: request.headers.__delitem__("Authorization")
    )
    assert code_of(right.list_collections)[0] == "MissingAuthenticationTokenException"


@pytest.mark.parametrize(
    ("minutes", "message"),
    [
        (-4, None),
        (4, None),
        (-6, r"Signature expired: \S+Z is now earlier than \S+Z \(\S+Z - 5 min\.\)$"),
        (6, r"Signature not yet current: \S+Z is still later than \S+Z \(\S+Z \+ 5 min\.\)$"),
    ],
)
def test_a_clock_may_stray_by_five_minutes(signing, connect, monkeypatch, minutes, message):
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None) + dt.timedelta(minutes=minutes)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda *_, **__: now)
    client = connect(signing, key="AKIDEXAMPLE", secret="a/secret+key")
    if message is None:
        client.list_collections()
    else:
        with pytest.raises(ClientError, match=message) as caught:
            client.list_collections()
        assert caught.value.response["Error"]["Code"] == "InvalidSignatureException"


def test_s3_objects_from_a_folder(own, tmp_path, connect, picture):
    photos = tmp_path / "photos"
    (photos / "school").mkdir(parents=True)
    (photos / "school" / "a.jpg").write_bytes(picture(1))
    # a PNG is over at its end, so this one is a sound picture of 6 MiB, more than bytes may have
    (photos / "school" / "large.png").write_bytes(picture(1, file_format="PNG").ljust(6 * 1024 * 1024, b"\0"))
    (photos / "secret.jpg").write_bytes(picture(1))
    with (photos / "school" / "huge.jpg").open("wb") as huge:
        huge.truncate(15 * 1024 * 1024 + 1)
    client = connect(own("--photos", str(photos)))

    def detect(name):
        return client.detect_faces(Image={"S3Object": {"Bucket": "school", "Name": name}})

    assert len(detect("a.jpg")["FaceDetails"]) == 1
    assert len(detect("large.png")["FaceDetails"]) == 1
    with pytest.raises(ClientError, match="Request has invalid S3 object"):
        client.detect_faces(Image={"S3Object": {"Bucket": "school"}})
    assert code_of(detect, name="missing.jpg")[0] == "InvalidS3ObjectException"
    assert code_of(detect, name="../secret.jpg")[0] == "InvalidS3ObjectException"
    assert code_of(detect, name="huge.jpg")[0] == "ImageTooLargeException"


def test_s3_objects_from_an_endpoint(own, connect, picture, monkeypatch):
    content = picture(1)

    class Bucket(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            found = self.path.partition("?")[0] == "/school/students/a.jpg"
            body = content if found else b"<Error><Code>NoSuchKey</Code></Error>"
            self.send_response(200 if found else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    for name, value in {
        "AWS_ACCESS_KEY_ID": "k",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Bucket) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        client = connect(own("--s3-endpoint", f"http://127.0.0.1:{server.server_port}"))
        found = client.detect_faces(Image={"S3Object": {"Bucket": "school", "Name": "students/a.jpg"}})
        missing = {"S3Object": {"Bucket": "school", "Name": "b.jpg"}}
        assert len(found["FaceDetails"]) == 1
        assert code_of(client.detect_faces, Image=missing)[0] == "InvalidS3ObjectException"
        server.shutdown()
        thread.join()


def test_ensure_passes_flags_on_only_when_it_starts(own, tmp_path, admin):
    endpoint = own("--faults", '{"lag": 1.5}')
    assert admin(endpoint, "faults")["lag"] == 1.5
    assert process.ensure(tmp_path, arguments=["--faults", "{}"]) == endpoint
    assert admin(endpoint, "faults")["lag"] == 1.5


def test_an_emulator_that_cannot_read_s3_objects_says_so(own, tmp_path, connect):
    client = connect(own())
    log = tmp_path / "emulator.log"
    assert log.read_text().count("--photos nor --s3-endpoint") == 1  # at start
    for _ in range(2):
        image = {"S3Object": {"Bucket": "school", "Name": "a.jpg"}}
        assert code_of(client.detect_faces, Image=image) == ("InvalidS3ObjectException", 400)
    assert log.read_text().count("--photos nor --s3-endpoint") == 2
    process.stop(tmp_path)
    own("--photos", str(tmp_path))
    assert log.read_text().count("--photos nor --s3-endpoint") == 2


def test_a_test_chooses_how_a_liveness_session_ends(emulator, rekognition, collection, admin, picture):
    if "Challenge" not in rekognition.meta.service_model.shape_for("GetFaceLivenessSessionResultsResponse").members:
        pytest.skip("this botocore is older than the member Challenge")
    content = picture("selfie", "Ana Soto")
    rekognition.index_faces(CollectionId=collection, Image={"Bytes": picture(1, "Ana Soto")}, ExternalImageId="ana")
    session = rekognition.create_face_liveness_session(Settings={"AuditImagesLimit": 1})["SessionId"]
    assert rekognition.get_face_liveness_session_results(SessionId=session)["Status"] == "CREATED"
    outcome = {"status": "SUCCEEDED", "image": base64.b64encode(content).decode()}
    try:
        assert admin(emulator.endpoint, "faults", {"liveness": outcome})["liveness"]["confidence"] == 99.5
        told = rekognition.get_face_liveness_session_results(SessionId=session)
        drawn = {"liveness": {"status": "SUCCEEDED"}}
        admin(emulator.endpoint, "faults", drawn)
        other = rekognition.create_face_liveness_session()["SessionId"]
        drawing = rekognition.get_face_liveness_session_results(SessionId=other)["ReferenceImage"]["Bytes"]
    finally:
        admin(emulator.endpoint, "faults", {})
    assert told["Confidence"] == 99.5
    # what programs do next: whose face is it?
    image = {"Bytes": told["ReferenceImage"]["Bytes"]}
    (match,) = rekognition.search_faces_by_image(CollectionId=collection, Image=image)["FaceMatches"]
    assert match["Face"]["ExternalImageId"] == "ana"
    answer = rekognition.search_faces_by_image(CollectionId=collection, Image={"Bytes": drawing})
    assert answer["FaceMatches"] == []
