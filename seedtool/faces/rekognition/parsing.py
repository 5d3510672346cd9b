"""ListFaces' pages, decoded by a compiled JSON library: botocore walks each value's shape in Python, 38 ms a page.

botocore's session takes the factory of response parsers as a component, so signing, endpoints, retries and
errors stay botocore's. Whatever is not a page of ListFaces goes to the parser that botocore would have used.
"""

from typing import Any

import msgspec
from botocore.parsers import ResponseParserFactory

from seedtool.faces.rekognition.answers import Face

#: The output shape of ListFaces in Rekognition's service model.
_SHAPE = "ListFacesResponse"


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
