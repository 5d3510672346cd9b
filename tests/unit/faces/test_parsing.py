"""A page of ListFaces decoded by msgspec says what botocore's own parser says; all else is left to that one."""

import json

import botocore.session
import msgspec
import pytest
from botocore.parsers import create_parser
from hypothesis import given
from hypothesis import strategies as st

from seedtool.faces.port import Face
from seedtool.faces.rekognition.answers import PageParserFactory

MODEL = botocore.session.Session().get_service_model("rekognition")
SHAPE = MODEL.operation_model("ListFaces").output_shape

fraction = st.floats(0, 1)
face = st.fixed_dictionaries(
    {"FaceId": st.uuids().map(str)},
    optional={
        "ExternalImageId": st.text("abcXYZ019_.-:", min_size=1, max_size=20),
        "Confidence": st.floats(0, 100),
        "BoundingBox": st.fixed_dictionaries(dict.fromkeys(("Left", "Top", "Width", "Height"), fraction)),
        "ImageId": st.uuids().map(str),
        "IndexFacesModelVersion": st.just("7.0"),
    },
)


def parse(body, status=200, shape=SHAPE):
    response = {"status_code": status, "headers": {"x-amzn-requestid": "r-1"}, "body": body}
    return PageParserFactory().create_parser("json").parse(response, shape), create_parser("json").parse(
        response, shape
    )


@given(st.lists(face, max_size=5), st.none() | st.text("abc", min_size=1))
def test_a_page_says_the_same(faces, token):
    document = {"Faces": faces, "FaceModelVersion": "7.0"} | ({"NextToken": token} if token else {})
    ours, botocores = parse(json.dumps(document).encode())
    assert ours["Faces"] == [msgspec.convert(each, Face) for each in botocores["Faces"]]
    assert ours.get("NextToken") == botocores.get("NextToken")
    assert ours["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert ours["ResponseMetadata"]["RequestId"] == botocores["ResponseMetadata"]["RequestId"]


@pytest.mark.parametrize("body", [b"", b"{}", b"<html>", b'{"Faces": [{"FaceId":', b'{"Faces": 7}'])
def test_a_body_that_is_no_page_is_left_to_botocore(body):
    response = {"status_code": 200, "headers": {}, "body": body}
    ours = PageParserFactory().create_parser("json")
    try:
        expected = create_parser("json").parse(response, SHAPE)
    except Exception as error:  # noqa: BLE001 - whatever botocore makes of it
        with pytest.raises(type(error)):
            ours.parse(response, SHAPE)
    else:
        assert ours.parse(response, SHAPE) == expected


def test_errors_and_other_operations_are_botocores():
    body = b'{"__type": "ThrottlingException", "message": "slow down"}'
    ours, botocores = parse(body, status=400)
    assert ours == botocores
    ours, botocores = parse(b'{"FaceCount": 3}', shape=MODEL.operation_model("DescribeCollection").output_shape)
    assert ours == botocores
