"""Rekognition's protocol, AWS JSON 1.1, with every constraint of the service model that botocore ships.

A client checks only minimums before it sends. So we check patterns, lengths, ranges and enums, and answer a breach with
the message of AWS's request validator. One message names all breaches of a request.
"""

from __future__ import annotations

import binascii
import functools
import gzip
import re
import sys
import unicodedata
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Json = Any  # a decoded JSON value

OPERATIONS = (
    "CreateCollection",
    "DescribeCollection",
    "ListCollections",
    "DeleteCollection",
    "IndexFaces",
    "ListFaces",
    "SearchFaces",
    "SearchFacesByImage",
    "DeleteFaces",
    "DetectFaces",
    "CompareFaces",
    "CreateUser",
    "DeleteUser",
    "ListUsers",
    "AssociateFaces",
    "DisassociateFaces",
    "SearchUsers",
    "SearchUsersByImage",
    "TagResource",
    "UntagResource",
    "ListTagsForResource",
    "CreateFaceLivenessSession",
    "GetFaceLivenessSessionResults",
)
#: Operations that look at more than faces, and who has an answer to them.
_ELSEWHERE = {
    "DetectLabels": "moto has a fixed answer to this one.",
    "DetectModerationLabels": "moto has no answer to this one, either; floci has a fixed one.",
    "DetectText": "moto has a fixed answer to this one.",
}
TARGET_PREFIX = "RekognitionService."


class ServiceError(Exception):
    """An error that the client gets as Rekognition's answer.

    Args:
        code: the exception's name, such as `ResourceNotFoundException`.
        message: the message, in Rekognition's words.
        status: the HTTP status; 400, or 500 for a fault of the service.
    """

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status

    def body(self) -> bytes:
        """Return the response body in the form that AWS's error reference shows for Rekognition."""
        return msgspec.json.encode(
            {"__type": self.code, "Code": self.code, "Message": self.message, "Logref": str(uuid.uuid4())}
        )


class ServiceModel:
    """Reads and checks requests with the service model that botocore ships."""

    def __init__(self) -> None:
        description = _description()
        self._shapes: Mapping[str, Json] = description["shapes"]
        self._known: Mapping[str, Json] = description["operations"]

    def operation(self, target: str) -> str:
        """Return the operation that an `X-Amz-Target` header names.

        Raises:
            ServiceError: UnknownOperationException for any but `OPERATIONS`. No AWS client retries it.
        """
        name = target.removeprefix(TARGET_PREFIX)
        if target.startswith(TARGET_PREFIX) and name in OPERATIONS:
            return name
        kind = "an operation of Rekognition that seedtool's emulator does not have"
        if name not in self._known or not target.startswith(TARGET_PREFIX):
            kind = "not an operation of Rekognition"
        raise ServiceError(
            "UnknownOperationException",
            f"{target or 'A request without X-Amz-Target'} is {kind}. The emulator has {', '.join(OPERATIONS)}."
            + (f" {_ELSEWHERE[name]}" if name in _ELSEWHERE else ""),
        )

    def request(self, operation: str, body: bytes) -> dict[str, Json]:
        """Decode and check a request body.

        Args:
            operation: one of `OPERATIONS`.
            body: JSON; an empty body means `{}`.

        Returns:
            The members of the request, blobs as bytes, without unknown members and nulls.

        Raises:
            ServiceError: SerializationException for a wrong type, ValidationException for a broken constraint.
        """
        try:
            document = msgspec.json.decode(body or b"{}")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise ServiceError("SerializationException", "The request body is no JSON, or nested too deeply.") from None
        breaches: list[str] = []
        members = self._structure(self._known[operation]["input"]["shape"], document, "", breaches)
        if breaches:
            count = f"{len(breaches)} validation error{'s' if len(breaches) > 1 else ''} detected: "
            raise ServiceError("ValidationException", count + "; ".join(breaches))
        return members

    def _structure(self, name: str, value: Json, path: str, breaches: list[str]) -> dict[str, Json]:
        if not isinstance(value, dict):
            raise _wrong_type(value, "a structure")
        shape = self._shapes[name]
        required = shape.get("required", ())
        members: dict[str, Json] = {}
        for member, reference in shape["members"].items():
            where = f"{path}.{_camel(member)}" if path else _camel(member)
            given = value.get(member)
            if given is not None:
                members[member] = self._value(reference["shape"], given, where, breaches)
            elif member in required:
                breaches.append(_breach(None, where, "Member must not be null"))
        return members

    def _value(self, name: str, value: Json, path: str, breaches: list[str]) -> Json:
        shape = self._shapes[name]
        kind = shape["type"]
        if kind == "structure":
            return self._structure(name, value, path, breaches)
        value = _READERS[kind](value)
        broken = [text for text, holds in _constraints(shape) if not holds(value)]
        breaches.extend(_breach(value, path, text) for text in broken)
        if kind == "list" and self._shapes[shape["member"]["shape"]]["type"] == "structure":
            element = shape["member"]["shape"]
            return [self._structure(element, each, f"{path}.{n}.member", breaches) for n, each in enumerate(value, 1)]
        if kind == "list":
            self._elements(shape["member"]["shape"], value, value, path, "Member", breaches)
        elif kind == "map":
            self._elements(shape["key"]["shape"], list(value), value, path, "Map keys", breaches)
            self._elements(shape["value"]["shape"], list(value.values()), value, path, "Map value", breaches)
        return value

    def _elements(  # for one bad element AWS quotes the whole list and every constraint of its elements
        self, name: str, elements: list[Json], whole: Json, path: str, what: str, breaches: list[str]
    ) -> None:
        shape = self._shapes[name]
        constraints = _constraints(shape)
        read = _READERS[shape["type"]]
        values = [read(element) for element in elements]
        if any(not holds(value) for value in values for _, holds in constraints):
            texts = ", ".join(text for text, _ in constraints)
            breaches.append(_breach(whole, path, f"{what} must satisfy constraint: [{texts}]"))


