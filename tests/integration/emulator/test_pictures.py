"""What becomes of pictures: which faces they show, in how much detail, and which pictures are refused."""

import io
import zlib

import pytest
from botocore.exceptions import ClientError
from PIL import Image


@pytest.fixture
def uniform():
    out = io.BytesIO()
    Image.new("RGB", (300, 200), "#88aacc").save(out, "JPEG")
    return out.getvalue()


def refused(call, **members):
    with pytest.raises(ClientError) as caught:
        call(**members)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_a_picture_without_a_face(rekognition, collection, uniform):
    at = {"CollectionId": collection, "Image": {"Bytes": uniform}}
    assert refused(rekognition.search_faces_by_image, **at) == (
        "InvalidParameterException",
        "There are no faces in the image. Should be at least 1.",
    )
    answer = rekognition.index_faces(**at)
    assert (answer["FaceRecords"], answer["UnindexedFaces"]) == ([], [])
    assert rekognition.detect_faces(Image={"Bytes": uniform})["FaceDetails"] == []


def test_max_faces_and_small_faces_are_answered_as_unindexed(rekognition, collection, picture):
    boxes = [(0.2, 0.5, 0.3, 0.5), (0.5, 0.5, 0.2, 0.3), (0.9, 0.5, 0.1, 0.12)]
    content = picture("sizes", "large", "medium", "small", boxes=boxes)
    answer = rekognition.index_faces(CollectionId=collection, Image={"Bytes": content}, MaxFaces=1)
    assert [record["Face"]["BoundingBox"]["Width"] for record in answer["FaceRecords"]] == [0.3]
    reasons = {
        round(face["FaceDetail"]["BoundingBox"]["Width"], 2): face["Reasons"] for face in answer["UnindexedFaces"]
    }
    assert reasons[0.2] == ["EXCEEDS_MAX_FACES"]
    assert reasons[0.1] == ["SMALL_BOUNDING_BOX"]
    assert len(rekognition.detect_faces(Image={"Bytes": content})["FaceDetails"]) == 2


def test_more_than_a_hundred_faces(rekognition, collection, picture):
    boxes = [(0.05 + 0.09 * (n % 11), 0.05 + 0.09 * (n // 11), 0.08, 0.08) for n in range(110)]
    content = picture("hall", *(f"P{n}" for n in range(110)), boxes=boxes, size=(1000, 1000))
    answer = rekognition.index_faces(CollectionId=collection, Image={"Bytes": content}, QualityFilter="NONE")
    assert len(answer["FaceRecords"]) == 100
    assert [face["Reasons"] for face in answer["UnindexedFaces"]] == [["EXCEEDS_MAX_FACES"]] * 10
    assert len(rekognition.detect_faces(Image={"Bytes": content})["FaceDetails"]) == 100


def test_details_come_in_the_amount_asked_for(rekognition, picture):
    image = {"Bytes": picture(1)}
    (default,) = rekognition.detect_faces(Image=image)["FaceDetails"]
    assert set(default) == {"BoundingBox", "Confidence", "Landmarks", "Pose", "Quality"}
    assert len(default["Landmarks"]) == 5
    (some,) = rekognition.detect_faces(Image=image, Attributes=["DEFAULT", "AGE_RANGE"])["FaceDetails"]
    assert set(some) - set(default) == {"AgeRange"}
    (every,) = rekognition.detect_faces(Image=image, Attributes=["ALL"])["FaceDetails"]
    assert len(every["Landmarks"]) == 30
    assert len(every) == 17


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"GIF89a", "InvalidImageFormatException"),
        (b"\x89PNG\r\n\x1a\n damaged", "InvalidImageFormatException"),
        ("cut", "InvalidImageFormatException"),
        ("tiny", "InvalidParameterException"),
        ("bomb", "ImageTooLargeException"),
    ],
)
def test_pictures_outside_the_limits(rekognition, picture, content, error):
    if content == "cut":
        content = picture(1)[:2000]
    elif content == "tiny":
        content = picture(1, size=(79, 200))
    elif content == "bomb":
        content = picture(1, file_format="PNG")
        header = b"IHDR" + (60_000).to_bytes(4, "big") * 2 + content[24:29]
        content = content[:12] + header + zlib.crc32(header).to_bytes(4, "big") + content[33:]
    assert refused(rekognition.detect_faces, Image={"Bytes": content})[0] == error


def test_the_smallest_picture(rekognition, picture):
    assert len(rekognition.detect_faces(Image={"Bytes": picture(1, size=(80, 80))})["FaceDetails"]) == 1


def test_more_than_five_mebibytes(rekognition):
    code, message = refused(rekognition.detect_faces, Image={"Bytes": bytes(5_242_881)})
    assert code == "ValidationException"
    assert message == (
        "1 validation error detected: Value 'java.nio.HeapByteBuffer[pos=0 lim=5242881 cap=5242881]' at 'image.bytes' "
        "failed to satisfy constraint: Member must have length less than or equal to 5242880"
    )


def test_an_image_is_bytes_or_an_object_and_not_both(rekognition, picture):
    both = {"Bytes": picture(1), "S3Object": {"Bucket": "bucket", "Name": "a.jpg"}}
    assert refused(rekognition.detect_faces, Image=both)[0] == "InvalidParameterException"
    assert refused(rekognition.detect_faces, Image={})[0] == "InvalidParameterException"
    assert refused(rekognition.detect_faces, Image={"S3Object": both["S3Object"]})[0] == "InvalidS3ObjectException"


@pytest.mark.parametrize("margin", [0, 0.1, 0.3])
def test_a_face_that_was_cut_out_of_an_indexed_picture_is_found(rekognition, collection, picture, margin):
    """What programs for group photos do: detect, cut out with a margin, save as JPEG, search."""
    boxes = [(0.2, 0.4, 0.15, 0.25), (0.5, 0.5, 0.15, 0.25), (0.8, 0.6, 0.15, 0.25)]
    content = picture(f"group {margin}", "Ana", "Beto", "Caro", boxes=boxes, size=(1200, 800))
    indexed = rekognition.index_faces(CollectionId=collection, Image={"Bytes": content})["FaceRecords"]
    whole = Image.open(io.BytesIO(content))
    for record in indexed:
        box = record["Face"]["BoundingBox"]
        edges = (
            (box["Left"] - margin * box["Width"]) * whole.width,
            (box["Top"] - margin * box["Height"]) * whole.height,
            (box["Left"] + (1 + margin) * box["Width"]) * whole.width,
            (box["Top"] + (1 + margin) * box["Height"]) * whole.height,
        )
        out = io.BytesIO()
        whole.crop(tuple(map(int, edges))).save(out, "JPEG", quality=80)
        found = rekognition.search_faces_by_image(CollectionId=collection, Image={"Bytes": out.getvalue()})
        assert [match["Face"]["FaceId"] for match in found["FaceMatches"]] == [record["Face"]["FaceId"]]


def test_a_picture_that_says_nobody_has_nobody(rekognition, picture, regions_xmp):
    out = io.BytesIO()
    Image.open(io.BytesIO(picture("empty playground"))).save(out, "JPEG", xmp=regions_xmp([]))
    assert rekognition.detect_faces(Image={"Bytes": out.getvalue()})["FaceDetails"] == []
