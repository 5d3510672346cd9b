"""Rekognition's answers, typed: nothing beyond this file reads a member of a response by its name."""

import msgspec

from seedtool.faces.rekognition.translation import NO_ANSWER, Vendor


class Box(msgspec.Struct, frozen=True, rename="pascal", gc=False):
    """Where a face is in its picture, in fractions of the picture's width and height."""

    left: float = 0.0
    top: float = 0.0
    width: float = 0.0
    height: float = 0.0


class Face(msgspec.Struct, frozen=True, kw_only=True, rename="pascal", gc=False):
    """A face in a collection; as JSON it is a face of Rekognition's answers.

    Args:
        face_id: Rekognition's id.
        external_image_id: the id chosen by whoever indexed it; None when nobody chose one.
        confidence: that it is a face, 0 to 100.
        box: where it was in its picture.
    """

    face_id: str
    external_image_id: str | None = None
    confidence: float = 0.0
    box: Box = msgspec.field(name="BoundingBox", default=Box())


class IndexedFace(msgspec.Struct, frozen=True, kw_only=True):
    """A face as IndexFaces describes it; brightness and sharpness are 0 to 100."""

    face: Face
    brightness: float
    sharpness: float


class Unindexed(msgspec.Struct, frozen=True, kw_only=True):
    """A face that was seen and left out, and Rekognition's reasons (`SMALL_BOUNDING_BOX`, ...)."""

    reasons: tuple[str, ...]
    box: Box


class Indexed(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to IndexFaces."""

    faces: tuple[IndexedFace, ...]
    unindexed: tuple[Unindexed, ...]


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """A face like the one asked for; similarity is 0 to 100."""

    face: Face
    similarity: float


class Deleted(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to DeleteFaces: the ids deleted, and the others with Rekognition's reason."""

    deleted: tuple[str, ...]
    failed: dict[str, str]


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to DescribeCollection."""

    faces: int
    model_version: str
    arn: str


#: operation → members of which an answer of Rekognition's has at least one.
_MEMBERS = {
    "CreateCollection": ("StatusCode", "CollectionArn"),
    "DescribeCollection": ("FaceCount",),
    "ListCollections": ("CollectionIds",),
    "IndexFaces": ("FaceRecords", "UnindexedFaces", "FaceModelVersion"),
    "ListFaces": ("Faces",),
    "SearchFaces": ("FaceMatches", "SearchedFaceId"),
    "DeleteFaces": ("DeletedFaces", "UnsuccessfulFaceDeletions"),
}


def take_only_answers(client: Vendor) -> None:
    """Make botocore try again, within its attempts, where a 200 carries no answer of Rekognition's.

    It takes a body that it cannot read (cut short, or a proxy's page) for an empty answer. Such a 200 becomes a 500, as
    botocore itself does it with S3's. Every operation may be repeated, as botocore does it when a connection drops:
    the same picture under the same external image id makes no second face.
    """
    client.meta.events.register("before-parse.rekognition.*", _leave_no_list)
    client.meta.events.register_first("needs-retry.rekognition.*", _fail_strangers)


def _leave_no_list(response_dict: Vendor, **_: object) -> None:
    """Empty a body that is JSON and no object: botocore's parser stumbles over `null` and lists."""
    if response_dict["status_code"] == 200 and not response_dict["body"].lstrip().startswith(b"{"):
        response_dict["body"] = b"{}"


def _fail_strangers(operation: Vendor, response: Vendor, **_: object) -> None:
    if response is None:  # no answer at all
        return
    http, parsed = response
    members = _MEMBERS.get(operation.name, ())
    if http.status_code == 200 and members and not any(member in parsed for member in members):
        http.status_code = 500
        parsed.setdefault("ResponseMetadata", {})["HTTPStatusCode"] = 500
        parsed["Error"] = {"Code": NO_ANSWER, "Message": "the answer is not one of Rekognition's"}


def _box(detail: Vendor) -> Box:
    return msgspec.convert(detail.get("BoundingBox", {}), Box)


def _face(answer: Vendor) -> Face:
    return msgspec.convert(answer, Face)


def indexed_of(answer: Vendor) -> Indexed:
    """Return an answer to IndexFaces."""
    return Indexed(
        faces=tuple(_indexed(record) for record in answer.get("FaceRecords", ())),
        unindexed=tuple(
            Unindexed(reasons=tuple(left.get("Reasons", ())), box=_box(left.get("FaceDetail", {})))
            for left in answer.get("UnindexedFaces", ())
        ),
    )


def _indexed(record: Vendor) -> IndexedFace:
    quality = record.get("FaceDetail", {}).get("Quality", {})
    return IndexedFace(
        face=_face(record["Face"]), brightness=quality.get("Brightness", 0.0), sharpness=quality.get("Sharpness", 0.0)
    )


def matches_of(answer: Vendor) -> tuple[Match, ...]:
    """Return the matches of an answer, as they are ordered."""
    return tuple(
        Match(face=_face(match["Face"]), similarity=match.get("Similarity", 0.0))
        for match in answer.get("FaceMatches", ())
    )
