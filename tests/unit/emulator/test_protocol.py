"""Requests are held against botocore's service model and refused in AWS's words."""

import base64
import json
import shutil
import sys
from pathlib import Path

import botocore
import pytest
from botocore.loaders import Loader

from seedtool.emulator import objects, protocol
from seedtool.emulator.process import EmulatorError
from seedtool.emulator.protocol import OPERATIONS, ServiceError, ServiceModel


@pytest.fixture(scope="module")
def model():
    return ServiceModel()


def refused(model, operation, members):
    body = members if isinstance(members, bytes) else json.dumps(members).encode()
    with pytest.raises(ServiceError) as caught:
        model.request(operation, body)
    return caught.value.code, caught.value.message


PATTERN = "Member must satisfy regular expression pattern: "
FACE_ID = PATTERN + "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
AT_LEAST_ONE = "Member must have length greater than or equal to 1"
TAG_KEY = (
    rf"Map keys must satisfy constraint: [{PATTERN}^(?!aws:)[\p{{L}}\p{{Z}}\p{{N}}_.:/=+\-@]*$, "
    f"Member must have length less than or equal to 128, {AT_LEAST_ONE}]"
)


def message_of(*breaches):
    count = "1 validation error" if len(breaches) == 1 else f"{len(breaches)} validation errors"
    texts = [
        f"Value {value} at '{where}' failed to satisfy constraint: {constraint}"
        for value, where, constraint in breaches
    ]
    return f"{count} detected: {'; '.join(texts)}"


@pytest.mark.parametrize(
    ("operation", "members", "breaches"),
    [
        (
            "IndexFaces",
            {"CollectionId": "c", "Image": {"Bytes": "eA=="}, "ExternalImageId": "a/b c"},
            [("'a/b c'", "externalImageId", PATTERN + r"[a-zA-Z0-9_.\-:]+")],
        ),
        ("CreateCollection", {}, [("null", "collectionId", "Member must not be null")]),
        (
            "CreateCollection",
            {"CollectionId": ""},
            [("''", "collectionId", PATTERN + r"[a-zA-Z0-9_.\-]+"), ("''", "collectionId", AT_LEAST_ONE)],
        ),
        (
            "SearchFaces",
            {"CollectionId": "c", "FaceId": "ABC", "FaceMatchThreshold": 100.5},
            [
                ("'ABC'", "faceId", FACE_ID),
                ("'100.5'", "faceMatchThreshold", "Member must have value less than or equal to 100"),
            ],
        ),
        (
            "DeleteFaces",
            {"CollectionId": "c", "FaceIds": ["x", "y"]},
            [("'[x, y]'", "faceIds", f"Member must satisfy constraint: [{FACE_ID}]")],
        ),
        ("DeleteFaces", {"CollectionId": "c", "FaceIds": []}, [("'[]'", "faceIds", AT_LEAST_ONE)]),
        (
            "DetectFaces",
            {"Image": {"S3Object": {"Bucket": "b", "Name": "n"}}},
            [("'b'", "image.s3Object.bucket", "Member must have length greater than or equal to 3")],
        ),
        (
            "IndexFaces",
            {"CollectionId": "c", "Image": {}, "MaxFaces": 0, "QualityFilter": "BEST"},
            [
                ("'0'", "maxFaces", "Member must have value greater than or equal to 1"),
                ("'BEST'", "qualityFilter", "Member must satisfy enum value set: [NONE, AUTO, LOW, MEDIUM, HIGH]"),
            ],
        ),
        ("CreateCollection", {"CollectionId": "c", "Tags": {"aws:own": "v"}}, [("'{aws:own=v}'", "tags", TAG_KEY)]),
    ],
)
def test_breaches_are_answered_in_awss_words(model, operation, members, breaches):
    assert refused(model, operation, members) == ("ValidationException", message_of(*breaches))


def test_tags_have_limits(model):
    most = {f"tag-{number}": "value" for number in range(200)}
    assert model.request("CreateCollection", json.dumps({"CollectionId": "c", "Tags": most}).encode())["Tags"] == most
    for wrong, limit in (
        (most | {"one too many": "x"}, "Member must have length less than or equal to 200"),
        ({"k" * 129: "x"}, "Member must have length less than or equal to 128"),
        ({"k": "x" * 257}, "Member must have length less than or equal to 256"),
    ):
        code, message = refused(model, "CreateCollection", {"CollectionId": "c", "Tags": wrong})
        assert code == "ValidationException"
        assert limit in message


