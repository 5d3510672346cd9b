"""AWS Signature Version 4: reads and verifies the signature of a request.

Source: "Create a signed AWS API request" in the AWS IAM user guide.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from seedtool.emulator.protocol import ServiceError

if TYPE_CHECKING:
    from starlette.requests import Request

    from seedtool.emulator.process import Key

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/,\s]+)/(?P<date>\d{8})/(?P<region>[^/,\s]+)/(?P<service>[^/,\s]+)"
    r"/aws4_request,\s*SignedHeaders=(?P<headers>[^,\s]+),\s*Signature=(?P<signature>[0-9a-f]{64})\s*"
)
_SKEW = dt.timedelta(minutes=5)  # how wrong a client's clock may be, by Rekognition's messages in users' reports
_STAMP = "%Y%m%dT%H%M%SZ"


class Credential(NamedTuple):
    """The access key and the region that a request names."""

    access_key_id: str
    region: str


def credential(request: Request) -> Credential | None:
    """Read who signed a request, without verifying the signature. None for an unsigned request."""
    match = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
    return Credential(match["key"], match["region"]) if match else None


def verify(request: Request, body: bytes, key: Key) -> None:
    """Verify a request's signature.

    Args:
        request: the request.
        body: the request's body.
        key: the key that the request has to be signed with.

    Raises:
        ServiceError: AWS's error for a missing, wrong or expired signature, or one by another key.
    """
    header = request.headers.get("authorization")
    if header is None:
        raise ServiceError("MissingAuthenticationTokenException", "Missing Authentication Token")
    match = _AUTHORIZATION.fullmatch(header)
    if match is None:
        raise ServiceError("IncompleteSignatureException", "The Authorization header is not of Signature Version 4.")
    if match["key"] != key.access_key_id:
        raise ServiceError("UnrecognizedClientException", "The security token included in the request is invalid.")
    stamp = request.headers.get("x-amz-date", "")
    expected = _signature(request, body, match, stamp, key.secret)
    if not hmac.compare_digest(expected, match["signature"]) or not stamp.startswith(match["date"]):
        raise ServiceError(
            "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
            "Access Key and signing method. Consult the service documentation for details.",
        )
    # The date is read last: the signature covers it, so now it is known to be well-formed.
    signed_at = dt.datetime.strptime(stamp, _STAMP).replace(tzinfo=dt.UTC)
    now = dt.datetime.now(dt.UTC)
    oldest, newest = now - _SKEW, now + _SKEW
    if signed_at < oldest:
        text = f"expired: {stamp} is now earlier than {oldest:{_STAMP}} ({now:{_STAMP}} - 5 min.)"
    elif signed_at > newest:
        text = f"not yet current: {stamp} is still later than {newest:{_STAMP}} ({now:{_STAMP}} + 5 min.)"
    else:
        return
    raise ServiceError("InvalidSignatureException", f"Signature {text}")


def _signature(request: Request, body: bytes, match: re.Match[str], stamp: str, secret: str) -> str:
    query = sorted(
        (quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in request.query_params.multi_items()
    )
    names = match["headers"].split(";")
    canonical = "\n".join(
        (
            request.method,
            quote(request.url.path, safe="/-_.~"),
            "&".join(f"{name}={value}" for name, value in query),
            *(f"{name}:{_folded(request, name)}" for name in names),
            "",
            match["headers"],
            hashlib.sha256(body).hexdigest(),
        )
    )
    scope = "/".join((match["date"], match["region"], match["service"], "aws4_request"))
    text = "\n".join(("AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    signing = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        signing = hmac.new(signing, part.encode(), hashlib.sha256).digest()
    return hmac.new(signing, text.encode(), hashlib.sha256).hexdigest()


def _folded(request: Request, name: str) -> str:
    return ",".join(" ".join(value.split()) for value in request.headers.getlist(name))
