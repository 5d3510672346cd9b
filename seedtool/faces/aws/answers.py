"""Rekognition's answers, typed: nothing beyond this file reads a member of a response by its name."""

import msgspec

from seedtool.errors import ServiceUnavailable
from seedtool.faces.aws.translation import Vendor


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


#: method → members of which an answer of Rekognition's has at least one.
_MEMBERS = {
    "describe_collection": ("FaceCount",),
    "list_faces": ("Faces",),
    "index_faces": ("FaceRecords", "UnindexedFaces", "FaceModelVersion"),
    "search_faces": ("FaceMatches", "SearchedFaceId"),
    "search_faces_by_image": ("FaceMatches", "SearchedFaceBoundingBox"),
    "delete_faces": ("DeletedFaces", "UnsuccessfulFaceDeletions"),
    "list_collections": ("CollectionIds",),
}


def genuine(answer: Vendor, method: str) -> Vendor:
    """Return the answer, unless it is none: botocore takes a 200 whose body it cannot read for an empty one.

    Raises:
        ServiceUnavailable: a proxy's page, or a body cut short.
    """
    if not any(member in answer for member in _MEMBERS[method]):
        raise ServiceUnavailable(
            f"rekognition: the answer to {method} is not one of Rekognition's",
            remedy="Is there a proxy or a sign-in page in between? Then run it again.",
        )
    return answer


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