def _description() -> Json:
    """Read the service model: from beside this file where the emulator is a package of its own, else from botocore."""
    own = Path(__file__).with_name("service-2.json.gz")
    if own.exists():
        return msgspec.json.decode(gzip.decompress(own.read_bytes()))
    from botocore.loaders import Loader

    return Loader().load_service_model("rekognition", "service-2")


def _constraints(shape: Mapping[str, Json]) -> list[tuple[str, Callable[[Json], bool]]]:
    """Return a shape's constraints in AWS's words, in the order in which AWS names several breaches."""
    found: list[tuple[str, Callable[[Json], bool]]] = []
    if "enum" in shape:
        allowed = shape["enum"]
        found.append((f"Member must satisfy enum value set: [{', '.join(allowed)}]", allowed.__contains__))
    if "pattern" in shape:
        pattern = _compiled(shape["pattern"])
        found.append(
            (
                f"Member must satisfy regular expression pattern: {shape['pattern']}",
                lambda value: pattern.fullmatch(value) is not None,
            )
        )
    counted = shape["type"] in {"string", "list", "map", "blob"}
    noun, measure = ("length", len) if counted else ("value", lambda value: value)
    if "max" in shape:
        most = shape["max"]
        found.append((f"Member must have {noun} less than or equal to {most}", lambda v: measure(v) <= most))
    if "min" in shape:
        least = shape["min"]
        found.append((f"Member must have {noun} greater than or equal to {least}", lambda v: measure(v) >= least))
    return found


@functools.lru_cache(maxsize=64)
def _compiled(pattern: str) -> re.Pattern[str]:
    r"""Compile a pattern of the model. It is in Java's syntax, and Python has no `\p{L}`."""
    return re.compile(re.sub(r"\\p\{(\w)\}", lambda match: _category(match[1]), pattern))


@functools.lru_cache(maxsize=8)
def _category(letter: str) -> str:
    """Return one general category of Unicode as the ranges of a character class."""
    ranges: list[list[int]] = []
    for code in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code))[0] == letter:
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    return "".join(f"{re.escape(chr(first))}-{re.escape(chr(last))}" for first, last in ranges)


def _breach(value: Json, path: str, text: str) -> str:
    quoted = "null" if value is None else f"'{_java(value)}'"
    return f"Value {quoted} at '{path}' failed to satisfy constraint: {text}"


def _java(value: Json) -> str:
    """Print a value as AWS's validator does, which is written in Java."""
    if isinstance(value, bytes):
        return f"java.nio.HeapByteBuffer[pos=0 lim={len(value)} cap={len(value)}]"
    if isinstance(value, list):
        return f"[{', '.join(map(_java, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}={_java(item)}" for key, item in value.items()) + "}"
    return str(value)


def _camel(member: str) -> str:
    return member[0].lower() + member[1:]


def _wrong_type(value: Json, wanted: str) -> ServiceError:
    kinds = {
        type(None): "NULL_VALUE",
        bool: "TRUE_VALUE" if value is True else "FALSE_VALUE",
        str: "STRING_VALUE",
        list: "START_ARRAY",
        dict: "START_OBJECT",
    }
    kind = kinds.get(type(value), "NUMBER_VALUE")
    return ServiceError("SerializationException", f"{kind} can not be converted to {wanted}")


def _string(value: Json) -> str:
    if not isinstance(value, str):
        raise _wrong_type(value, "a String")
    return value


def _integer(value: Json) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise _wrong_type(value, "an Integer")
    return int(value)


def _float(value: Json) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong_type(value, "a Float")
    try:
        return float(value)
    except OverflowError:  # an integer of more than 308 digits
        raise _wrong_type(value, "a Float") from None


def _blob(value: Json) -> bytes:
    try:
        return binascii.a2b_base64(_string(value), strict_mode=True) if value else b""
    except (binascii.Error, ValueError):
        raise ServiceError("SerializationException", "A blob has to be base64 text.") from None


def _list(value: Json) -> list[Json]:
    if not isinstance(value, list):
        raise _wrong_type(value, "a List")
    return value


def _map(value: Json) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise _wrong_type(value, "a Map")
    return value


_READERS: Mapping[str, Callable[[Json], Json]] = {
    "string": _string,
    "integer": _integer,
    "long": _integer,
    "float": _float,
    "blob": _blob,
    "list": _list,
    "map": _map,
}