def test_lengths_and_ranges_of_the_model(model):
    id255, ids = "x" * 255, ["00000000-0000-4000-8000-000000000000"] * 4096
    model.request("ListFaces", json.dumps({"CollectionId": id255, "NextToken": id255, "FaceIds": ids}).encode())
    for member, value, limit in (
        ("CollectionId", id255 + "x", "length less than or equal to 255"),
        ("NextToken", id255 + "x", "length less than or equal to 255"),
        ("FaceIds", [*ids, ids[0]], "length less than or equal to 4096"),
        ("UserId", "x" * 129, "length less than or equal to 128"),
        ("MaxResults", -1, "value greater than or equal to 0"),
    ):
        code, message = refused(model, "ListFaces", {"CollectionId": "c", member: value})
        assert code == "ValidationException"
        assert message.endswith(f"Member must have {limit}")


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        ("ListFaces", {"CollectionId": 5}),
        ("ListFaces", {"CollectionId": "c", "MaxResults": "5"}),
        ("ListFaces", {"CollectionId": "c", "MaxResults": 1.5}),
        ("ListFaces", {"CollectionId": "c", "MaxResults": True}),
        ("ListFaces", {"CollectionId": "c", "FaceIds": "x"}),
        ("SearchFaces", {"CollectionId": "c", "FaceId": "f", "FaceMatchThreshold": "high"}),
        ("DetectFaces", {"Image": "x"}),
        ("DetectFaces", {"Image": {"Bytes": "no base64!"}}),
        ("CreateCollection", {"CollectionId": "c", "Tags": []}),
        ("ListFaces", []),
        ("ListFaces", b"{"),
        ("ListFaces", b"\xff"),
        ("ListFaces", b"null"),
        ("ListFaces", b'{"CollectionId": "c", "Unknown": ' + b"[" * 500_000 + b"]" * 500_000 + b"}"),
        ("ListFaces", {"CollectionId": "c", "FaceIds": [None]}),
        ("SearchFaces", {"CollectionId": "c", "FaceId": "f", "FaceMatchThreshold": 10**400}),
    ],
)
def test_wrong_types_cannot_be_serialised(model, operation, members):
    assert refused(model, operation, members)[0] == "SerializationException"


def test_what_is_right_passes_and_what_is_unknown_is_left_out(model):
    content = base64.b64encode(b"picture").decode()
    body = {"CollectionId": "c", "Image": {"Bytes": content}, "ExternalImageId": None, "MaxFaces": 3.0, "Colour": "red"}
    read = model.request("IndexFaces", json.dumps(body).encode())
    assert read == {"CollectionId": "c", "Image": {"Bytes": b"picture"}, "MaxFaces": 3}
    tags = {"CollectionId": "c", "Tags": {"año": "Ñuñoa 2025"}}
    assert model.request("CreateCollection", json.dumps(tags).encode()) == tags
    assert model.request("ListCollections", b"") == {}


def test_operations_that_are_not_there_are_named(model, approved):
    for name in OPERATIONS:
        assert model.operation(f"RekognitionService.{name}") == name
    for name in set(Loader().load_service_model("rekognition", "service-2")["operations"]) - set(OPERATIONS):
        with pytest.raises(ServiceError) as caught:
            model.operation(f"RekognitionService.{name}")
        assert caught.value.code == "UnknownOperationException"
        assert name in caught.value.message
    for target in (
        "RekognitionService.DetectLabels",
        "",
        "RekognitionService.Nonsense",
        "DynamoDB_20120810.ListTables",
    ):
        with pytest.raises(ServiceError) as caught:
            model.operation(target)
        assert (caught.value.code, caught.value.status) == ("UnknownOperationException", 400)
        approved(caught.value)


def test_where_the_emulator_is_a_package_of_its_own_it_needs_no_botocore(monkeypatch, tmp_path, model):
    (source,) = (Path(botocore.__file__).parent / "data" / "rekognition").glob("*/service-2.json.gz")
    shutil.copy(source, tmp_path)
    monkeypatch.setattr(protocol, "__file__", str(tmp_path / "protocol.py"))
    for name in ("botocore", "botocore.loaders"):
        monkeypatch.setitem(sys.modules, name, None)
    members = {"CollectionId": "a b"}
    assert refused(ServiceModel(), "CreateCollection", members) == refused(model, "CreateCollection", members)
    with pytest.raises(EmulatorError) as caught:
        objects.reader(None, "http://127.0.0.1:1")
    assert "--s3-endpoint" in caught.value.message
    assert caught.value.remedy == "Run pip install botocore"


@pytest.mark.parametrize("operation", ["DetectLabels", "DetectModerationLabels", "DetectText"])
def test_an_operation_that_moto_may_have_names_it(model, operation):
    with pytest.raises(ServiceError, match="moto has") as caught:
        model.operation(f"RekognitionService.{operation}")
    assert caught.value.code == "UnknownOperationException"
