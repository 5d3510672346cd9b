"""Rekognition's answers, read in one place: nothing beyond this file reads a member of an answer by its name.

ListFaces' pages are decoded by a compiled JSON library: botocore walks each value's shape in Python, 38 ms a page.
botocore's session takes the factory of response parsers as a component, so signing, endpoints, retries and errors stay
botocore's. Whatever is not a page of ListFaces goes to the parser that botocore would have used.
"""

from typing import Any

import msgspec
from botocore.parsers import ResponseParserFactory

from seedtool.faces.aws_errors import NO_ANSWER
from seedtool.faces.aws_session import Vendor
from seedtool.faces.port import Box, Deleted, Description, Face, Indexed, IndexedFace, Match, Unindexed

#: The output shape of ListFaces in Rekognition's service model.
_SHAPE = "ListFacesResponse"

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
    botocore itself does it with S3's, and so does an error that was cut short. Every operation may be repeated, as
    botocore does it when a connection drops: the same picture under the same external image id makes no second face.
    """
    client.meta.events.register("before-parse.rekognition.*", _empty_lists)
    client.meta.events.register_first("needs-retry.rekognition.*", _fail_without_answer)


def _empty_lists(response_dict: Vendor, **_: object) -> None:
    """Empty a body that is JSON and no object: botocore's parser stumbles over `null` and lists."""
    if response_dict["status_code"] == 200 and not response_dict["body"].lstrip().startswith(b"{"):
        response_dict["body"] = b"{}"


def _fail_without_answer(operation: Vendor, response: Vendor, **_: object) -> None:
    if response is None:  # the connection failed
        return
    http, parsed = response
    members = _MEMBERS.get(operation.name, ())
    empty = http.status_code == 200 and bool(members) and not any(member in parsed for member in members)
    # An error whose JSON was cut short: botocore takes the status for the code, and all of the body for the message.
    # It may be one that is no fault, such as "already exists".
    error = parsed.get("Error", {})
    cut = str(error.get("Code")) == str(http.status_code) and str(error.get("Message", "")).lstrip().startswith("{")
    if empty or cut:
        http.status_code = 500
        parsed.setdefault("ResponseMetadata", {})["HTTPStatusCode"] = 500
        parsed["Error"] = {"Code": NO_ANSWER, "Message": "the answer is not one of Rekognition's"}


class _Page(msgspec.Struct, rename="pascal"):
    faces: list[Face]
    next_token: str | None = None


class PageParserFactory(ResponseParserFactory):  # type: ignore[misc] # botocore has no types
    """Makes parsers that give a page of ListFaces as `{"Faces": list[Face], "NextToken": str}`."""

    def create_parser(self, protocol_name: str) -> "_PageParser":
        """Return the parser of a protocol."""
        return _PageParser(super().create_parser(protocol_name))


class _PageParser:
    """Stands before one of botocore's own parsers."""

    def __init__(self, usual: Any) -> None:  # noqa: ANN401 - botocore has no types
        self._usual = usual
        self._decoder = msgspec.json.Decoder(_Page)

    def parse(self, response: dict[str, Any], shape: Any) -> Any:  # noqa: ANN401
        """Decode a page; anything else, an unreadable page too, is the usual parser's."""
        if shape is not None and shape.name == _SHAPE and response["status_code"] == 200:
            try:
                page = self._decoder.decode(response["body"])
            except msgspec.MsgspecError:
                return self._usual.parse(response, shape)
            headers = {name.lower(): value for name, value in response["headers"].items()}
            metadata = {"HTTPStatusCode": 200, "HTTPHeaders": headers}
            if "x-amzn-requestid" in headers:
                metadata["RequestId"] = headers["x-amzn-requestid"]
            return {"Faces": page.faces, "NextToken": page.next_token, "ResponseMetadata": metadata}
        return self._usual.parse(response, shape)


def arn_of(answer: Vendor) -> str:
    """Return the ARN of an answer to CreateCollection, in the form in which DescribeCollection gives it."""
    arn: str = answer.get("CollectionArn", "")
    return arn if arn.startswith("arn:") or not arn else f"arn:{arn}"


def description_of(answer: Vendor) -> Description:
    """Return an answer to DescribeCollection."""
    return Description(
        faces=answer["FaceCount"],
        model_version=answer.get("FaceModelVersion", ""),
        arn=answer.get("CollectionARN", ""),
    )


def collections_of(answer: Vendor) -> tuple[list[str], str | None]:
    """Return the ids of a page of ListCollections, and the next page's token."""
    return answer.get("CollectionIds", []), answer.get("NextToken")


def page_of(answer: Vendor) -> tuple[list[Face], str | None]:
    """Return the faces of a page of ListFaces, and the next page's token."""
    return answer["Faces"], answer.get("NextToken")


def indexed_of(answer: Vendor) -> Indexed:
    """Return an answer to IndexFaces."""
    return Indexed(
        faces=tuple(_indexed(record) for record in answer.get("FaceRecords", ())),
        unindexed=tuple(_unindexed(left) for left in answer.get("UnindexedFaces", ())),
    )


def _indexed(record: Vendor) -> IndexedFace:
    quality = record.get("FaceDetail", {}).get("Quality", {})
    return IndexedFace(
        face=_face(record["Face"]), brightness=quality.get("Brightness", 0.0), sharpness=quality.get("Sharpness", 0.0)
    )


def _unindexed(left: Vendor) -> Unindexed:
    reasons = tuple(left.get("Reasons", ()))
    box = msgspec.convert(left.get("FaceDetail", {}).get("BoundingBox", {}), Box)
    return Unindexed(reasons=reasons, box=box, surplus="EXCEEDS_MAX_FACES" in reasons)


def _face(answer: Vendor) -> Face:
    return msgspec.convert(answer, Face)


def matches_of(answer: Vendor) -> tuple[Match, ...]:
    """Return the matches of an answer to SearchFaces, as they are ordered."""
    return tuple(
        Match(face=_face(match["Face"]), similarity=match.get("Similarity", 0.0))
        for match in answer.get("FaceMatches", ())
    )


def deleted_of(answer: Vendor) -> Deleted:
    """Return an answer to DeleteFaces."""
    why = {each["FaceId"]: tuple(each.get("Reasons", ())) for each in answer.get("UnsuccessfulFaceDeletions", ())}
    return Deleted(
        deleted=tuple(answer.get("DeletedFaces", ())),
        gone=tuple(face_id for face_id, reasons in why.items() if "FACE_NOT_FOUND" in reasons),
        failed={
            face_id: ", ".join(reasons) or "no reason given"
            for face_id, reasons in why.items()
            if "FACE_NOT_FOUND" not in reasons
        },
    )
